"""A sealed call is read by the party it is for, and answered by nobody else."""

from __future__ import annotations

import pytest

from compute.errors import BadInput
from compute.keys.sealed_call import open_answer, open_call, seal_answer, seal_call
from compute.keys.sealing import new_box_key, seal

PRIVATE, PUBLIC = new_box_key()
CONTEXT = b"job and operation"


def test_call_and_answer_arrive() -> None:
    sealed, reply = seal_call(PUBLIC, b"body", CONTEXT)
    reply_public, body = open_call(PRIVATE, sealed, CONTEXT)
    assert body == b"body"
    assert open_answer(reply, seal_answer(reply_public, b"answer", CONTEXT), CONTEXT) == b"answer"


def test_nobody_else_reads_a_call() -> None:
    sealed, _ = seal_call(PUBLIC, b"body", CONTEXT)
    with pytest.raises(BadInput):
        open_call(new_box_key()[0], sealed, CONTEXT)
    with pytest.raises(BadInput):
        open_call(PRIVATE, sealed, b"another operation")


def test_an_answer_of_somebody_in_between_does_not_open() -> None:
    sealed, reply = seal_call(PUBLIC, b"body", CONTEXT)
    reply_public, _ = open_call(PRIVATE, sealed, CONTEXT)
    other_call, _ = open_call(PRIVATE, seal_call(PUBLIC, b"body", CONTEXT)[0], CONTEXT)
    for forged in (
        seal_answer(new_box_key()[1], b"answer", CONTEXT),
        seal_answer(other_call, b"answer to another call", CONTEXT),
        seal_answer(reply_public, b"answer", b"another operation"),
        sealed,
        b"",
    ):
        with pytest.raises(BadInput):
            open_answer(reply, forged, CONTEXT)


def test_a_call_without_a_key_for_its_answer_is_refused() -> None:
    with pytest.raises(BadInput):
        open_call(PRIVATE, seal(PUBLIC, b"short", b"call/v1\x00" + CONTEXT), CONTEXT)
