"""A commitment to a dataset version: Merkle root of salted row digests.

    salt_i  = HMAC-SHA256(salt key, "…salt" ‖ i)                      i as 8 bytes
    leaf_i  = SHA-256(0x00 ‖ salt_i ‖ row_i)                          node = SHA-256(0x01 ‖ left ‖ right)
    root    = SHA-256("…dataset" ‖ columns ‖ row count ‖ tree)        tree as in RFC 6962, section 2.1

The salt key never leaves the node's key store: without it a low-entropy row (a name, a diagnosis) cannot be
found by trying. ``row_i`` is an injective encoding of the row's values under the declared columns: fixed
parts first, then texts with their lengths. Leaks nothing; the row count is published beside it anyway.
Before each job the node recomputes it over what it is about to read, so a swapped file is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from compute.errors import DataError

SALT_KEY_BYTES = 32

_BATCH_ROWS = 1 << 16
_SALT = b"liutong/commitment/salt/v1\x00"
_DATASET = b"liutong/commitment/dataset/v1\x00"


@dataclass(frozen=True)
class Commitment:
    """``root`` is 32 bytes and goes on chain; ``row_count`` is bound into it."""

    root: bytes
    row_count: int


class Committer:
    """Commits to rows that come batch by batch, in their order. Holds one node per level of the tree."""

    def __init__(self, schema: pa.Schema, salt_key: bytes) -> None:
        """Raises DataError for a salt key that is not 32 bytes."""
        if len(salt_key) != SALT_KEY_BYTES:
            raise DataError(f"a dataset's salt key has {SALT_KEY_BYTES} bytes")
        self._schema = schema
        self._salt_key = salt_key
        self._count = 0
        # What has no partner yet, by level; complete pairs have become a node of the next.
        self._levels: list[list[bytes]] = [[]]

    def add(self, batch: pa.RecordBatch) -> None:
        """Take the next rows; raises DataError for a column of a type that no source gives."""
        for start in range(0, batch.num_rows, _BATCH_ROWS):
            self._levels[0].extend(_leaves(batch.slice(start, _BATCH_ROWS), self._salt_key, self._count))
            self._count += min(_BATCH_ROWS, batch.num_rows - start)
            self._pair()

    def finish(self) -> Commitment:
        """The commitment to all that was added."""
        digest = hashlib.sha256(_DATASET)
        for field in self._schema:
            for text in (field.name.encode(), str(field.type).encode()):
                digest.update(struct.pack(">I", len(text)) + text)
        digest.update(struct.pack(">IQ", len(self._schema), self._count) + self._tree())
        return Commitment(digest.digest(), self._count)

    def _pair(self) -> None:
        for level, nodes in enumerate(self._levels):
            if len(nodes) < 2:
                return
            paired = [_node(nodes[index], nodes[index + 1]) for index in range(0, len(nodes) - 1, 2)]
            del nodes[: 2 * len(paired)]
            if level + 1 == len(self._levels):
                self._levels.append([])
            self._levels[level + 1].extend(paired)

    def _tree(self) -> bytes:
        root = b""
        for nodes in self._levels:
            if nodes:
                # A last node without a partner rises as it is: the same tree as splitting at powers of two.
                root = _node(nodes[0], root) if root else nodes[0]
        return root or hashlib.sha256(b"").digest()


def commit(table: pa.Table, salt_key: bytes) -> Commitment:
    """Commit to all rows and columns of a table as `Source.read` gives it. About 4 µs a row and core.

    Raises DataError for a salt key that is not 32 bytes or a column of a type that no source gives.
    """
    committer = Committer(table.schema, salt_key)
    for batch in table.to_batches():
        committer.add(batch)
    return committer.finish()


def matches(table: pa.Table, salt_key: bytes, root: bytes) -> bool:
    """Whether this table is the one that was registered under ``root``."""
    return hmac.compare_digest(commit(table, salt_key).root, root)


def _leaves(batch: pa.RecordBatch, salt_key: bytes, first: int) -> Iterator[bytes]:
    for index, row in enumerate(_rows(batch), first):
        salt = hmac.digest(salt_key, _SALT + struct.pack(">Q", index), "sha256")
        yield hashlib.sha256(b"\x00" + salt + row).digest()


def _rows(batch: pa.RecordBatch) -> Iterator[bytes]:
    """The encoded rows: for each column a byte that says whether there is a value and 8 bytes of it (texts:
    their length), then the texts one after the other."""
    fixed = np.zeros((batch.num_rows, 9 * batch.num_columns), np.uint8)
    texts: list[list[bytes | None]] = []
    for index, array in enumerate(batch.columns):
        fixed[:, 9 * index] = pc.is_valid(array).to_numpy(zero_copy_only=False)
        if pa.types.is_string(array.type):
            texts.append(array.cast(pa.binary()).to_pylist())
            words: npt.NDArray[Any] = pc.fill_null(pc.binary_length(array), 0).to_numpy().astype(">i8")
        else:
            words = _words(array)
        fixed[:, 9 * index + 1 : 9 * index + 9] = words.view(np.uint8).reshape(-1, 8)
    whole, width = fixed.tobytes(), 9 * batch.num_columns
    for row in range(batch.num_rows):
        head = whole[row * width : (row + 1) * width]
        yield head + b"".join([column[row] or b"" for column in texts]) if texts else head


def _words(array: pa.Array) -> npt.NDArray[Any]:
    """Eight big-endian bytes per value; zero where it is missing."""
    values: npt.NDArray[Any]
    if pa.types.is_floating(array.type):
        # Adding zero turns -0.0 into 0.0: they are equal to every protocol.
        values = pc.fill_null(array, 0.0).to_numpy() + 0.0
        return values.astype(">f8")
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    elif pa.types.is_date32(array.type):
        array = array.cast(pa.int32())
    elif not (pa.types.is_integer(array.type) or pa.types.is_timestamp(array.type)):
        raise DataError(f"a column of type {array.type} cannot be committed to")
    values = pc.fill_null(array.cast(pa.int64()), 0).to_numpy()
    return values.astype(">i8")


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
