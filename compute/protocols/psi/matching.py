"""Which tags of one array are in another, by one sort of numbers that carry tag and place together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Tags = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

MAX_TAG_BYTES = 16


def match(mine: Tags, theirs: Tags) -> tuple[Numbers, Numbers]:
    """Places of equal tags: ``mine[first[i]] == theirs[second[i]]``, rows of (n, width) and (m, width).

    In no particular order. A tag that a peer repeats counts once: to abort where one of ours is among its
    repeats would tell it so.
    """
    count = len(mine) + len(theirs)
    if not len(mine) or not len(theirs):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    head, tail = _words(mine, theirs)
    place_bits = np.uint64((count - 1).bit_length())
    # Sorting numbers is five times as fast as sorting places by numbers: so the places ride along.
    packed = np.sort((head >> place_bits << place_bits) | np.arange(count, dtype=np.uint64))
    order = (packed & ((np.uint64(1) << place_bits) - np.uint64(1))).view(np.int64)
    packed >>= place_bits
    alike = packed[1:] == packed[:-1]
    if (alike[1:] & alike[:-1]).any():
        # More than two of one beginning, by chance or by a peer that repeats tags: sort by whole tags.
        order = np.lexsort((tail, head))
        # It is stable: ours comes before theirs, so that only the first of theirs stands beside it.
        alike = (head[order[1:]] == head[order[:-1]]) & (tail[order[1:]] == tail[order[:-1]])
    first = np.flatnonzero(alike)
    one, other = order[first], order[first + 1]
    one, other = np.minimum(one, other), np.maximum(one, other)
    pairs = (one < len(mine)) & (other >= len(mine)) & (head[one] == head[other]) & (tail[one] == tail[other])
    return one[pairs], other[pairs] - len(mine)


def _words(mine: Tags, theirs: Tags) -> tuple[Words, Words]:
    """All tags as two numbers each; the first has random bits at its top whatever the width."""
    width = mine.shape[1]
    if width > MAX_TAG_BYTES:
        raise ValueError(f"tags have at most {MAX_TAG_BYTES} bytes")
    at = max(0, MAX_TAG_BYTES // 2 - width)
    padded = np.zeros((len(mine) + len(theirs), MAX_TAG_BYTES), np.uint8)
    padded[: len(mine), at : at + width] = mine
    padded[len(mine) :, at : at + width] = theirs
    words = padded.view("<u8")
    return np.ascontiguousarray(words[:, 0]), np.ascontiguousarray(words[:, 1])
