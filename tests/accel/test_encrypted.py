import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from accel import modular, paillier, selftest
from accel.encoding import to_fixed
from accel.encrypted_backends import MULTIPLY
from accel.errors import (
    AccelError,
    BadEncoding,
    BadParameter,
    InvalidCiphertext,
    NotRerandomized,
    PlaintextOverflow,
    WrongKey,
)
from accel.paillier import EncryptedArray, concatenate, decrypt_array, decrypt_ints, encrypt_ints

VECTORS = selftest.vectors("paillier")
small = st.integers(-(2**40), 2**40)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(small, small, small), max_size=5))
def test_computes_like_integers(private, rows):
    a, b, k = ([row[i] for row in rows] for i in range(3))
    ea, eb = encrypt_ints(private.public, a), encrypt_ints(private.public, b)
    assert decrypt_ints(private, ea + eb) == [x + y for x, y in zip(a, b, strict=True)]
    assert decrypt_ints(private, ea - eb) == [x - y for x, y in zip(a, b, strict=True)]
    assert decrypt_ints(private, ea + k) == [x + y for x, y in zip(a, k, strict=True)]
    assert decrypt_ints(private, ea - k) == [x - y for x, y in zip(a, k, strict=True)]
    assert decrypt_ints(private, ea * k) == [x * y for x, y in zip(a, k, strict=True)]
    assert decrypt_ints(private, ea * -3) == [-3 * x for x in a]
    assert decrypt_ints(private, -ea) == [-x for x in a]
    assert decrypt_ints(private, ea.sum()) == [sum(a)]
    assert decrypt_ints(private, ea.dot(k)) == [sum(x * y for x, y in zip(a, k, strict=True))]
    assert decrypt_ints(private, ea.rerandomize()) == a


def test_group_sum_slices_take_and_concatenate(private):
    array = encrypt_ints(private.public, [1, 2, 3, 4, 5])
    assert decrypt_ints(private, array.group_sum([0, 2, 0, 2, 2], 3)) == [4, 0, 11]
    assert decrypt_ints(private, array[1:4]) == [2, 3, 4]
    assert decrypt_ints(private, array[-1]) == [5]
    assert decrypt_ints(private, array.take([4, 0, 0])) == [5, 1, 1]
    assert decrypt_ints(private, concatenate([array[:2], array[4]])) == [1, 2, 5]
    assert [decrypt_ints(private, one) for one in array[:2]] == [[1], [2]]
    with pytest.raises(BadParameter):
        array.group_sum([0, 1, 0, 1, 2], 2)
    with pytest.raises(BadParameter):
        array.take([5])
    with pytest.raises(BadParameter):
        array.take([0.5])
    with pytest.raises(BadParameter):
        concatenate([])


@pytest.mark.parametrize("backend", [name for name in MULTIPLY.available() if name != "gpu"])
def test_factors_of_any_size_and_sign_give_the_same_ciphertexts(public, backend):
    m = public.ciphertext_modulus
    elements = encrypt_ints(public, range(9)).elements
    each = [0, 1, -1, 7, -(2**63), 2**64 - 1, -3, 2**40, 2**15]
    for factors in (each, each[:3] * 3, 2**64 - 59, -(2**20), 3, -1, 0):
        found = MULTIPLY.select(backend, batch=9)(elements, factors, m)
        powers = factors if isinstance(factors, list) else [factors] * 9
        plain = modular.leave(elements, m).to_ints()
        expected = [pow(c, k, m.value) for c, k in zip(plain, powers, strict=True)]
        assert modular.leave(found, m).to_ints() == expected


def test_fixed_point_product_carries_both_scales(private):
    values = paillier.encrypt_fixed(private.public, [1.5, -2.0], scale_bits=20)
    product = (values * to_fixed([0.5, 4.0], 20)).with_scale(40)
    assert paillier.decrypt_fixed(private, product) == [0.75, -8.0]


def test_rerandomizing_changes_every_ciphertext_and_no_plaintext(private):
    array = encrypt_ints(private.public, [1, 2, 3])
    fresh = array.rerandomize()
    assert not set(array.ciphertexts()) & set(fresh.ciphertexts())
    assert decrypt_ints(private, fresh) == [1, 2, 3]


def test_computed_array_must_be_rerandomized_before_it_leaves(public):
    array = encrypt_ints(public, [1, 2])
    assert array.to_bytes()
    ones = [1, 1]
    computed = [array + array, array * 2, -array, array.sum(), array.take([0]), array + ones]
    computed.append(EncryptedArray.from_bytes(public, array.to_bytes()))
    computed.append(concatenate([array, array + array]))
    for result in computed:
        with pytest.raises(NotRerandomized):
            result.to_bytes()
        assert result.rerandomize().to_bytes()


