"""2HashDH with additive masks on curve25519 on the GPU.

Arguments and results are those of `accel.curve25519_oprf`, of the right lengths; points are validated
here. Masks, scalars, messages, unmasked points and projective coordinates, which tell of the factor they come
from, are cleared from the device's memory. Constant-time in masks and scalars; the time of hashing depends on
the lengths of the messages only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.errors import InvalidPoint
from accel.gpu import compile as gpu_compile
from accel.gpu import memory
from accel.gpu.curve25519 import FAULTS, packed, tag_row
from accel.gpu.launch import launch, resident
from accel.reference import curve25519_oprf as reference

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]

SOURCE = "curve25519_oprf.cuh"
COMB_BLOCK = 256  # threads of a block of `curve25519_comb`, fixed in the kernel
_EXTENDED_BYTES = 128 + 32  # and a product for the shared inversion
_TOGETHER = 16  # points that share an inversion
_ALL = np.uint32(0xFFFFFFFF)


def hash_and_mask(messages: Sequence[bytes], dst: bytes, masks: bytes) -> bytes:
    data, ends = packed(messages)
    rows = np.frombuffer(masks, np.uint8).reshape(-1, 32)
    output, infinite = np.empty_like(rows), np.zeros(len(rows), np.uint8)
    table, tag_bytes = comb_table(reference.BASE), tag_row(dst)

    def start(first: int, last: int) -> memory.Finish:
        begin, end = int(ends[first - 1]) if first else 0, int(ends[last - 1])
        count = last - first
        with memory.secrets_in() as secret:
            # One byte more: even if all messages are empty there is an address to pass.
            text = secret(memory.upload(np.append(data[begin:end], np.uint8(0)), secret=True))
            stops = memory.upload(ends[first:last] - np.uint64(begin))
            tag = memory.upload(tag_bytes)
            points = secret(memory.empty((4, count, 8), np.uint32))
            hashed = text, stops, tag, np.uint32(tag.size), points, np.uint64(count)
            launch(_kernel("curve25519_hash_points"), count, *hashed)
            k = secret(memory.upload(rows[first:last], secret=True))
            add_multiples(memory.upload(table), k, points, negative=False, with_v=True)
            got, flags = encode(points, secret, with_v=True)
            return _all(
                memory.download(got, output[first:last]), memory.download(flags, infinite[first:last])
            )

    bytes_each = 8 + 65 + _EXTENDED_BYTES + len(data) // max(len(messages), 1)
    memory.in_pieces(len(messages), bytes_each, start, fixed=table.nbytes)
    _refuse(infinite, "message", "was masked to the point at infinity")
    return output.tobytes()


def multiply_points(points: bytes, scalar: bytes) -> bytes:
    rows = np.frombuffer(points, np.uint8).reshape(-1, 32)
    output, infinite = np.empty_like(rows), np.zeros(len(rows), np.uint8)
    faults = np.zeros(len(rows), np.uint8)

    def start(first: int, last: int) -> memory.Finish:
        with memory.secrets_in() as secret:
            given = memory.upload(rows[first:last])
            k = secret(memory.upload(np.frombuffer(scalar, np.uint8), secret=True))
            products, found = multiply(given, k, secret)
            got, flags = encode(products, secret, with_v=True)
            return _all(
                memory.download(got, output[first:last]),
                memory.download(flags, infinite[first:last]),
                memory.download(found, faults[first:last]),
            )

    memory.in_pieces(len(rows), 66 + _EXTENDED_BYTES, start)
    _refuse_faults(faults)
    _refuse(infinite, "point", FAULTS[3])
    return output.tobytes()


def unmask(points: bytes, masks: bytes, key: bytes) -> bytes:
    rows = np.frombuffer(points, np.uint8).reshape(-1, 32)
    mask_rows = np.frombuffer(masks, np.uint8).reshape(-1, 32)
    output, infinite = np.empty_like(rows), np.zeros(len(rows), np.uint8)
    faults, table = np.zeros(len(rows), np.uint8), comb_table(key)

    def start(first: int, last: int) -> memory.Finish:
        with memory.secrets_in() as secret:
            given = memory.upload(rows[first:last])
            bare = secret(memory.empty((4, last - first, 8), np.uint32))
            found = memory.empty((last - first,), np.uint8)
            launch(
                _kernel("curve25519_decode_points"), last - first, given, bare, found, np.uint64(last - first)
            )
            k = secret(memory.upload(mask_rows[first:last], secret=True))
            add_multiples(memory.upload(table), k, bare, negative=True, with_v=False)
            got, flags = encode(bare, secret, with_v=False)
            return _all(
                memory.download(secret(got), output[first:last], secret=True),
                memory.download(flags, infinite[first:last]),
                memory.download(found, faults[first:last]),
            )

    memory.in_pieces(len(rows), 98 + _EXTENDED_BYTES, start, fixed=table.nbytes)
    _refuse_faults(faults)
    _refuse(infinite, "point", "unmasks to the point at infinity")
    return output.tobytes()


@lru_cache(maxsize=16)
def comb_table(base: bytes) -> U32:
    """The table of a public base: uint32 of shape (windows, entries, coordinates, limbs), 78 KB."""
    data = b"".join(
        value.to_bytes(32, "little")
        for window in reference.table(base)
        for entry in window
        for value in entry
    )
    table = np.frombuffer(data, "<u4").astype(np.uint32)
    table.flags.writeable = False
    return table.reshape(reference.WINDOWS, reference.ENTRIES, 3, 8)


def add_multiples(table: Any, masks: Any, points: Any, *, negative: bool, with_v: bool) -> None:
    """On the device: to every extended point, what its mask says of the table's base; ready for `encode`."""
    count = points.shape[1]
    launch(
        _kernel("curve25519_comb"),
        count,
        table,
        masks,
        _ALL if negative else np.uint32(0),
        np.uint32(with_v),
        points,
        np.uint64(count),
        block=COMB_BLOCK,
        grid=resident(2, count, block=COMB_BLOCK),
    )


