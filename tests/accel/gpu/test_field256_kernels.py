"""The 256-bit fields of the curve kernels, run on the processor, against Python's integers."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import numpy as np
import pytest

from accel.reference.curve25519 import P as P25519
from accel.reference.weierstrass import SECP256K1, SM2
from tests.accel.gpu import host, sm90

EDGE_LIMBS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
WHOLE = 2**256
SIDE = 317  # numbers on each side: 317^2 > 10^5 pairs

PRIMES = {1: P25519, 2: SM2.p, 3: SECP256K1.p}
ORDERS = {2: SM2.n, 3: SECP256K1.n}
NAMES = {1: "2^255-19", 2: "sm2", 3: "secp256k1"}
FIELDS = pytest.mark.parametrize("field", PRIMES, ids=NAMES.get)
CURVES = pytest.mark.parametrize("field", ORDERS, ids=NAMES.get)

Binary = Callable[[int, int], int]


def numbers(modulus: int, bound: int, seed: int, count: int = SIDE) -> list[int]:
    """Below the bound: around 0, the bound and multiples of the modulus, edge limbs, random values."""
    rng = random.Random(seed)
    near = [c + d for c in (0, modulus, 2 * modulus, bound, WHOLE - modulus) for d in range(-40, 41, 3)]
    single = [limb << 32 * j for limb in EDGE_LIMBS for j in range(8)]
    mixed = [sum(rng.choice(EDGE_LIMBS) << 32 * j for j in range(8)) for _ in range(60)]
    values = [v % bound for v in (*near, *single, *mixed)]
    return (values + [rng.randrange(bound) for _ in range(count)])[:count]


def rows(values: list[int]) -> np.ndarray:
    data = b"".join(v.to_bytes(32, "little") for v in values)
    return np.frombuffer(data, np.uint8).reshape(-1, 32).copy()


def computed(field: int, kernel: str, left: np.ndarray, right: np.ndarray) -> list[int]:
    result = np.zeros_like(left)
    host.run(
        host.library("field256_test.cuh", FIELD=field),
        kernel,
        3,
        128,
        left,
        right,
        result,
        np.uint64(len(left)),
    )
    data = result.tobytes()
    return [int.from_bytes(data[at : at + 32], "little") for at in range(0, len(data), 32)]


def check_pairs(field: int, kernel: str, modulus: int, bound: int, want: Binary, *, canonical: bool) -> None:
    """Every number of one set with every one of another: at least 10^5 cases."""
    xs, ys = numbers(modulus, bound, 1), numbers(modulus, bound, 2)
    a, b = np.repeat(rows(xs), SIDE, axis=0), np.tile(rows(ys), (SIDE, 1))
    got = computed(field, kernel, a, b)
    expected = (want(x, y) % modulus for x, y in itertools.product(xs, ys))
    if canonical:
        assert got == list(expected)
    else:
        assert [v % modulus for v in got] == list(expected)


def element_bound(field: int) -> int:
    """SM2's elements are canonical, those of the other fields any residue of 256 bits."""
    return SM2.p if field == 2 else WHOLE


@FIELDS
def test_sum_and_difference(field: int) -> None:
    p, bound = PRIMES[field], element_bound(field)
    check_pairs(field, "field_add", p, bound, lambda x, y: x + y, canonical=field == 2)
    check_pairs(field, "field_sub", p, bound, lambda x, y: x - y, canonical=field == 2)


@FIELDS
def test_product(field: int) -> None:
    p, bound = PRIMES[field], element_bound(field)
    scale = pow(WHOLE, -1, p) if field == 2 else 1  # SM2's product is Montgomery's
    check_pairs(field, "field_mul", p, bound, lambda x, y: x * y * scale, canonical=field == 2)


@FIELDS
def test_functions_of_one_element(field: int) -> None:
    p, bound = PRIMES[field], element_bound(field)
    values = numbers(p, bound, 3, 100_000)
    a = rows(values)
    scale = pow(WHOLE, -1, p) if field == 2 else 1
    squares = computed(field, "field_sqr", a, a)
    assert [v % p for v in squares] == [x * x * scale % p for x in values]
    assert computed(field, "field_reduce", a, a) == [x % p for x in values]
    if field == 1:
        products = computed(field, "field_mul_small", a, a)
        assert [v % p for v in products] == [x * 486662 % p for x in values]


@FIELDS
def test_inverse_and_root_undo_product_and_square(field: int) -> None:
    p, bound = PRIMES[field], element_bound(field)
    values = numbers(p, bound, 4, 600)
    a = rows(values)
    inverses = rows(computed(field, "field_invert", a, a))
    one = WHOLE % p if field == 2 else 1
    assert [v % p for v in computed(field, "field_mul", a, inverses)] == [one if x % p else 0 for x in values]
    if field != 1:
        squares = rows(computed(field, "field_sqr", a, a))
        roots = rows(computed(field, "field_root", squares, squares))
        again = computed(field, "field_sqr", roots, roots)
        assert [v % p for v in again] == [int.from_bytes(s.tobytes(), "little") % p for s in squares]


@CURVES
def test_integers_modulo_the_order(field: int) -> None:
    n = ORDERS[field]
    check_pairs(field, "order_add", n, n, lambda x, y: x + y, canonical=True)
    check_pairs(field, "order_sub", n, n, lambda x, y: x - y, canonical=True)
    check_pairs(field, "order_mul", n, n, lambda x, y: x * y, canonical=True)
    values = numbers(n, WHOLE, 5, 100_000)
    a = rows(values)
    assert computed(field, "order_reduce", a, a) == [x % n for x in values]


@FIELDS
def test_product_keeps_its_budget_of_wide_multiplications(field: int) -> None:
    usage = sm90.usage("field256_test.cuh", FIELD=field)
    fold = {1: 8, 2: 0, 3: 10}[field]  # SM2 reduces by additions alone
    index = 2  # finding the element takes two
    assert usage["field_mul"].wide <= 64 + fold + index
    assert usage["field_sqr"].wide <= 36 + fold + index
    assert all(kernel.spilled == 0 for kernel in usage.values())
