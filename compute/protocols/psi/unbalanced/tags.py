"""The tags of a big set in one byte string: made once per dataset version, downloaded once, searched at once.

A tag is the first bytes of F(y). Its leading bits choose one of 2^k bins, k such that a bin holds 32 to 64
tags on average; the next 64 bits are written down, ascending within a bin:

    table = 2^k counts of one byte ‖ n remainders of 8 bytes, little-endian

An item that is not in the set is taken for one that is if its remainder meets one of its bin: with
probability at most 64 · 2^-64 = 2^-58 for one item, below 2^-40 for all of up to 2^18.

Against a 3-wise binary fuse filter (Graf, Lemire, JEA 2022) with 64-bit fingerprints: 8.03 bytes a key
instead of 9.0, made by one sort instead of peeling, which can fail, and searched without touching more than
a bin.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compute.errors import ProtocolAbort
from compute.protocols.workspace import Data

MOST_QUERIES = 1 << 18
_REMAINDER_BYTES = 8
_MOST_IN_A_BIN = 255

Words = npt.NDArray[np.uint64]


def bin_bits(count: int) -> int:
    """How many leading bits of a tag choose its bin."""
    return max(0, (count // 32).bit_length() - 1)


def table_bytes(count: int) -> int:
    """The size of the table of ``count`` tags."""
    return (1 << bin_bits(count)) + _REMAINDER_BYTES * count


def halves(outputs: npt.NDArray[np.uint8]) -> Words:
    """The first 16 bytes of outputs as two words each: all of them that a tag needs; (n, 32) -> (n, 2)."""
    return np.ascontiguousarray(outputs[:, :16]).view("<u8").astype(np.uint64, copy=False)


def write_table(parts: Sequence[Words], at_once: int, write: Callable[[bytes], None]) -> None:
    """Write the table of all tags, piece by piece, sorting about ``at_once`` of them at a time.

    A part is (2, n): the two words of each output (`halves`), ascending by the first. Raises ProtocolAbort
    if a bin overflows (never).
    """
    bits = bin_bits(sum(part.shape[1] for part in parts))
    counts = np.zeros(1 << bits, np.uint16)
    for part in parts:
        bins, found = np.unique(_bins(part[0], bits), return_counts=True)
        counts[bins] += found.astype(np.uint16)
    if counts.max() > _MOST_IN_A_BIN:
        # Poisson with mean 64: below 2^-200 for outputs of a pseudorandom function.
        raise ProtocolAbort("the tags are not spread evenly: make the set again")
    write(counts.astype(np.uint8).tobytes())
    # Bins within a step are numbered by 16 bits, which sort in linear time.
    step = 1 << max(0, min(16, bits, (at_once // 64).bit_length() - 1))
    starts = [0] * len(parts)
    for end in range(step, (1 << bits) + 1, step):
        stops = [_below(part[0], end, bits) for part in parts]
        slices = [part[:, start:stop] for part, start, stop in zip(parts, starts, stops, strict=True)]
        starts = stops
        heads, remainders = np.concatenate([np.empty((2, 0), np.uint64), *slices], axis=1)
        remainders = remainders[by_remainder := np.argsort(remainders)]
        bins = (_bins(heads[by_remainder], bits) & np.uint64(step - 1)).astype(np.uint16)
        write(remainders[np.argsort(bins, kind="stable")].astype("<u8", copy=False).tobytes())


def digest(table: Data) -> bytes:
    """What names a table: 32 bytes of SHA-256."""
    hasher = hashlib.sha256(b"liutong/psi/unbalanced/table/v1\0")
    hasher.update(table)
    return hasher.digest()


@dataclass(frozen=True, repr=False)
class TagTable:
    """A table that was checked: `contains` says of which outputs the tag is in it."""

    starts: npt.NDArray[np.int64]
    remainders: Words
    bits: int

    @classmethod
    def decode(cls, table: Data, count: int, peer: str) -> TagTable:
        """Read a table of ``peer``; raises ProtocolAbort unless it is one of ``count`` tags."""
        bits = bin_bits(count)
        if len(table) != table_bytes(count):
            raise ProtocolAbort(f"{peer} sent a tag table of another size")
        counts = np.frombuffer(table, np.uint8, 1 << bits).astype(np.int64)
        if counts.sum() != count:
            raise ProtocolAbort(f"{peer} sent a tag table whose bins hold another number of tags")
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        return cls(starts, np.frombuffer(table, "<u8", count, 1 << bits), bits)

    def contains(self, outputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Which of these outputs (n, 32) have their tag here: a binary search per bin, all at once."""
        words = halves(outputs)
        bins = _bins(words[:, 0], self.bits).astype(np.int64)
        low, end = self.starts[bins], self.starts[bins + 1]
        high = end.copy()
        if not len(self.remainders):
            return np.zeros(len(words), np.bool_)
        last = len(self.remainders) - 1
        for _ in range(_MOST_IN_A_BIN.bit_length()):
            middle = (low + high) // 2
            smaller = (low < high) & (self.remainders[np.minimum(middle, last)] < words[:, 1])
            low, high = np.where(smaller, middle + 1, low), np.where(smaller, high, middle)
        found: npt.NDArray[np.bool_] = (low < end) & (self.remainders[np.minimum(low, last)] == words[:, 1])
        return found


def _below(heads: Words, end: int, bits: int) -> int:
    """How many of ascending heads fall into bins before ``end``."""
    return len(heads) if end == 1 << bits else int(np.searchsorted(heads, np.uint64(end << (64 - bits))))


def _bins(heads: Words, bits: int) -> Words:
    return heads >> np.uint64(64 - bits) if bits else np.zeros(len(heads), np.uint64)
