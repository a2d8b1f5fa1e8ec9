"""The job page: how far, how fast, when, and who may end it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import translation

from market.portal import sentences
from market.portal.lanes import DONE, NOW, Lane, Step
from market.portal.plot import plot
from tests.portal.world import World


def test_rate_and_time_left_stand_beside_a_running_part(world: World, sign_in: Callable[..., Client]) -> None:
    parts = world.running.parts.filter(role="p1")
    parts.update(rate_milli=4_321_000, seconds_left=200, attempts=3)
    page = sign_in("bob").get(f"/jobs/{world.running.job_id}/").content.decode()
    assert "4,321 a second" in page
    assert "about 3 min 20 s left in this phase" in page
    assert "Taken up again 2 times" in page
    chinese = sign_in("bob").get(f"/jobs/{world.running.job_id}/live/", headers={"accept-language": "zh-CN"})
    assert "每秒 4,321 个" in chinese.content.decode()
    assert "约剩 3 分 20 秒" in chinese.content.decode()


def test_a_part_whose_pace_is_unknown_shows_none(world: World, sign_in: Callable[..., Client]) -> None:
    page = sign_in("bob").get(f"/jobs/{world.running.job_id}/").content.decode()
    assert 'class="pace' not in page


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min 0 s"), (3_599, "59 min 59 s"), (7_500, "2 h 5 min")],
)
def test_durations_have_two_units_at_most(seconds: int, told: str) -> None:
    with translation.override("en"):
        assert sentences.duration(seconds) == told


def test_the_plot_has_a_bar_per_phase_on_one_axis() -> None:
    lanes = [
        Lane("", None, "running", [Step("submitted", DONE, 1_000, until_ms=2_000)]),
        Lane("left", None, "running", [Step("psi.blind", DONE, 2_000, until_ms=5_000),
                                       Step("psi.match", NOW, 5_000, until_ms=6_000)]),
        Lane("right", None, "running", []),
    ]  # fmt: skip
    drawn = plot(lanes, 11_000, "Market")
    assert drawn is not None
    assert [len(row.bars) for row in drawn.rows] == [1, 2]
    market, blind, match = (bar for row in drawn.rows for bar in row.bars)
    assert (market.x, market.width) == ("0.00%", "10.00%")
    assert (blind.x, blind.width) == ("10.00%", "30.00%")
    assert (match.x, match.width, match.status) == ("40.00%", "60.00%", "now")
    assert blind.title.endswith(": 3.0 s")
    assert drawn.length == "10 s"


def test_nothing_is_drawn_of_a_job_that_has_not_begun() -> None:
    assert plot([Lane("", None, "submitted", [Step("submitted", NOW, 1_000)])], 2_000, "Market") is None


def test_the_plot_is_on_the_page(world: World, sign_in: Callable[..., Client]) -> None:
    page = sign_in("bob").get(f"/jobs/{world.running.job_id}/live/").content.decode()
    assert "When each party did what" in page
    assert len(re.findall(r"<rect class", page)) >= 4
    assert not re.search(r"\sstyle=", page)


@pytest.mark.parametrize(("person", "may"), [("bob", True), ("alice", True), ("rita", False)])
def test_consumer_and_providers_may_end_a_running_job(
    world: World, sign_in: Callable[..., Client], person: str, may: bool
) -> None:
    client = sign_in(person)
    page = client.get(f"/jobs/{world.running.job_id}/").content.decode()
    assert ("data-live-cancel" in page) is may
    answer = client.post(f"/jobs/{world.running.job_id}/cancel/")
    assert answer.status_code == (302 if may else 404)
    world.running.refresh_from_db()
    assert (world.running.cancel_requested_at is not None) is may
