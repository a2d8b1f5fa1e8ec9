"""When each party did what, as bars over one time axis: the lanes of a job for people who would rather look.

Positions are in percent of the time that the plot shows, formatted here: a template would write the decimal
point the locale's way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from market.portal import sentences, words
from market.portal.lanes import NOW, Lane

# Narrower bars could not be met with a pointer.
_LEAST_PERCENT = 0.6


@dataclass(frozen=True)
class Bar:
    """One phase of one party."""

    x: str
    width: str
    status: str
    title: str


@dataclass(frozen=True)
class Row:
    """One party: its name and its bars."""

    name: str
    bars: list[Bar]


@dataclass(frozen=True)
class Plot:
    """All rows and how long the axis is."""

    rows: list[Row]
    length: str


def plot(lanes: Sequence[Lane], now_ms: int, name_of_market: str) -> Plot | None:
    """The plot of a job's lanes, or None while there is nothing to see. ``now_ms`` ends what still runs."""
    ends: list[tuple[Lane, list[tuple[Any, int]]]] = []
    for lane in lanes:
        spans = [(step, max(step.until_ms, now_ms if step.status == NOW else 0)) for step in lane.steps]
        ends.append((lane, spans))
    starts = [step.at_ms for lane in lanes for step in lane.steps]
    if len(starts) < 2:
        return None
    first, last = min(starts), max(until for _lane, spans in ends for _step, until in spans)
    length = max(last - first, 1)
    rows = [
        Row(
            lane.party.display_name if lane.party else name_of_market,
            [
                Bar(
                    f"{100 * (step.at_ms - first) / length:.2f}%",
                    f"{max(_LEAST_PERCENT, 100 * (until - step.at_ms) / length):.2f}%",
                    step.status,
                    f"{words.phase(step.phase)}: {seconds(until - step.at_ms)}",
                )
                for step, until in spans
            ],
        )
        for lane, spans in ends
        if spans
    ]
    return Plot(rows, seconds(length))


def seconds(milliseconds: int) -> str:
    """Short times with a decimal, long ones in minutes and hours."""
    if milliseconds < 10_000:
        return f"{milliseconds / 1000:.1f} s"
    return sentences.duration(milliseconds // 1000)
