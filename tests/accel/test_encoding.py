import math
from decimal import Decimal
from fractions import Fraction

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
