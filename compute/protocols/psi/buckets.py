"""Sets larger than the memory: keys are kept in spill files by the first bits of their digests, and compared
bucket by bucket.

A bucket is a range of digests, the same at both parties: bucket b of 2^k holds the digests whose first k
bits are b. How many keys a party has in a bucket says something about them, so each bucket is filled up with
random digests to a size that follows from public numbers alone (`bound`).
"""

from __future__ import annotations

import io
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from compute.errors import DataError, ProtocolAbort
from compute.protocols.identifiers import Normalisation
from compute.protocols.keyset import (
    DIGEST_BYTES,
    Digests,
    KeySet,
    Numbers,
    grouped,
    hashed,
    key_set,
    leading_words,
)
from compute.protocols.protocol import Part, Progress, Rng, Session
from compute.protocols.psi.bins import Bins, power_of_two
from compute.protocols.workspace import Workspace

# A bucket is as good as surely not larger than its bound.
FAILURE_BITS = 40
# Digests, row numbers, offsets, and what sorting them takes.
ROW_BYTES = 128
ROW = DIGEST_BYTES + 8
MOST_PARTITIONS = 1 << 12
# Partitions are small beside the memory: one is sorted, and read again for each bucket in it.
PARTITIONS_PER_MEMORY = 16
_KEYS = "psi.keys"
_HEADER_BYTES = 1 << 10
_SUMMED = 64  # digests beside each other


def bound(count: int, buckets: int) -> int:
    """Size that none of ``buckets`` exceeds if ``count`` keys fall into them, but with probability 2^-40.

    Chernoff: a bucket has at least k of n keys with probability at most exp(−n·D(k/n ‖ 1/buckets)); the
    union bound over buckets. Source: Hagerup, Rüb, "A Guided Tour of Chernoff Bounds", 1990.
    """
    if buckets == 1 or count == 0:
        return count
    needed = (FAILURE_BITS * math.log(2) + math.log(buckets)) / count
    low, high = count // buckets, count  # the bound holds at ``high``
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _divergence(middle / count, 1 / buckets) >= needed else (middle, high)
    return high


def _divergence(a: float, p: float) -> float:
    """Kullback-Leibler divergence of two coins, in nats; a > p."""
    rest = (1 - a) * math.log((1 - a) / (1 - p)) if a < 1 else 0.0
    return a * math.log(a / p) + rest


def filled(digests: Digests, size: int, rng: Rng) -> Digests:
    """``size`` items: the digests, and random ones behind them. Raises ProtocolAbort if there are more."""
    missing = size - len(digests)
    if missing < 0:
        raise ProtocolAbort("a bucket has more keys than its bound: digests of keys are not random")
    if not missing:
        return digests
    extra = np.frombuffer(rng(DIGEST_BYTES * missing), np.uint8).reshape(-1, DIGEST_BYTES)
    return np.concatenate([digests, extra])


@dataclass(frozen=True)
class Facts:
    """The size of one party's keys; ``checksum`` tells two inputs of this party apart (`checksum`)."""

    count: int
    repeated: int
    without_key: int
    unfit: int
    checksum: bytes


@dataclass(frozen=True, repr=False)  # holds identifiers
class Source(Facts, ABC):
    """The keys of one party, by bucket."""

    @abstractmethod
    def bucket(self, index: int, buckets: int) -> KeySet:
        """Bucket ``index`` of ``buckets``, a power of two."""

    @abstractmethod
    def pieces(self) -> Iterator[KeySet]:
        """All keys in ascending order of their digests, as much at a time as lies together."""


@dataclass(frozen=True, repr=False)
class InMemory(Source):
    """Keys that fit the memory."""

    keys: KeySet

    @classmethod
    def of(cls, keys: KeySet) -> InMemory:
        """A source of these keys."""
        return cls(len(keys), keys.repeated, keys.without_key, keys.unfit, checksum([keys]), keys)

    def bucket(self, index: int, buckets: int) -> KeySet:
        """See `Source.bucket`."""
        return self.keys if buckets == 1 else _range(self.keys, index, buckets)

    def pieces(self) -> Iterator[KeySet]:
        """See `Source.pieces`."""
        yield self.keys


