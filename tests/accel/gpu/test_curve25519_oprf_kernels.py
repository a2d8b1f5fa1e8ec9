"""2HashDH with additive masks as the GPU does it, run on the processor."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from accel import selftest
from accel.cpu import curve25519_oprf as portable
from accel.errors import InvalidPoint
from accel.gpu import curve25519_oprf as gpu
from accel.reference import curve25519 as plain
from accel.reference import curve25519_oprf as reference
from tests.accel.gpu import host, sm90
from tests.accel.gpu.conftest import HostDevice
from tests.accel.gpu.test_curve25519_kernels import scalar

VECTORS = selftest.vectors("curve25519")
# The top bit says the parity of v here.
NO_POINTS = [case for case in VECTORS["invalid"] if not bytes.fromhex(case["u"])[31] & 128]
DST = b"tag"
ZERO, ONES = bytes(32), b"\xff" * 32
ENDS = [b"\x08" + bytes(30) + b"\x40", b"\xf8" + b"\xff" * 30 + b"\x7f"]


@pytest.fixture(autouse=True)
def small_device(host_device: HostDevice) -> HostDevice:
    """So little memory that a thousand points take several pieces."""
    host_device.free = 300_000
    return host_device


def messages(count: int) -> list[bytes]:
    source = random.Random(count)
    return [source.randbytes(source.randrange(40)) for _ in range(count)]


def masks(count: int) -> bytes:
    """Both ends of the range among random ones."""
    drawn = [random.Random(index).randbytes(32) for index in range(count)]
    drawn[1:3] = [ZERO, ONES][: max(count - 1, 0)]
    return b"".join(drawn)


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 257, 1000])
def test_every_step_is_that_of_the_portable_backend(small_device: HostDevice, count: int) -> None:
    items, drawn, k = messages(count), masks(count), scalar(count)
    masked = gpu.hash_and_mask(items, DST, drawn)
    assert masked == portable.hash_and_mask(items, DST, drawn)
    answers, key = gpu.multiply_points(masked, k), gpu.multiply_points(reference.BASE, k)
    assert answers + key == portable.multiply_points(masked + reference.BASE, k)
    assert gpu.unmask(answers, drawn, key) == portable.unmask(answers, drawn, key)
    assert (len(small_device.pieces) > 4) == (count == 1000)


@pytest.mark.parametrize("k", [scalar(1), *ENDS], ids=["random", "smallest", "largest"])
def test_every_step_is_that_of_the_reference(k: bytes) -> None:
    items, drawn = messages(5), masks(5)
    masked = reference.hash_and_mask(items, DST, drawn)
    assert gpu.hash_and_mask(items, DST, drawn) == masked
    answers, key = reference.multiply_points(masked, k), reference.multiply_points(reference.BASE, k)
    assert gpu.multiply_points(masked + reference.BASE, k) == answers + key
    unmasked = reference.unmask(answers, drawn, key)
    assert gpu.unmask(answers, drawn, key) == unmasked
    assert unmasked == plain.scalar_mult_many(plain.hash_to_curve(items, DST), k)


def test_every_digit_of_every_window_adds_its_multiple() -> None:
    """Masks of one digit 32 times, and each digit in turn in each window."""
    digits = [[digit] * reference.WINDOWS for digit in range(32)]
    digits += [[(window + turn) % 32 for window in range(reference.WINDOWS)] for turn in range(32)]
    joined = b"".join(
        sum(digit << 5 * window for window, digit in enumerate(row)).to_bytes(32, "little") for row in digits
    )
    items = [b"item"] * len(digits)
    assert gpu.hash_and_mask(items, DST, joined) == portable.hash_and_mask(items, DST, joined)


def test_the_unused_bit_of_a_mask_does_not_count() -> None:
    drawn = random.Random(9).randbytes(32)
    other = drawn[:31] + bytes([drawn[31] ^ 128])
    one = gpu.hash_and_mask([b"m"] * 2, DST, drawn + other)
    assert one[:32] == one[32:]


@pytest.mark.parametrize("sign", [0, 128])
@pytest.mark.parametrize("case", NO_POINTS, ids=lambda case: case["comment"])
def test_points_that_are_none_are_refused_as_by_the_reference(case: dict[str, str], sign: int) -> None:
    good = reference.multiply_points(reference.BASE, scalar(1))
    bad = bytearray.fromhex(case["u"])
    bad[31] |= sign
    points = good * 4 + bytes(bad) + good + ONES
    with pytest.raises(InvalidPoint) as expected:
        reference.multiply_points(points, scalar(2))
    runs: list[Callable[[], bytes]] = [
        lambda: gpu.multiply_points(points, scalar(2)),
        lambda: gpu.unmask(points, bytes(32 * 7), good),
    ]
    for run in runs:
        with pytest.raises(InvalidPoint) as caught:
            run()
        assert str(caught.value) == str(expected.value)
        assert caught.value.detail["index"] == 4


def test_both_points_of_a_u_are_told_apart() -> None:
    point = reference.multiply_points(reference.BASE, scalar(1))
    other = point[:31] + bytes([point[31] ^ 128])
    products = gpu.multiply_points(point + other, scalar(2))
    assert products == reference.multiply_points(point + other, scalar(2))
    assert products[31] ^ products[63] == 128


def test_a_low_order_component_of_a_peers_point_is_treated_as_by_the_reference() -> None:
    point = reference.decode(reference.multiply_points(reference.BASE, scalar(1)))[0]
    shifted = plain.add(point, (0, 0))
    assert shifted is not None
    both = reference.encode(point) + reference.encode(shifted)
    products = gpu.multiply_points(both, scalar(2))
    assert products == reference.multiply_points(both, scalar(2))
    assert products[:32] == products[32:]
    drawn, key = masks(2), reference.encode(shifted)
    assert gpu.unmask(both, drawn, key) == reference.unmask(both, drawn, key)


def test_infinity_is_refused_and_the_point_of_order_two_is_not() -> None:
    key = reference.multiply_points(reference.BASE, scalar(1))
    mask = random.Random(4).randbytes(32)
    eight = plain.multiply(8, reference.decode(key)[0])
    added = plain.multiply(reference.mask_scalar(mask), eight)
    assert added is not None
    good = reference.multiply_points(reference.BASE, scalar(2))
    with pytest.raises(InvalidPoint, match="point 5 unmasks to the point at infinity") as caught:
        gpu.unmask(good * 5 + reference.encode(added), mask * 6, key)
    assert caught.value.detail["index"] == 5
    moved = plain.add(added, (0, 0))
    assert moved is not None
    points = good * 17 + reference.encode(moved)
    assert gpu.unmask(points, mask * 18, key) == reference.unmask(points, mask * 18, key)
    assert gpu.unmask(points, mask * 18, key)[-32:] == ZERO


def test_a_message_masked_to_infinity_is_refused() -> None:
    table, mask = gpu.comb_table(reference.BASE), random.Random(5).randbytes(32)
    base = plain.multiply(8, reference.decode(reference.BASE)[0])
    opposite = plain.multiply(plain.L - reference.mask_scalar(mask), base)
    assert opposite is not None
    other = plain.hash_to_point(b"m", DST)
    points = np.stack([extended(other), extended(opposite), extended(other)], axis=1).copy()
    gpu.add_multiples(table, np.frombuffer(mask * 3, np.uint8), points, negative=False, with_v=True)
    rows, infinite = gpu.encode(points, lambda array: array, with_v=True)
    assert infinite.tolist() == [0, 1, 0]
    expected = plain.add(other, plain.multiply(reference.mask_scalar(mask), base))
    assert expected is not None
    assert rows[0].tobytes() == rows[2].tobytes() == reference.encode(expected)


def test_the_mapped_point_of_order_two_counts_as_neutral() -> None:
    """No message is known that maps to (0, 0); the formulas must not depend on that."""
    u, v = plain.map_to_curve(12345)
    mapped = [(0, 1, 0), (u, 1, v), (u, 1, v), (0, 1, 0), (u, 1, v), (2 * u % plain.P, 2, v)]
    given = host.limbs([value for point in mapped for value in point], 8).T.reshape(3, 2, 3, 8)
    points = np.zeros((4, 3, 8), np.uint32)
    built = host.library("curve25519_oprf_test.cuh")
    host.run(built, "clear_sums", 1, 3, np.ascontiguousarray(given), points, np.uint64(3))
    twice = plain.add((u, v), (u, v))
    for index, total in enumerate(((u, v), (u, v), twice)):
        x, y, z, t = (int.from_bytes(row.tobytes(), "little") % plain.P for row in points[:, index])
        wanted = plain.multiply(8, total)
        assert wanted is not None
        wanted_x, wanted_y = edwards(wanted)
        assert (wanted_x * z - x) % plain.P == (wanted_y * z - y) % plain.P == 0
        assert (x * y - z * t) % plain.P == 0


def test_secrets_do_not_stay_in_the_device(small_device: HostDevice) -> None:
    items, drawn, k = [b"a private item of some length", b"another"], masks(9)[-64:], scalar(3)
    masked = gpu.hash_and_mask(items, DST, drawn)
    key, answers = gpu.multiply_points(reference.BASE, k), gpu.multiply_points(masked, k)
    unmasked = gpu.unmask(answers, drawn, key)
    assert small_device.secrets
    assert not any(array.any() for array in small_device.secrets)
    left = b"".join(array.tobytes() for array in small_device.buffers)
    for secret in (k, items[0], drawn[:32], drawn[32:], unmasked[:32], unmasked[32:]):
        assert secret not in left
    # Coordinates before the inversion tell of the scalar they come from.
    coordinates = [array for array in small_device.buffers if array.ndim == 3 and array.shape[2] == 8]
    assert len(coordinates) == 4
    assert not any(array.any() for array in coordinates)


def test_kernels_keep_their_budgets_on_sm90() -> None:
    usage = dict(sm90.usage(gpu.SOURCE))
    assert all(kernel.registers <= 128 for kernel in usage.values())
    comb = usage["curve25519_comb"]
    assert comb.shared == 48 * 1024  # what every block may have
    # An addition is seven products.
    assert comb.wide <= 7 * 72 + 8
    # A few words around the calls of SHA-512.
    assert usage.pop("curve25519_hash_points").spilled <= 96
    assert all(kernel.spilled == 0 for kernel in usage.values())


def edwards(point: tuple[int, int]) -> tuple[int, int]:
    u, v = point
    return (
        reference.C * u * pow(v, -1, plain.P) % plain.P,
        (u - 1) * pow(u + 1, -1, plain.P) % plain.P,
    )


def extended(point: tuple[int, int]) -> np.ndarray:
    """Limbs of X, Y, Z, T, with another Z than 1."""
    x, y = edwards(point)
    z = 0xABCDEF
    return host.limbs([x * z % plain.P, y * z % plain.P, z, x * y * z % plain.P], 8).T
