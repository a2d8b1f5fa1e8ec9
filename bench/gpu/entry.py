"""One kernel family of the GPU suite: how it is checked and what is timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.measure import Row

Clock = Callable[[Callable[[], object]], float]
"""Seconds on the device that a piece of work takes: `bench.gpu.clock.device_seconds`."""


@dataclass(frozen=True)
class Ceilings:
    """What this GPU can do at most, measured before anything else."""

    wide_per_s: float
    """32 x 32 + 64-bit multiply-adds a second, without carries."""
    carry_per_s: float
    """The same in chains that hand a carry on."""
    copy_bytes_per_s: float
    """Bytes read and written by a copy on the device."""


@dataclass(frozen=True)
class Entry:
    """``check`` raises if a kernel differs from plain Python integers; ``time`` yields rows.

    ``time(clock, ceilings, quick)`` gives every row a ``size`` (the batch), a rate as ``value``, what it
    ``includes``, the ``target`` where there is one, and as ``peer`` the ceiling that it is held against:
    ``peer_value`` is the rate that the ceiling would allow, ``ratio`` the fraction achieved.
    """

    name: str
    check: Callable[[], None]
    time: Callable[[Clock, Ceilings, bool], Iterator[Row]]


def row(
    name: str,
    size: int,
    seconds: float,
    unit: str,
    includes: str,
    *,
    ceiling: str,
    allowed: float,
    target: float | None = None,
) -> Row:
    """``size`` elements in so many seconds, held against ``allowed`` elements a second."""
    rate = size / seconds
    met = None if target is None else rate >= target
    return Row(name, size, rate, unit, includes, ceiling, allowed, rate / allowed, target, met)


def equal(what: str, got: Any, expected: Any) -> None:
    """Raise if two arrays differ anywhere."""
    got, expected = np.asarray(got), np.asarray(expected)
    if got.shape != expected.shape or (got != expected).any():
        raise ArithmeticError(f"{what} differs from the reference")


def kept(buffer: Any) -> Any:
    """A ``keep`` for the launchers' buffers that clears none: nothing that is timed is a secret."""
    return buffer
