"""Who is charged when a job ends early: whoever may have learned something from it."""

from __future__ import annotations

import pytest

from compute.node.meter import Meter, MeterExceeded, roles_of_consumer
from compute.wire.messages import JobSpec, JobState, Participant

ALICE, BOB, CAROL = ("0x" + digit * 64 for digit in "abc")


def spec(**roles: str) -> JobSpec:
    return JobSpec(
        kind="psi",
        purpose="study",
        consumer=ALICE,
        result_key="0x" + "11" * 32,
        participants=tuple(Participant(role=role, party=party) for role, party in roles.items()),
        params={},
    )


def test_what_the_consumers_own_node_plays_is_the_consumers() -> None:
    assert roles_of_consumer(spec(left=BOB, right=CAROL), None) == frozenset()
    assert roles_of_consumer(spec(left=ALICE, right=CAROL), None) == {"left"}
    assert roles_of_consumer(spec(server=BOB, client=ALICE), "client") == {"client"}
    assert roles_of_consumer(spec(p1=ALICE, p2=BOB, coordinator=ALICE), "coordinator") == {
        "p1",
        "coordinator",
    }


@pytest.mark.parametrize("state", ["cancelled", "failed", "expired"])
def test_a_consumer_that_was_sent_something_pays_for_hanging_up(state: JobState) -> None:
    meter = Meter(9)
    assert meter.ended_early(state) == 0
    meter.note_sent_to_consumer()
    assert meter.ended_early(state) == 9
    assert meter.ended_early(state, stopped=True) == 0


@pytest.mark.parametrize(
    ("used", "repeats", "buckets", "charged"),
    [
        (10, 0, 5, 10),
        (10, 1, 5, 12),
        (10, 2, 3, 17),
        (10, 1, 1, 20),
        (10, 1, 0, 20),
        (10, 9, 1, 30),
        (0, 3, 1, 0),
    ],
)
def test_a_bucket_that_was_sent_to_a_consumer_again_is_paid_again_up_to_what_was_reserved(
    used: int, repeats: int, buckets: int, charged: int
) -> None:
    assert Meter(30).repeated(used, repeats, buckets) == charged


def test_no_more_is_charged_than_was_reserved() -> None:
    assert Meter(9).completed(9) == 9
    for used in (10, -1):
        with pytest.raises(MeterExceeded):
            Meter(9).completed(used)


def test_what_is_sent_first_is_noted_before_it_leaves_and_once() -> None:
    noted: list[int] = []
    meter = Meter(9, on_first_sent=lambda: noted.append(meter.sent_to_consumer))
    for _ in range(3):
        meter.note_sent_to_consumer()
    assert noted == [0]


def test_an_earlier_attempt_that_sent_something_counts_in_a_later_one() -> None:
    noted: list[int] = []
    meter = Meter(9, 1, lambda: noted.append(1))
    assert meter.ended_early("cancelled") == 9
    assert meter.ended_early("failed", stopped=True) == 0
    assert meter.completed(4) == 4
    meter.note_sent_to_consumer()
    assert noted == [], "it is on record already"
