"""Montgomery products, powers and fixed-base powers of 256 to 6144 bits."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from accel.gpu import device, memory
from accel.gpu import modular as on_gpu
from accel.gpu.field import BLOCKS_EACH, THREADS, Field, best_window
from accel.limbs import LimbArray
from accel.modular_backends import FixedBasePlan
from accel.modulus import Modulus
from accel.reference import modular as reference
from bench.gpu.entry import Ceilings, Clock, Entry, kept, row
from bench.measure import Row

SIZES = (256, 1024, 2048, 3072, 4096, 6144)
EDGES = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_EXPONENT_BITS = 256


def modulus(bits: int) -> Modulus:
    """Odd, of exactly so many bits, the same in every run."""
    return Modulus(random.Random(bits).getrandbits(bits) | 1 << (bits - 1) | 1)


def numbers(m: Modulus, count: int, seed: int) -> LimbArray:
    """The ends of the range, numbers of edge limbs, random ones."""
    rng = random.Random(seed)
    words = -(-m.bits // 32)
    values = [0, 1, 2, m.value - 1, m.value - 2, m.value // 2]
    while len(values) < count // 2:
        values.append(sum(rng.choice(EDGES) << 32 * j for j in range(words)) % m.value)
    values += [rng.randrange(m.value) for _ in range(count - len(values))]
    rng.shuffle(values)
    return m.array(values[:count])


def filled(field: Field, count: int) -> Any:
    """Tiles of numbers below the modulus, for timing: what they are does not matter to the kernels."""
    cupy = device.require()
    seed = cupy.arange(-(-count // 32) * field.shape.words * 32, dtype=cupy.uint32)
    tiles = ((seed * cupy.uint32(2654435761)) ^ (seed >> cupy.uint32(7))).reshape(-1, field.shape.words, 32)
    tiles[:, -1, :] = 1
    return tiles


def batch(waves: int) -> int:
    """Numbers that keep every multiprocessor busy so many times over."""
    return waves * device.multiprocessors() * BLOCKS_EACH * THREADS


def equal(what: str, got: LimbArray, expected: LimbArray) -> None:
    """Raise if a result is not the reference's, bit for bit."""
    wrong = np.flatnonzero((got.limbs != expected.limbs).any(axis=0))
    if got.limbs.shape != expected.limbs.shape or wrong.size:
        raise ArithmeticError(f"{what}: {wrong.size} of {len(expected)} differ, the first at {wrong[:1]}")