def multiply(points: Any, scalar: Any, keep: Any) -> tuple[Any, Any]:
    """On the device: a secret scalar times every encoded point, for `encode`, and the points' faults."""
    count = len(points)
    products, faults = keep(memory.empty((3, count, 8), np.uint32)), memory.empty((count,), np.uint8)
    arguments = points, scalar, products, faults, np.uint64(count)
    launch(_kernel("curve25519_multiply_points"), count, *arguments)
    return products, faults


def encode(points: Any, keep: Any, *, with_v: bool) -> tuple[Any, Any]:
    """On the device: rows of u and, ``with_v``, its parity; and which points have none."""
    count = points.shape[1]
    products = keep(memory.empty((count, 8), np.uint32))
    rows, infinite = memory.empty((count, 32), np.uint8), memory.empty((count,), np.uint8)
    arguments = points, products, np.uint32(with_v), rows, infinite, np.uint64(count)
    launch(_kernel("curve25519_encode_points"), -(-count // _TOGETHER), *arguments)
    return rows, infinite


def _kernel(name: str) -> Any:
    return gpu_compile.kernel(SOURCE, name)


def _all(*finishes: memory.Finish) -> memory.Finish:
    def finish() -> None:
        for each in finishes:
            each()

    return finish


def _refuse_faults(faults: U8) -> None:
    if faults.any():
        index = int(np.flatnonzero(faults)[0])
        raise InvalidPoint(f"point {index} {FAULTS[int(faults[index])]}", index=index)


def _refuse(infinite: U8, what: str, why: str) -> None:
    if infinite.any():
        index = int(np.flatnonzero(infinite)[0])
        raise InvalidPoint(f"{what} {index} {why}", index=index)
