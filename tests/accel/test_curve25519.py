import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel import curve25519, selftest
from accel.cpu import curve25519 as cpu
from accel.errors import BadEncoding, BadParameter, InvalidPoint
from accel.reference import curve25519 as reference

VECTORS = selftest.vectors("curve25519")
RFC_DST = VECTORS["dst"].encode()


def comment(case):
    return case["comment"]


@pytest.mark.parametrize("backend", curve25519.HASH_TO_CURVE.available())
@pytest.mark.parametrize("case", VECTORS["hash_to_curve"], ids=comment)
def test_hash_to_curve_agrees_with_rfc_9380(backend, case):
    point = curve25519.hash_to_curve([case["msg"].encode()], RFC_DST, backend=backend)
    assert point[::-1].hex() == case["P_x"]


@pytest.mark.parametrize("case", VECTORS["hash_to_curve"], ids=comment)
def test_reference_agrees_with_every_intermediate_value_of_rfc_9380(case):
    u0, u1 = reference.hash_to_field(case["msg"].encode(), RFC_DST)
    assert (u0, u1) == (int(case["u0"], 16), int(case["u1"], 16))
    assert reference.map_to_curve(u0) == (int(case["Q0_x"], 16), int(case["Q0_y"], 16))
    assert reference.map_to_curve(u1) == (int(case["Q1_x"], 16), int(case["Q1_y"], 16))
    assert reference.hash_to_point(case["msg"].encode(), RFC_DST) == (
        int(case["P_x"], 16),
        int(case["P_y"], 16),
    )


