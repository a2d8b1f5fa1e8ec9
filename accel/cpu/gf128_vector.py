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
    group = parts * _VECTORS

    @compiled(variant=parts)
    def multiply(a, b, one, out, start, stop):  # type: ignore[no-untyped-def]
        """``one``: b holds a single factor, repeated to fill a vector."""
        rest = np.zeros((2, group, 2), np.uint64)
        for at in range(start, stop, group):
            whole = stop - at >= group
            x, y, room = a[at:], b[0 if one else at :], out[at:]
            if not whole:
                rest[0, : stop - at] = a[at:stop]
                x, room = rest[0], rest[0]
                if not one:
                    rest[1, : stop - at] = b[at:stop]
                    y = rest[1]
            step = 0 if one else 16 * parts
            if parts == 4:
                _products_4(x.ctypes.data, y.ctypes.data, step, room.ctypes.data)
            else:
                _products_1(x.ctypes.data, y.ctypes.data, step, room.ctypes.data)
            if not whole:
                out[at:stop] = room[: stop - at]

    @compiled(variant=parts)
    def inner_product(a, b, start, stop, out):  # type: ignore[no-untyped-def]
        rest, total = np.zeros((2, group, 2), np.uint64), np.zeros((parts, 2), np.uint64)
        for at in range(start, stop, group):
            x, y = a[at:], b[at:]
            if stop - at < group:
                rest[0, : stop - at], rest[1, : stop - at] = a[at:stop], b[at:stop]
                x, y = rest[0], rest[1]
            if parts == 4:
                _sum_4(x.ctypes.data, y.ctypes.data, total.ctypes.data)
            else:
                _sum_1(x.ctypes.data, y.ctypes.data, total.ctypes.data)
        for part in range(parts):
            out[0] ^= total[part, 0]
            out[1] ^= total[part, 1]

    return multiply, inner_product


_MULTIPLY, _INNER_PRODUCT = (
    dict(zip((1, 4), pair, strict=True)) for pair in zip(_kernels(1), _kernels(4), strict=True)
)


def multiply(level: str, a: U64, b: U64) -> U64:
    return _each(level, a, b, False)


def multiply_by(level: str, a: U64, b: U64) -> U64:
    return _each(level, a, np.tile(b, (PARTS[level], 1)), True)


def inner_product(level: str, a: U64, b: U64) -> U64:
    kernel = _INNER_PRODUCT[PARTS[level]]
    partial = np.zeros((-(-len(a) // _STEP), 2), dtype=np.uint64)

    def work(start: int, stop: int) -> None:
        kernel(a, b, start, stop, partial[start // _STEP])

    each_range(len(a), _STEP, work)
    total: U64 = np.bitwise_xor.reduce(partial, axis=0)
    return total


def _each(level: str, a: U64, b: U64, one: bool) -> U64:
    kernel, out = _MULTIPLY[PARTS[level]], np.empty_like(a)
    each_range(len(a), _STEP, lambda start, stop: kernel(a, b, one, out, start, stop))
    return out
