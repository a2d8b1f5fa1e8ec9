import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.encoding import from_fixed, to_fixed
from accel.errors import BadParameter, PlaintextOverflow


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12)))
def test_rounds_to_the_nearest_multiple(values):
    for value, encoded in zip(values, to_fixed(values, 40), strict=True):
        assert abs(Fraction(value) * 2**40 - encoded) <= Fraction(1, 2)


def test_sum_of_encodings_is_exact():
    assert sum(to_fixed([0.5, -0.25, 3, Decimal("0.125"), Fraction(1, 8)], 3)) == 28


def test_halves_round_to_even():
    assert to_fixed([0.5, 1.5, 2.5, -0.5, -1.5], 0) == [0, 2, 2, 0, -2]


@given(st.integers(-(2**200), 2**200), st.integers(0, 200))
def test_decoding_gives_the_nearest_double(encoded, scale_bits):
    assert from_fixed([encoded], scale_bits) == [float(Fraction(encoded, 2**scale_bits))]


@pytest.mark.parametrize(
    "bad", [math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("Infinity"), "1", None, True]
)
def test_what_is_no_finite_number_is_refused_with_its_index(bad):
    with pytest.raises(BadParameter) as caught:
        to_fixed([1.0, bad])
    assert caught.value.detail["index"] == 1


def test_beyond_a_double_is_an_error_and_not_infinity():
    with pytest.raises(PlaintextOverflow):
        from_fixed([1 << 2000], 40)


@pytest.mark.parametrize("scale_bits", [-1, 1025])
def test_scale_out_of_range_is_refused(scale_bits):
    with pytest.raises(BadParameter):
        to_fixed([1], scale_bits)


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), max_size=6),
    st.sampled_from([0, 1, 20, 40, 300, 1024]),
)
def test_numpy_arrays_round_like_single_numbers(values, scale_bits):
    assert to_fixed(np.array(values, dtype=np.float64), scale_bits) == to_fixed(values, scale_bits)


def test_numpy_arrays_of_every_kind_encode():
    assert to_fixed(np.array([[1, -2]], dtype=np.int16), 4) == [16, -32]
    assert to_fixed(np.array([0.5, -0.25], dtype=np.float32), 2) == [2, -1]
    assert to_fixed(np.array([0.5, 1.5, 2.5]), 0) == [0, 2, 2]
    assert to_fixed(np.empty(0), 3) == []
    assert to_fixed([np.float32(0.5), np.int64(3)], 1) == [1, 6]
    for bad in (np.array([1.0, np.nan]), np.array([1.0, np.inf]), np.array([1, None], dtype=object)):
        with pytest.raises(BadParameter) as caught:
            to_fixed(bad, 10)
        assert caught.value.detail["index"] == 1
    for bad in (np.array([True]), np.array([1 + 2j]), np.array(["1"])):
        with pytest.raises(BadParameter):
            to_fixed(bad, 10)
