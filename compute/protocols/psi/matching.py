"""Which tags of one array are in another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accel import rows

Tags = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]

MAX_TAG_BYTES = rows.MOST_WIDE


def match(mine: Tags, theirs: Tags) -> tuple[Numbers, Numbers]:
    """Places of equal tags: ``mine[first[i]] == theirs[second[i]]``, rows of (n, width) and (m, width).

    ``first`` ascends. A tag that a peer repeats counts once: to abort where one of ours is among its repeats
    would tell it so.
    """
    found = rows.places(theirs, mine)
    first = np.flatnonzero(found >= 0)
    return first, found[first]


def ascending(places: Numbers, size: int) -> Numbers:
    """The order that sorts different numbers below ``size``."""
    at = np.full(size, -1, np.int64)
    at[places] = np.arange(len(places))
    return at[at >= 0]
