"""What is of the wrong kind is refused by a typed error, before it can wrap, be cut short or change."""

from decimal import Decimal

import numpy as np
import pytest

from accel import curve25519, encoding, modular, paillier, sm2
from accel import weierstrass as ec
from accel.errors import BadParameter, InvalidKey

M = modular.Modulus((1 << 256) - 189)
X = M.array([1, 2, 3])
POINTS = curve25519.hash_to_curve([b"a", b"b"], b"tag")
SCALAR = curve25519.random_scalar()


@pytest.mark.parametrize("count", [1, 50])
@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)])
def test_points_and_scalars_that_others_may_write_to_are_refused_in_small_and_large_batches(kind, count):
    with pytest.raises(BadParameter):
        curve25519.validate(kind(POINTS * count))
    with pytest.raises(BadParameter):
        curve25519.scalar_mult_many(kind(POINTS * count), SCALAR)
    with pytest.raises(BadParameter):
        curve25519.scalar_mult_many(POINTS * count, kind(SCALAR))


def test_a_single_row_of_scalars_or_digests_does_not_serve_many_points():
    one = np.zeros((1, 32), np.uint8)
    one[0, 31] = 1
    points = np.repeat(ec.multiply_base(ec.SM2, one), 3, axis=0)
    with pytest.raises(BadParameter):
        ec.multiply_add_public(ec.SM2, one, points, one)
    with pytest.raises(BadParameter):
        ec.verify_digests(points, one, np.zeros((1, 64), np.uint8))


@pytest.mark.parametrize(
    ("exponent", "width"), [(1.0, 8), (1, 8.0), ("1", 8), (None, 8), (1, None), (Decimal(1), 8)]
)
def test_secret_exponents_and_widths_are_ints(exponent, width):
    with pytest.raises(BadParameter):
        modular.power_secret(X, exponent, width, M)


@pytest.mark.parametrize("width", [8.0, None, "8"])
def test_the_width_of_fixed_base_exponents_is_an_int(width):
    with pytest.raises(BadParameter):
        modular.FixedBase(3, width, M)


@pytest.mark.parametrize("count", [1.5, None, float("nan"), -1])
def test_the_number_of_groups_is_an_int(count):
    with pytest.raises(BadParameter):
        modular.product_by_group(X, [0, 0, 0], count, M)


@pytest.mark.parametrize("d", [1.5, "5", None])
def test_an_sm2_private_key_is_an_int(d):
    with pytest.raises(InvalidKey):
        sm2.PrivateKey(d)


def test_a_matrix_of_public_keys_of_another_width_is_refused():
    with pytest.raises(BadParameter):
        sm2.verify_many(np.zeros((2, 63), np.uint8), [b"m"] * 2, [bytes(64)] * 2)


@pytest.mark.parametrize("scale_bits", [np.int64(70), 1.5, None, True])
def test_scales_are_ints_because_shifts_of_numpy_integers_wrap(scale_bits):
    with pytest.raises(BadParameter):
        encoding.to_fixed([1.5, 3], scale_bits)


@pytest.mark.parametrize("bound", [np.int64(1 << 62), 1.5, None, True])
def test_bounds_are_ints_because_products_of_numpy_integers_wrap(public, bound):
    rows = paillier.encrypt_ints(public, [1]).to_numpy()
    with pytest.raises(BadParameter):
        paillier.EncryptedArray.from_numpy(public, rows, bound=bound)
