import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import paillier, selftest
from accel.encoding import to_fixed
from accel.errors import (
    AccelError,
    BadEncoding,
    BadParameter,
    InvalidCiphertext,
    NotRerandomized,
    PlaintextOverflow,
    WrongKey,
)
from accel.paillier import EncryptedArray, concatenate, decrypt_ints, encrypt_ints

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
        concatenate([])


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
        EncryptedArray.from_bytes(public, b"LTPA\x02" + data[5:])
    with pytest.raises(BadEncoding):  # claims more elements than there are
        EncryptedArray.from_bytes(public, data[:7] + b"\xff\xff\xff\xff" + data[11:])
    with pytest.raises(BadEncoding):
        EncryptedArray.from_bytes(public, data[:5] + b"\xff\xff" + data[7:])


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
    array, too_short = encrypt_ints(public, [1, 2]), [1]
    foreign = encrypt_ints(other.public, [1, 2])
    for operation in (lambda: array + foreign, lambda: concatenate([array, foreign])):
        with pytest.raises(WrongKey):
            operation()
    for operation in (
        lambda: array + encrypt_ints(public, [1, 2], scale_bits=1),
        lambda: array + encrypt_ints(public, too_short),
        lambda: array + too_short,
        lambda: array * too_short,
        lambda: array * [1.5, 2],
    ):
        with pytest.raises(BadParameter):
            operation()
