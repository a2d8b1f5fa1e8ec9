"""`accel.gpu.modular` agrees with the reference bit for bit, in one piece and in several, and clears up."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from accel.errors import DeviceOutOfMemory, NotInvertible
from accel.gpu import modular
from accel.limbs import LimbArray
from accel.modular_backends import FixedBasePlan
from accel.modulus import Modulus
from accel.reference import modular as reference
from tests.accel.gpu.conftest import HostDevice

# 1990 and 2000 bits: R < R', so products take a correction. 760: the blocks have 24 limbs.
SIZES = (256, 300, 760, 1024, 1990, 2048, 3072)
COUNTS = (0, 1, 7, 33, 100)


def modulus(bits: int) -> Modulus:
    return Modulus(random.Random(bits).getrandbits(bits) | 1 << (bits - 1) | 1)


def numbers(m: Modulus, count: int, seed: int = 1) -> LimbArray:
    rng = random.Random(seed)
    values = [0, 1, m.value - 1, m.value // 2, *(rng.randrange(m.value) for _ in range(count))]
    rng.shuffle(values)
    return m.array(values[:count])


def same(got: LimbArray, expected: LimbArray) -> bool:
    return got.limbs.shape == expected.limbs.shape and bool((got.limbs == expected.limbs).all())


@pytest.mark.parametrize("bits", SIZES)
@pytest.mark.parametrize("count", COUNTS)
def test_products_and_forms(host_device: HostDevice, bits: int, count: int) -> None:
    m = modulus(bits)
    a, b = numbers(m, count, 1), numbers(m, count, 2)
    assert same(modular.multiply(a, b, m), reference.multiply(a, b, m))
    assert same(modular.multiply(a, numbers(m, 1, 3), m), reference.multiply(a, numbers(m, 1, 3), m))
    assert same(modular.square(a, m), reference.square(a, m))
    assert same(modular.enter(a, m), reference.enter(a, m))
    assert same(modular.leave(a, m), reference.leave(a, m))


@pytest.mark.parametrize("bits", [256, 1990, 2048])
@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 65537, (1 << 130) - 7])
def test_power_of_all_by_one_exponent(host_device: HostDevice, bits: int, exponent: int) -> None:
    m = modulus(bits)
    a = numbers(m, 9)
    assert same(modular.power(a, exponent, m), reference.power(a, exponent, m))
    width = exponent.bit_length() + 5
    assert same(modular.power_secret(a, exponent, width, m), reference.power_secret(a, exponent, width, m))


@pytest.mark.parametrize("count", COUNTS)
def test_power_of_each_by_its_own_exponent(host_device: HostDevice, count: int) -> None:
    m = modulus(300)
    exponents = [0, 1, 1 << 77, *(random.Random(i).getrandbits(60) for i in range(count))][:count]
    a = numbers(m, count)
    assert same(modular.power(a, exponents, m), reference.power(a, exponents, m))


@pytest.mark.parametrize("bits", [256, 1990, 2048])
@pytest.mark.parametrize("exponent_bits", [1, 8, 61, 256])
def test_fixed_base(host_device: HostDevice, bits: int, exponent_bits: int) -> None:
    m = modulus(bits)
    plan = FixedBasePlan(3 << 200, exponent_bits, m)
    width = -(-exponent_bits // 8)
    values = [0, (1 << exponent_bits) - 1, *(random.Random(i).getrandbits(exponent_bits) for i in range(40))]
    rows = np.frombuffer(b"".join(v.to_bytes(width, "big") for v in values), np.uint8).reshape(-1, width)
    expected = reference.fixed_base_power(plan, rows)
    assert same(modular.fixed_base_power(plan, rows), expected)
    assert same(modular.fixed_base_power(plan, rows[:0]), reference.fixed_base_power(plan, rows[:0]))


@pytest.mark.parametrize("count", [1, 2, 5, 100])
@pytest.mark.parametrize("groups", [1, 3, 50])
def test_product_by_group(host_device: HostDevice, count: int, groups: int) -> None:
    m = modulus(300)
    a = numbers(m, count)
    chosen = np.random.default_rng(count).integers(0, groups, count)
    expected = reference.product_by_group(a, chosen, groups, m)
    assert same(modular.product_by_group(a, chosen, groups, m), expected)


def test_groups_split_between_pieces_come_together(host_device: HostDevice) -> None:
    m = modulus(256)
    a = numbers(m, 300)
    chosen = np.random.default_rng(1).integers(0, 3, 300)
    host_device.free = 64 * 7 * 32 * 2
    assert same(modular.product_by_group(a, chosen, 4, m), reference.product_by_group(a, chosen, 4, m))
    assert len(host_device.pieces) > 3


@pytest.mark.parametrize("count", [0, 1, 2, 3, 31, 64, 100])
def test_inverse(host_device: HostDevice, count: int) -> None:
    m = Modulus((1 << 521) - 1)
    a = m.array([random.Random(i).randrange(1, m.value) for i in range(count)])
    assert same(modular.inverse(a, m), reference.inverse(a, m))


def test_inverse_names_the_first_element_that_has_none(host_device: HostDevice) -> None:
    m = Modulus(3 * ((1 << 521) - 1))
    values = [1] * 90
    values[70] = values[80] = 6
    host_device.free = 40 * 10 * 96 * 2
    with pytest.raises(NotInvertible) as caught:
        modular.inverse(m.array(values), m)
    assert caught.value.detail["index"] == 70


def test_multi_power_with_negative_exponents(host_device: HostDevice) -> None:
    m = Modulus((1 << 521) - 1)
    a = m.array([random.Random(i).randrange(1, m.value) for i in range(6)])
    rows = [[1, -2, 3, 0, 5, -60], [0, 0, 0, 0, 0, 0]]
    assert same(modular.multi_power(a, rows, m), reference.multi_power(a, rows, m))


@pytest.mark.parametrize("bits", [(512, 512), (300, 521), (521, 300), (1100, 900)])
@pytest.mark.parametrize("count", [0, 1, 40])
def test_crt(host_device: HostDevice, bits: tuple[int, int], count: int) -> None:
    rng = random.Random(count)
    p = Modulus((1 << bits[0]) - 1)
    q = Modulus(next(v for v in range((1 << bits[1]) - 3, 0, -2) if math.gcd(v, p.value) == 1))
    x_p = p.array([rng.choice((0, p.value - 1, rng.randrange(p.value))) for _ in range(count)])
    x_q = q.array([rng.choice((0, q.value - 1, rng.randrange(q.value))) for _ in range(count)])
    pq = Modulus(p.value * q.value)
    assert same(modular.crt(x_p, x_q, p, q, pq), reference.crt(x_p, x_q, p, q, pq))


@pytest.mark.parametrize("free", [32 * 10 * 32 * 2 * 2, 10**6])
def test_a_batch_larger_than_memory_goes_in_pieces(host_device: HostDevice, free: int) -> None:
    m = modulus(256)
    host_device.free = free
    a, b = numbers(m, 1000, 1), numbers(m, 1000, 2)
    assert same(modular.multiply(a, b, m), reference.multiply(a, b, m))
    assert len(host_device.pieces) > 1 or free == 10**6


def test_a_piece_that_does_not_fit_is_halved(host_device: HostDevice) -> None:
    m = modulus(256)
    host_device.largest_piece = 100
    a = numbers(m, 1000)
    assert same(modular.square(a, m), reference.square(a, m))
    assert max(last - first for first, last in host_device.pieces) <= 100


def test_nothing_fits(host_device: HostDevice) -> None:
    m = modulus(256)
    host_device.largest_piece = 10
    with pytest.raises(DeviceOutOfMemory):
        modular.square(numbers(m, 1000), m)


def operations(m: Modulus) -> dict[str, Any]:
    a = m.array([5, 7, 9])
    return {
        "multiply": lambda: modular.multiply(a, a, m),
        "power_secret": lambda: modular.power_secret(a, 12345, 64, m),
        "inverse": lambda: modular.inverse(a, m),
        "product": lambda: modular.product_by_group(a, np.zeros(3, np.int64), 1, m),
        "fixed base": lambda: modular.fixed_base_power(
            FixedBasePlan(3, 16, m), np.frombuffer(b"abcdef", np.uint8).reshape(3, 2)
        ),
    }


@pytest.mark.parametrize("name", operations(Modulus((1 << 521) - 1)))
def test_buffers_are_cleared(host_device: HostDevice, name: str) -> None:
    operations(Modulus((1 << 521) - 1))[name]()
    assert host_device.secrets
    assert all(not secret.any() for secret in host_device.secrets)
    # Of the rest, only public things stay: lists of indices and a table of a public base.
    left = [b for b in host_device.buffers if b.any()]
    assert all(b.dtype == np.uint32 and (b.ndim == 1 or b.shape[1:] == (64, 24)) for b in left)
