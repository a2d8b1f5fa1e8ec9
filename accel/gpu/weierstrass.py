"""Batches on SM2 and secp256k1 on the GPU, with the arguments and results of `accel.weierstrass_backends`.

Secret scalars, and the Jacobian coordinates that belong to them, are cleared from the device's memory. Their
kernels take the same operations and the same memory banks whatever the scalars; the others are for public
data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from accel.gpu import compile as gpu_compile
from accel.gpu import memory
from accel.gpu.base_table import base_table
from accel.gpu.launch import launch, resident
from accel.reference.weierstrass import SM2, Curve, Flags, Rows, ints, rows_of_ints

Keep = Callable[[Any], Any]
"""What `memory.secrets_in` gives, or the identity."""

Strided = tuple[Any, np.uint64]
"""Rows and the bytes from one to the next, 0 where one row serves all."""

BASE_BLOCK = 256  # threads of a block of `base_multiples`, fixed in the kernel
JACOBIAN_BYTES = 96 + 32  # and a product for the shared inversion


def multiply_base(curve: Curve, scalars: Rows) -> Rows:
    rows = np.empty((len(scalars), 64), np.uint8)

    def start(first: int, last: int) -> memory.Finish:
        with memory.secrets_in() as secret:
            affine = base_multiples(curve, secret(memory.upload(scalars[first:last], secret=True)), secret)
            return memory.download(affine, rows[first:last])

    memory.in_pieces(len(scalars), 97 + JACOBIAN_BYTES, start)
    return rows


def multiply(curve: Curve, points: Rows, scalars: Rows) -> Rows:
    batch = max(len(points), len(scalars))
    rows = np.empty((batch, 64), np.uint8)

    def start(first: int, last: int) -> memory.Finish:
        with memory.secrets_in() as secret:
            k, stride = _operand(scalars, first, last, secret=True)
            operands = _operand(points, first, last), (secret(k), stride)
            affine = point_multiples(curve, *operands, last - first, secret)
            return memory.download(affine, rows[first:last])

    memory.in_pieces(batch, 161 + JACOBIAN_BYTES, start)
    return rows


def base_multiples(curve: Curve, scalars: Any, keep: Keep) -> Any:
    """On the device: rows of k G for rows of secret k."""
    return _to_affine(curve, _base_multiples(curve, scalars, keep), keep)[0]


def point_multiples(curve: Curve, bases: Strided, scalars: Strided, count: int, keep: Keep) -> Any:
    """On the device: rows of k P for secret k."""
    sums = keep(_jacobian(count))
    launch(_kernel(curve, "point_multiples"), count, *bases, *scalars, sums, np.uint64(count))
    return _to_affine(curve, sums, keep)[0]


def multiply_add(curve: Curve, u1: Rows, points: Rows, u2: Rows) -> tuple[Rows, Flags]:
    rows, infinite = np.empty((len(u1), 64), np.uint8), np.empty(len(u1), np.uint8)
    kernel = _kernel(curve, "sums")

    def start(first: int, last: int) -> memory.Finish:
        bases, stride = _operand(points, first, last)
        left, right = memory.upload(u1[first:last]), memory.upload(u2[first:last])
        sums = _jacobian(last - first)
        launch(kernel, last - first, _table(curve), left, bases, stride, right, sums, np.uint64(last - first))
        affine, flags = _to_affine(curve, sums, lambda array: array)
        return _both(memory.download(affine, rows[first:last]), memory.download(flags, infinite[first:last]))

    memory.in_pieces(len(u1), 193 + JACOBIAN_BYTES, start)
    return rows, infinite.astype(np.bool_)


def on_curve(curve: Curve, points: Rows) -> Flags:
    found = np.empty(len(points), np.uint8)
    kernel = _kernel(curve, "on_curve")

    def start(first: int, last: int) -> memory.Finish:
        given, flags = memory.upload(points[first:last]), memory.empty((last - first,), np.uint8)
        launch(kernel, last - first, given, flags, np.uint64(last - first))
        return memory.download(flags, found[first:last])

    memory.in_pieces(len(points), 65, start)
    return found.astype(np.bool_)


def decompress(curve: Curve, xs: Rows, parities: Rows) -> tuple[Rows, Flags]:
    rows, found = np.empty((len(xs), 64), np.uint8), np.empty(len(xs), np.uint8)
    kernel = _kernel(curve, "decompress")

    def start(first: int, last: int) -> memory.Finish:
        given, parity = memory.upload(xs[first:last]), memory.upload(parities[first:last])
        points, flags = memory.empty((last - first, 64), np.uint8), memory.empty((last - first,), np.uint8)
        launch(kernel, last - first, given, parity, points, flags, np.uint64(last - first))
        return _both(memory.download(points, rows[first:last]), memory.download(flags, found[first:last]))

    memory.in_pieces(len(xs), 98, start)
    return rows, found.astype(np.bool_)


def map_to_curve(curve: Curve, elements: Rows) -> tuple[Rows, Flags]:
    rows, infinite = np.empty((len(elements), 64), np.uint8), np.empty(len(elements), np.uint8)
    kernel = _kernel(curve, "map_to_sum")

    def start(first: int, last: int) -> memory.Finish:
        # What was hashed may be anybody's private items.
        with memory.secrets_in() as secret:
            given = secret(memory.upload(elements[first:last], secret=True))
            sums = secret(_jacobian(last - first))
            launch(kernel, last - first, given, sums, np.uint64(last - first))
            affine, flags = _to_affine(curve, sums, secret)
            return _both(
                memory.download(secret(affine), rows[first:last], secret=True),
                memory.download(flags, infinite[first:last]),
            )

    memory.in_pieces(len(elements), 129 + JACOBIAN_BYTES, start)
    return rows, infinite.astype(np.bool_)


def sign_digests(d: Rows, digests: Rows, nonces: Rows) -> tuple[Rows, Flags]:
    rows, served = np.empty((len(digests), 64), np.uint8), np.empty(len(digests), np.uint8)
    (key,) = ints(d.reshape(1, 32))
    # One inversion a batch, in plain integers: a batch has one key, and its timing is one sample.
    inverse = rows_of_ints([pow(1 + key, -1, SM2.n) * 2**256 % SM2.n])

    def start(first: int, last: int) -> memory.Finish:
        with memory.secrets_in() as secret:
            k = secret(memory.upload(nonces[first:last], secret=True))
            factor = secret(memory.upload(inverse, secret=True))
            signed, flags = sign(factor, memory.upload(digests[first:last]), k, secret)
            return _both(
                memory.download(signed, rows[first:last]), memory.download(flags, served[first:last])
            )

    memory.in_pieces(len(digests), 129 + JACOBIAN_BYTES, start)
    memory.clear(inverse)
    return rows, served.astype(np.bool_)


def sign(factor: Any, digests: Any, nonces: Any, keep: Keep) -> tuple[Any, Any]:
    """On the device: nonce points, then the signatures over one inversion for sixteen; rows and flags.

    ``factor`` is the secret (1 + d)^-1 2^256 modulo the order, as a row.
    """
    n = len(digests)
    points = _base_multiples(SM2, nonces, keep)
    products = keep(memory.empty((n, 8), np.uint32))
    signed, flags = memory.empty((n, 64), np.uint8), memory.empty((n,), np.uint8)
    launch(
        _kernel(SM2, "sm2_sign"),
        _groups(n),
        points,
        products,
        digests,
        nonces,
        factor,
        signed,
        flags,
        np.uint64(n),
    )
    return signed, flags


def verify_digests(points: Rows, digests: Rows, signatures: Rows) -> Flags:
    right = np.empty(len(digests), np.uint8)

    def start(first: int, last: int) -> memory.Finish:
        keys, stride = _operand(points, first, last)
        hashed, signed = memory.upload(digests[first:last]), memory.upload(signatures[first:last])
        flags = verify(keys, stride, hashed, signed)
        return memory.download(flags, right[first:last])

    memory.in_pieces(len(digests), 225 + JACOBIAN_BYTES, start)
    return right.astype(np.bool_)


def verify(keys: Any, stride: np.uint64, digests: Any, signatures: Any) -> Any:
    """On the device: s G + t P, then whether r is what its x gives; flags of uint8."""
    n = len(digests)
    count = np.uint64(n)
    u1, u2 = memory.empty((n, 32), np.uint8), memory.empty((n, 32), np.uint8)
    sums, flags = _jacobian(n), memory.empty((n,), np.uint8)
    launch(_kernel(SM2, "sm2_verify_scalars"), n, signatures, u1, u2, count)
    launch(_kernel(SM2, "sums"), n, _table(SM2), u1, keys, stride, u2, sums, count)
    launch(_kernel(SM2, "sm2_verify"), n, sums, digests, signatures, flags, count)
    return flags


def _kernel(curve: Curve, name: str) -> Any:
    if curve == SM2:
        return gpu_compile.kernel("sm2.cuh", name, CURVE=1)
    return gpu_compile.kernel("weierstrass.cuh", name, CURVE=2)


def _table(curve: Curve) -> Any:
    return memory.upload(base_table(curve))  # 88 KB: not worth keeping on the device, nor a lock


def _operand(rows: Rows, first: int, last: int, *, secret: bool = False) -> Strided:
    if len(rows) == 1:
        return memory.upload(rows, secret=secret), np.uint64(0)
    return memory.upload(rows[first:last], secret=secret), np.uint64(rows.shape[1])


def _jacobian(count: int) -> Any:
    return memory.empty((3, count, 8), np.uint32)


def _groups(count: int) -> int:
    """Threads of the kernels that share an inversion between sixteen points."""
    return -(-count // 16)


def _base_multiples(curve: Curve, scalars: Any, keep: Keep) -> Any:
    count = len(scalars)
    points = keep(_jacobian(count))
    launch(
        _kernel(curve, "base_multiples"),
        count,
        _table(curve),
        scalars,
        points,
        np.uint64(count),
        block=BASE_BLOCK,
        grid=resident(2, count, block=BASE_BLOCK),
    )
    return points


def _to_affine(curve: Curve, points: Any, keep: Keep) -> tuple[Any, Any]:
    count = points.shape[1]
    products = keep(memory.empty((count, 8), np.uint32))
    rows, infinite = memory.empty((count, 64), np.uint8), memory.empty((count,), np.uint8)
    launch(_kernel(curve, "to_affine"), _groups(count), points, products, rows, infinite, np.uint64(count))
    return rows, infinite


def _both(one: memory.Finish, other: memory.Finish) -> memory.Finish:
    def finish() -> None:
        one()
        other()

    return finish
