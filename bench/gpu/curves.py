"""curve25519, SM2 and secp256k1: checks against the reference, rates on the device."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from accel.errors import InvalidPoint
from accel.gpu import compile as gpu_compile
from accel.gpu import curve25519, curve25519_oprf, memory, weierstrass
from accel.gpu.launch import launch
from accel.reference import curve25519 as reference25519
from accel.reference import curve25519_oprf as reference_oprf
from accel.reference import sm2, sswu
from accel.reference import weierstrass as reference
from accel.reference.weierstrass import SECP256K1, SM2, Curve, Rows, rows_of_ints
from bench.gpu.entry import Ceilings, Clock, Entry, equal, kept, row
from bench.measure import Row

BATCH = 1 << 22
DST = b"bench-gpu"
SCALAR = bytes([8] + [3] * 30 + [66])  # clamped
TARGETS = {"x25519": 20e6, "sign": 85e6, "verify": 10e6}  # on an H200

# Multiply-adds of 32 x 32 bits: a product, a square, and folding in the fields that need products for it.
_MUL, _SQR, _FOLD = 64, 36, 8


def scalars(curve: Curve, count: int, seed: int) -> Rows:
    """The ends of the range, scalars whose last addition meets equal points, random ones."""
    rng, n = random.Random(seed), curve.n
    special = [1, 2, 3, n - 1, n - 2, n - 6, n // 2, 30 * 2**252 - n]
    return rows_of_ints([*special, *(rng.randrange(1, n) for _ in range(count))][:count])


def check25519(count: int = 200) -> None:
    """Hash to curve, X25519, both in one, validation; messages of many lengths."""
    rng = random.Random(25519)
    messages = [rng.randbytes(i) for i in range(count)]
    points = curve25519.hash_to_curve(messages, DST)
    if points != reference25519.hash_to_curve(messages, DST):
        raise ArithmeticError("hash to curve differs from the reference")
    products = reference25519.scalar_mult_many(points, SCALAR)
    if curve25519.scalar_mult_many(points, SCALAR) != products:
        raise ArithmeticError("X25519 differs from the reference")
    if curve25519.hash_and_multiply(messages, DST, SCALAR) != products:
        raise ArithmeticError("hash and X25519 in one pass differ from the reference")
    bad = bytearray(points)
    bad[32 * 7 : 32 * 8] = bytes([2]) + bytes(31)  # a point of the twist
    if curve25519.find_invalid(points) is not None or curve25519.find_invalid(bytes(bad)) != (
        7,
        curve25519.FAULTS[2],
    ):
        raise ArithmeticError("validation is wrong")


def check_oprf(count: int = 200) -> None:
    """The three steps of the OPRF with added masks, both ends of the masks' range, a point of the twist."""
    rng = random.Random(25520)
    messages = [rng.randbytes(i % 40) for i in range(count)]
    masks = bytes(32) + b"\xff" * 32 + rng.randbytes(32 * (count - 2))
    masked = curve25519_oprf.hash_and_mask(messages, DST, masks)
    if masked != reference_oprf.hash_and_mask(messages, DST, masks):
        raise ArithmeticError("masked points differ from the reference")
    answers = reference_oprf.multiply_points(masked, SCALAR)
    if curve25519_oprf.multiply_points(masked, SCALAR) != answers:
        raise ArithmeticError("answers differ from the reference")
    key = curve25519_oprf.multiply_points(reference_oprf.BASE, SCALAR)
    unmasked = curve25519_oprf.unmask(answers, masks, key)
    if unmasked != reference25519.hash_and_multiply(messages, DST, SCALAR):
        raise ArithmeticError("unmasked points are not the products of the hashed ones")
    bad = bytearray(masked)
    bad[32 * 7 : 32 * 8] = bytes([2]) + bytes(31)  # a point of the twist
    for step in (
        partial(curve25519_oprf.multiply_points, bytes(bad), SCALAR),
        partial(curve25519_oprf.unmask, bytes(bad), masks, key),
    ):
        try:
            step()
        except InvalidPoint as refused:
            if refused.detail["index"] == 7:
                continue
        raise ArithmeticError("validation of points with the parity of v is wrong")


