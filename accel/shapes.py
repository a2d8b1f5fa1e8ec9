"""Numpy's rules about shapes, told on positions: which elements an index, a broadcast or an axis means."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.errors import BadParameter

Shape = tuple[int, ...]
Positions = npt.NDArray[np.intp]


def positions(shape: Shape) -> Positions:
    """The numbers 0, 1, … of the elements in C order, in the given shape."""
    return np.arange(math.prod(shape), dtype=np.intp).reshape(shape)


def selected(shape: Shape, index: Any) -> Positions:
    """What ``array[index]`` selects; raises BadParameter where numpy raises IndexError."""
    try:
        return np.asarray(positions(shape)[index], dtype=np.intp)
    except (IndexError, TypeError, ValueError) as error:
        raise BadParameter(f"the index does not fit an array of shape {shape}: {error}") from error


def is_basic(index: Any) -> bool:
    """Is it an index by integers and slices alone, which never repeats an element?"""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None
        or part is Ellipsis
        or isinstance(part, slice | np.integer)
        or (isinstance(part, int) and not isinstance(part, bool))
        for part in parts
    )


def common(*shapes: Shape) -> Shape:
    """The shape that all broadcast to; raises BadParameter if there is none."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise BadParameter(f"the shapes {' and '.join(map(str, shapes))} do not fit together") from error


def reshaped(shape: Shape, wanted: Shape) -> Shape:
    """Resolve a -1 in ``wanted``; raises BadParameter if the number of elements differs."""
    try:
        return positions(shape).reshape(wanted).shape
    except (TypeError, ValueError) as error:
        raise BadParameter(f"an array of shape {shape} does not take the shape {wanted}") from error


def reduced(shape: Shape, axis: int | tuple[int, ...] | None) -> tuple[npt.NDArray[np.int64], Shape]:
    """For a sum over the axis: the output element of every input element, and the output's shape.

    Raises BadParameter for an axis that is not there.
    """
    axes = tuple(range(len(shape))) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    try:
        kept = np.lib.array_utils.normalize_axis_tuple(axes, len(shape))
    except (TypeError, ValueError) as error:
        raise BadParameter(f"an array of shape {shape} has no axis {axis}") from error
    output = tuple(length for place, length in enumerate(shape) if place not in kept)
    thin = tuple(1 if place in kept else length for place, length in enumerate(shape))
    groups = np.broadcast_to(positions(output).reshape(thin), shape).ravel().astype(np.int64)
    return groups, output
