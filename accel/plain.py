"""Plain integers as callers give them: one int, (nested) sequences of ints, or numpy integer arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.errors import BadParameter

Integers = int | Sequence[Any] | npt.NDArray[Any]
"""An int, ints in sequences of any depth, or a numpy array of integers (or of Python ints, dtype object)."""


@dataclass(frozen=True, repr=False)  # holds what is about to be encrypted
class Plain:
    """Python ints in C order and the shape they came in."""

    values: list[int]
    shape: tuple[int, ...]

    @property
    def largest(self) -> int:
        """The greatest magnitude; 0 for an empty array."""
        return max(max(self.values), -min(self.values)) if self.values else 0

    def array(self) -> npt.NDArray[Any]:
        """A numpy array of Python ints, so that indexing and broadcasting are numpy's."""
        made = np.empty(len(self.values), dtype=object)
        made[:] = self.values
        return made.reshape(self.shape)


def integers(given: Integers) -> Plain:
    """Check and flatten; raises BadParameter with ``index`` (in C order) for what is not an integer.

    Booleans and floats are refused: encode floats with `accel.encoding.to_fixed` first.
    """
    if isinstance(given, np.ndarray):
        if given.dtype.kind in "iu":
            return Plain(given.ravel().tolist(), given.shape)
        if given.dtype != object and given.size:
            raise BadParameter(f"an array of {given.dtype} does not hold integers", index=0)
        return Plain(_checked(given.ravel().tolist()), given.shape)
    if isinstance(given, int | np.integer):
        return Plain(_checked([given]), ())
    if isinstance(given, str | bytes) or not isinstance(given, Sequence):
        raise BadParameter(f"integers are needed, not {type(given).__name__}", index=0)
    if any(isinstance(value, list | tuple | np.ndarray) for value in given):
        try:
            nested = np.array([np.asarray(row, dtype=object) for row in given], dtype=object)
        except ValueError as error:
            raise BadParameter("the rows of a nested sequence differ in length") from error
        return Plain(_checked(nested.ravel().tolist()), nested.shape)
    return Plain(_checked(list(given)), (len(given),))


def as_numpy(values: Sequence[int], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """int64 where every value fits, else Python ints (dtype object)."""
    plain = Plain(list(values), shape)
    if plain.largest < 1 << 63:
        return np.array(plain.values, dtype=np.int64).reshape(shape)
    return plain.array()


def _checked(values: list[Any]) -> list[int]:
    for index, value in enumerate(values):
        if type(value) is not int:
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise BadParameter(f"value {index} is not an int: encode it first", index=index)
            values[index] = int(value)
    return values
