"""Products modulo n^2 on pairs of numbers below n, and what is made of them, against Python's integers."""

from __future__ import annotations

import random

import gmpy2
import numpy as np
import pytest

from tests.accel.gpu import host, sm90, tiles
from tests.accel.gpu.tiles import SHAPES

NOWHERE = np.uint64(0)
PER_SIZE = 100_000
SIZES = (256, 1024, 2048, 3072)  # of n


def built(bits: int) -> host.ctypes.CDLL:
    limbs, blocks = SHAPES[bits]
    return host.library("modular.cuh", BLOCK_LIMBS=limbs, BLOCKS=blocks, PAIRS=1)


def pairs(values: list[int], n: int, words: int) -> np.ndarray:
    """Tiles of (x mod n, x div n)."""
    return tiles.tiled([x % n | x // n << 32 * words for x in values], 2 * words)


def values_of(array: np.ndarray, count: int, n: int, words: int) -> list[int]:
    """Back, after a look that both halves are below n."""
    found = []
    for number in tiles.integers(array, count):
        high, low = number >> 32 * words, number & (1 << 32 * words) - 1
        assert high < n
        assert low < n
        found.append(low + high * n)
    return found


@pytest.mark.parametrize("bits", SIZES)
def test_product_of_a_hundred_thousand_pairs(bits: int) -> None:
    rng = random.Random(bits)
    words = bits // 32
    moduli = tiles.moduli(bits, rng)
    count = PER_SIZE // len(moduli)
    for n in moduli:
        # Edges of either half meet edges of the other.
        halves = tiles.residues(n, 40, rng)
        ends = [0, 1, n - 1]
        xs = [
            *(a + b * n for a in ends for b in ends),
            *(a + b * n for a, b in zip(halves, halves[::-1], strict=True)),
        ]
        xs += [rng.randrange(n * n) for _ in range(200 - len(xs))]
        ys = xs[:60] + [rng.randrange(n * n) for _ in range(40)]
        a_at, b_at = np.divmod(np.arange(count, dtype=np.uint32), np.uint32(100))
        r = np.zeros((count // 32, 2 * words, 32), np.uint32)
        a, b, modulus = pairs(xs, n, words), pairs(ys, n, words), tiles.modulus(n, words)
        host.run(
            built(bits), "multiply", 40, 128,
            a, a_at, b, b_at, np.uint32(0), modulus, np.uint32(0), r, np.uint64(count),
        )  # fmt: skip
        square = gmpy2.mpz(n) ** 2
        scale = gmpy2.invert(gmpy2.mpz(1) << bits, square)
        scaled, factors = [x * scale % square for x in xs], [gmpy2.mpz(y) for y in ys]
        expected = [
            int(scaled[i] * factors[j] % square) for i, j in zip(a_at.tolist(), b_at.tolist(), strict=True)
        ]
        assert values_of(r, count, n, words) == expected


@pytest.mark.parametrize("bits", [256, 1024])
def test_power_of_pairs(bits: int) -> None:
    rng = random.Random(bits)
    words, count, window, digit_count = bits // 32, 40, 3, 4
    n = rng.getrandbits(bits) | 1 << (bits - 1) | 1
    bases = [rng.randrange(n * n) for _ in range(count)]
    radix = 1 << bits
    digits = np.array([5, 0, 7, 1], np.uint8)
    r = np.zeros((2, 2 * words, 32), np.uint32)
    host.run(
        built(bits), "power", 1, 64,
        pairs([x * radix % (n * n) for x in bases], n, words), digits, np.uint32(digit_count), np.uint64(1),
        np.uint32(0), np.uint32(window), pairs([radix % (n * n)], n, words), tiles.modulus(n, words),
        np.zeros(((1 << window) + 3) * 64 * 2 * words, np.uint32), r, np.uint64(count),
    )  # fmt: skip
    assert values_of(r, count, n, words) == [pow(x, 0o5071, n * n) * radix % (n * n) for x in bases]


@pytest.mark.parametrize("bits", [1024, 2048])
def test_cost_on_sm_90(bits: int) -> None:
    limbs, blocks = SHAPES[bits]
    usage = sm90.usage("modular.cuh", BLOCK_LIMBS=limbs, BLOCKS=blocks, PAIRS=1)
    for name in ("multiply", "power", "fixed_base"):
        # Both parts of a product share one copy of the code.
        assert usage[name].wide <= 2 * limbs * limbs + limbs + 60, name
        assert usage[name].registers <= 255, name
    assert usage["multiply"].spilled == 0
    # Between products: bytes moved once in thousands of multiply-adds.
    assert usage["fixed_base"].spilled <= 160
    assert usage["power"].spilled <= 512
