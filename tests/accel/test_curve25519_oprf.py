"""2HashDH with additive masks on curve25519: every backend against the reference and against b·H(x)."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import curve25519, features, selftest
from accel import curve25519_oprf as oprf
from accel.cpu import curve25519_oprf as portable
from accel.errors import BadEncoding, BadParameter, InvalidPoint
from accel.reference import curve25519 as plain
from accel.reference import curve25519_oprf as reference

VECTORS = selftest.vectors("curve25519")
BACKENDS = [name for name in oprf.UNMASK.available() if name != "reference"]
LEVELS = [name for name in BACKENDS if name in features.LEVELS and name != "portable"]
SIZES = [1, 2, 3, 7, 8, 9, 17, 63, 65, 513, 1000]
# The top bit says the parity of v here.
NO_POINTS = [case for case in VECTORS["invalid"] if not bytes.fromhex(case["u"])[31] & 128]
ZERO, ONES = bytes(32), b"\xff" * 32
SMALLEST, LARGEST = b"\x00" * 31 + b"\x40", b"\xf8" + b"\xff" * 30 + b"\x7f"


def scalar(seed):
    return curve25519.random_scalar(random.Random(seed).randbytes)


def messages(count):
    source = random.Random(count)
    return [source.randbytes(source.randrange(40)) for _ in range(count)]


def hash_and_mask(backend, items, masks):
    return oprf.HASH_AND_MASK.select(backend, batch=len(items))(items, b"tag", masks)


def multiply(backend, points, k):
    return oprf.MULTIPLY_POINTS.select(backend, batch=len(points) // 32)(points, k)


def unmask(backend, points, masks, key):
    return oprf.UNMASK.select(backend, batch=len(points) // 32)(points, masks, key)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_unmasked_is_the_hash_times_the_scalar(backend, size):
    if backend == "portable" and size > 100:
        size = 100
    items, k = messages(size), scalar(size)
    masks = random.Random(size).randbytes(32 * size)
    masked = hash_and_mask(backend, items, masks)
    key = multiply(backend, oprf.BASE, k)
    got = unmask(backend, multiply(backend, masked, k), masks, key)
    assert got == curve25519.hash_and_multiply(items, b"tag", k, backend="portable")


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.one_of(st.binary(min_size=32, max_size=32), st.sampled_from([ZERO, ONES])), max_size=5),
    st.one_of(st.binary(min_size=32, max_size=32), st.sampled_from([SMALLEST, LARGEST])),
)
def test_every_step_equals_the_reference(backend, masks, seed):
    items, joined = messages(len(masks)), b"".join(masks)
    k = curve25519.random_scalar(lambda count: seed)
    masked = reference.hash_and_mask(items, b"tag", joined)
    assert hash_and_mask(backend, items, joined) == masked
    answers, key = reference.multiply_points(masked, k), reference.multiply_points(reference.BASE, k)
    assert multiply(backend, masked + reference.BASE, k) == answers + key
    assert unmask(backend, answers, joined, key) == reference.unmask(answers, joined, key)


def test_masked_points_are_of_the_curve_and_differ_by_their_masks():
    items, masks = [b"same"] * 50, random.Random(1).randbytes(32 * 50)
    masked = oprf.hash_and_mask(items, b"tag", masks)
    assert len({masked[at : at + 32] for at in range(0, len(masked), 32)}) == 50
    (hashed,) = {plain.hash_to_point(b"same", b"tag")}
    base = plain.multiply(8, reference.decode(reference.BASE)[0])
    for index, point in enumerate(reference.decode(masked)[:3]):
        k = reference.mask_scalar(masks[32 * index : 32 * index + 32])
        assert point == plain.add(hashed, plain.multiply(k, base))
        assert plain.multiply(plain.L, point) is None


def test_digits_of_a_mask_give_its_scalar():
    mask = random.Random(2).randbytes(32)
    number = int.from_bytes(mask, "little")
    digits = [2 * (number >> 5 * w & 31) - 31 for w in range(reference.WINDOWS)]
    assert sum(digit * 32**w for w, digit in enumerate(digits)) % plain.L == reference.mask_scalar(mask)
    negative = bytes(byte ^ 255 for byte in mask)
    assert (reference.mask_scalar(mask) + reference.mask_scalar(negative)) % plain.L == 0


def test_the_table_holds_odd_multiples_of_eight_times_its_base():
    rows = reference.table(reference.BASE)
    eight = plain.multiply(8, reference.decode(reference.BASE)[0])
    for window, entry in ((0, 0), (0, 15), (1, 0), (17, 6), (50, 15)):
        u, v = plain.multiply((2 * entry + 1) * 32**window % plain.L, eight)
        x = reference.C * u * pow(v, -1, plain.P) % plain.P
        y = (u - 1) * pow(u + 1, -1, plain.P) % plain.P
        assert (-x * x + y * y - 1 - reference.D * x * x * y * y) % plain.P == 0
        wanted = (y + x) % plain.P, (y - x) % plain.P, 2 * reference.D * x * y % plain.P
        assert rows[window][entry] == wanted


@pytest.mark.parametrize("sign", [0, 128])
@pytest.mark.parametrize("case", NO_POINTS, ids=lambda case: case["comment"])
@pytest.mark.parametrize("backend", oprf.UNMASK.available())
def test_points_that_are_none_are_refused_with_their_index(backend, case, sign):
    good = reference.multiply_points(reference.BASE, scalar(1))
    bad = bytearray(bytes.fromhex(case["u"]))
    bad[31] |= sign
    points = good * 4 + bytes(bad) + good
    for run in (
        lambda: multiply(backend, points, scalar(2)),
        lambda: unmask(backend, points, bytes(32 * 6), good),
    ):
        with pytest.raises(InvalidPoint, match=case["reason"]) as caught:
            run()
        assert caught.value.detail["index"] == 4


@pytest.mark.parametrize("backend", oprf.UNMASK.available())
def test_both_points_of_a_u_are_told_apart(backend):
    point = reference.multiply_points(reference.BASE, scalar(1))
    other = point[:31] + bytes([point[31] ^ 128])
    products = multiply(backend, (point + other) * 3, scalar(2))
    assert products[:31] == products[32:63]
    assert products[31] ^ products[63] == 128


@pytest.mark.parametrize("backend", oprf.UNMASK.available())
def test_a_low_order_component_of_a_peers_point_vanishes(backend):
    point = reference.decode(reference.multiply_points(reference.BASE, scalar(1)))[0]
    shifted = plain.add(point, (0, 0))
    k = scalar(2)
    both = multiply(backend, reference.encode(point) + reference.encode(shifted), k)
    assert both[:32] == both[32:]
    # Nor does it matter in the key, which meets multiples of 8 alone.
    masks = random.Random(3).randbytes(32 * 4)
    one = unmask(backend, both[:32] * 4, masks, reference.encode(point))
    assert one == unmask(backend, both[:32] * 4, masks, reference.encode(shifted))


@pytest.mark.parametrize("backend", oprf.UNMASK.available())
def test_nothing_left_after_unmasking_is_refused(backend):
    key = reference.multiply_points(reference.BASE, scalar(1))
    mask = random.Random(4).randbytes(32)
    eight = plain.multiply(8, reference.decode(key)[0])
    point = reference.encode(plain.multiply(reference.mask_scalar(mask), eight))
    good = reference.multiply_points(reference.BASE, scalar(2))
    with pytest.raises(InvalidPoint, match="infinity") as caught:
        unmask(backend, good * 5 + point, mask * 6, key)
    assert caught.value.detail["index"] == 5


@pytest.mark.parametrize("level", LEVELS)
def test_the_mapped_point_of_order_two_counts_as_neutral(level):
    """No message is known that maps to (0, 0); the formulas must not depend on that."""
    from accel.cpu import curve25519_comb as comb
    from accel.cpu import curve25519_edwards as formulas
    from accel.cpu import curve25519_programs as programs
    from accel.cpu import field25519_vector as field
    from accel.cpu.curve25519_chunk import Chunk
    from accel.cpu.curve25519_oprf_vector import programs as ready

    path = field.PATHS[level]
    u, v = plain.hash_to_point(b"m", b"tag")
    chunk = Chunk(path, programs.SUM, path.lanes)
    values = {"s0": 0, "xd0": 1, "r0": 0, "s1": u, "xd1": 1, "r1": v}
    size = path.limbs * path.lanes
    for name, value in values.items():
        limbs = np.array(field.encode(path)(value), np.uint64)
        chunk.file[chunk.at(name) * size :][:size] = np.repeat(limbs, path.lanes)
    chunk.run(ready()["enter mapped"], halves=2)
    chunk.run(ready()["sum"])
    masked = Chunk(path, formulas.MASK, path.lanes)
    for source, target in zip(formulas.SUM_POINT, formulas.COMB_POINT, strict=True):
        masked.copy_from(chunk, source, target)
    # A mask and its negative leave the point as it was.
    for word in (0, 2**64 - 1):
        words = np.full(4 * path.lanes, word, np.uint64)
        comb.add_multiples(path, words, comb.table(path, reference.BASE), masked.file, 1)
    masked.run(ready()["leave"])
    assert masked.divide("a", "b", "f", "q", "i") is None
    output = np.empty((path.lanes, 4), np.uint64)
    masked.store("a", output, 0)
    expected = plain.multiply(8, (u, v))[0].to_bytes(32, "little")
    assert output.tobytes() == expected * path.lanes
    assert portable._edwards(0, 1, 0) == portable._NEUTRAL


def test_threads_share_a_batch_without_changing_it(monkeypatch):
    items, masks, k = messages(700), random.Random(6).randbytes(32 * 700), scalar(6)
    key = oprf.multiply_points(oprf.BASE, k)
    runs = []
    for threads in ("1", "3"):
        monkeypatch.setenv("LIUTONG_THREADS", threads)
        masked = oprf.hash_and_mask(items, b"tag", masks)
        runs.append((masked, oprf.unmask(oprf.multiply_points(masked, k), masks, key)))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("backend", oprf.UNMASK.available())
def test_empty_batches(backend):
    assert oprf.hash_and_mask([], b"tag", b"", backend=backend) == b""
    assert oprf.multiply_points(b"", scalar(1), backend=backend) == b""
    assert oprf.unmask(b"", b"", oprf.BASE, backend=backend) == b""


def test_other_arguments_are_refused():
    with pytest.raises(BadParameter):
        oprf.hash_and_mask([b"m"], b"", bytes(32))
    with pytest.raises(BadParameter):
        oprf.hash_and_mask([b"m", "text"], b"tag", bytes(64))
    for masks in (b"", bytes(31), bytes(64), bytearray(32)):
        with pytest.raises(BadParameter):
            oprf.hash_and_mask([b"m"], b"tag", masks)
        with pytest.raises(BadParameter):
            oprf.unmask(oprf.BASE, masks, oprf.BASE)
    with pytest.raises(BadParameter):
        oprf.multiply_points(oprf.BASE, bytes(32))
    with pytest.raises(BadParameter):
        oprf.multiply_points(bytearray(oprf.BASE), scalar(1))
    with pytest.raises(BadEncoding):
        oprf.multiply_points(bytes(33), scalar(1))
    for key in (b"", bytes(31), oprf.BASE * 2, bytearray(oprf.BASE)):
        with pytest.raises(BadEncoding):
            oprf.unmask(oprf.BASE, bytes(32), key)
    for key in (bytes(32), (2).to_bytes(32, "little")):
        with pytest.raises(InvalidPoint):
            oprf.unmask(oprf.BASE, bytes(32), key)
