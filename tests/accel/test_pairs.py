"""Pairs of numbers modulo n compute modulo n^2, at the edges of their limbs too."""

import random

import numpy as np
import pytest

from accel import features, modular
from accel.cpu import paillier
from accel.cpu.pairs_vector import PairModulus, PairTable, avx2, ifma
from accel.encrypted_backends import MULTIPLY
from accel.modulus import Modulus

PATHS = [
    pytest.param(path, id=name) for name, path in (("avx2", avx2), ("ifma", ifma)) if features.has_level(name)
]
# Few and many spare bits, high and low limbs of all ones, next to a power of two.
MODULI = [
    2**512 - 569,
    2**512 - 2**260 + 1,
    2**511 + 111,
    2**300 - 153,
    (2**1024 - 2**52 + 1) // 3 * 2 + 1,
    3**400,
]


def value(pairs, x0, x1):
    n = pairs.m.value
    out = pow(int(pairs.radix), -1, n * n)
    return [(a + b * n) * out % (n * n) for a, b in zip(x0.to_ints(), x1.to_ints(), strict=True)]


def halves(pairs, numbers):
    n = pairs.m.value
    scaled = [x * int(pairs.radix) % (n * n) for x in numbers]
    return pairs.m.array([x % n for x in scaled]), pairs.m.array([x // n for x in scaled])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("n", MODULI, ids=lambda n: f"{n.bit_length()} bits {n % 997}")
def test_powers_with_a_secret_exponent(path, n):
    pairs = PairModulus(n)
    assert pairs.fits
    draw = random.Random(n)
    numbers = [0, 1, n - 1, n, n + 1, n * n - 1, n * n - n] + [draw.randrange(n * n) for _ in range(4)]
    for exponent, bits in ((0, 8), (1, 1), (2, 3), (draw.getrandbits(300), 300), (2**77 - 1, 77)):
        powers = path.power_secret(*halves(pairs, numbers), exponent, bits, pairs)
        assert value(pairs, *powers) == [pow(x, exponent, n * n) for x in numbers]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("n", MODULI, ids=lambda n: f"{n.bit_length()} bits {n % 997}")
def test_powers_of_a_fixed_base(path, n):
    pairs = PairModulus(n)
    draw = random.Random(n)
    base = draw.randrange(n * n)
    table = PairTable(base, pairs, path)
    for count, width in ((0, 3), (1, 3), (7, 20), (8, 20), (17, 9)):
        table.extend(-(-8 * width // path.window_bits))
        exponents = np.frombuffer(draw.randbytes(count * width), dtype=np.uint8).reshape(count, width)
        exponents = exponents.copy()
        exponents[:1], exponents[1:2] = 0, 255
        residues = [draw.choice([0, n - 1, draw.randrange(n)]) for _ in range(count)]
        made = path.fixed_base(table, exponents, pairs.m.array(residues), pairs)
        out = pow(int(pairs.radix), -1, n * n)
        assert [x * out % (n * n) for x in made.to_ints()] == [
            (1 + m * n) * pow(base, int.from_bytes(row.tobytes(), "big"), n * n) % (n * n)
            for m, row in zip(residues, exponents, strict=True)
        ]


BACKENDS = [name for name in MULTIPLY.available() if name in ("avx2", "ifma")]
# The squares of these have two limbs less than two numbers, and no spare bits that they do not need.
SHORT_SQUARES = [2**571 - 1, 2**571 - 2**519 - 1]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n", MODULI + SHORT_SQUARES, ids=lambda n: f"{n.bit_length()} bits {n % 997}")
def test_powers_of_numbers_in_montgomery_form(backend, n):
    m = Modulus(n * n)
    draw = random.Random(n)
    forms = [0, 1, n - 1, n, n * n - 1, n * n - n, (1 << 52 * PairModulus(n).m.limbs) - 1]
    forms += [draw.randrange(n * n) for _ in range(10)]
    for count in (0, 1, 8, 9, 17):
        elements = m.array(forms[-count:] if count else [])
        exponents = [draw.choice([0, 1, draw.getrandbits(67)]) for _ in range(count)]
        exponents[:1] = [2**66 + 1][:count]
        for chosen in (exponents, 2**64 - 1, 2**33):
            powers = paillier.power(elements, chosen, m, backend=backend)
            assert powers.to_ints() == modular.power(elements, chosen, m, backend="reference").to_ints()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [2**600 - 95, ((1 << 52 * 10 - 3) - 1) ** 2], ids=["no square", "full"])
def test_powers_modulo_what_pairs_cannot_hold(backend, value):
    m = Modulus(value)
    elements = m.array([0, 1, 5, value - 1])
    exponents = [2**40 + 1, 0, 3, 2**50]
    powers = paillier.power(elements, exponents, m, backend=backend)
    assert powers.to_ints() == modular.power(elements, exponents, m, backend="reference").to_ints()


def test_modulus_without_spare_bits_takes_the_general_path():
    full = (1 << 52 * 10 - 3) - 1
    assert not paillier.fits(full)
    assert paillier.fits(full >> 3)


@pytest.mark.parametrize("path", PATHS)
def test_lift_is_a_multiple_of_n_with_large_limbs(path):
    for n in MODULI:
        pairs = PairModulus(n)
        bits = 52 * path.lanes // 8
        lift = pairs.lift(bits).tolist()
        whole = sum(limb << bits * j for j, limb in enumerate(lift))
        assert whole % n == 0
        assert whole >= pairs.radix
        assert min(lift) >= 2**bits - 1
