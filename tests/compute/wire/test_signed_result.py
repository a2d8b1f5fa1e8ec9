"""A result is taken from the node that computed it and from nobody else."""

from __future__ import annotations

import pytest

from compute.errors import BadInput
from compute.wire.signed_result import sign_result, verify_result
from tests.compute.wire.parties import ALICE, BOB

JOB, OTHER_JOB = b"\x01" * 32, b"\x02" * 32
PAYLOAD = b'{"count": 12}'


def test_the_nodes_result_opens():
    signed = sign_result(ALICE, JOB, "left", PAYLOAD)
    assert verify_result(signed, JOB, "left", [BOB.address, ALICE.address]) == PAYLOAD


def test_an_empty_result_is_a_result():
    assert verify_result(sign_result(ALICE, JOB, "left", b""), JOB, "left", [ALICE.address]) == b""


@pytest.mark.parametrize(
    ("signed", "job", "role", "addresses"),
    [
        (sign_result(BOB, JOB, "left", PAYLOAD), JOB, "left", [ALICE.address]),
        (sign_result(ALICE, JOB, "left", PAYLOAD)[:-1] + b"!", JOB, "left", [ALICE.address]),
        (sign_result(ALICE, JOB, "left", PAYLOAD), OTHER_JOB, "left", [ALICE.address]),
        (sign_result(ALICE, JOB, "left", PAYLOAD), JOB, "right", [ALICE.address]),
        (sign_result(ALICE, JOB, "left", PAYLOAD), JOB, "left", []),
        (PAYLOAD, JOB, "left", [ALICE.address]),
        (bytes(65) + PAYLOAD, JOB, "left", [ALICE.address]),
        (b"", JOB, "left", [ALICE.address]),
    ],
    ids=["stranger", "altered", "other job", "other role", "no keys", "unsigned", "zeros", "empty"],
)
def test_what_the_node_did_not_sign_for_this_job_and_role_is_refused(signed, job, role, addresses):
    with pytest.raises(BadInput, match="not signed by the node"):
        verify_result(signed, job, role, addresses)
