import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel import limbs
from accel.errors import BadEncoding, BadParameter
from accel.limbs import LIMB_MASK, LimbArray


@given(st.integers(1, 12), st.data())
def test_integers_and_bytes_there_and_back(count, data):
    top = (1 << 52 * count) - 1
    values = data.draw(
        st.lists(st.one_of(st.sampled_from([0, 1, top, top - 1]), st.integers(0, top)), max_size=9)
    )
    array = LimbArray.from_ints(values, count)
    assert array.limbs.shape == (count, len(values))
    assert array.limbs.size == 0 or int(array.limbs.max()) <= LIMB_MASK
    assert array.to_ints() == values
    width = -(-52 * count // 8) + data.draw(st.integers(0, 9))
    encoded = array.to_bytes(width)
    assert encoded == b"".join(value.to_bytes(width, "big") for value in values)
    assert LimbArray.from_bytes(encoded, width, count).to_ints() == values


def test_limbs_are_what_the_definition_says():
    value = sum((j + 1) << 52 * j for j in range(5))
    assert LimbArray.from_ints([value], 5).limbs[:, 0].tolist() == [1, 2, 3, 4, 5]


def test_what_does_not_fit_is_refused_with_its_index():
    with pytest.raises(BadParameter) as caught:
        LimbArray.from_ints([0, 1 << 104], 2)
    assert caught.value.detail["index"] == 1
    for bad in (-1, 1.0, "1", None):
        with pytest.raises(BadParameter):
            LimbArray.from_ints([bad], 2)
    assert LimbArray.from_ints([np.int64(7), np.uint8(8)], 1).to_ints() == [7, 8]
    with pytest.raises(BadParameter) as caught:
        LimbArray.from_bytes(bytes(20) + b"\x01" + bytes(19), 20, 2)
    assert caught.value.detail["index"] == 1
    with pytest.raises(BadParameter) as caught:
        LimbArray.from_ints([1, 256], 1).to_bytes(1)
    assert caught.value.detail["index"] == 1
    with pytest.raises(BadEncoding):
        LimbArray.from_bytes(bytes(7), 2, 1)
    with pytest.raises(BadEncoding):
        LimbArray.from_bytes(bytes(7), 0, 1)


def test_a_matrix_of_another_kind_is_refused():
    for wrong in (np.zeros((2, 3)), np.zeros(3, np.uint64), [[1]]):
        with pytest.raises(BadParameter):
            LimbArray.from_numpy(wrong)
    with pytest.raises(BadParameter, match="52"):
        LimbArray.from_numpy(np.full((1, 1), 1 << 52, np.uint64))


def test_slices_and_selections_follow_the_numbers():
    array = LimbArray.from_ints(list(range(10)), 2)
    assert array[2:5].to_ints() == [2, 3, 4]
    assert array[::-3].to_ints() == [9, 6, 3, 0]
    assert array.take([3, 3, -1]).to_ints() == [3, 3, 9]
    assert limbs.concatenate([array[:1], array[9:]]).to_ints() == [0, 9]
    assert len(array[5:5]) == 0
    assert array[5:5].to_bytes(13) == b""
    with pytest.raises(BadParameter):
        limbs.concatenate([array, LimbArray.from_ints([1], 3)])
    with pytest.raises(BadParameter):
        limbs.concatenate([])
