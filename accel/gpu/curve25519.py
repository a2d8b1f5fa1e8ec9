"""Batches on curve25519 on the GPU: hash to curve, X25519, both in one pass, validation of peers' points.

Arguments and results are those of `accel.curve25519`, already valid. Scalars, messages and hashed points are
cleared from the device's memory. The ladder is constant-time; the time of hashing
depends on the lengths of the messages only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.errors import InvalidPoint
from accel.gpu import compile as gpu_compile
from accel.gpu import memory
from accel.gpu.launch import launch

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]

SOURCE = "x25519.cuh"
FAULTS = {1: "is not canonically encoded", 2: "is not on the curve", 3: "has low order"}


def hash_to_curve(messages: Sequence[bytes], dst: bytes) -> bytes:
    """u of every hashed message, 32 bytes each. Raises InvalidPoint if one hashes to infinity."""
    return _hashed(messages, dst, None)


def hash_and_multiply(messages: Sequence[bytes], dst: bytes, scalar: bytes) -> bytes:
    """X25519 of every hashed message with one secret scalar; the hashed points never leave the GPU."""
    return _hashed(messages, dst, np.frombuffer(scalar, np.uint8))


def scalar_mult_many(points: bytes, scalar: bytes) -> bytes:
    """X25519 of valid points with one secret scalar. Raises InvalidPoint for a point of low order."""
    rows = np.frombuffer(points, np.uint8).reshape(-1, 32)
    products = np.empty_like(rows)
    multiply = gpu_compile.kernel(SOURCE, "x25519_multiply")

    def start(first: int, last: int) -> memory.Finish:
        with memory.secrets_in() as secret:
            given = memory.upload(rows[first:last])
            k = secret(memory.upload(np.frombuffer(scalar, np.uint8), secret=True))
            got = memory.empty(given.shape, np.uint8)
            launch(multiply, last - first, given, k, got, np.uint64(last - first))
        return memory.download(got, products[first:last])

    memory.in_pieces(len(rows), 64, start)
    _refuse_zeros(products, "point", "has low order")
    return products.tobytes()


def find_invalid(points: bytes) -> tuple[int, str] | None:
    """Index and fault of the first point that is not canonical, on the curve and of sufficient order."""
    rows = np.frombuffer(points, np.uint8).reshape(-1, 32)
    faults = np.zeros(len(rows), np.uint8)
    validate = gpu_compile.kernel(SOURCE, "x25519_validate")

    def start(first: int, last: int) -> memory.Finish:
        given = memory.upload(rows[first:last])
        got = memory.empty((last - first,), np.uint8)
        launch(validate, last - first, given, got, np.uint64(last - first))
        return memory.download(got, faults[first:last])

    memory.in_pieces(len(rows), 33, start)
    if not faults.any():
        return None
    index = int(np.flatnonzero(faults)[0])
    return index, FAULTS[int(faults[index])]


def tag_row(dst: bytes) -> U8:
    """DST_prime of RFC 9380 section 5.3.1: the tag, hashed if it is over-long, and its length."""
    if len(dst) > 255:
        dst = hashlib.sha512(b"H2C-OVERSIZE-DST-" + dst).digest()
    return np.frombuffer(dst + bytes([len(dst)]), np.uint8)


def packed(messages: Sequence[bytes]) -> tuple[U8, U64]:
    """All messages one after the other, and where each ends."""
    ends = np.cumsum(np.fromiter(map(len, messages), np.uint64, len(messages)), dtype=np.uint64)
    return np.frombuffer(b"".join(messages), np.uint8), ends


def _hashed(messages: Sequence[bytes], dst: bytes, scalar: U8 | None) -> bytes:
    data, ends = packed(messages)
    hashed = np.empty((len(messages), 32), np.uint8)
    kernel = gpu_compile.kernel(SOURCE, "curve25519_hash")

    def start(first: int, last: int) -> memory.Finish:
        begin, end = int(ends[first - 1]) if first else 0, int(ends[last - 1])
        with memory.secrets_in() as secret:
            # One byte more: even if all messages are empty there is an address to pass.
            text = secret(memory.upload(np.append(data[begin:end], np.uint8(0)), secret=True))
            stops = memory.upload(ends[first:last] - np.uint64(begin))
            tag = memory.upload(tag_row(dst))
            got = secret(memory.empty((last - first, 32), np.uint8))
            k: Any = np.uint64(0)  # a null pointer: hash only
            if scalar is not None:
                k = secret(memory.upload(scalar, secret=True))
            launch(
                kernel, last - first, text, stops, tag, np.uint32(tag.size), k, got, np.uint64(last - first)
            )
            return memory.download(got, hashed[first:last], secret=scalar is None)

    memory.in_pieces(len(messages), 40 + len(data) // max(len(messages), 1), start)
    _refuse_zeros(hashed, "message", "hashed to the point at infinity")
    return hashed.tobytes()


def _refuse_zeros(rows: U8, what: str, why: str) -> None:
    zero = ~rows.any(axis=1)
    if zero.any():
        index = int(np.flatnonzero(zero)[0])
        raise InvalidPoint(f"{what} {index} {why}", index=index)
