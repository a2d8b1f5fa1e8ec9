"""The pace of a job: what the reports of a phase say about its rate and the time it still takes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute.node.pace import Pace, Pacer
from compute.node.running import _Reporter
from compute.protocols.protocol import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@given(st.integers(1, 10**9), st.integers(0, 10**6), st.integers(3, 60))
def test_a_steady_phase_has_its_rate_and_the_rest_takes_as_long_as_it_does(
    per_step: int, start: int, steps: int
) -> None:
    clock = Clock()
    pacer, total = Pacer(clock), start + per_step * 100
    assert pacer.note("phase", start, total) == Pace()
    for step in range(1, steps):
        clock.now += 2
        pace = pacer.note("phase", start + step * per_step, total)
        assert pace.rate_milli == pytest.approx(per_step * 500, rel=1e-6, abs=1)
        assert pace.seconds_left == pytest.approx(2 * (100 - step), abs=1)


def test_what_was_done_before_a_restart_does_not_count_as_fast() -> None:
    clock = Clock()
    pacer = Pacer(clock)
    pacer.note("phase", 900, 1000)
    clock.now += 10
    assert pacer.note("phase", 910, 1000) == Pace(1000, 90)


def test_nobody_can_tell_without_total_time_or_progress() -> None:
    clock = Clock()
    pacer = Pacer(clock)
    pacer.note("phase", 0, 10)
    assert pacer.note("phase", 5, 10) == Pace(), "no time has passed"
    clock.now += 5
    assert pacer.note("phase", 5, 0) == Pace(1000, None)
    pacer.note("stuck", 0, 10)
    clock.now += 5
    assert pacer.note("stuck", 0, 10) == Pace()


def test_a_new_phase_and_a_step_back_begin_anew() -> None:
    clock = Clock()
    pacer = Pacer(clock)
    pacer.note("one", 0, 10)
    clock.now += 1
    assert pacer.note("one", 5, 10).rate_milli == 5000
    assert pacer.note("two", 6, 10) == Pace()
    clock.now += 1
    pacer.note("two", 8, 10)
    assert pacer.note("two", 2, 10) == Pace()


def test_the_rate_follows_a_change() -> None:
    clock = Clock()
    pacer = Pacer(clock)
    rates = []
    done = 0
    for second in range(200):
        done += 100 if second < 100 else 10
        pace = pacer.note("phase", done, 100_000)
        rates.append(pace.rate_milli)
        clock.now += 1
    assert rates[99] == 100_000
    assert 10_000 <= (rates[199] or 0) < 11_000
    assert all(earlier >= later for earlier, later in pairwise(rates[100:]))


def test_reports_are_few_but_a_phase_begins_and_ends_with_one() -> None:
    clock = Clock()
    noted: list[tuple[object, ...]] = []
    report = _Reporter(clock, lambda *progress: noted.append(progress), clock)
    for done in range(101):
        report(Progress("phase", done, 100))
        clock.now += 0.1
    assert noted[0] == ("phase", 0, 100, None, None)
    assert noted[-1] == ("phase", 100, 100, 10_000, 0)
    assert 15 <= len(noted) <= 25