def test_bytes_survive_and_are_canonical(private):
    array = encrypt_ints(private.public, [5, -7], bound=10**9, scale_bits=12)
    data = array.to_bytes()
    again = EncryptedArray.from_bytes(private.public, data)
    assert (again.bound, again.scale_bits) == (10**9, 12)
    assert again.ciphertexts() == array.ciphertexts()
    assert decrypt_ints(private, again) == [5, -7]
    empty = encrypt_ints(private.public, [], bound=0)
    assert len(EncryptedArray.from_bytes(private.public, empty.to_bytes())) == 0


def test_damaged_bytes_are_refused(public, other):
    data = encrypt_ints(public, [5, -7]).to_bytes()
    with pytest.raises(WrongKey):
        EncryptedArray.from_bytes(other.public, data)
    for length in range(0, len(data), 61):
        with pytest.raises(BadEncoding):
            EncryptedArray.from_bytes(public, data[:length])
    with pytest.raises(BadEncoding):
        EncryptedArray.from_bytes(public, data + b"\x00")
    with pytest.raises(BadEncoding):
        EncryptedArray.from_bytes(public, b"LTEA\x02" + data[5:])
    header = {"scale": 37, "axes": 39, "length": 40, "bound length": 44}
    for what, value in (
        ("scale", b"\xff\xff"),
        ("axes", b"\x02"),
        ("axes", b"\xff"),
        ("length", b"\xff\xff\xff\xff"),
        ("bound length", b"\xff\xff"),
        ("bound length", b"\x00\x00"),
    ):
        at = header[what]
        with pytest.raises(BadEncoding):
            EncryptedArray.from_bytes(public, data[:at] + value + data[at + len(value) :])
    padded = data[:44] + (17).to_bytes(2, "big") + b"\x00" + data[46:]
    with pytest.raises(BadEncoding):
        EncryptedArray.from_bytes(public, padded)


def test_empty_array_with_absurd_axes_is_refused(public):
    data = encrypt_ints(public, [], bound=0).to_bytes()
    assert data[39:44] == b"\x01" + bytes(4)
    with pytest.raises(BadEncoding):
        EncryptedArray.from_bytes(public, data[:39] + b"\x02" + bytes(4) + b"\xff" * 4 + data[44:])


@given(st.binary(max_size=200))
def test_garbage_is_refused_with_a_typed_error(public, data):
    with pytest.raises(AccelError):
        EncryptedArray.from_bytes(public, data)


@pytest.mark.parametrize("case", VECTORS["invalid_ciphertexts"], ids=lambda case: case["comment"])
@pytest.mark.parametrize("position", [0, 2])
def test_bad_ciphertext_is_refused_with_its_index(public, case, position):
    ciphertexts = encrypt_ints(public, [1, 2]).ciphertexts()
    ciphertexts.insert(position, int(case["c"], 16))
    with pytest.raises(InvalidCiphertext) as caught:
        EncryptedArray.from_ciphertexts(public, ciphertexts, bound=1)
    assert caught.value.detail["index"] == position


def test_bound_that_could_overflow_is_refused_before_computing(public):
    array = encrypt_ints(public, [1], bound=public.max_plaintext)
    one = [1]
    for operation in (
        lambda: array + array,
        lambda: array * 2,
        lambda: array + one,
        lambda: array.dot([2]),
        lambda: concatenate([array, array]).sum(),
    ):
        with pytest.raises(PlaintextOverflow):
            operation()


def test_unequal_keys_scales_and_lengths_do_not_mix(public, other):
    array, too_short = encrypt_ints(public, [1, 2, 3]), [1, 2]
    foreign = encrypt_ints(other.public, [1, 2])
    for operation in (lambda: array + foreign, lambda: concatenate([array, foreign])):
        with pytest.raises(WrongKey):
            operation()
    for operation in (
        lambda: array + encrypt_ints(public, [1, 2, 3], scale_bits=1),
        lambda: array + encrypt_ints(public, too_short),
        lambda: array + too_short,
        lambda: array * too_short,
        lambda: array * [1.5, 2, 3],
        lambda: array * array,
        lambda: array @ too_short,
        lambda: array.sum(axis=1),
        lambda: array.reshape(2, 2),
        lambda: array[3],
        lambda: array[[0, 1], 0],
        lambda: array.dot(3),
    ):
        with pytest.raises(BadParameter):
            operation()


