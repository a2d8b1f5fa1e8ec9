"""A segment as the server holds it: cells in a byte matrix, and the hints of its two halves.

The *data* half holds sealed records and stays as it is for as long as the segment is served. The *key* half
holds, per record, its key masked by the oblivious function of the current version: it is made anew for every
version, and a record that has gone has random bytes there, so nobody can open it any more.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from accel import lwe, sm3
from compute.protocols.pir.simple import fuse, linear
from compute.protocols.pir.simple.linear import U8, U32
from compute.protocols.pir.simple.plan import Layout
from compute.protocols.pir.simple.shape import SegmentShape
from compute.protocols.protocol import Part, Progress

_TILE = 4096  # slots transposed at a time: half a megabyte stays in the cache
_MASK = b"liutong/pir/mask/v2\0"


@dataclass(frozen=True, repr=False)  # holds records: keep it out of logs
class Half:
    """A matrix (rows, columns) and its hint (rows, 1024)."""

    matrix: U8
    hint: U32

    @property
    def digest(self) -> bytes:
        """SHA-256 of the hint; empty if there are no rows."""
        return hashlib.sha256(self.hint.data).digest() if len(self.hint) else b""


@dataclass(frozen=True, repr=False)
class Segment:
    """What one query matrix is multiplied with."""

    shape: SegmentShape
    data: Half
    keys: Half

    def answer(self, vectors: U32) -> U32:
        """Answers of both halves, the data half first: (rows, n)."""
        halves = [half for half in (self.data, self.keys) if len(half.matrix)]
        return np.concatenate([linear.answer(half.matrix, vectors) for half in halves])


class Deriver:
    """Secrets and pseudorandom bytes of one version, by purpose (HKDF, RFC 5869, with SHA-256)."""

    def __init__(self, secret: bytes, context: bytes) -> None:
        self._key = hmac.new(b"liutong/pir/v3\0" + context, secret, hashlib.sha256).digest()

    def __call__(self, purpose: str, length: int) -> bytes:
        """``length`` bytes for this purpose alone."""
        seed = hmac.new(self._key, purpose.encode() + b"\1", hashlib.sha256).digest()
        if length <= len(seed):
            return seed[:length]
        # HKDF stops at 8 KiB: longer strings are a key stream under what it gives.
        rows = -(-length // (4 * lwe.LWE_DIMENSION))
        return lwe.expand_rows(seed, 0, rows).astype("<u4", copy=False).tobytes()[:length]


Placed = fuse.Map | None


def arrange(layout: Layout, labels: U8, derive: Callable[[str, int], bytes]) -> Placed:
    """The keyword map of a keyed layout; a direct one needs none."""
    return fuse.build(labels, layout.stack, derive) if layout.keyed else None


def matrix(
    values: U8, layout: Layout, placed: Placed, purpose: str, derive: Callable[[str, int], bytes]
) -> U8:
    """The byte matrix in which record i has ``values[i]``; slots without a record are pseudorandom."""
    width = values.shape[1]
    piece = -(-width // layout.split)
    count = layout.stack * layout.slots
    background = np.frombuffer(derive(f"{purpose} slots", count * piece * layout.split), np.uint8)
    cells = background.reshape(count, piece * layout.split).copy()
    if placed is not None:
        cells[:, :width] = placed.fill(values, np.ascontiguousarray(cells[:, :width]))
    else:
        numbers = np.arange(len(values))
        cells[numbers % layout.stack * layout.slots + numbers // layout.stack, :width] = values
    return _transposed(cells.reshape(layout.stack, layout.slots, layout.split, piece))


def _transposed(cells: U8) -> U8:
    """From (stack, slot, piece number, byte) to rows (stack, byte) and columns (piece number, slot)."""
    stack, slots, split, piece = cells.shape
    rows = np.empty((stack, piece, split, slots), np.uint8)
    for bucket in range(stack):
        for start in range(0, slots, _TILE):
            tile = cells[bucket, start : start + _TILE]
            rows[bucket, :, :, start : start + _TILE] = tile.transpose(2, 1, 0)
    return rows.reshape(stack * piece, split * slots)


def half(rows: U8, seed: bytes) -> Part[Half]:
    """A half with its hint, computed here, with progress."""
    total = linear.stripes(rows.shape[1])
    product = np.zeros((len(rows), lwe.LWE_DIMENSION), np.uint32)
    if len(rows):
        for done, product in enumerate(linear.hint(rows, seed)):  # noqa: B007
            yield Progress("pir.hint", done, total)
    return Half(rows, product.astype("<u4", copy=False))


def masks(outputs: U8, version: bytes, width: int) -> U8:
    """What hides record keys in this version, from the oblivious function: (n, ``width``)."""
    return np.ascontiguousarray(sm3.digest_many(outputs, prefix=_MASK + version)[:, :width])
