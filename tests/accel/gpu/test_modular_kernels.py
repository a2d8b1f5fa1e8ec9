"""The modular kernels, run on the processor, against Python's integers on edge limbs and random values."""

from __future__ import annotations

import random

import gmpy2
import numpy as np
import pytest

from accel.limbs import LimbArray
from tests.accel.gpu import host, sm90, tiles
from tests.accel.gpu.tiles import SHAPES

NOWHERE = np.uint64(0)  # a null pointer
PER_SIZE = 100_000


def built(bits: int) -> host.ctypes.CDLL:
    limbs, blocks = SHAPES[bits]
    return host.library("modular.cuh", BLOCK_LIMBS=limbs, BLOCKS=blocks)


def words(bits: int) -> int:
    return bits // 32


@pytest.mark.parametrize("bits", SHAPES)
def test_product_of_a_hundred_thousand_pairs(bits: int) -> None:
    rng = random.Random(bits)
    library = built(bits)
    moduli = tiles.moduli(bits, rng)
    count = PER_SIZE // len(moduli)
    for n in moduli:
        # Every number meets every other at some distance: 200 x 100 pairs of 300 numbers.
        xs, ys = tiles.residues(n, 200, rng), tiles.residues(n, 100, rng)
        a_at, b_at = np.divmod(np.arange(count, dtype=np.uint32), np.uint32(100))
        r = np.zeros((count // 32, words(bits), 32), np.uint32)
        a, b, modulus = (
            tiles.tiled(xs, words(bits)),
            tiles.tiled(ys, words(bits)),
            tiles.modulus(n, words(bits)),
        )
        host.run(
            library, "multiply", 40, 128,
            a, a_at, b, b_at, np.uint32(0), modulus, np.uint32(0), r, np.uint64(count),
        )  # fmt: skip
        got = tiles.integers(r, count)
        scale = gmpy2.invert(gmpy2.mpz(1) << bits, n)
        scaled = [x * scale % n for x in xs]
        ys = [gmpy2.mpz(y) for y in ys]
        assert got == [int(scaled[i] * ys[j] % n) for i, j in zip(a_at.tolist(), b_at.tolist(), strict=True)]


@pytest.mark.parametrize("bits", SHAPES)
@pytest.mark.parametrize("extra", [1, 12, 31, 32, 33, 63])
def test_product_divides_by_a_few_more_bits(bits: int, extra: int) -> None:
    rng = random.Random(extra)
    for n in tiles.moduli(bits, rng):
        xs, y = tiles.residues(n, 64, rng), n - 2
        r = np.zeros((2, words(bits), 32), np.uint32)
        a, b, modulus = (
            tiles.tiled(xs, words(bits)),
            tiles.tiled([y], words(bits)),
            tiles.modulus(n, words(bits)),
        )
        host.run(
            built(bits), "multiply", 1, 32,
            a, NOWHERE, b, NOWHERE, np.uint32(1), modulus, np.uint32(extra), r, np.uint64(64),
        )  # fmt: skip
        scale = pow(1 << bits + extra, -1, n)
        assert tiles.integers(r, 64) == [x * y * scale % n for x in xs]


@pytest.mark.parametrize("bits", SHAPES)
@pytest.mark.parametrize("count", [1, 31, 32, 33, 1000])
def test_limbs_come_back_from_tiles(bits: int, count: int) -> None:
    rng = random.Random(count)
    limb_count = -(-(bits + 2) // 52)
    values = [0, (1 << bits) - 1, *(rng.getrandbits(bits) for _ in range(count))][:count]
    limbs = LimbArray.from_ints(values, limb_count).limbs
    padded = -(-count // 32) * 32
    t = np.full((padded // 32, words(bits), 32), 7, np.uint32)
    sizes = np.uint32(limb_count), np.uint64(count)
    host.run(built(bits), "tiles_from_limbs", 3, 64, limbs, *sizes, t, np.uint64(count))
    assert tiles.integers(t, padded) == values + [0] * (padded - count)
    back = np.zeros_like(limbs)
    host.run(built(bits), "limbs_from_tiles", 2, 32, t, back, *sizes, np.uint64(count))
    assert (back == limbs).all()


@pytest.mark.parametrize("bits", [256, 2048, 3072])
@pytest.mark.parametrize(("window", "digit_count"), [(2, 1), (2, 9), (3, 5), (4, 16), (5, 2)])
@pytest.mark.parametrize("each", [0, 1])
def test_power_by_windows(bits: int, window: int, digit_count: int, each: int) -> None:
    rng = random.Random(window)
    n = rng.getrandbits(bits) | 1 << (bits - 1) | 1
    count = 70
    bases = tiles.residues(n, count, rng)
    exponents = [rng.getrandbits(window * digit_count) for _ in range(count)]
    exponents[:3] = [0, 1, (1 << window * digit_count) - 1]
    if not each:
        exponents = [exponents[5]] * count
    digits = np.array(
        [
            [e >> window * (digit_count - 1 - d) & (1 << window) - 1 for e in exponents]
            for d in range(digit_count)
        ],
        np.uint8,
    )
    one = 1 << bits
    grid, block = 1, 64
    inputs = tiles.tiled([x * one % n for x in bases], words(bits))
    scratch = np.zeros(((1 << window) + 3) * grid * block * words(bits), np.uint32)
    r = np.zeros_like(inputs)
    host.run(
        built(bits), "power", grid, block,
        inputs, digits if each else np.ascontiguousarray(digits[:, 0]), np.uint32(digit_count),
        np.uint64(count if each else 1), np.uint32(each), np.uint32(window),
        tiles.tiled([one % n], words(bits)), tiles.modulus(n, words(bits)), scratch, r, np.uint64(count),
    )  # fmt: skip
    expected = [pow(x, e, n) * one % n for x, e in zip(bases, exponents, strict=True)]
    assert tiles.integers(r, count) == expected


@pytest.mark.parametrize("bits", [256, 2048, 3072])
@pytest.mark.parametrize(("window", "digit_count"), [(2, 1), (4, 2), (6, 5)])
@pytest.mark.parametrize("last_each", [0, 1])
def test_fixed_base_from_tables(bits: int, window: int, digit_count: int, last_each: int) -> None:
    rng = random.Random(window)
    n = rng.getrandbits(bits) | 1 << (bits - 1) | 1
    count, base, one = 70, rng.randrange(n), 1 << bits
    table = [pow(base, c << window * d, n) * one % n for d in range(digit_count) for c in range(1 << window)]
    exponents = [0, (1 << window * digit_count) - 1]
    exponents += [rng.getrandbits(window * digit_count) for _ in range(count - 2)]
    digits = np.array(
        [[e >> window * d & (1 << window) - 1 for e in exponents] for d in range(digit_count)], np.uint8
    )
    lasts = tiles.residues(n, count, rng) if last_each else [one % n] * count
    r = np.zeros((3, words(bits), 32), np.uint32)
    host.run(
        built(bits), "fixed_base", 1, 64,
        np.ascontiguousarray(host.limbs(table, words(bits)).T), np.uint32(window), digits,
        np.uint32(digit_count), np.uint64(count),
        tiles.tiled(lasts if last_each else lasts[:1], words(bits)), np.uint32(last_each),
        tiles.modulus(n, words(bits)), np.zeros(2 * 64 * words(bits), np.uint32), r, np.uint64(count),
    )  # fmt: skip
    expected = [pow(base, e, n) * last % n for e, last in zip(exponents, lasts, strict=True)]
    assert tiles.integers(r, count) == expected


@pytest.mark.parametrize("bits", [256, 2048, 6144])
def test_cost_on_sm_90(bits: int) -> None:
    limbs, blocks = SHAPES[bits]
    usage = sm90.usage("modular.cuh", BLOCK_LIMBS=limbs, BLOCKS=blocks)
    # Two copies of a block product: one for terms, one for the reduction, with a product a limb to find q.
    budget = 2 * limbs * limbs + limbs + 60
    for name in ("multiply", "power", "fixed_base"):
        assert usage[name].wide <= budget, name
        # Two warps on each scheduler hide each other's loads.
        assert usage[name].registers <= 255, name
    assert usage["multiply"].spilled == 0
    assert usage["fixed_base"].spilled == 0
    # Where it stands between two products: bytes moved once in thousands of multiply-adds.
    assert usage["power"].spilled <= 384
