"""Slots: exact under sums and factors with negatives, and nothing may spill into a neighbour."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from accel import paillier
from accel.errors import (
    AccelError,
    BadEncoding,
    BadParameter,
    InvalidCiphertext,
    NotRerandomized,
    PlaintextOverflow,
    WrongKey,
)
from accel.paillier import PackedArray, Slots, decrypt_packed, encrypt_ints, encrypt_packed, pack


def numbers(shape, high=100, seed=3):
    return np.random.default_rng(seed).integers(-high, high + 1, shape)


@given(st.integers(2, 300), st.data())
def test_slots_hold_every_signed_value(bits, data):
    slots = Slots(bits, 2047 // bits)
    value = st.integers(-slots.limit, slots.limit) | st.sampled_from([slots.limit, -slots.limit])
    length = data.draw(st.integers(1, 2 * slots.count + 1))
    rows = data.draw(st.integers(0, 3))
    values = [data.draw(value) for _ in range(rows * length)] if rows * length < 200 else [-slots.limit]
    length = min(length, len(values)) or 1
    values = values[: len(values) // length * length]
    packed = slots.pack(values, length)
    assert all(abs(plain) <= slots.limit * slots.ones for plain in packed)
    assert slots.unpack(packed, length) == values


@given(st.integers(0, 2**100), st.integers(0, 64))
def test_layout_fits_the_key(public, bound, guard_bits):
    slots = Slots.fitting(public, bound, guard_bits)
    assert bound << guard_bits <= slots.limit or guard_bits == 0 == bound
    assert slots.limit * slots.ones <= public.max_plaintext
    assert slots.bits * (slots.count + 1) > public.max_plaintext.bit_length()


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_slots_compute_like_integers(private, data):
    rows, length = data.draw(st.integers(1, 4)), data.draw(st.sampled_from([1, 2, 59, 60, 61, 130]))
    a, b = numbers((rows, length), seed=data.draw(st.integers(0, 99))), numbers((rows, length))
    factor = data.draw(st.integers(-1000, 1000))
    pa, pb = (encrypt_packed(private.public, m, bound=100, guard_bits=26) for m in (a, b))
    assert_array_equal(decrypt_packed(private, pa), a)
    assert_array_equal(decrypt_packed(private, pa + pb), a + b)
    assert_array_equal(decrypt_packed(private, pa * factor - pb), a * factor - b)
    assert_array_equal(decrypt_packed(private, -pa + b), b - a)
    assert_array_equal(decrypt_packed(private, pa - b[0]), a - b[0])
    assert_array_equal(decrypt_packed(private, pa.sum(axis=0)), a.sum(axis=0))
    assert_array_equal(decrypt_packed(private, pa.rerandomize()), a)


def test_rows_index_group_and_mix_like_numpy(private):
    values = numbers((3, 2, 5))
    packed = encrypt_packed(private.public, values, bound=100, guard_bits=10)
    assert (packed.shape, len(packed)) == ((3, 2, 5), 3)
    for index in (0, slice(1, None), (slice(None), 1), [2, 2], (1, 0), np.array([True, False, True])):
        assert_array_equal(decrypt_packed(private, packed[index]), values[index])
    assert [row.shape for row in packed] == [(2, 5)] * 3
    for axis in (None, 0, 1, -1, (0, 1)):
        expected = values.sum(axis=(0, 1) if axis is None else {-1: 1}.get(axis, axis))
        assert_array_equal(decrypt_packed(private, packed.sum(axis)), expected)
    grouped = packed.group_sum([1, 0, 1], 3)
    assert_array_equal(decrypt_packed(private, grouped), [values[1], values[0] + values[2], np.zeros((2, 5))])
    rows = packed[:, 0]
    weights = numbers((4, 3), 9)
    assert_array_equal(decrypt_packed(private, weights @ rows), weights @ values[:, 0])
    assert_array_equal(decrypt_packed(private, weights[0] @ rows), weights[0] @ values[:, 0])
    factors = np.array([[2], [-3], [4]])
    assert_array_equal(decrypt_packed(private, rows * factors), values[:, 0] * factors)


@pytest.mark.parametrize("length", [1, 5, 255, 256, 257])
def test_encrypted_values_move_into_slots(private, length):
    values = numbers((2, length), 7) if length < 10 else numbers(length, 7)
    array = encrypt_ints(private.public, values, bound=7)
    packed = pack(array, guard_bits=4)
    assert packed.slots == Slots(8, 255)
    assert not packed.rerandomized
    assert_array_equal(decrypt_packed(private, packed.rerandomize() + packed), 2 * values)


def test_empty_arrays_pack(private):
    for shape in ((0,), (0, 3), (2, 0)):
        values = np.empty(shape, dtype=np.int64)
        packed = encrypt_packed(private.public, values, bound=5)
        assert decrypt_packed(private, packed).shape == shape
        again = PackedArray.from_bytes(private.public, packed.to_bytes())
        assert again.shape == shape
        assert pack(encrypt_ints(private.public, values, bound=5)).shape == shape


def test_what_could_spill_into_a_neighbour_is_refused(public):
    packed = encrypt_packed(public, numbers((4, 3)), bound=100, guard_bits=1)
    (packed + packed).rerandomize()
    for operation in (
        lambda: packed + packed + packed,
        lambda: packed * 3,
        lambda: packed * np.array([[1], [1], [1], [-3]]),
        lambda: packed + 156,
        lambda: packed.sum(axis=0),
        lambda: packed.group_sum([0, 0, 0, 1], 2),
        lambda: [1, 1, 0, 1] @ packed,
    ):
        with pytest.raises(PlaintextOverflow):
            operation()
    with pytest.raises(PlaintextOverflow) as caught:
        encrypt_packed(public, [[1, 2], [3, -101]], bound=100)
    assert caught.value.detail["index"] == 3
    with pytest.raises(PlaintextOverflow):
        encrypt_packed(public, [1], bound=1, guard_bits=2047)


def test_layouts_do_not_mix(public):
    packed = encrypt_packed(public, numbers((2, 3)), bound=100)
    for operation in (
        lambda: packed + encrypt_packed(public, numbers((2, 3)), bound=100, guard_bits=1),
        lambda: packed + encrypt_packed(public, numbers((2, 4)), bound=100),
        lambda: packed + numbers((2, 4)),
        lambda: packed + numbers((5, 2, 3)),
        lambda: packed * [1, 2, 3],
        lambda: packed[0, 0, 0],
        lambda: packed[..., 0],
        lambda: packed.sum(axis=2),
        lambda: [[1, 2, 3]] @ packed,
        lambda: encrypt_packed(public, 5),
        lambda: pack(encrypt_ints(public, 5)),
        lambda: Slots.fitting(public, 5, -1),
    ):
        with pytest.raises(BadParameter):
            operation()


def test_bytes_survive_and_are_strict(private, other):
    values = numbers((2, 300))
    packed = encrypt_packed(private.public, values, bound=100, guard_bits=3)
    data = packed.to_bytes()
    again = PackedArray.from_bytes(private.public, data)
    assert (again.bound, again.slots, again.shape) == (100, packed.slots, (2, 300))
    assert_array_equal(decrypt_packed(private, again), values)
    with pytest.raises(NotRerandomized):
        (packed + packed).to_bytes()
    with pytest.raises(WrongKey):
        PackedArray.from_bytes(other.public, data)
    for bad in (
        data[:5],
        b"LTSL\x02" + data[5:],
        data[:5] + b"\x00\x01" + data[7:],
        data[:5] + b"\xff\xff" + data[7:],
        data[:6] + bytes([data[6] + 1]) + data[7:],
        data[:7] + b"\xff\xff" + data[9:],
        data[:-1],
    ):
        with pytest.raises(BadEncoding):
            PackedArray.from_bytes(private.public, bad)
    with pytest.raises(InvalidCiphertext):
        PackedArray.from_bytes(private.public, data[:-700] + b"\xff" * 700)


@given(st.binary(max_size=100))
def test_garbage_is_refused_with_a_typed_error(public, data):
    with pytest.raises(AccelError):
        PackedArray.from_bytes(public, b"LTSL\x01" + data)


def test_broken_promise_about_a_slot_is_noticed(private):
    honest = encrypt_packed(private.public, [[3, 200, 5]], bound=255)
    slots = honest.slots
    carriers = paillier.EncryptedArray.from_ciphertexts(
        private.public, honest.carriers.ciphertexts(), bound=100 * slots.ones
    ).reshape(1, 1)
    with pytest.raises(PlaintextOverflow):
        decrypt_packed(private, PackedArray(carriers, slots, 3, 100))


def test_packing_saves_ciphertexts(public):
    packed = encrypt_packed(public, numbers((1, 1000)), bound=100, guard_bits=8)
    assert packed.carriers.size == 8
    assert repr(packed) == "<PackedArray of shape (1, 1000), 127 slots of 16 bits>"
