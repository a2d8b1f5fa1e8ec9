"""Every backend that this machine has gives what the reference gives: edges, odd sizes, bad points."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import curve25519, selftest
from accel.cpu import curve25519 as portable
from accel.errors import InvalidPoint
from accel.reference import curve25519 as reference

VECTORS = selftest.vectors("curve25519")
SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65, 511, 513, 1000]
SCALAR = bytes.fromhex(VECTORS["x25519"][0]["scalar"])
LOW_ORDER = 325606250916557431795983626356110631294008115727848805560023387167927233504

FAST_HASH = [name for name in curve25519.HASH_TO_CURVE.available() if name != "reference"]
FAST_MULT = [name for name in curve25519.SCALAR_MULT.available() if name != "reference"]
FAST_BOTH = [name for name in curve25519.HASH_AND_MULTIPLY.available() if name != "reference"]
FAST_CHECK = [name for name in curve25519.FIND_INVALID.available() if name != "reference"]


@pytest.fixture(scope="module")
def large():
    return curve25519.hash_to_curve([number.to_bytes(2, "big") for number in range(5000)], b"tag")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Ranges of a size that does not depend on the machine."""
    monkeypatch.setenv("LIUTONG_THREADS", "1")


def encode(*numbers):
    return b"".join(number.to_bytes(32, "little") for number in numbers)


def messages(count):
    source = random.Random(count)
    return [source.randbytes(source.randrange(40)) for _ in range(count)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("backend", FAST_HASH)
def test_hashes_of_any_number_of_messages_equal_the_portable_ones(backend, size):
    run = curve25519.HASH_TO_CURVE.select(backend, batch=size)
    assert run(messages(size), b"tag") == portable.hash_to_curve(messages(size), b"tag")


@pytest.mark.parametrize("backend", FAST_HASH)
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(max_size=400), max_size=20),
    st.one_of(st.binary(min_size=1, max_size=300), st.integers(90, 125).map(bytes)),
)
def test_hashes_of_any_length_and_tag_equal_the_portable_ones(backend, items, dst):
    run = curve25519.HASH_TO_CURVE.select(backend, batch=len(items))
    assert run(items, dst) == portable.hash_to_curve(items, dst)


@pytest.mark.parametrize("backend", FAST_HASH)
def test_messages_of_every_length_meet_every_block_boundary(backend):
    items = [bytes(length) for length in range(300)]
    run = curve25519.HASH_TO_CURVE.select(backend, batch=len(items))
    assert run(items, b"tag") == portable.hash_to_curve(items, b"tag")


@pytest.mark.parametrize("backend", FAST_HASH)
def test_some_hashes_equal_the_reference(backend):
    run = curve25519.HASH_TO_CURVE.select(backend, batch=40)
    assert run(messages(40), b"tag") == reference.hash_to_curve(messages(40), b"tag")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("backend", FAST_MULT)
def test_products_of_any_number_of_points_equal_openssl(backend, size):
    source = random.Random(size)
    points = encode(*(source.randrange(2, reference.P - 1) for _ in range(size)))
    run = curve25519.SCALAR_MULT.select(backend, batch=size)
    assert run(points, SCALAR) == portable.scalar_mult_many(points, SCALAR)


@pytest.mark.parametrize("backend", FAST_MULT)
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.integers(2, reference.P - 2),
            # Limbs full of ones or zeros carry the farthest.
            st.integers(0, 2**20).map(lambda low: reference.P - 2 - low),
            st.integers(0, 250).map(lambda bit: (1 << bit) + 1),
            st.integers(60, 254).map(lambda bit: (1 << bit) - 3),
        ).filter(lambda u: u not in (0, 1, LOW_ORDER)),
        min_size=1,
        max_size=20,
    ),
    st.binary(min_size=32, max_size=32),
)
def test_products_equal_the_reference_for_any_scalar(backend, numbers, seed):
    scalar = curve25519.random_scalar(lambda count: seed)
    run = curve25519.SCALAR_MULT.select(backend, batch=len(numbers))
    assert run(encode(*numbers), scalar) == reference.scalar_mult_many(encode(*numbers), scalar)


@pytest.mark.parametrize("scalar", [b"\x00" * 31 + b"\x40", b"\xf8" + b"\xff" * 30 + b"\x7f"])
@pytest.mark.parametrize("backend", FAST_MULT)
def test_smallest_and_largest_scalar(backend, scalar):
    points = encode(*range(2, 22))
    run = curve25519.SCALAR_MULT.select(backend, batch=20)
    assert run(points, scalar) == reference.scalar_mult_many(points, scalar)


