"""How often a peer may be shown the same bucket, whatever it has in between."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest

from compute.errors import ProtocolAbort
from compute.node.running import _Attempts


def attempts(max_repeats: int) -> _Attempts:
    made = _Attempts.__new__(_Attempts)
    made._runner = cast(Any, SimpleNamespace(_peer_settings=SimpleNamespace(max_repeats=max_repeats)))
    made._begun_at, made.repeats = Counter(), 0
    return made


@pytest.mark.parametrize("between", [(), (8,), (8, 8)], ids=["in a row", "in turns", "in longer turns"])
def test_a_bucket_is_begun_a_bounded_number_of_times(between: tuple[int, ...]) -> None:
    some = attempts(max_repeats=4)
    for _ in range(2):
        for resumed in (7, *between):
            some._begin(resumed)
    for _ in range(3):
        some._begin(7)
    with pytest.raises(ProtocolAbort, match="cut 5 times after checkpoint 7"):
        some._begin(7)


def test_a_job_that_gets_on_may_be_cut_after_every_bucket() -> None:
    some = attempts(max_repeats=0)
    for resumed in range(9):
        some._begin(resumed)
    assert some.repeats == 8
