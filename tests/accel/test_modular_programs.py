"""The programs of the vector kernels, run here on integers: right powers, and nothing that shows a secret."""

import random

import numpy as np
import pytest

from accel.cpu import modular_groups, modular_program
from accel.cpu import modular_kernel as kernel
from accel.cpu.modular_vector import avx2, ifma
from accel.modular import Modulus
from accel.modular_backends import OPERATIONS

VECTORS = [b for b in (ifma, avx2) if b.name in OPERATIONS["multiply"].available()]


def run(program, base, slots, digits=()):
    """The value that a program stores, in the group of integers under addition: powers are multiples."""
    memory = [None] * slots

    def read(slot):
        return 0 if slot == modular_program.ONE else memory[slot]

    stored = None
    for operation, target, x, y in program:
        if operation == kernel.LOAD_A:
            memory[target] = base
        elif operation == kernel.MULTIPLY:
            memory[target] = read(x) + read(y)
        elif operation == kernel.SQUARE:
            memory[target] = 2 * read(x)
        elif operation == kernel.SELECT:
            memory[target] = memory[x + digits[y]]
        else:
            assert operation == kernel.STORE
            stored = memory[target] = read(x)
    return stored


@pytest.mark.parametrize("bits", [1, 5, 9, 40, 300, 700, 2000])
def test_sliding_windows_give_every_public_power(bits):
    rng = random.Random(bits)
    for exponent in [0, 1, (1 << bits) - 1, 1 << (bits - 1), *(rng.getrandbits(bits) for _ in range(20))]:
        program, slots = modular_program.public_power(exponent)
        assert run(program, 1, slots) == exponent


def test_sliding_windows_square_once_a_bit_and_multiply_seldom():
    program, _ = modular_program.public_power((1 << 2048) - 1)
    assert sum(op == kernel.SQUARE for op, *_ in program) <= 2048
    assert sum(op == kernel.MULTIPLY for op, *_ in program) < 2048 / 6 + 64


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
def test_fixed_windows_give_every_power_by_one_program(width):
    rng = random.Random(width)
    for bits in (1, 7, 64, 65, 100):
        exponents = [0, 1, (1 << bits) - 1, *(rng.getrandbits(bits) for _ in range(9))]
        digits = modular_program.exponent_digits(exponents, bits, width, 16)
        assert not digits[:, len(exponents) :].any()
        program, slots = modular_program.windowed_power(len(digits), width)
        for lane, exponent in enumerate(exponents):
            assert run(program, 1, slots, digits[:, lane]) == exponent


@pytest.mark.parametrize("width", range(1, 13))
def test_digits_are_the_windows_of_the_bytes(width):
    rng = random.Random(width)
    values = [0, (1 << 61) - 1, *(rng.getrandbits(61) for _ in range(7))]
    rows = np.array([list(v.to_bytes(8, "little")) for v in values], dtype=np.uint8)
    digits = modular_program.little_digits(rows, 61, width)
    assert [sum(int(d) << width * i for i, d in enumerate(column)) for column in digits.T] == values


@pytest.mark.parametrize("backend", VECTORS, ids=lambda b: b.name)
@pytest.mark.parametrize(("bases", "rows"), [(1, 1), (3, 20), (90, 2)])
def test_simultaneous_powers_are_the_same_by_tables_and_by_buckets(backend, bases, rows):
    rng = random.Random(bases)
    m = Modulus((1 << 400) - 593)
    x = m.array([rng.randrange(m.value) for _ in range(bases)])
    exponents = [[rng.getrandbits(rng.choice((1, 30))) for _ in range(bases)] for _ in range(rows)]
    expected = OPERATIONS["multi_power"].select("reference", batch=1)(x, exponents, m).to_ints()
    assert modular_groups._in_portions_of_bases(backend, x, exponents, 30, m).to_ints() == expected
    numbers = modular_groups._as_rows(backend, x, m)
    for width in (1, 3, 8, 11):
        got = modular_groups._by_buckets(backend, numbers, exponents, 30, width, m)
        assert got.to_ints() == expected


@pytest.mark.parametrize("backend", VECTORS, ids=lambda b: b.name)
@pytest.mark.parametrize(("bases", "rows"), [(400, 3), (5, 300)])
def test_what_does_not_fit_in_memory_is_done_in_portions(backend, bases, rows, monkeypatch):
    rng = random.Random(2)
    m = Modulus((1 << 300) - 153)
    x = m.array([rng.randrange(m.value) for _ in range(bases)])
    exponents = [[rng.getrandbits(20) for _ in range(bases)] for _ in range(rows)]
    whole = modular_groups.multi_power(backend, x, exponents, m).to_ints()
    monkeypatch.setattr(modular_groups, "_DIGITS_AT_ONCE", 1000)
    monkeypatch.setattr(modular_groups, "_TABLE_WORDS", 2 * m.limbs << backend.window_bits)
    assert modular_groups.multi_power(backend, x, exponents, m).to_ints() == whole
