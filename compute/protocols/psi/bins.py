"""Records that do not fit the memory: dealt into bins on disk, of which one is looked at at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accel import rows as byte_rows
from compute.errors import DataError
from compute.protocols.protocol import Part, Progress, Session
from compute.protocols.stream import uniform_order
from compute.protocols.workspace import Workspace

MOST_BINS = 1 << 12
# What is done with a bin may take this part of the memory: bins of random records differ in size.
_PART_OF_MEMORY = 4

Rows = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]


def bins_for(needed: int, memory_bytes: int) -> int:
    """How many bins there are, a power of two, if the work on all records takes ``needed`` bytes."""
    return power_of_two(-(-_PART_OF_MEMORY * needed // memory_bytes), MOST_BINS)


@dataclass(frozen=True, repr=False)  # may hold identifiers
class Bins:
    """``count`` bins of records of ``width`` bytes, under ``name.0``, ``name.1``, … of a workspace."""

    workspace: Workspace
    name: str
    count: int
    width: int

    def clear(self) -> None:
        """Make them all, empty; what lay there goes."""
        for index in range(self.count):
            self.workspace.remove(self._name(index))
            self.workspace.append(self._name(index), b"")

    def deal(self, records: Rows, numbers: Numbers) -> None:
        """Add record i to bin ``numbers[i]``; records are (n, width). Raises DiskFull."""
        if self.count == 1:
            self.workspace.append(self._name(0), records.tobytes())
            return
        order = np.argsort(numbers.astype(np.uint16), kind="stable")
        ends = np.cumsum(np.bincount(numbers, minlength=self.count))
        dealt = byte_rows.take(records, order)
        start = 0
        for index, end in enumerate(ends.tolist()):
            if end > start:
                self.workspace.append(self._name(index), dealt[start:end].tobytes())
            start = end

    def read(self, index: int) -> Rows:
        """The records of a bin in the order they came, not copied; raises DataError if it is damaged."""
        return rows_of(self.workspace.read(self._name(index)), self.width)

    def remove(self, index: int) -> None:
        """Forget a bin."""
        self.workspace.remove(self._name(index))

    def _name(self, index: int) -> str:
        return f"{self.name}.{index}"


def shuffle(session: Session, name: str, pieces: Iterable[Rows], count: int, width: int) -> Part[None]:
    """Keep ``count`` records under a name of the workspace, in a uniformly random order.

    Each goes to a random bin, and each bin is put in a uniform order: their sequence is uniform as well. It
    takes two passes and the memory for one bin. Source: Rao 1961 and Sandelius 1962; Sanders, "Random
    Permutations on Distributed, External and Hierarchical Memory", Information Processing Letters 67, 1998.
    """
    workspace = session.workspace
    # A bin is copied and ordered by 64-bit keys.
    needed = count * (2 * width + 32)
    bins = Bins(workspace, f"{name}.bin", bins_for(needed, session.memory_bytes), width)
    bins.clear()
    for piece in pieces:
        drawn = np.frombuffer(session.rng(2 * len(piece)), np.uint16)
        # A power of two: the remainder is uniform.
        bins.deal(piece, (drawn % bins.count).astype(np.int64))
        # How much of the set is done would tell of its digests: this only gives way to a cancel.
        yield Progress("psi.keys", count, count)
    workspace.remove(name)
    workspace.append(name, b"")
    for index in range(bins.count):
        records = bins.read(index)
        workspace.append(name, byte_rows.take(records, uniform_order(len(records), session.rng)).tobytes())
        bins.remove(index)
        yield Progress("psi.keys", count, count)


def rows_of(data: memoryview, width: int) -> Rows:
    """Bytes of the workspace as records, not copied; raises DataError if they are none."""
    if len(data) % width:
        raise DataError("a file of the workspace is damaged")
    return np.frombuffer(data, np.uint8).reshape(-1, width)


def power_of_two(least: int, most: int = 1 << 62) -> int:
    """The smallest power of two that is not below ``least``, but at most ``most``."""
    return min(1 << max(0, least - 1).bit_length(), most)
