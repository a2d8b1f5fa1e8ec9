"""GF(2^128) by carry-less multiplication: four elements a vector (VPCLMULQDQ) or one (PCLMULQDQ).

A product of 256 bits is folded by x^128 = x^7 + x^2 + x + 1: its high words times 0x87, twice for what the
first fold pushes beyond x^128 again. A sum of products is folded once. Constant-time.

Source: Gueron, Kounavis, "Intel carry-less multiplication instruction and its usage for computing the GCM
mode", 2014, algorithm 4, without its reflected bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from accel.cpu.aes_ir import PARTS, Emitter
from accel.cpu.ir import I8, call
from accel.cpu.jit import compiled
from accel.cpu.threads import each_range

U64 = npt.NDArray[np.uint64]

_VECTORS = 4  # a step
_STEP = 1 << 12  # products worth handing to another thread


class _Field(Emitter):
    def product(self, x: Any, y: Any) -> tuple[Any, Any, Any]:
        """Low, middle and high part of the 256 bits."""
        low, a, b, high = (self._multiply(x, y, which) for which in (0x00, 0x01, 0x10, 0x11))
        return low, self.builder.xor(a, b), high

    def fold(self, low: Any, middle: Any, high: Any) -> Any:
        xor, fold = self.builder.xor, ir.Constant(self.vector, [0x87] * (2 * self.parts))
        low = xor(low, self._upwards(middle))
        high = xor(high, self._downwards(middle))
        # high = h1 x^64 + h0, and the product is low + x^128 high.
        top = self._multiply(high, fold, 0x01)  # h1 times 0x87, to stand at x^64
        low = xor(low, xor(self._multiply(high, fold, 0x00), self._upwards(top)))
        return xor(low, self._multiply(self._downwards(top), fold, 0x00))

    def _multiply(self, x: Any, y: Any, which: int) -> Any:
        """Bit 0 of ``which`` picks the word of x, bit 4 that of y."""
        name = "llvm.x86.pclmulqdq" + (".512" if self.parts == 4 else "")
        return call(self.builder, name, self.vector, x, y, I8(which))

    def _upwards(self, x: Any) -> Any:
        """Every element times x^64, cut off at x^128."""
        return self._move(x, lambda word: word - 1 if word % 2 else 2 * self.parts)

    def _downwards(self, x: Any) -> Any:
        return self._move(x, lambda word: 2 * self.parts if word % 2 else word + 1)

    def _move(self, x: Any, source: Any) -> Any:
        zero = ir.Constant(self.vector, [0] * (2 * self.parts))
        return self.shuffle(x, zero, [source(word) for word in range(2 * self.parts)])


def _products(parts: int) -> Any:
    """An intrinsic ``(a, b, step, out)``: addresses; ``step`` bytes lead from a vector of b to the next."""

    @intrinsic
    def products(typing_context, a, b, step, out):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            a, b, step, out = arguments
            field = _Field(builder, parts)
            for i in range(_VECTORS):
                y = field.load(builder.add(b, builder.mul(step, step.type(i))))
                field.store(out, field.fold(*field.product(field.load(a, i), y)), i)
            return context.get_dummy_value()

        return types.void(*(types.int64,) * 4), emit

    return products


def _sum(parts: int) -> Any:
    """An intrinsic ``(a, b, total)``, addresses: adds the products of so many vectors to one."""

    @intrinsic
    def add(typing_context, a, b, total):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            a, b, total = arguments
            field = _Field(builder, parts)
            terms = [field.product(field.load(a, i), field.load(b, i)) for i in range(_VECTORS)]
            sums = terms[0]
            for term in terms[1:]:
                sums = tuple(builder.xor(x, y) for x, y in zip(sums, term, strict=True))
            field.store(total, builder.xor(field.load(total), field.fold(*sums)))
            return context.get_dummy_value()

        return types.void(*(types.int64,) * 3), emit

    return add


_products_1, _products_4 = _products(1), _products(4)
_sum_1, _sum_4 = _sum(1), _sum(4)


def _kernels(parts: int) -> tuple[Any, Any]:
    """On addresses and whole steps: slices of arrays take seconds to compile."""
    step = 16 * parts * _VECTORS

    @compiled(variant=parts)
    def multiply(a, b, b_step, out, steps):  # type: ignore[no-untyped-def]
        """``b_step``: bytes from a vector of b to the next, 0 for one factor in all parts of a vector."""
        for i in range(steps):
            at = step * i
            if parts == 4:
                _products_4(a + at, b + _VECTORS * b_step * i, b_step, out + at)
            else:
                _products_1(a + at, b + _VECTORS * b_step * i, b_step, out + at)

    @compiled(variant=parts)
    def inner_product(a, b, total, steps):  # type: ignore[no-untyped-def]
        for i in range(steps):
            if parts == 4:
                _sum_4(a + step * i, b + step * i, total)
            else:
                _sum_1(a + step * i, b + step * i, total)

    return multiply, inner_product


_MULTIPLY, _INNER_PRODUCT = (
    dict(zip((1, 4), pair, strict=True)) for pair in zip(_kernels(1), _kernels(4), strict=True)
)


def multiply(level: str, a: U64, b: U64) -> U64:
    return _each(level, a, b, False)


def multiply_by(level: str, a: U64, b: U64) -> U64:
    return _each(level, a, np.tile(b, (PARTS[level], 1)), True)


def _each(level: str, a: U64, b: U64, one: bool) -> U64:
    parts = PARTS[level]
    kernel, group, b_step = _MULTIPLY[parts], parts * _VECTORS, 0 if one else 16 * parts
    out = np.empty_like(a)

    def work(start: int, stop: int) -> None:
        whole = (stop - start) // group
        b_at = b.ctypes.data + (0 if one else 16 * start)
        kernel(a.ctypes.data + 16 * start, b_at, b_step, out.ctypes.data + 16 * start, whole)
        rest = start + whole * group
        if rest < stop:
            x, y = _padded(a[rest:stop], group), b if one else _padded(b[rest:stop], group)
            kernel(x.ctypes.data, y.ctypes.data, b_step, x.ctypes.data, 1)
            out[rest:stop] = x[: stop - rest]

    each_range(len(a), _STEP, work)
    return out


def inner_product(level: str, a: U64, b: U64) -> U64:
    parts = PARTS[level]
    kernel, group = _INNER_PRODUCT[parts], parts * _VECTORS
    totals = np.zeros((-(-len(a) // _STEP), parts, 2), dtype=np.uint64)

    def work(start: int, stop: int) -> None:
        total, whole = totals[start // _STEP], (stop - start) // group
        kernel(a.ctypes.data + 16 * start, b.ctypes.data + 16 * start, total.ctypes.data, whole)
        rest = start + whole * group
        if rest < stop:
            x, y = _padded(a[rest:stop], group), _padded(b[rest:stop], group)
            kernel(x.ctypes.data, y.ctypes.data, total.ctypes.data, 1)

    each_range(len(a), _STEP, work)
    total: U64 = np.bitwise_xor.reduce(totals.reshape(-1, 2), axis=0)
    return total


def _padded(blocks: U64, count: int) -> U64:
    room = np.zeros((count, 2), dtype=np.uint64)
    room[: len(blocks)] = blocks
    return room