def check(count: int = 3000) -> None:
    """Every operation of `accel.gpu.modular` against `accel.reference.modular`."""
    for bits in (*SIZES, 1990):
        m = modulus(bits)
        a, b = numbers(m, count, 1), numbers(m, count, 2)
        equal(f"multiply {bits}", on_gpu.multiply(a, b, m), reference.multiply(a, b, m))
        equal(f"square {bits}", on_gpu.square(a, m), reference.square(a, m))
        equal(f"enter {bits}", on_gpu.enter(a, m), reference.enter(a, m))
        few = a[: max(count // 30, 2)]
        exponent = (1 << 130) - 7
        equal(f"power {bits}", on_gpu.power(few, exponent, m), reference.power(few, exponent, m))
        expected = reference.power_secret(few, exponent, 140, m)
        equal(f"power_secret {bits}", on_gpu.power_secret(few, exponent, 140, m), expected)
        each = [random.Random(i).getrandbits(64) for i in range(len(few))]
        equal(f"power each {bits}", on_gpu.power(few, each, m), reference.power(few, each, m))
        rows = np.random.default_rng(bits).integers(0, 256, (len(few), 32), dtype=np.uint8)
        rows[0], rows[1] = 0, 255
        plan = FixedBasePlan(3, 256, m)
        expected = reference.fixed_base_power(plan, rows)
        equal(f"fixed base {bits}", on_gpu.fixed_base_power(plan, rows), expected)
        groups = np.random.default_rng(bits).integers(0, 5, len(few))
        expected = reference.product_by_group(few, groups, 6, m)
        equal(f"product by group {bits}", on_gpu.product_by_group(few, groups, 6, m), expected)
    m = Modulus((1 << 521) - 1)
    a = m.array([random.Random(i).randrange(1, m.value) for i in range(101)])
    equal("inverse", on_gpu.inverse(a, m), reference.inverse(a, m))


def time(clock: Clock, ceilings: Ceilings, quick: bool) -> Iterator[Row]:
    """Products of every size, powers of 2048 and 4096 bits, and a product with its copies over PCIe."""
    count = batch(2 if quick else 8)
    for bits in SIZES:
        # Small numbers in proportion, so that every launch runs for a good while.
        yield from _products(bits, count * max(4096 // bits, 1), clock, ceilings)
    for bits in (2048,) if quick else (2048, 4096):
        yield from _powers(bits, batch(1), clock, ceilings)
    yield _with_copies(count, clock, ceilings)


def products_cost(words: int) -> int:
    """Multiply-adds of a Montgomery product: a b, q n, and q itself."""
    return 2 * words * words + words


def ceiling(words: int, ceilings: Ceilings) -> tuple[str, float]:
    """What bounds products of numbers in device memory, and how many a second it allows."""
    by_arithmetic = ceilings.wide_per_s / products_cost(words)
    by_memory = ceilings.copy_bytes_per_s / (3 * 4 * words)
    if by_memory < by_arithmetic:
        return "copy bandwidth", by_memory
    return "multiply-add peak", by_arithmetic


def _products(bits: int, count: int, clock: Clock, ceilings: Ceilings) -> Iterator[Row]:
    with memory.secrets_in() as keep:
        field = Field(modulus(bits), keep)
        a, b = filled(field, count), filled(field, count)
        seconds = clock(lambda: field.multiply(a, b, count, kept))
        limit, allowed = ceiling(field.shape.words, ceilings)
        yield row(
            f"montmul-{bits}",
            count,
            seconds,
            "op/s",
            "on the device, tiles in and out",
            ceiling=limit,
            allowed=allowed,
            target=0.6 * allowed if bits == 2048 else None,
        )


def _powers(bits: int, count: int, clock: Clock, ceilings: Ceilings) -> Iterator[Row]:
    with memory.secrets_in() as keep:
        field = Field(modulus(bits), keep)
        a = filled(field, count)
        window = best_window(_EXPONENT_BITS)
        digits = -(-_EXPONENT_BITS // window)
        rows = memory.upload(np.full((digits, 1), (1 << window) - 1, np.uint8))
        seconds = clock(lambda: field.power(a, rows, window, count, kept, each=False))
        products = (1 << window) - 2 + (digits - 1) * (window + 1)
        yield row(
            f"power-{bits}, {_EXPONENT_BITS}-bit exponent",
            count,
            seconds,
            "op/s",
            f"on the device, constant access pattern, {products} products",
            ceiling="multiply-add peak",
            allowed=ceilings.wide_per_s / products_cost(field.shape.words) / products,
        )


def _with_copies(count: int, clock: Clock, ceilings: Ceilings) -> Row:
    m = modulus(2048)
    rng = np.random.default_rng(1)
    limbs = rng.integers(0, 1 << 52, (m.limbs, count), dtype=np.uint64)
    limbs[-1] = 0
    a = LimbArray(limbs)
    seconds = clock(lambda: on_gpu.multiply(a, a, m))
    field_words = 64
    return row(
        "modular.multiply 2048, host to host",
        count,
        seconds,
        "op/s",
        "limb matrices in host memory, copies over PCIe both ways",
        ceiling="multiply-add peak",
        allowed=ceilings.wide_per_s / products_cost(field_words),
    )


ENTRIES = (Entry("modular", check, time),)
