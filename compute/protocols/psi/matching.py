"""Which tags of one array are in another; tags in the order of their bytes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accel import rows
from compute.errors import ProtocolAbort
from compute.protocols.stream import sorted_order

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


def require_ascending(tags: Tags, peer: str) -> None:
    """Raise ProtocolAbort unless the tags that a peer returned ascend strictly."""
    words = words_of(tags)
    high, low = words[:, 0], words[:, 1]
    if not ((high[:-1] < high[1:]) | (high[:-1] == high[1:]) & (low[:-1] < low[1:])).all():
        raise ProtocolAbort(f"{peer} returned tags that repeat or are not sorted")


def in_order(tags: Tags) -> Tags:
    """Tags in the order of their bytes."""
    words = words_of(tags)
    order, distinct = sorted_order(np.ascontiguousarray(words[:, 0]))
    return rows.take(tags, order if distinct else np.lexsort((words[:, 1], words[:, 0])))


def repeats(ordered: Tags) -> bool:
    """Does a tag occur twice among those in the order of their bytes?"""
    words = words_of(ordered)
    return bool((words[1:] == words[:-1]).all(axis=1).any())


def words_of(tags: Tags) -> npt.NDArray[np.uint64]:
    """Tags as two words each that sort as their bytes do."""
    padded = np.zeros((len(tags), MAX_TAG_BYTES), np.uint8)
    padded[:, : tags.shape[1]] = tags
    return padded.view(">u8").astype(np.uint64)
