"""Signed fixed-point numbers as integers: one scale per array, nearest rounding, overflow refused.

A value v at scale s is the integer round(v * 2^s). Integers add and multiply exactly under encryption, so a
sum of encodings is the encoding of the sum, and a product carries the scale s1 + s2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.errors import BadParameter, PlaintextOverflow

DEFAULT_SCALE_BITS = 40
MAX_SCALE_BITS = 1024

Number = int | float | Decimal | Fraction
Numbers = Sequence[Number] | npt.NDArray[Any]
"""Numbers in a sequence, or a numpy array of floats or integers of any shape."""

_EXACT = float(1 << 62)  # below it, a scaled double rounds to an int64 without further error


def to_fixed(values: Numbers, scale_bits: int = DEFAULT_SCALE_BITS) -> list[int]:
    """Round every value to the nearest multiple of 2^-scale_bits (half to even), exactly.

    A numpy array comes out flat, in C order. Raises BadParameter with ``index`` for NaN, infinity or
    something that is not a number.
    """
    check_scale(scale_bits)
    if isinstance(values, np.ndarray):
        if values.dtype.kind == "f" and values.dtype.itemsize <= 8:
            with np.errstate(over="ignore"):  # what overflows goes the slow way
                scaled = np.ldexp(values.astype(np.float64).ravel(), scale_bits)
            # Scaling by a power of two is exact, so the only rounding is the one to an integer.
            if not scaled.size or float(np.abs(scaled).max()) < _EXACT:
                rounded: list[int] = np.rint(scaled).astype(np.int64).tolist()
                return rounded
        values = values.ravel().tolist()
    encoded = []
    for index, value in enumerate(values):
        if isinstance(value, np.integer | np.floating):
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, Number):
            raise BadParameter(f"value {index} is not a number", index=index)
        if isinstance(value, float | Decimal) and not math.isfinite(value):
            raise BadParameter(f"value {index} is not finite", index=index)
        # Fraction holds a float exactly, so the only rounding is this one.
        encoded.append(round(Fraction(value) * (1 << scale_bits)))
    return encoded


def from_fixed(values: Sequence[int], scale_bits: int = DEFAULT_SCALE_BITS) -> list[float]:
    """The nearest double to every encoded value; raises PlaintextOverflow beyond the range of a double."""
    check_scale(scale_bits)
    decoded = []
    for index, value in enumerate(values):
        try:
            decoded.append(value / (1 << scale_bits))  # int / int rounds correctly at any size
        except OverflowError as error:
            raise PlaintextOverflow(f"value {index} is beyond a double", index=index) from error
    return decoded


def check_scale(scale_bits: int) -> None:
    """Raise BadParameter unless the scale is one this package carries."""
    # Not a numpy integer, whose shifts wrap: 1 << np.int64(64) is 0.
    if (
        isinstance(scale_bits, bool)
        or not isinstance(scale_bits, int)
        or not 0 <= scale_bits <= MAX_SCALE_BITS
    ):
        raise BadParameter(f"a scale has 0 to {MAX_SCALE_BITS} bits, not {scale_bits}")