def check_weierstrass(count: int = 300) -> None:
    """Every operation of `accel.gpu.weierstrass` against the reference, special cases among the scalars."""
    for curve in (SM2, SECP256K1):
        name = curve.name
        k, other = scalars(curve, count, 1), scalars(curve, count, 2)
        points = weierstrass.multiply_base(curve, k)
        equal(f"{name} k G", points, reference.multiply_base(curve, k))
        base = rows_of_ints(curve.g).reshape(1, 64)
        equal(f"{name} k P with P = G", weierstrass.multiply(curve, base, k), points)
        few = slice(0, 60)
        bases = points[few][::-1].copy()
        got = weierstrass.multiply(curve, bases, k[few])
        equal(f"{name} k P", got, reference.multiply(curve, bases, k[few]))
        u1, u2 = k[few].copy(), other[few].copy()
        u1[0], u2[1], u1[2], u2[2] = 0, 0, 0, 0
        for a, b in zip(
            weierstrass.multiply_add(curve, u1, bases, u2),
            reference.multiply_add(curve, u1, bases, u2),
            strict=True,
        ):
            equal(f"{name} u1 G + u2 P", a, b)
        damaged = points.copy()
        damaged[::3, 63] ^= 1
        equal(f"{name} on curve", weierstrass.on_curve(curve, damaged), reference.on_curve(curve, damaged))
        parity = np.arange(count, dtype=np.uint8) & np.uint8(1)
        for a, b in zip(
            weierstrass.decompress(curve, k, parity), reference.decompress(curve, k, parity), strict=True
        ):
            equal(f"{name} decompress", a, b)
        elements = np.concatenate([k, other], axis=1)
        for a, b in zip(
            weierstrass.map_to_curve(curve, elements), sswu.map_to_curve(curve, elements), strict=True
        ):
            equal(f"{name} map to curve", a, b)
    _check_signatures(count)


def _check_signatures(count: int) -> None:
    """SM2 signatures are the reference's and verify; damaged ones do not."""
    d, digests, nonces = scalars(SM2, 9, 3)[8], scalars(SM2, count, 4), scalars(SM2, count, 5)
    signatures, served = weierstrass.sign_digests(d, digests, nonces)
    expected = sm2.sign_digests(d, digests, nonces)
    equal("SM2 signatures", signatures, expected[0])
    equal("SM2 nonces that served", served, expected[1])
    key = reference.multiply_base(SM2, d.reshape(1, 32))
    signatures[::2, 50] ^= 1
    right = weierstrass.verify_digests(key, digests, signatures)
    equal("SM2 verification", right, np.arange(count) % 2 == 1)


def time25519(clock: Clock, ceilings: Ceilings, quick: bool) -> Iterator[Row]:
    """X25519 alone, hash to curve alone, both in one kernel, and the round from host to host."""
    count = BATCH // 4 if quick else BATCH
    step = 5 * (_MUL + _FOLD) + 4 * (_SQR + _FOLD) + 8
    ladder = 255 * step + 12 * (_MUL + _FOLD) + 254 * (_SQR + _FOLD)
    hashing = 3 * 254 * (_SQR + _FOLD) + 120 * (_MUL + _FOLD)
    points = memory.upload(np.random.default_rng(1).integers(0, 128, (count, 32), dtype=np.uint8))
    with memory.secrets_in() as keep:
        k = keep(memory.upload(np.frombuffer(SCALAR, np.uint8)))
        got = memory.empty((count, 32), np.uint8)
        ladders = gpu_compile.kernel(curve25519.SOURCE, "x25519_multiply")
        hashes = gpu_compile.kernel(curve25519.SOURCE, "curve25519_hash")
        ends = memory.upload(np.arange(1, count + 1, dtype=np.uint64) * np.uint64(32))
        tag = memory.upload(curve25519.tag_row(DST))

        def hashed(scalar: Any) -> Callable[[], object]:
            arguments = (points, ends, tag, np.uint32(tag.size), scalar, got, np.uint64(count))
            return lambda: launch(hashes, count, *arguments)

        def rate(name: str, work: Callable[[], object], cost: int, target: float | None = None) -> Row:
            return row(
                name,
                count,
                clock(work),
                "op/s",
                f"on the device, {cost:,} multiply-adds each",
                ceiling="multiply-add peak",
                allowed=ceilings.wide_per_s / cost,
                target=target,
            )

        yield rate(
            "X25519",
            lambda: launch(ladders, count, points, k, got, np.uint64(count)),
            ladder,
            TARGETS["x25519"],
        )
        yield rate("hash to curve25519", hashed(np.uint64(0)), hashing)
        yield rate("hash to curve25519 and X25519", hashed(k), hashing + ladder)
    few = BATCH // 4
    messages = [i.to_bytes(16, "little") for i in range(few)]
    yield row(
        "hash_and_multiply, host to host",
        few,
        clock(lambda: curve25519.hash_and_multiply(messages, DST, SCALAR)),
        "op/s",
        "Python bytes in, bytes out, copies over PCIe both ways",
        ceiling="multiply-add peak",
        allowed=ceilings.wide_per_s / (hashing + ladder),
    )


