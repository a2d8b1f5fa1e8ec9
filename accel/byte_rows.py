"""`ByteRows`: many byte strings, of equal or mixed lengths, as one array that kernels read in place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accel.errors import BadParameter

U8 = npt.NDArray[np.uint8]
Buffer = bytes | bytearray | memoryview
ByteStrings = Sequence[Buffer] | U8
"""What batch functions take: a sequence of byte strings, or a uint8 matrix whose rows are the strings."""


@dataclass(frozen=True, eq=False, repr=False)  # may hold secrets
class ByteRows:
    """String i is ``data[starts[i] : starts[i] + lengths[i]]``; ``data`` is contiguous."""

    data: U8
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    @classmethod
    def of(cls, strings: ByteStrings, *, prefix: bytes | U8 = b"") -> ByteRows:
        """Collect the strings, each behind a prefix: one for all, or row i of a uint8 matrix for string i.

        A contiguous matrix without a prefix is not copied. Raises BadParameter (``index`` for an element that
        is no byte string) for a wrong type, dtype or shape.
        """
        one = isinstance(prefix, bytes)
        _check_sequence(strings)
        ahead = len(prefix) if isinstance(prefix, bytes) else matrix(prefix, "prefixes").shape[1]
        if not isinstance(prefix, bytes) and len(prefix) != len(strings):
            raise BadParameter(f"{len(prefix)} prefixes for {len(strings)} byte strings")
        if isinstance(strings, np.ndarray):
            rows = matrix(strings, "byte strings")
            if ahead:
                joined = np.empty((len(rows), ahead + rows.shape[1]), np.uint8)
                joined[:, :ahead] = np.frombuffer(prefix, np.uint8)[None] if one else prefix
                joined[:, ahead:] = rows
                rows = joined
            count, width = rows.shape
            data = np.ascontiguousarray(rows).reshape(-1)
            return cls(data, np.arange(count, dtype=np.int64) * width, np.full(count, width, np.int64))
        plain = set(map(type, strings)) <= {bytes, bytearray}
        lengths = np.fromiter(map(len if plain else _length, strings), np.int64, len(strings)) + ahead
        if (lengths < ahead).any():
            index = int(np.flatnonzero(lengths < ahead)[0])
            raise BadParameter(f"element {index} is not a byte string", index=index)
        starts = np.cumsum(lengths) - lengths
        between = prefix if isinstance(prefix, bytes) else bytes(ahead)
        joined_bytes = bytearray(between if len(strings) else b"")
        joined_bytes += between.join(strings)
        data = np.frombuffer(joined_bytes, np.uint8)
        if not one:
            data[starts[:, None] + np.arange(ahead)] = prefix
        return cls(data, starts, lengths)

    def take(self, indices: npt.NDArray[np.int64]) -> ByteRows:
        """The strings at the indices; the data is shared."""
        return ByteRows(self.data, self.starts[indices], self.lengths[indices])

    def compact(self) -> ByteRows:
        """The same strings one right behind the other, from 0."""
        starts = np.cumsum(self.lengths) - self.lengths
        total = int(self.lengths.sum())
        if total == len(self.data) and (starts == self.starts).all():
            return self
        return ByteRows(self.data[_positions(self.starts, self.lengths)], starts, self.lengths)

    def wrapped(self, before: U8, after: U8) -> ByteRows:
        """Row i of ``before``, string i, row i of ``after``: as new strings."""
        ahead, behind = before.shape[1], after.shape[1]
        lengths = self.lengths + (ahead + behind)
        starts = np.cumsum(lengths) - lengths
        data = np.empty(int(lengths.sum()), np.uint8)
        data[starts[:, None] + np.arange(ahead)] = before
        data[_positions(starts + ahead, self.lengths)] = self.compact().data
        data[(starts + ahead + self.lengths)[:, None] + np.arange(behind)] = after
        return ByteRows(data, starts, lengths)

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[bytes]:
        data = self.data.data
        for start, length in zip(self.starts.tolist(), self.lengths.tolist(), strict=True):
            yield bytes(data[start : start + length])


def _positions(starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The place of every byte of strings at ``starts``, string by string."""
    compact = np.cumsum(lengths) - lengths
    places: npt.NDArray[np.int64] = np.arange(int(lengths.sum())) + np.repeat(starts - compact, lengths)
    return places


def matrix(rows: U8, what: str, width: int | None = None) -> U8:
    """``rows`` if it is a uint8 matrix (of ``width`` columns); raises BadParameter otherwise."""
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2:
        raise BadParameter(f"{what} in an array form a matrix of uint8")
    if width is not None and rows.shape[1] != width:
        raise BadParameter(f"{what} have {width} bytes each here, not {rows.shape[1]}")
    return rows


def rows_of(strings: ByteStrings, what: str, width: int) -> U8:
    """Byte strings of ``width`` bytes each as a matrix; BadParameter (``index``) for another length."""
    if isinstance(strings, np.ndarray):
        return np.ascontiguousarray(matrix(strings, what, width))
    collected = ByteRows.of(strings)
    wrong = np.flatnonzero(collected.lengths != width)
    if len(wrong):
        index = int(wrong[0])
        raise BadParameter(f"{what} have {width} bytes each here; that of index {index} differs", index=index)
    return collected.data.reshape(-1, width)


def below(rows: U8, bound: int, *, nonzero: bool = False) -> npt.NDArray[np.bool_]:
    """Which big-endian rows of 32 bytes are below the bound (and not 0): the same steps for all."""
    words = np.ascontiguousarray(rows).view(">u8").astype(np.uint64)
    found = np.zeros(len(rows), np.bool_)
    for column in reversed(range(4)):
        limit = np.uint64(bound >> 64 * (3 - column) & 2**64 - 1)
        found = (words[:, column] < limit) | (words[:, column] == limit) & found
    return found & words.any(axis=1) if nonzero else found


def octets(data: Buffer) -> bytes:
    """The bytes of any buffer; raises BadParameter for what is none (an integer is none)."""
    return data if isinstance(data, bytes) else flat(data).tobytes()


def flat(data: Buffer | U8) -> U8:
    """A view of the bytes of any contiguous buffer, not a copy; raises BadParameter for what is none."""
    if isinstance(data, np.ndarray):
        if data.dtype != np.uint8 or not data.flags.c_contiguous:
            raise BadParameter("an array of bytes is uint8 and contiguous")
        return data.reshape(-1)
    try:
        return np.frombuffer(data, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise BadParameter("not a contiguous buffer of bytes") from error


def _check_sequence(strings: object) -> None:
    # One byte string is a sequence too, of integers: taken for a batch it would be a mistake.
    if not isinstance(strings, np.ndarray | Sequence) or isinstance(strings, str | Buffer):
        raise BadParameter("not a sequence of byte strings, and no matrix")


def _length(item: object) -> int:
    if isinstance(item, bytes | bytearray):
        return len(item)
    if isinstance(item, memoryview) and item.contiguous:
        return item.nbytes
    return -1