def numbers(shape, low=-1000, high=1000, seed=5):
    return np.random.default_rng(seed).integers(low, high, shape)


@pytest.fixture(scope="module")
def matrix(public):
    return encrypt_ints(public, numbers((3, 4)), bound=1000)


def test_shape_follows_numpy(private, matrix):
    plain = numbers((3, 4))
    assert (matrix.shape, matrix.ndim, matrix.size, len(matrix)) == ((3, 4), 2, 12, 3)
    assert_array_equal(decrypt_array(private, matrix.T), plain.T)
    assert_array_equal(decrypt_array(private, matrix.reshape(2, -1)), plain.reshape(2, -1))
    assert [row.shape for row in matrix] == [(4,)] * 3
    scalar = matrix[1, 2]
    assert scalar.shape == ()
    assert decrypt_ints(private, scalar) == [plain[1, 2]]
    with pytest.raises(TypeError):
        len(scalar)


@pytest.mark.parametrize(
    "index",
    [
        1,
        -1,
        slice(1, None),
        slice(None, None, -2),
        (slice(None), 2),
        (1, slice(0, 3)),
        (Ellipsis, -1),
        (None, 1),
        [2, 0, 2],
        ([0, 2], [1, 3]),
        np.array([True, False, True]),
        (slice(None), np.array([3, 3])),
        slice(2, 2),
    ],
    ids=str,
)
def test_index_selects_what_numpy_selects(private, matrix, index):
    assert_array_equal(decrypt_array(private, matrix[index]), numbers((3, 4))[index])


def test_selection_without_repeats_stays_fresh(matrix):
    assert matrix[1].rerandomized
    assert matrix[:, ::2].T.reshape(-1).rerandomized
    assert not matrix[[0, 0]].rerandomized
    assert not matrix[np.array([True, False, True])].rerandomized


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1), (3, 4), (2, 3, 4)], ids=str)
def test_operands_broadcast_as_in_numpy(private, matrix, shape):
    plain, other = numbers((3, 4)), numbers(shape, seed=6)
    encrypted = encrypt_ints(private.public, other, bound=1000)
    for found, expected in (
        (matrix + encrypted, plain + other),
        (encrypted - matrix, other - plain),
        (matrix + other, plain + other),
        (other - matrix, other - plain),
        (matrix - other, plain - other),
        (matrix * other, plain * other),
        (other * matrix, plain * other),
    ):
        assert found.shape == expected.shape
        assert_array_equal(decrypt_array(private, found), expected)


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1), (1, 0), ()], ids=str)
def test_sum_over_any_axis(private, matrix, axis):
    found = matrix.sum(axis)
    assert_array_equal(decrypt_array(private, found), numbers((3, 4)).sum(axis))
    assert found.bound == 1000 * 12 // max(found.size, 1)


def test_empty_axes_sum_to_zero(private):
    empty = encrypt_ints(private.public, np.empty((0, 2), dtype=np.int64), bound=9)
    assert_array_equal(decrypt_array(private, empty.sum(axis=0)), [0, 0])
    assert empty.sum(axis=1).shape == (0,)
    assert_array_equal(decrypt_array(private, empty.group_sum([], 3)), np.zeros((3, 2)))
    assert_array_equal(decrypt_array(private, np.zeros((2, 0), dtype=np.int64) @ empty), np.zeros((2, 2)))
    assert decrypt_ints(private, empty * 3 + 1 - empty) == []
    assert concatenate([empty, empty]).shape == (0, 2)


def test_rows_sum_by_group(private, matrix):
    found = decrypt_array(private, matrix.group_sum([2, 0, 2], 4))
    plain = numbers((3, 4))
    assert_array_equal(found, [plain[1], np.zeros(4), plain[0] + plain[2], np.zeros(4)])


