"""Buckets in waves: how many there are, and a checkpoint after each wave.

A wave is as many buckets as are compared at once. What a wave found is kept in the workspace until the end;
an attempt that goes on from a checkpoint reads it there and draws everything secret anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from compute.protocols.protocol import Checkpoint, Part, Progress, Session
from compute.protocols.psi.bins import power_of_two
from compute.protocols.psi.buckets import pack, unpack

# What an item takes while its bucket is compared: own and received arrays of the OPRF, its tables, tags.
ITEM_MEMORY_BYTES = 1 << 10
LEAST_ITEMS = 16
MOST_PARALLEL = 1 << 12

Arrays = tuple[npt.NDArray[Any], ...]


@dataclass(frozen=True)
class Cut:
    """How sets are cut, the same at every party: ``wave`` of the ``buckets`` are compared at once."""

    buckets: int
    wave: int

    @property
    def waves(self) -> int:
        """How many waves there are."""
        return -(-self.buckets // self.wave)

    def of_wave(self, wave: int) -> range:
        """The buckets of wave 0, 1, …"""
        return range(wave * self.wave, min((wave + 1) * self.wave, self.buckets))


def buckets_and_wave(larger: int, most: int, parallel: int) -> tuple[int, int]:
    """One bucket if ``most`` items at once hold the larger set, else as many as that asks for, by waves of
    at most ``parallel``."""
    if larger <= most:
        return 1, 1
    wave = min(parallel, max(1, most // LEAST_ITEMS))
    buckets = power_of_two(-(-larger * wave // most))
    return buckets, min(wave, buckets)


def limits(session: Session) -> tuple[int, int]:
    """How many items this party can hold at once, and how many buckets it wants at once."""
    items = max(LEAST_ITEMS, session.memory_bytes // ITEM_MEMORY_BYTES)
    return items, max(1, min(session.parallel, MOST_PARALLEL))


def in_waves(session: Session, cut: Cut, one: Callable[[int], Part[Arrays]]) -> Part[list[Arrays]]:
    """The findings of all waves, ``one`` by one; those of an earlier attempt come from the workspace.

    A job of a single wave keeps nothing.
    """
    if cut.waves == 1:
        return [(yield from one(0))]
    for wave in range(session.resumed, cut.waves):
        yield Progress("psi.bucket", wave * cut.wave, cut.buckets)
        session.workspace.write(f"psi.wave.{wave}", pack(*(yield from one(wave))))
        yield Checkpoint(wave + 1)
    yield Progress("psi.bucket", cut.buckets, cut.buckets)
    return [tuple(unpack(session.workspace.read(f"psi.wave.{wave}"))) for wave in range(cut.waves)]