def time_oprf(clock: Clock, ceilings: Ceilings, quick: bool) -> Iterator[Row]:
    """The steps that a mask takes part in, and an answer, on the device; all three from host to host."""
    count = BATCH // 4 if quick else BATCH
    product, square = _MUL + _FOLD, _SQR + _FOLD
    encoding = 6 * product + 254 / 16 * square
    root = 252 * square + 12 * product
    comb = 51 * 7 * product + 3 * product + encoding
    climb = 255 * (5 * product + 4 * square + 8) + root + 24 * product + encoding
    with memory.secrets_in() as keep:
        k = keep(memory.upload(np.frombuffer(SCALAR, np.uint8)))
        masks = keep(memory.upload(np.random.default_rng(3).integers(0, 256, (count, 32), dtype=np.uint8)))
        points = memory.upload(np.tile(np.frombuffer(reference_oprf.BASE, np.uint8), (count, 1)))
        table = memory.upload(curve25519_oprf.comb_table(reference_oprf.BASE))
        # The comb works in place, on whatever numbers it finds.
        sums = memory.upload(np.random.default_rng(4).integers(0, 1 << 32, (4, count, 8), dtype=np.uint32))

        def combed() -> object:
            curve25519_oprf.add_multiples(table, masks, sums, negative=False, with_v=True)
            return curve25519_oprf.encode(sums, kept, with_v=True)

        def answered() -> object:
            products, _ = curve25519_oprf.multiply(points, k, kept)
            return curve25519_oprf.encode(products, kept, with_v=True)

        for name, work, cost in (("a mask added", combed, comb), ("an answer", answered, climb)):
            yield row(
                f"curve25519 OPRF, {name}",
                count,
                clock(work),
                "op/s",
                f"on the device, {round(cost):,} multiply-adds each",
                ceiling="multiply-add peak",
                allowed=ceilings.wide_per_s / cost,
            )
    few = BATCH // 4
    messages = [i.to_bytes(16, "little") for i in range(few)]
    drawn = np.random.default_rng(5).integers(0, 256, 32 * few, dtype=np.uint8).tobytes()
    masked = curve25519_oprf.hash_and_mask(messages, DST, drawn)
    key = curve25519_oprf.multiply_points(reference_oprf.BASE, SCALAR)
    hashing = 2 * 254 * square + 170 * product  # two maps, a sum, three doublings
    steps: tuple[tuple[str, Callable[[], object], float], ...] = (
        ("hash_and_mask", lambda: curve25519_oprf.hash_and_mask(messages, DST, drawn), hashing + comb),
        ("multiply_points", lambda: curve25519_oprf.multiply_points(masked, SCALAR), climb),
        ("unmask", lambda: curve25519_oprf.unmask(masked, drawn, key), root + 24 * product + comb),
    )
    for name, work, cost in steps:
        yield row(
            f"{name}, host to host",
            few,
            clock(work),
            "op/s",
            "Python bytes in, bytes out, copies over PCIe both ways",
            ceiling="multiply-add peak",
            allowed=ceilings.wide_per_s / cost,
        )


def time_weierstrass(clock: Clock, ceilings: Ceilings, quick: bool) -> Iterator[Row]:
    """Signing, verifying and the two kinds of multiples, keys and results in the device's memory."""
    count = BATCH // 4 if quick else BATCH
    addition, mixed, doubling = 12 * _MUL + 4 * _SQR, 8 * _MUL + 3 * _SQR, 4 * _MUL + 4 * _SQR
    shared_inverse = (3 + 16 / 16) * _MUL + 256 / 16 * _SQR
    signing = 42 * mixed + shared_inverse + 2 * _MUL + _SQR
    variable = 252 * doubling + 63 * addition + 7 * addition
    verifying = variable + 43 * mixed
    rows = _random_rows(count)
    inverse = memory.upload(scalars(SM2, 9, 6)[8:])
    key = memory.upload(reference.multiply_base(SM2, scalars(SM2, 9, 3)[8:])), np.uint64(0)

    signatures, _ = weierstrass.sign(inverse, rows, rows, kept)
    works: list[tuple[str, Callable[[], object], float, float | None]] = [
        ("SM2 sign", lambda: weierstrass.sign(inverse, rows, rows, kept), signing, TARGETS["sign"]),
        ("SM2 verify", lambda: weierstrass.verify(*key, rows, signatures), verifying, TARGETS["verify"]),
    ]
    for curve in (SM2, SECP256K1):
        point = memory.upload(rows_of_ints(curve.g).reshape(1, 64)), np.uint64(0)
        multiples = partial(weierstrass.base_multiples, curve, rows, kept)
        works.append((f"{curve.name} k G", multiples, 42 * mixed + shared_inverse + 3 * _MUL, None))
        multiples = partial(weierstrass.point_multiples, curve, point, (rows, np.uint64(32)), count, kept)
        works.append((f"{curve.name} k P, secret k", multiples, variable, None))
    for name, work, cost, target in works:
        yield row(
            name,
            count,
            clock(work),
            "op/s",
            f"on the device, {round(cost):,} multiply-adds each, reduction not counted",
            ceiling="multiply-add peak",
            allowed=ceilings.wide_per_s / cost,
            target=target,
        )


def _random_rows(count: int) -> Any:
    """Scalars below either order and digests, for timing."""
    made = np.random.default_rng(2).integers(0, 256, (count, 32), dtype=np.uint8)
    made[:, 0] &= 127
    return memory.upload(made)


ENTRIES = (
    Entry("curve25519", check25519, time25519),
    Entry("curve25519 OPRF", check_oprf, time_oprf),
    Entry("SM2 and secp256k1", check_weierstrass, time_weierstrass),
)
