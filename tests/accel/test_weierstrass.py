"""SM2 and secp256k1: every backend against vectors, the reference, OpenSSL and each other."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec as openssl
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import selftest
from accel import weierstrass as ec
from accel.cpu import weierstrass_vector
from accel.errors import BadParameter, InvalidPoint
from accel.reference import sswu
from accel.reference import weierstrass as reference
from accel.reference.weierstrass import ints, rows_of_ints
from accel.weierstrass_backends import (
    DECOMPRESS,
    MAP_TO_CURVE,
    MULTIPLY,
    MULTIPLY_ADD,
    MULTIPLY_BASE,
    ON_CURVE,
)

VECTORS = selftest.vectors("weierstrass")
CURVES = {"sm2": ec.SM2, "secp256k1": ec.SECP256K1}
BACKENDS = [name for name in MULTIPLY.available() if name != "reference"]
ODD_SIZES = (1, 7, 8, 9, 15, 16, 17, 33)

by_curve = pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
by_backend = pytest.mark.parametrize("backend", BACKENDS)
by_vectors = pytest.mark.parametrize("backend", [name for name in BACKENDS if name in ("ifma", "avx2")])


def cases(kind):
    return pytest.mark.parametrize("case", VECTORS[kind], ids=lambda c: f"{c['curve']}: {c['comment']}")


def row(text):
    return np.frombuffer(bytes.fromhex(text), np.uint8)


def generator(curve):
    return rows_of_ints(curve.g).reshape(1, 64)


def negative(curve, points):
    x, y = points[:, :32], ints(points[:, 32:])
    return np.concatenate([x, rows_of_ints(curve.p - value for value in y)], axis=1)


def random_scalars(curve, count, seed=1):
    rng = np.random.default_rng(seed)
    return rows_of_ints(1 + int.from_bytes(rng.bytes(32), "big") % (curve.n - 1) for _ in range(count))


def edge_scalars(curve):
    """Small ones (the last addition meets equal points), large ones, table borders, the vectors' traps."""
    n = curve.n
    special = [*range(1, 40), *range(62, 67), 126, 127, 128, 129, 130, 254, 255, 256]
    special += [n - k for k in special] + [n // 2, n // 2 + 1, 1 << 255, (1 << 252) - 1, 0xF0F0 << 200]
    special += [int(c["k"], 16) for c in VECTORS["multiply_base"] if c["curve"] == curve.name]
    return rows_of_ints(special)


@cache
def edges(curve):
    """The reference takes 20 ms a scalar: once for all backends."""
    scalars = edge_scalars(curve)
    return scalars, reference.multiply_base(curve, scalars)


@cache
def portable_points(curve, count, seed=2):
    return ec.multiply_base(curve, random_scalars(curve, count, seed), backend="portable")


@by_backend
@cases("multiply_base")
def test_multiples_of_the_base_point_agree_with_the_vectors(case, backend):
    curve, k, expected = CURVES[case["curve"]], row(case["k"])[None], row(case["point"])
    assert np.array_equal(ec.multiply_base(curve, k, backend=backend)[0], expected)
    assert np.array_equal(ec.multiply(curve, generator(curve), k, backend=backend)[0], expected)


@by_backend
@by_curve
def test_edge_scalars_agree_with_the_reference(curve, backend):
    scalars, expected = edges(curve)
    assert np.array_equal(ec.multiply_base(curve, scalars, backend=backend), expected)
    assert np.array_equal(ec.multiply(curve, generator(curve), scalars, backend=backend), expected)
    opposite = negative(curve, generator(curve))
    got = ec.multiply(curve, opposite, scalars, backend=backend)
    assert np.array_equal(got, negative(curve, expected))


@by_backend
@by_curve
@pytest.mark.parametrize("size", ODD_SIZES)
def test_odd_batch_sizes_agree_with_the_reference(curve, backend, size):
    scalars, points = random_scalars(curve, size, size), portable_points(curve, size)
    few = slice(max(0, size - 3), size)  # the reference is slow: the end of the batch is where padding is
    got = ec.multiply_base(curve, scalars, backend=backend)
    assert np.array_equal(got[few], reference.multiply_base(curve, scalars[few]))
    got = ec.multiply(curve, points, scalars, backend=backend)
    assert np.array_equal(got[few], reference.multiply(curve, points[few], scalars[few]))
    assert np.array_equal(got, ec.multiply(curve, points, scalars, backend="portable"))


@by_backend
@by_curve
def test_large_batch_over_several_threads(curve, backend):
    scalars = random_scalars(curve, 1000)
    got = ec.multiply_base(curve, scalars, backend=backend)
    ec.validate(curve, got, backend=backend)
    some = [0, 127, 128, 500, 992, 999]
    assert np.array_equal(got[some], reference.multiply_base(curve, scalars[some]))


@by_backend
@by_curve
def test_one_scalar_or_one_point_serves_all_rows(curve, backend):
    scalars, points = random_scalars(curve, 9), portable_points(curve, 9)
    one = ec.multiply(curve, points, scalars[0], backend=backend)
    assert np.array_equal(one, ec.multiply(curve, points, np.tile(scalars[0], (9, 1)), backend=backend))
    one = ec.multiply(curve, points[0], scalars, backend=backend)
    assert np.array_equal(one, ec.multiply(curve, np.tile(points[0], (9, 1)), scalars, backend=backend))


@by_vectors
@by_curve
def test_many_scalars_of_one_point_share_a_table(curve, backend):
    point = portable_points(curve, 1)
    scalars = random_scalars(curve, 8193)
    scalars[:90] = edge_scalars(curve)[:90]
    got = ec.multiply(curve, point, scalars, backend=backend)
    some = np.r_[0:200, 8180:8193]
    few = ec.multiply(curve, point, scalars[some], backend=backend)
    assert np.array_equal(got[some], few)
    assert np.array_equal(few[:3], reference.multiply(curve, point, scalars[:3]))


@by_backend
def test_secp256k1_agrees_with_openssl(backend):
    scalars = random_scalars(ec.SECP256K1, 9, 5)
    publics = ec.multiply_base(ec.SECP256K1, scalars, backend=backend)
    peers = [openssl.derive_private_key(k, openssl.SECP256K1()) for k in ints(scalars)]
    numbers = [peer.public_key().public_numbers() for peer in peers]
    assert reference.points(publics) == [(number.x, number.y) for number in numbers]
    shared = ec.multiply(ec.SECP256K1, publics, scalars[::-1].copy(), backend=backend)
    exchanged = [a.exchange(openssl.ECDH(), b.public_key()) for a, b in zip(peers[::-1], peers, strict=True)]
    assert [bytes(x) for x in shared[:, :32]] == exchanged


@by_backend
@by_curve
def test_sums_of_multiples_meet_every_exceptional_case(curve, backend):
    n, g = curve.n, generator(curve)
    minus = negative(curve, g)
    pairs = [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
        (5, 5),
        (1, n - 1),
        (n - 1, 1),
        (n - 1, n - 1),
        (7, n - 7),
        (2, 1),
    ]
    u1, u2 = rows_of_ints(a for a, _ in pairs), rows_of_ints(b for _, b in pairs)
    for points in (g, minus):
        expected = reference.multiply_add(curve, u1, points, u2)
        got = ec.multiply_add_public(curve, u1, points[0], u2, backend=backend)
        assert np.array_equal(got[0], expected[0])
        assert np.array_equal(got[1], expected[1])
    assert expected[1].any()
    assert not expected[1].all()


@by_backend
@by_curve
def test_random_sums_agree_with_the_reference(curve, backend):
    u1, u2, points = random_scalars(curve, 9, 7), random_scalars(curve, 9, 8), portable_points(curve, 9)
    expected = reference.multiply_add(curve, u1[:4], points[:4], u2[:4])
    got = ec.multiply_add_public(curve, u1, points, u2, backend=backend)
    assert np.array_equal(got[0][:4], expected[0])
    assert not got[1].any()


@settings(max_examples=15, deadline=None)
@given(st.integers(1, ec.SM2.n - 1), st.integers(1, ec.SM2.n - 1))
def test_multiplication_commutes(a, b):
    left, right = rows_of_ints([a]), rows_of_ints([b])
    first = ec.multiply(ec.SM2, ec.multiply_base(ec.SM2, left), right)
    assert np.array_equal(first, ec.multiply(ec.SM2, ec.multiply_base(ec.SM2, right), left))


@cases("invalid_points")
@by_backend
def test_point_off_the_curve_is_refused_with_its_index(case, backend):
    curve = CURVES[case["curve"]]
    points = np.concatenate([np.tile(generator(curve), (9, 1)), row(case["point"])[None]])
    one = np.tile(rows_of_ints([1]), (10, 1))
    for attempt in (
        lambda: ec.validate(curve, points, backend=backend),
        lambda: ec.compress(curve, points, backend=backend),
        lambda: ec.multiply(curve, points, one, backend=backend),
        lambda: ec.multiply_add_public(curve, one, points, one, backend=backend),
    ):
        with pytest.raises(InvalidPoint) as caught:
            attempt()
        assert caught.value.detail["index"] == 9


@by_backend
@by_curve
@pytest.mark.parametrize("size", ODD_SIZES)
def test_compression_round_trip(curve, backend, size):
    points = portable_points(curve, size)
    points = np.concatenate([points, negative(curve, points)])
    compressed = ec.compress(curve, points, backend=backend)
    assert compressed.shape == (2 * size, 33)
    assert set(compressed[:, 0]) == {2, 3}
    assert np.array_equal(ec.decompress(curve, compressed, backend=backend), points)


@cases("invalid_compressed")
@by_backend
def test_bad_compressed_point_is_refused_with_its_index(case, backend):
    curve = CURVES[case["curve"]]
    good = ec.compress(curve, np.tile(generator(curve), (9, 1)), backend=backend)
    with pytest.raises(InvalidPoint) as caught:
        ec.decompress(curve, np.concatenate([good, row(case["point"])[None], good]), backend=backend)
    assert caught.value.detail["index"] == 9


@cases("hash_to_curve")
@by_backend
def test_hash_to_curve_agrees_with_the_vectors(case, backend):
    curve = CURVES[case["curve"]]
    dst = VECTORS["dst"][curve.name].encode()
    got = ec.hash_to_curve(curve, [case["message"].encode()], dst, backend=backend)
    assert got.tobytes().hex() == case["point"]
    assert reference.points(got) == [sswu.hash_message(curve, case["message"].encode(), dst)]


@by_backend
@by_curve
def test_map_to_curve_agrees_with_the_reference_on_edges(curve, backend):
    """0 and the u with Z^2 u^4 + Z u^2 = 0 take the exceptional denominator."""
    values = [0, 1, 2, curve.p - 1, curve.p - 2, curve.p // 2, 1 << 255]
    values += [v % curve.p for v in ints(np.random.default_rng(3).integers(0, 256, (10, 32), np.uint8))]
    minus_inverse_z = -pow(sswu.SUITES[curve.name].z, -1, curve.p) % curve.p
    root = pow(minus_inverse_z, (curve.p + 1) // 4, curve.p)
    if root * root % curve.p == minus_inverse_z:
        values += [root, curve.p - root]
    pairs = [(u, v) for u in values for v in values[:4]]
    elements = rows_of_ints(u for pair in pairs for u in pair).reshape(-1, 64)
    expected = sswu.map_to_curve(curve, elements)
    got = MAP_TO_CURVE.select(backend, batch=1)(curve, elements)
    assert np.array_equal(got[1], expected[1])
    assert np.array_equal(got[0], expected[0])


@by_backend
@by_curve
def test_long_tags_and_many_messages_hash_as_the_reference_does(curve, backend):
    messages = [b"message %d" % i for i in range(17)]
    for dst in (b"t", b"t" * 255, b"t" * 256, b"t" * 1000):
        got = ec.hash_to_curve(curve, messages, dst, backend=backend)
        for i in (0, 16):
            assert reference.points(got)[i] == sswu.hash_message(curve, messages[i], dst)


def test_no_rational_point_lies_in_the_kernel_of_the_isogeny():
    """What makes the isogeny map of secp256k1 free of exceptions."""
    suite, p = sswu.SUITES["secp256k1"], ec.SECP256K1.p
    constant, linear, _ = suite.isogeny[1]
    x = -linear * pow(2, -1, p) % p
    assert (x * x - constant) % p == 0
    assert pow(x**3 + suite.a * x + suite.b, (p - 1) // 2, p) == p - 1


def test_z_of_sm2_is_what_rfc_9380_prescribes():
    """Appendix H.2: the first of 1, -1, 2, -2, … that is a non-square and not -1, and makes g(x) - Z
    irreducible and g(B / (Z A)) a square."""
    curve = ec.SM2
    candidates = [sign * z for z in range(1, 10) for sign in (1, -1)]
    assert next(z for z in candidates if suits(curve, z % curve.p)) == -9
    assert sswu.SUITES["sm2"].z == -9 % curve.p


def suits(curve, z):
    p, a, b = curve.p, curve.a, curve.b
    if z == p - 1 or pow(z, (p - 1) // 2, p) != p - 1 or cubic_has_root(a, (b - z) % p, p):
        return False
    return pow(reference.right_side(curve, b * pow(z * a, -1, p) % p), (p - 1) // 2, p) in (0, 1)


def cubic_has_root(a, c, p):
    """Does x^3 + a x + c have a root? x^p - x has every element as a root: look for a common factor."""

    def times(u, v):
        r = [sum(u[i] * v[k - i] for i in range(3) if 0 <= k - i < 3) for k in range(5)]
        # x^3 = -a x - c
        for k in (4, 3):
            r[k - 2] -= a * r[k]
            r[k - 3] -= c * r[k]
        return [value % p for value in r[:3]]

    power, square, exponent = [1, 0, 0], [0, 1, 0], p
    while exponent:
        if exponent & 1:
            power = times(power, square)
        square, exponent = times(square, square), exponent >> 1
    left, right = [c, a, 0, 1], [power[0], (power[1] - 1) % p, power[2]]
    while any(right):
        while right[-1] == 0:
            right.pop()
        inverse = pow(right[-1], -1, p)
        while len(left) >= len(right):
            factor, shift = left[-1] * inverse, len(left) - len(right)
            for i, value in enumerate(right):
                left[i + shift] = (left[i + shift] - factor * value) % p
            left.pop()
        left, right = right, left or [0]
    return len(left) > 1


@by_curve
@pytest.mark.parametrize("offset", [0, 1, 2**200], ids=["order", "order + 1", "far above"])
def test_scalar_out_of_range_is_refused_with_its_index(curve, offset):
    scalars = random_scalars(curve, 10)
    for bad in (0, min(curve.n + offset, 2**256 - 1)):
        scalars[4] = rows_of_ints([bad])[0]
        for attempt in (
            lambda: ec.multiply_base(curve, scalars),
            lambda: ec.multiply(curve, generator(curve), scalars),
        ):
            with pytest.raises(BadParameter) as caught:
                attempt()
            assert caught.value.detail["index"] == 4
    with pytest.raises(BadParameter) as caught:
        ec.multiply_add_public(curve, scalars, generator(curve), scalars)
    assert caught.value.detail["index"] == 4


@by_curve
def test_wrong_shapes_and_types_are_refused(curve):
    scalars, points = random_scalars(curve, 3), portable_points(curve, 3)
    for attempt in (
        lambda: ec.multiply_base(curve, scalars.astype(np.int64)),
        lambda: ec.multiply_base(curve, bytes(32)),
        lambda: ec.multiply_base(curve, scalars[0]),
        lambda: ec.multiply_base(curve, scalars[:, :31]),
        lambda: ec.multiply(curve, points, scalars[:2]),
        lambda: ec.multiply(curve, points[:, :63], scalars),
        lambda: ec.multiply_add_public(curve, scalars, points, scalars[:2]),
        lambda: ec.multiply_add_public(curve, scalars[:1], points, scalars),
        lambda: ec.decompress(curve, points),
        lambda: ec.hash_to_curve(curve, [b"m"], b""),
        lambda: ec.hash_to_curve(curve, [b"m", "text"], b"dst"),
    ):
        with pytest.raises(BadParameter):
            attempt()


@by_curve
def test_tables_of_a_copy_of_a_curve_are_those_of_the_curve(curve):
    copied, coordinates = replace(curve), list(curve.g)
    assert copied == curve
    assert np.array_equal(
        weierstrass_vector._laid_out(copied, coordinates, 1),
        weierstrass_vector._laid_out(curve, coordinates, 1),
    )


def test_unknown_curve_is_refused():
    other = ec.Curve("other", ec.SM2.p, ec.SM2.a, ec.SM2.b, ec.SM2.n, ec.SM2.g)
    for attempt in (
        lambda: ec.multiply_base(other, random_scalars(ec.SM2, 1)),
        lambda: ec.validate(other, generator(ec.SM2)),
        lambda: ec.hash_to_curve(other, [b"m"], b"dst"),
    ):
        with pytest.raises(BadParameter):
            attempt()


@by_curve
def test_empty_batches_give_empty_results(curve):
    no_scalars, no_points = np.zeros((0, 32), np.uint8), np.zeros((0, 64), np.uint8)
    assert ec.multiply_base(curve, no_scalars).shape == (0, 64)
    assert ec.multiply(curve, no_points, no_scalars).shape == (0, 64)
    assert ec.multiply(curve, no_points, random_scalars(curve, 1)[0]).shape == (0, 64)
    assert ec.multiply(curve, generator(curve), no_scalars).shape == (0, 64)
    sums, infinite = ec.multiply_add_public(curve, no_scalars, generator(curve)[0], no_scalars)
    assert sums.shape == (0, 64)
    assert infinite.shape == (0,)
    ec.validate(curve, no_points)
    assert ec.compress(curve, no_points).shape == (0, 33)
    assert ec.decompress(curve, np.zeros((0, 33), np.uint8)).shape == (0, 64)
    assert ec.hash_to_curve(curve, [], b"dst").shape == (0, 64)


def test_arguments_are_not_changed_and_may_be_views():
    scalars = random_scalars(ec.SM2, 18)
    points = portable_points(ec.SM2, 18)
    before = scalars.copy(), points.copy()
    got = ec.multiply(ec.SM2, points[::2], scalars[::2])
    assert np.array_equal(got, ec.multiply(ec.SM2, points[::2].copy(), scalars[::2].copy()))
    assert np.array_equal(scalars, before[0])
    assert np.array_equal(points, before[1])


@pytest.mark.parametrize("op", [MULTIPLY_BASE, MULTIPLY, MULTIPLY_ADD, ON_CURVE, DECOMPRESS, MAP_TO_CURVE])
def test_samples_run_on_every_backend(op):
    arguments = op.sample(5)
    expected = op.select("reference", batch=5)(*arguments)
    for backend in BACKENDS:
        got = op.select(backend, batch=5)(*arguments)
        for a, b in zip(got, expected, strict=True):
            assert np.array_equal(a, b)
