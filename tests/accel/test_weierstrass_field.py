"""The emitted field arithmetic against Python integers, on edge values and random ones."""

import random

import numpy as np
import pytest

from accel import features
from accel.reference.weierstrass import SECP256K1, SM2

LEVELS = [name for name in ("ifma", "avx2") if features.has_level(name)]
COUNT = 1024
FIELDS = {"SM2 prime": (SM2, "p"), "secp256k1 prime": (SECP256K1, "p"), "SM2 order": (SM2, "n")}


def steps(f, a, b):
    """What is emitted, and below the same on integers; ``u`` undoes the representation of a product."""
    results = [f.mul(a, b), f.sqr(a), f.sub(f.add(a, b), f.scale(f.sub(b, a), 3))]
    results.append(f.mul_add(f.add(a, a), b, f.sub(a, b), a))
    return [*results, f.loaded(f.canonical(a)), f.loaded(f.canonical(f.sub(f.constant(0), b)))]


def expected(a, b, u):
    return [a * b * u, a * a * u, 4 * a - 2 * b, (2 * a * b + (a - b) * a) * u, a * u, -b * u]


def prime_steps(f, a, b):
    """What needs the sparse form of the prime: reductions of values far out of range, and powers."""
    far = f.sub(f.sub(a, f.scale(b, 20)), f.scale(a, 7))
    parity = f.select(f.is_odd(a), f.constant(1), f.constant(0))
    zero = f.select(
        f.is_zero(f.sub(f.mul(a, b), f.mul(b, f.add(a, f.constant(0))))), f.constant(1), f.constant(2)
    )
    small = f.settle(f.scale(f.mul(a, b), 12))
    return [
        small,
        far,
        f.mul_sub(far, a, f.scale(b, 4), f.scale(b, 2)),
        f.power(a, f.modulus - 2),
        parity,
        zero,
    ]


def prime_expected(a, b, u, m):
    far = -6 * a - 20 * b
    one = pow(u, -1, m)
    return [
        12 * a * b * u,
        far,
        (far * a - 8 * b * b) * u,
        pow(a * u, m - 2, m) * one,
        a * u % m % 2 * one,
        one,
    ]


def compile_steps(level, make_field, curve, emit, results):
    from numba import njit, types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from accel.cpu.ir import pointer
    from accel.cpu.vector_words import LEVELS as KINDS

    @intrinsic
    def run(_context, out, a, b, count):
        def generate(context, builder, signature, arguments):
            f = make_field(KINDS[level](builder), curve)
            memory = [
                pointer(context, builder, signature.args[i], arguments[i], f.level.kind) for i in range(3)
            ]
            with cgutils.for_range(builder, arguments[3]) as loop:
                values = emit(f, f.load(memory[1], loop.index), f.load(memory[2], loop.index))
                at = builder.mul(loop.index, loop.index.type(results))
                for i, value in enumerate(values):
                    f.save(memory[0], value, builder.add(at, at.type(i)))
            return context.get_dummy_value()

        return types.void(out, a, b, count), generate

    @njit
    def kernel(out, a, b, count):
        run(out, a, b, count)

    return kernel


def packed(values, bits, lanes):
    limbs = 260 // bits
    mask = (1 << bits) - 1
    rows = [
        [value >> bits * j & mask for value in values[i : i + lanes]]
        for i in range(0, len(values), lanes)
        for j in range(limbs)
    ]
    return np.array(rows, np.uint64).reshape(-1)


def unpacked(words, bits, lanes, results):
    """Lists of ``results`` numbers, one list an element."""
    blocks = words.reshape(-1, results, 260 // bits, lanes)
    return [
        [sum(int(limb) << bits * j for j, limb in enumerate(block[i, :, lane])) for i in range(results)]
        for block in blocks
        for lane in range(lanes)
    ]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("which", FIELDS)
def test_emitted_arithmetic_agrees_with_integers(level, which):
    from accel.cpu.field256_primes import order_field, prime_field

    curve, name = FIELDS[which]
    m = getattr(curve, name)
    bits, lanes = (52, 8) if level == "ifma" else (26, 4)
    u = 1 if which == "secp256k1 prime" else pow(1 << 260, -1, m)
    draw = random.Random(5)
    edges = [0, 1, 2, m - 1, m, m + 1, 2 * m - 1, 2 * m, 2**256 - 1, 2**256, 2**52, 2**52 - 1, 2**208 - 1]
    edges += [2**256 - 2**208, 2**234 - 1, 2**257 - 2**250]
    pick = [
        [draw.choice(edges) if draw.random() < 0.6 else draw.randrange(2 * m) for _ in range(COUNT)]
        for _ in "ab"
    ]
    runs = [(steps, lambda a, b: expected(a, b, u))]
    if name == "p":
        runs.append((prime_steps, lambda a, b: prime_expected(a, b, u, m)))
    for emit, right in runs:
        results = len(right(1, 1))
        kernel = compile_steps(level, prime_field if name == "p" else order_field, curve, emit, results)
        output = np.zeros(COUNT // lanes * results * (260 // bits) * lanes, np.uint64)
        kernel(output, *(packed(values, bits, lanes) for values in pick), COUNT // lanes)
        for a, b, got in zip(*pick, unpacked(output, bits, lanes, results), strict=True):
            assert [value % m for value in got] == [value % m for value in right(a, b)], (a, b)
            assert all(value < 2.02 * m for value in got)
            if emit is steps:
                assert all(value < m for value in got[-2:])


@pytest.mark.parametrize("level", LEVELS)
def test_bounds_that_would_overflow_are_refused_when_code_is_made(level):
    from llvmlite import ir

    from accel.cpu.field256_primes import prime_field
    from accel.cpu.vector_words import LEVELS as KINDS

    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "f")
    f = prime_field(KINDS[level](ir.IRBuilder(function.append_basic_block())), SM2)
    value = f.scale(f.loaded(f.constant(5).limbs), 300)
    with pytest.raises(OverflowError, match="one reduction"):
        f.carry(value)
