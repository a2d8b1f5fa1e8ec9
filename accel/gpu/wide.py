"""Between moduli of different sizes on the device: residues of longer numbers and Garner's formula."""

from __future__ import annotations

from typing import Any

import numpy as np

from accel.gpu import memory
from accel.gpu.field import BLOCKS_EACH, THREADS, Field, Keep, Shape
from accel.gpu.launch import launch, resident
from accel.modulus import Modulus


class Reducer:
    """Takes numbers of another shape, multiplied by ``scale``, into the Montgomery form of a field."""

    def __init__(self, field: Field, words: int, keep: Keep, *, scale: int = 1) -> None:
        self.field = field
        self._words = words
        parts = -(-words // field.shape.words)
        m = field.m.value
        lanes = [field.shape.lane(scale * pow(field.radix, part + 2, m) % m).ravel() for part in range(parts)]
        self._factors = keep(memory.upload(np.concatenate(lanes), secret=True))

    def plain(self, x: Any, count: int, keep: Keep) -> Any:
        """x scale mod m."""
        one = self.field.number(1, keep)
        return self.field.multiply(self.enter(x, count, keep), one, count, keep, shared=True)

    def enter(self, x: Any, count: int, keep: Keep) -> Any:
        """x scale R' mod m."""
        shape = self.field.shape
        grid = resident(BLOCKS_EACH, count, block=THREADS)
        scratch = shape.empty(2 * grid * THREADS, keep)
        r = shape.empty(count, keep)
        launch(
            shape.kernel("reduce_wide", "wide.cuh"),
            count,
            x,
            np.uint32(self._words),
            self._factors,
            self.field.modulus,
            scratch,
            r,
            np.uint64(count),
            block=THREADS,
            grid=grid,
        )
        return r


class Garner:
    """x < p q from residues: x_p + p ((x_q - x_p) p^-1 mod q) (Handbook of Applied Cryptography, 14.71)."""

    def __init__(self, p: Modulus, q: Modulus, pq: Modulus, keep: Keep) -> None:
        self.p_shape = Shape.of(p.bits)
        self.field_q = Field(q, keep)
        self.shape = Shape.of(pq.bits)
        self._p = self.p_shape.number(p.value, keep)
        self._p_inverse = self.field_q.number(pow(p.value, -1, q.value), keep)
        self._from_p = Reducer(self.field_q, self.p_shape.words, keep)
        self._from_q = Reducer(self.field_q, self.field_q.shape.words, keep)

    def combine(self, x_p: Any, x_q: Any, count: int, keep: Keep) -> Any:
        """Plain residues in, plain tiles of the shape of p q out."""
        q = self.field_q
        a = self._from_q.enter(x_q, count, keep)
        b = self._from_p.enter(x_p, count, keep)
        difference = q.shape.empty(count, keep)
        n = np.uint64(count)
        launch(q.shape.kernel("subtract", "wide.cuh"), count, a, b, q.modulus, difference, n)
        h = q.multiply(difference, self._p_inverse, count, keep, shared=True)
        r = self.shape.empty(count, keep)
        launch(
            self.shape.kernel("multiply_add", "wide.cuh"),
            count,
            x_p,
            np.uint32(self.p_shape.words),
            np.uint32(self.p_shape.words),
            self._p,
            np.uint32(self.p_shape.words),
            h,
            np.uint32(q.shape.words),
            np.uint32(q.shape.words),
            np.uint32(0),
            r,
            n,
        )
        return r
