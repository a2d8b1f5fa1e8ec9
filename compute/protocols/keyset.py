"""The distinct join keys of a table as digests in arrays: what set protocols compare, at array speed.

A digest is SM3 over the injective encoding of the normalised key (`compute.protocols.identifiers`). It is
deterministic and unsalted, hence as good as the identifier itself: it never leaves the node. Protocols hash
it again under the job's binding, and send only what a secret has masked.

The same keys as `identifiers.keys_of`, which does it row by row. What is ASCII and needs no Unicode table is
done on Arrow's buffers; other values take the plain way, one by one (`key_texts`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from accel import rows as byte_rows
from accel import sm3, text_rows
from compute.protocols.identifiers import (
    MAX_PART_BYTES,
    Normalisation,
    bad_key,
    check_forms,
    column,
    require_key_type,
)
from compute.protocols.key_texts import UNFIT, Texts, texts_of
from compute.protocols.stream import sorted_order

DIGEST_BYTES = 32
# Rows worked on at once: what lies beside the result is bounded by it.
BATCH_ROWS = 1 << 18

Digests = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, repr=False)  # holds identifiers: keep it out of logs
class KeySet:
    """Distinct keys in ascending order of their digests: the same order at every party.

    ``digests`` (n, 32) uint8. The rows of key i are ``rows[offsets[i]:offsets[i + 1]]`` (int64), ascending.
    ``repeated`` counts rows beyond the first of a key; ``without_key`` rows with a null or empty key part and
    ``unfit`` rows with a part that does not fit its form, which take no part.
    """

    digests: Digests
    rows: Numbers
    offsets: Numbers
    repeated: int
    without_key: int
    unfit: int = 0

    def __len__(self) -> int:
        return len(self.digests)

    def rows_of(self, keys: Numbers) -> tuple[Numbers, Numbers]:
        """All rows of these keys, key by key; and per row the place of its key in ``keys``."""
        first = self.offsets[keys]
        counts = self.offsets[keys + 1] - first
        if len(self.rows) == len(self):  # one row per key
            return self.rows[first], np.arange(len(keys))
        owners = np.repeat(np.arange(len(keys)), counts)
        places = np.arange(len(owners)) + np.repeat(first - np.cumsum(counts) + counts, counts)
        return self.rows[places], owners

    def between(self, start: int, stop: int) -> KeySet:
        """Keys ``start`` to ``stop``; the counts of rows left out stay with the whole."""
        offsets = self.offsets[start : stop + 1]
        rows = self.rows[offsets[0] : offsets[-1]]
        return KeySet(self.digests[start:stop], rows, offsets - offsets[0], len(rows) - (stop - start), 0)


@dataclass(frozen=True, repr=False)  # holds identifiers
class Hashed:
    """Digests of the rows that have a key, with their row numbers, and how many were left out for what."""

    digests: Digests
    rows: Numbers
    without_key: int
    unfit: int


def key_set(table: pa.Table, columns: Sequence[str], normalisation: Normalisation) -> KeySet:
    """The keys of a table; raises BadInput naming column and row of a value that cannot be a key."""
    batches = list(hashed(table, columns, normalisation))
    digests = np.concatenate([np.empty((0, DIGEST_BYTES), np.uint8), *(batch.digests for batch in batches)])
    rows = np.concatenate([np.empty(0, np.int64), *(batch.rows for batch in batches)])
    without_key, unfit = (sum(getattr(batch, name) for batch in batches) for name in ("without_key", "unfit"))
    return grouped(digests, rows, without_key=without_key, unfit=unfit)


def hashed(table: pa.Table, columns: Sequence[str], normalisation: Normalisation) -> Iterator[Hashed]:
    """The digests of a table's keys, `BATCH_ROWS` rows at a time; raises BadInput as `key_set` does."""
    check_forms(normalisation, columns)
    chosen = []
    for name in columns:
        values = column(table, name)
        require_key_type(name, values.type)
        chosen.append(values)
    for first in range(0, table.num_rows, BATCH_ROWS):
        count = min(BATCH_ROWS, table.num_rows - first)
        yield _hashed([values.slice(first, count) for values in chosen], columns, normalisation, first)


def grouped(digests: Digests, rows: Numbers, *, without_key: int = 0, unfit: int = 0) -> KeySet:
    """A `KeySet` of digests with their row numbers, which ascend."""
    order = digest_order(digests)
    digests, rows = byte_rows.take(digests, order), rows[order]
    words = digests.view(np.uint64)
    new = np.ones(len(digests), np.bool_)
    np.not_equal(words[1:, 0], words[:-1, 0], out=new[1:])
    if new.all():
        return KeySet(digests, rows, np.arange(len(rows) + 1), 0, without_key, unfit)
    new[1:] |= (words[1:, 1:] != words[:-1, 1:]).any(axis=1)
    starts = np.flatnonzero(new)
    offsets = np.append(starts, len(rows))
    return KeySet(digests[starts], rows, offsets, len(rows) - len(starts), without_key, unfit)


def digest_order(digests: Digests) -> Numbers:
    """The order that sorts digests; equal ones keep their order."""
    heads = leading_words(digests)
    order, distinct = sorted_order(heads)
    if distinct:
        return order
    order = np.argsort(heads, kind="stable")
    words = np.ascontiguousarray(digests).view(">u8")
    alike = np.flatnonzero(heads[order[1:]] == heads[order[:-1]])
    if (words[order[alike]] == words[order[alike + 1]]).all():
        return order  # equal heads are repeats
    # One pair of keys in 2^64 begins alike, unless somebody searched for it.
    return np.lexsort((words[:, 3], words[:, 2], words[:, 1], heads))


def leading_words(digests: Digests) -> npt.NDArray[np.uint64]:
    """The first eight bytes of each digest as a number."""
    return np.ascontiguousarray(digests).view(">u8")[:, 0].astype(np.uint64)


def _hashed(
    columns: Sequence[pa.ChunkedArray], names: Sequence[str], normalisation: Normalisation, first: int
) -> Hashed:
    parts = [
        texts_of(values, name, normalisation, index, first)
        for index, (values, name) in enumerate(zip(columns, names, strict=True))
    ]
    count = len(parts[0].rows)
    unfit = np.zeros(count, np.bool_)
    empty = np.zeros(count, np.bool_)
    for part in parts:
        unfit |= part.flags & UNFIT != 0
        empty |= (part.rows.lengths == 0) & (part.flags & UNFIT == 0)
    taken = np.flatnonzero(~(unfit | empty))
    _check(parts, names, taken, first)
    rows = [part.rows if len(taken) == count else part.rows.take(taken) for part in parts]
    digests = sm3.digest_rows(text_rows.joined(rows))
    return Hashed(digests, taken + first, int(empty.sum()), int((unfit & ~empty).sum()))


def _check(parts: Sequence[Texts], names: Sequence[str], taken: Numbers, first: int) -> None:
    """Raise BadInput for the first row that takes part and has a value that no key can have."""
    bad: list[tuple[int, int, str]] = []
    for index, part in enumerate(parts):
        for why, wrong in (
            (f"is longer than {MAX_PART_BYTES} bytes", part.rows.lengths[taken] > MAX_PART_BYTES),
            ("contains a NUL character", part.flags[taken] & text_rows.NUL != 0),
        ):
            if wrong.any():
                bad.append((int(taken[np.argmax(wrong)]), index, why))
    if bad:
        row, index, why = min(bad)
        raise bad_key(names[index], first + row, why)