@dataclass(frozen=True, repr=False)
class Spilled(Source):
    """Keys in the workspace, in ``partitions`` files of one range of digests each."""

    workspace: Workspace
    partitions: int

    def bucket(self, index: int, buckets: int) -> KeySet:
        """See `Source.bucket`."""
        if buckets >= self.partitions:
            step = buckets // self.partitions
            return _range(self._partition(index // step), index, buckets)
        step = self.partitions // buckets
        parts = [self._partition(at) for at in range(index * step, (index + 1) * step)]
        offsets = np.cumsum([0, *(len(part.rows) for part in parts)])
        return KeySet(
            np.concatenate([part.digests for part in parts]),
            np.concatenate([part.rows for part in parts]),
            np.concatenate(
                [part.offsets[:-1] + at for part, at in zip(parts, offsets, strict=False)] + [offsets[-1:]]
            ),
            sum(part.repeated for part in parts),
            0,
        )

    def pieces(self) -> Iterator[KeySet]:
        """See `Source.pieces`."""
        return map(self._partition, range(self.partitions))

    def _partition(self, index: int) -> KeySet:
        digests, rows, offsets = unpack(self.workspace.read(_partition(index)))
        return KeySet(digests, rows, offsets, len(rows) - len(digests), 0)


def collect(
    session: Session, table: pa.Table, columns: Sequence[str], normalisation: Normalisation
) -> Part[Source]:
    """The keys of a table, in memory or, if they would take more than half of it, in the workspace.

    Raises BadInput for a value that cannot be a key and DataError if the disk is full.
    """
    yield Progress("psi.keys", 0, table.num_rows)
    needed = table.num_rows * ROW_BYTES
    source: Source
    if needed <= session.memory_bytes // 2:
        source = InMemory.of(key_set(table, columns, normalisation))
    else:
        source = yield from _spill(session, table, columns, normalisation, needed)
    yield Progress("psi.keys", table.num_rows, table.num_rows)
    return source


def _spill(
    session: Session, table: pa.Table, columns: Sequence[str], normalisation: Normalisation, needed: int
) -> Part[Source]:
    partitions = power_of_two(-(-PARTITIONS_PER_MEMORY * needed // session.memory_bytes), MOST_PARTITIONS)
    workspace = session.workspace
    bins = Bins(workspace, _KEYS, partitions, ROW)
    # What an attempt that was cut left behind is made again: it may be half.
    bins.clear()
    without_key = unfit = 0
    for batch in hashed(table, columns, normalisation):
        without_key += batch.without_key
        unfit += batch.unfit
        records = np.concatenate([batch.digests, batch.rows.view(np.uint8).reshape(-1, 8)], axis=1)
        bins.deal(records, _partition_of(batch.digests, partitions))
        if len(batch.rows):
            yield Progress("psi.keys", int(batch.rows[-1]), table.num_rows)
    count = repeated = 0
    total = np.zeros(4, np.uint64)
    for index in range(partitions):
        data = bins.read(index)
        rows = np.ascontiguousarray(data[:, DIGEST_BYTES:]).view(np.int64).reshape(-1)
        keys = grouped(np.ascontiguousarray(data[:, :DIGEST_BYTES]), rows)
        workspace.write(_partition(index), pack(keys.digests, keys.rows, keys.offsets))
        count, repeated = count + len(keys), repeated + keys.repeated
        total += _sum(keys)
    return Spilled(count, repeated, without_key, unfit, _checksum(count, total), workspace, partitions)


def _partition_of(digests: Digests, partitions: int) -> Numbers:
    if partitions == 1:
        return np.zeros(len(digests), np.int64)
    return (leading_words(digests) >> np.uint64(65 - partitions.bit_length())).astype(np.int64)


def checksum(parts: Sequence[KeySet]) -> bytes:
    """The same for the same set, in whatever parts: tells that the input of a later attempt is another.

    Digests are uniform, so their sum and number tell sets apart that were not made to collide; nobody
    but this party chooses its set, and the sum never leaves it.
    """
    total = np.zeros(4, np.uint64)
    for part in parts:
        total += _sum(part)
    return _checksum(sum(map(len, parts)), total)


def _sum(keys: KeySet) -> npt.NDArray[np.uint64]:
    # Which rows a key has counts as well: results and labels depend on it.
    words = keys.digests.view(np.uint64)
    # Sums along rows of many words are several times faster than along rows of four.
    whole = len(words) - len(words) % _SUMMED
    sums = words[:whole].reshape(-1, 4 * _SUMMED).sum(axis=0, dtype=np.uint64).reshape(_SUMMED, 4)
    total: npt.NDArray[np.uint64] = sums.sum(axis=0) + words[whole:].sum(axis=0, dtype=np.uint64)
    firsts = keys.rows if len(keys.rows) == len(keys) else keys.rows[keys.offsets[:-1]]
    total[:1] += (words[:, 1] * (firsts.view(np.uint64) + np.uint64(1))).sum(keepdims=True)
    return total


def _checksum(count: int, total: npt.NDArray[np.uint64]) -> bytes:
    return count.to_bytes(8, "big") + total.tobytes()


def _range(keys: KeySet, index: int, buckets: int) -> KeySet:
    shift = np.uint64(65 - buckets.bit_length())
    heads = leading_words(keys.digests)
    start = int(np.searchsorted(heads, np.uint64(index) << shift))
    last = index == buckets - 1
    stop = len(heads) if last else int(np.searchsorted(heads, np.uint64(index + 1) << shift))
    return keys.between(start, stop)


def _partition(index: int) -> str:
    return f"{_KEYS}.{index}"


def pack(*arrays: npt.NDArray[Any]) -> bytes:
    """Arrays as bytes for the workspace."""
    stream = io.BytesIO()
    for array in arrays:
        np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()


def unpack(data: memoryview) -> list[npt.NDArray[Any]]:
    """The arrays of `pack`, not copied; raises DataError if they are damaged."""
    found: list[npt.NDArray[Any]] = []
    at = 0
    try:
        while at < len(data):
            header = io.BytesIO(data[at : at + _HEADER_BYTES])
            if np.lib.format.read_magic(header) != (1, 0):
                raise ValueError("another version of the format")
            shape, _, dtype = np.lib.format.read_array_header_1_0(header)
            if dtype.hasobject:
                raise ValueError("no plain array")
            at += header.tell()
            count = math.prod(shape)
            if count:
                found.append(np.frombuffer(data, dtype, count, at).reshape(shape))
            else:
                found.append(np.empty(shape, dtype))
            at += count * dtype.itemsize
    except (ValueError, EOFError) as error:
        raise DataError("a file of the workspace is damaged") from error
    return found
