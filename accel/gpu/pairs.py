"""Arithmetic modulo n^2 on pairs (a, b) for a + b n: five eighths of the multiply-adds (see ``pair.cuh``)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.gpu import memory
from accel.gpu.field import Elements, Field, Keep, Shape
from accel.gpu.launch import launch
from accel.gpu.wide import Reducer
from accel.modulus import Modulus


class PairField(Elements):
    """Pairs of numbers below n, for numbers below n^2; ``numbers`` is arithmetic modulo n itself."""

    def __init__(self, n: Modulus, keep: Keep) -> None:
        self.numbers = Field(n, keep)
        self.shape = replace(self.numbers.shape, paired=True)
        self.modulus = self.numbers.modulus
        self.n = n.value
        self.square = n.value * n.value
        self.radix = (1 << self.shape.bits) % self.square

    def number(self, value: int, keep: Keep) -> Any:
        """The pair of one number below n^2, shared by all threads."""
        return self.shape.number(packed(value, self.n, self.shape), keep)

    def pair_up(self, a: Any, b: Any, count: int, keep: Keep, *, shared: bool = False) -> Any:
        """Pairs of numbers below n; ``shared`` has a be one number."""
        r = self.shape.empty(count, keep)
        kernel = self.numbers.shape.kernel("pair_up", "wide.cuh")
        launch(kernel, count, a, np.uint32(shared), b, r, np.uint64(count))
        return r

    def second(self, pairs: Any, count: int, keep: Keep) -> Any:
        """b of every pair."""
        r = self.numbers.shape.empty(count, keep)
        kernel = self.numbers.shape.kernel("second_of_pair", "wide.cuh")
        launch(kernel, count, pairs, r, np.uint64(count))
        return r


class Splitter:
    """Between numbers below n^2 in tiles of their own shape and pairs."""

    def __init__(self, field: PairField, whole: Shape, keep: Keep) -> None:
        self._field = field
        self._whole = whole
        self._reducer = Reducer(field.numbers, whole.words, keep)
        number = field.numbers.shape
        self._n = number.number(field.n, keep)
        self._inverse = number.number(pow(field.n, -1, 1 << number.bits), keep)

    def split(self, x: Any, count: int, keep: Keep) -> Any:
        """(x mod n, x div n); the division is exact, of x - x mod n."""
        a = self._reducer.plain(x, count, keep)
        number = self._field.numbers.shape
        b = number.empty(count, keep)
        kernel = number.kernel("quotient", "wide.cuh")
        launch(kernel, count, x, np.uint32(self._whole.words), a, self._inverse, b, np.uint64(count))
        return self._field.pair_up(a, b, count, keep)

    def join(self, pairs: Any, count: int, keep: Keep) -> Any:
        """a + b n."""
        r = self._whole.empty(count, keep)
        half, pair = np.uint32(self._field.shape.modulus_words), np.uint32(self._field.shape.words)
        kernel = self._whole.kernel("multiply_add", "wide.cuh")
        launch(kernel, count, pairs, half, pair, self._n, half, pairs, half, pair, half, r, np.uint64(count))
        return r


def packed(value: int, n: int, shape: Shape) -> int:
    """A number below n^2 as the limbs of its pair."""
    return value % n | value // n << shape.bits


def upload_pair_table(base: int, exponent_bits: int, n: Modulus, window: int) -> Any:
    """base^(c 2^(window d)) modulo n^2 in Montgomery form, as pairs on the device."""
    with memory.translated():
        return memory.upload(pair_table(base, exponent_bits, n, window))


def pair_table(base: int, exponent_bits: int, n: Modulus, window: int) -> npt.NDArray[np.uint32]:
    """uint32 of shape (windows, 2^window, limbs of a pair)."""
    shape = replace(Shape.of(n.bits), paired=True)
    square = n.value * n.value
    windows = -(-exponent_bits // window)
    table = np.empty((windows, 1 << window, shape.words), np.uint32)
    step, one = base % square, (1 << shape.bits) % square
    for d in range(windows):
        entry = one
        for c in range(1 << window):
            data = packed(entry, n.value, shape).to_bytes(shape.number_bytes, "little")
            table[d, c] = np.frombuffer(data, "<u4")
            entry = entry * step % square
        step = pow(step, 1 << window, square)
    return table