@pytest.mark.parametrize("r", [0, 1, 2, reference.P - 1, (reference.P - 1) // 2, 2**255 - 20])
def test_straight_line_map_agrees_with_the_definition_on_edges(r):
    xn, xd, y = cpu._map(cpu.gmpy2.mpz(r))
    x = int(xn * cpu.gmpy2.invert(xd, cpu._P) % cpu._P)
    assert (x, int(y)) == reference.map_to_curve(r)


@given(st.integers(0, reference.P - 1))
def test_straight_line_map_agrees_with_the_definition(r):
    xn, xd, y = cpu._map(cpu.gmpy2.mpz(r))
    x = int(xn * cpu.gmpy2.invert(xd, cpu._P) % cpu._P)
    assert (x, int(y)) == reference.map_to_curve(r)


@given(st.lists(st.binary(max_size=300), max_size=5), st.binary(min_size=1, max_size=400))
def test_hash_backends_agree_for_any_message_and_tag(messages, dst):
    fast = curve25519.hash_to_curve(messages, dst, backend="cpu")
    assert fast == curve25519.hash_to_curve(messages, dst, backend="reference")


def test_projective_sum_agrees_with_the_group_law_for_equal_and_opposite_points():
    x, y = reference.map_to_curve(5)
    projective = tuple(cpu.gmpy2.mpz(value) for value in (x, 1, y))
    opposite = tuple(cpu.gmpy2.mpz(value) for value in (x, 1, reference.P - y))
    sum_x, sum_z = cpu._sum_u(projective, projective)
    doubled = reference.add((x, y), (x, y))
    assert doubled is not None
    assert sum_x * cpu.gmpy2.invert(sum_z, cpu._P) % cpu._P == doubled[0]
    assert cpu._clear_cofactor(*cpu._sum_u(projective, opposite)) is None


def test_hashed_points_have_prime_order():
    for message in (b"", b"a", b"\x00" * 100):
        point = reference.hash_to_point(message, b"tag")
        assert reference.multiply(reference.L, point) is None


def test_another_tag_gives_other_points():
    assert curve25519.hash_to_curve([b"m"], b"job 1") != curve25519.hash_to_curve([b"m"], b"job 2")


def test_distinct_messages_stay_distinct_after_masking():
    messages = [str(number).encode() for number in range(2003)]
    masked = curve25519.scalar_mult_many(
        curve25519.hash_to_curve(messages, b"tag"), curve25519.random_scalar()
    )
    points = {masked[offset : offset + 32] for offset in range(0, len(masked), 32)}
    assert len(points) == len(messages)


def test_masking_commutes():
    points = curve25519.hash_to_curve([os.urandom(9) for _ in range(50)], b"tag")
    a, b = curve25519.random_scalar(), curve25519.random_scalar()
    ab = curve25519.scalar_mult_many(curve25519.scalar_mult_many(points, a), b)
    ba = curve25519.scalar_mult_many(curve25519.scalar_mult_many(points, b), a)
    assert ab == ba != points


@pytest.mark.parametrize("backend", curve25519.SCALAR_MULT.available())
@pytest.mark.parametrize("case", VECTORS["x25519"], ids=comment)
def test_scalar_mult_agrees_with_rfc_7748(backend, case):
    run = curve25519.SCALAR_MULT.select(backend, batch=1)
    assert run(bytes.fromhex(case["u"]), bytes.fromhex(case["scalar"])).hex() == case["result"]


def test_scalar_mult_backends_agree():
    points = curve25519.hash_to_curve([bytes([i]) for i in range(7)], b"tag")
    scalar = curve25519.random_scalar()
    fast = curve25519.scalar_mult_many(points, scalar, backend="cpu")
    assert fast == curve25519.scalar_mult_many(points, scalar, backend="reference")


def test_low_order_component_of_a_peer_vanishes():
    """P and P + T, T of order 2, must mask to the same point: k is a multiple of the cofactor."""
    u, v = reference.hash_to_point(b"m", b"tag")
    shifted = reference.add((u, v), (0, 0))
    assert shifted is not None
    scalar = curve25519.random_scalar()
    one = curve25519.scalar_mult_many(u.to_bytes(32, "little"), scalar)
    assert one == curve25519.scalar_mult_many(shifted[0].to_bytes(32, "little"), scalar)


def test_wrong_type_is_found_among_messages_whatever_their_order():
    with pytest.raises(BadParameter) as caught:
        curve25519.hash_and_multiply([b"a", b"b", bytearray(b"c")], b"tag", curve25519.random_scalar())
    assert caught.value.detail["index"] == 2


@pytest.mark.parametrize("case", VECTORS["invalid"], ids=comment)
@pytest.mark.parametrize("position", [0, 3, 6])
def test_bad_point_is_refused_with_its_index(case, position):
    good = curve25519.hash_to_curve([bytes([i]) for i in range(6)], b"tag")
    points = good[: 32 * position] + bytes.fromhex(case["u"]) + good[32 * position :]
    for check in (curve25519.validate, lambda p: curve25519.scalar_mult_many(p, curve25519.random_scalar())):
        with pytest.raises(InvalidPoint, match=case["reason"]) as caught:
            check(points)
        assert caught.value.detail["index"] == position


def test_every_point_of_the_reference_curve_is_accepted_and_its_twist_refused():
    source = random.Random(5)
    for _ in range(200):
        u = source.randrange(2, reference.P)
        encoded = u.to_bytes(32, "little")
        if reference.is_square(reference.curve(u)):
            assert curve25519.validate(encoded) == 1
        else:
            with pytest.raises(InvalidPoint):
                curve25519.validate(encoded)


@pytest.mark.parametrize("length", [1, 31, 33, 63])
def test_cut_points_are_refused(length):
    with pytest.raises(BadEncoding):
        curve25519.validate(bytes(length))


def test_nothing_in_nothing_out():
    assert curve25519.hash_to_curve([], b"tag") == b""
    assert curve25519.scalar_mult_many(b"", curve25519.random_scalar()) == b""
    assert curve25519.validate(b"") == 0


@pytest.mark.parametrize("scalar", [b"", bytes(32), b"\xff" * 32, bytes(31), b"\x01" + bytes(30) + b"\x40"])
def test_scalar_that_is_not_clamped_is_refused(scalar):
    with pytest.raises(BadParameter):
        curve25519.scalar_mult_many(bytes([9]) + bytes(31), scalar)


def test_empty_tag_and_text_messages_are_refused():
    with pytest.raises(BadParameter):
        curve25519.hash_to_curve([b"m"], b"")
    with pytest.raises(BadParameter) as caught:
        curve25519.hash_to_curve([b"m", "text"], b"tag")
    assert caught.value.detail["index"] == 1


def test_short_random_source_is_refused():
    with pytest.raises(BadParameter):
        curve25519.random_scalar(lambda length: b"")