@pytest.mark.parametrize("left", [(4,), (2, 4), (9, 4), (17, 4)], ids=str)
@pytest.mark.parametrize("right", [(4,), (4, 1), (4, 3)], ids=str)
def test_matrix_products_on_both_sides(private, left, right):
    one, two = numbers(left, -9, 10), numbers(right, -9, 10, seed=7)
    encrypted = encrypt_ints(private.public, one, bound=9)
    found = encrypted @ two
    assert found.shape == (one @ two).shape
    assert_array_equal(decrypt_array(private, found), one @ two)
    encrypted = encrypt_ints(private.public, two, bound=9)
    assert_array_equal(decrypt_array(private, one @ encrypted), one @ two)
    assert_array_equal(decrypt_array(private, encrypted.T.dot(one.T)), two.T @ one.T)


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_many_vectors_take_any_weights(private, data):
    rows, length = data.draw(st.integers(8, 11)), data.draw(st.integers(1, 3))
    weight = st.integers(-(2**70), 2**70) | st.sampled_from([0, 1, -1, 15, 16, -17])
    weights = np.array([[data.draw(weight) for _ in range(2)] for _ in range(length)], dtype=object)
    plain = numbers((rows, length)).astype(object)
    found = encrypt_ints(private.public, plain, bound=1000) @ weights
    assert_array_equal(decrypt_array(private, found), plain @ weights)
    assert found.bound == 1000 * max(abs(weights).sum(axis=0))


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 33])
def test_odd_sizes_compute_like_numpy(private, size):
    one, two = numbers(size), numbers(size, seed=8)
    a, b = (encrypt_ints(private.public, plain, bound=1000) for plain in (one, two))
    assert_array_equal(decrypt_array(private, (a - b) * two + one), (one - two) * two + one)
    assert_array_equal(decrypt_array(private, a.dot(two)), one @ two)
    groups = np.arange(size) % 3
    assert_array_equal(
        decrypt_array(private, a.group_sum(groups, 3)), [one[groups == g].sum() for g in range(3)]
    )


@pytest.mark.parametrize("factor", [0, 1, -1, 2, -3, 2**64 - 1, -(2**64)])
def test_one_factor_for_all_and_one_each_agree(private, factor):
    array = encrypt_ints(private.public, [3, -4], bound=4)
    assert decrypt_ints(private, array * factor) == [3 * factor, -4 * factor]
    assert decrypt_ints(private, array * [factor, 1]) == [3 * factor, -4]


def test_plain_integers_of_every_width_are_taken(private):
    array = encrypt_ints(private.public, [1, 2], bound=2)
    for dtype in (np.int8, np.uint8, np.int32, np.uint64, object):
        assert decrypt_ints(private, array * np.array([3, 4], dtype=dtype)) == [3, 8]
    assert decrypt_ints(private, array + np.int64(5)) == [6, 7]
    for bad in (np.array([1.0, 2.0]), np.array([True, False]), [1, True], "12", {1: 2}, None, [None, 1]):
        with pytest.raises(BadParameter):
            array * bad
        with pytest.raises(BadParameter):
            array + bad


def test_numpy_rows_go_out_and_come_back(private, matrix):
    rows = matrix.to_numpy()
    assert (rows.dtype, rows.shape) == (np.uint8, (3, 4, private.public.ciphertext_bytes))
    assert int.from_bytes(rows[0, 1].tobytes(), "big") == matrix.ciphertexts()[1]
    again = EncryptedArray.from_numpy(private.public, rows, bound=1000)
    assert again.shape == (3, 4)
    assert again.ciphertexts() == matrix.ciphertexts()
    assert not again.rerandomized
    with pytest.raises(NotRerandomized):
        again.to_numpy()
    for bad in (rows.astype(np.int16), rows[..., 1:], rows.tobytes(), rows[0, 0, 0]):
        with pytest.raises(BadParameter):
            EncryptedArray.from_numpy(private.public, bad, bound=1000)
    rows = rows.copy()
    rows[1, 2] = 255
    with pytest.raises(InvalidCiphertext) as caught:
        EncryptedArray.from_numpy(private.public, rows, bound=1000)
    assert caught.value.detail["index"] == 6


def test_rows_are_an_arrow_column(private, matrix):
    rows = matrix.reshape(-1).to_numpy()
    kind = pa.binary(rows.shape[1])
    column = pa.FixedSizeBinaryArray.from_buffers(kind, len(rows), [None, pa.py_buffer(rows)])
    assert column[5].as_py() == rows[5].tobytes()
    back = np.frombuffer(column.buffers()[1], dtype=np.uint8).reshape(rows.shape)
    assert EncryptedArray.from_numpy(private.public, back, bound=1000).ciphertexts() == matrix.ciphertexts()


def test_shape_travels_in_bytes(private, matrix):
    for array in (matrix, matrix[0, 0], matrix[:0], matrix.reshape(2, 1, 6)):
        again = EncryptedArray.from_bytes(private.public, array.to_bytes())
        assert again.shape == array.shape
        assert again.ciphertexts() == array.ciphertexts()


def test_every_prefix_of_an_array_in_bytes_is_refused(public):
    data = encrypt_ints(public, [[5, -7]], bound=10**9).to_bytes()
    for length in [*range(60), len(data) - 1]:
        with pytest.raises(BadEncoding):
            EncryptedArray.from_bytes(public, data[:length])