@pytest.mark.parametrize("position", [0, 6, 8, 700])
@pytest.mark.parametrize("u", [0, 1, reference.P - 1, LOW_ORDER])
@pytest.mark.parametrize("backend", FAST_MULT)
def test_product_of_a_low_order_point_is_refused_with_its_index(backend, u, position):
    run = curve25519.SCALAR_MULT.select(backend, batch=position + 3)
    with pytest.raises(InvalidPoint, match="low order") as caught:
        run(encode(*[9] * position, u, 9, 9), SCALAR)
    assert caught.value.detail["index"] == position


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("backend", FAST_BOTH)
def test_hash_and_multiply_is_both_one_after_the_other(backend, size):
    run = curve25519.HASH_AND_MULTIPLY.select(backend, batch=size)
    hashed = portable.hash_to_curve(messages(size), b"tag")
    assert run(messages(size), b"tag", SCALAR) == portable.scalar_mult_many(hashed, SCALAR)


def test_reference_hashes_and_multiplies_the_known_case():
    case = VECTORS["hash_and_multiply"][0]
    scalar = bytes.fromhex(case["scalar"])
    got = curve25519.hash_and_multiply(
        [case["msg"].encode()], VECTORS["dst"].encode(), scalar, backend="reference"
    )
    assert got.hex() == case["result"]


@pytest.mark.parametrize("backend", curve25519.FIND_INVALID.available())
@pytest.mark.parametrize("case", VECTORS["invalid"], ids=lambda case: case["comment"])
def test_every_invalid_point_is_found_with_its_reason(backend, case):
    good = b"".join(bytes.fromhex(c["P_x"])[::-1] for c in VECTORS["hash_to_curve"])
    run = curve25519.FIND_INVALID.select(backend, batch=11)
    index, reason = run(good + bytes.fromhex(case["u"]) + good)
    assert index == 5
    assert case["reason"] in reason


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("backend", FAST_CHECK)
def test_valid_points_pass_in_any_number_and_the_first_bad_one_is_named(backend, size):
    run = curve25519.FIND_INVALID.select(backend, batch=size)
    good = portable.hash_to_curve(messages(size), b"tag")
    assert run(good) is None
    twist, large = encode(2), encode(reference.P)
    assert not reference.is_square(reference.curve(2))
    last = good[:-32]
    assert run(last + twist) == (size - 1, "is not on the curve")
    if size > 2:
        middle = size // 2
        data = good[: 32 * middle] + large + good[32 * middle + 32 : -32] + twist
        assert run(data) == (middle, "is not canonically encoded")


@pytest.mark.parametrize("backend", FAST_CHECK)
@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.integers(0, 2**256 - 1),
        st.sampled_from([0, 1, 2, 9, LOW_ORDER]),
        st.integers(-40, 40).map(lambda delta: reference.P + delta),
        st.integers(-40, 40).map(lambda delta: 2**255 + delta),
    )
)
def test_any_32_bytes_are_judged_as_by_the_reference(backend, u):
    run = curve25519.FIND_INVALID.select(backend, batch=1)
    assert run(encode(u)) == reference.find_invalid(encode(u))


@pytest.mark.parametrize("position", [None, 0, 5, 2047, 3000, 4999])
@pytest.mark.parametrize("u", [2, LOW_ORDER, reference.P])
@pytest.mark.parametrize("backend", FAST_CHECK)
def test_a_bad_point_among_thousands_is_found(large, backend, u, position):
    points = bytearray(large)
    run = curve25519.FIND_INVALID.select(backend, batch=5000)
    if position is None:
        assert run(bytes(points)) is None
    else:
        points[32 * position : 32 * position + 32] = encode(u)
        index, reason = run(bytes(points))
        assert (index, reason) == (position, reference.find_invalid(encode(u))[1])


@pytest.mark.parametrize("backend", FAST_CHECK)
def test_pairs_of_twist_points_in_one_lane_are_found(large, backend):
    """The product of two non-squares is a square: only random subsets tell them from good points."""
    points = bytearray(large)
    for position in (16, 1616):
        points[32 * position : 32 * position + 32] = encode(2)
    run = curve25519.FIND_INVALID.select(backend, batch=5000)
    assert run(bytes(points)) == (16, "is not on the curve")


@pytest.mark.parametrize("backend", FAST_HASH)
def test_empty_batches(backend):
    assert curve25519.hash_to_curve([], b"tag", backend=backend) == b""
    assert curve25519.scalar_mult_many(b"", SCALAR, backend=backend) == b""
    assert curve25519.hash_and_multiply([], b"tag", SCALAR, backend=backend) == b""
    assert curve25519.FIND_INVALID.select(backend, batch=0)(b"") is None


def test_threads_share_a_batch_without_changing_it(monkeypatch):
    points = encode(*range(2, 702))
    run = curve25519.SCALAR_MULT.select("cpu", batch=700)
    alone = run(points, SCALAR)
    monkeypatch.setenv("LIUTONG_THREADS", "3")
    assert run(points, SCALAR) == alone
