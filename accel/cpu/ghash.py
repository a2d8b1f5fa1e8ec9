"""GHASH by carry-less multiplication: four blocks a vector (VPCLMULQDQ) or one (PCLMULQDQ).

GHASH is POLYVAL with the bytes of every block reversed and the key multiplied by x (RFC 8452 appendix A);
POLYVAL needs no bits reversed and reduces, like a Montgomery product, by two multiplications with 0xC2 << 56.
A group of blocks is multiplied by falling powers of the key and reduced once. Neither tables nor branches on
data.

Source: NIST SP 800-38D section 6.4; Gueron, Kounavis, "Intel carry-less multiplication instruction", 2014.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from accel.cpu.ir import I8, I32, I64, call
from accel.cpu.jit import compiled

BLOCK = 16
_VECTORS = {1: 8, 4: 4}  # vectors in a group, by blocks in a vector
_FOLD = 0xC2 << 56


class _Emitter:
    """Arithmetic on vectors of ``parts`` elements of 128 bits."""

    def __init__(self, builder: Any, parts: int) -> None:
        self.builder, self.parts = builder, parts
        self.vector = ir.VectorType(I64, 2 * parts)
        self.zero = ir.Constant(self.vector, [0] * (2 * parts))

    def load(self, address: Any, offset: int, *, swap: bool) -> Any:
        pointer = self.builder.add(address, I64(offset))
        value = self.builder.load(self.builder.inttoptr(pointer, self.vector.as_pointer()))
        value.align = 1
        if not swap:
            return value
        octets = ir.VectorType(I8, BLOCK * self.parts)
        order = [i & ~15 | 15 - i % 16 for i in range(BLOCK * self.parts)]
        value = self.builder.bitcast(value, octets)
        value = self.builder.shuffle_vector(value, value, self._mask(order))
        return self.builder.bitcast(value, self.vector)

    def product(self, x: Any, y: Any) -> tuple[Any, Any, Any]:
        """Low, middle and high part of the 256-bit product, not yet reduced."""
        low, a, b, high = (self._multiply(x, y, which) for which in (0x00, 0x01, 0x10, 0x11))
        return low, self.builder.xor(a, b), high

    def reduce(self, low: Any, middle: Any, high: Any) -> Any:
        xor, fold = self.builder.xor, ir.Constant(self.vector, [_FOLD] * (2 * self.parts))
        low = xor(low, self._pick(self.zero, middle, 0))
        high = xor(high, self._pick(middle, self.zero, 1))
        for _ in range(2):
            low = xor(self._pick(low, low, 1), self._multiply(low, fold, 0x00))
        return xor(high, low)

    def fold_parts(self, x: Any) -> Any:
        """The sum of all elements, in element 0, the others 0."""
        total = self.zero
        for part in range(self.parts):
            order = [2 * part, 2 * part + 1] + [2 * self.parts] * (2 * self.parts - 2)
            total = self.builder.xor(total, self.builder.shuffle_vector(x, self.zero, self._mask(order)))
        return total

    def _multiply(self, x: Any, y: Any, which: int) -> Any:
        name = "llvm.x86.pclmulqdq" + (".512" if self.parts == 4 else "")
        return call(self.builder, name, self.vector, x, y, I8(which))

    def _pick(self, x: Any, y: Any, half: int) -> Any:
        """Half of every element of x below the other half (for ``half`` 1) or the same (for 0) of y."""
        width = 2 * self.parts
        order = [
            at
            for part in range(0, width, 2)
            for at in (part + half, width + part + (1 - half if half else 0))
        ]
        return self.builder.shuffle_vector(x, y, self._mask(order))

    @staticmethod
    def _mask(order: list[int]) -> Any:
        return ir.Constant(ir.VectorType(I32, len(order)), order)


def _group(parts: int, vectors: int) -> Any:
    """An intrinsic ``(state, powers, data)``: state <- (state + data[0]) H^n + data[1] H^(n-1) + …

    for n = parts * vectors blocks of data; state and powers are elements of POLYVAL.
    """

    @intrinsic
    def multiply(typing_context, state, powers, data):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            state, powers, data = arguments
            emitter = _Emitter(builder, parts)
            kind = ir.VectorType(I64, 2)
            at = builder.inttoptr(state, kind.as_pointer())
            before = builder.load(at)
            before.align = 8
            spread = ir.Constant(ir.VectorType(I32, 2 * parts), [0, 1] + [2] * (2 * parts - 2))
            y = builder.shuffle_vector(before, ir.Constant(kind, [0, 0]), spread)
            sums: list[Any] = [emitter.zero] * 3
            for i in range(vectors):
                x = emitter.load(data, BLOCK * parts * i, swap=True)
                x = builder.xor(x, y) if i == 0 else x
                power = emitter.load(powers, BLOCK * parts * i, swap=False)
                terms = emitter.product(x, power)
                sums = [builder.xor(total, term) for total, term in zip(sums, terms, strict=True)]
            after = emitter.fold_parts(emitter.reduce(*sums))
            first = builder.shuffle_vector(after, after, ir.Constant(ir.VectorType(I32, 2), [0, 1]))
            builder.store(first, at).align = 8
            return context.get_dummy_value()

        return types.void(*(types.int64,) * 3), emit

    return multiply


_one = _group(1, 1)
_group_1, _group_4 = _group(1, _VECTORS[1]), _group(4, _VECTORS[4])


def _kernel(parts: int) -> Any:
    size = parts * _VECTORS[parts]

    @compiled(variant=parts)
    def update(state, powers, data, blocks):  # type: ignore[no-untyped-def]
        """``powers``: H^size … H^1."""
        done = 0
        while blocks - done >= size:
            if parts == 4:
                _group_4(state, powers, data + 16 * done)
            else:
                _group_1(state, powers, data + 16 * done)
            done += size
        while done < blocks:
            _one(state, powers + 16 * (size - 1), data + 16 * done)
            done += 1

    return update


_UPDATE = {parts: _kernel(parts) for parts in (1, 4)}


@compiled
def _fill_powers(powers, count, zero):  # type: ignore[no-untyped-def]
    """From ``count`` rows H make H^count … H^1: a row, plus a block of zeros, times H is the next power."""
    last = powers + 16 * (count - 1)
    for i in range(count):
        for _ in range(count - 1 - i):
            _one(powers + 16 * i, last, zero)


class Ghash:
    """GHASH of whole blocks in pieces; ``wide`` asks for the 512-bit instructions. Holds the secret key H."""

    def __init__(self, h: bytes, *, wide: bool) -> None:
        self._update = _UPDATE[4 if wide else 1]
        parts = 4 if wide else 1
        size = parts * _VECTORS[parts]
        self._powers = np.tile(_times_x(h), (size, 1))
        zero = np.zeros(BLOCK, np.uint8)
        _fill_powers(self._powers.ctypes.data, size, zero.ctypes.data)
        self._state = np.zeros(2, np.uint64)

    def update(self, data: npt.NDArray[np.uint8]) -> None:
        """Take whole blocks, except at the end of a part: zeros complete the last one."""
        whole = len(data) // BLOCK
        if whole:
            self._update(self._state.ctypes.data, self._powers.ctypes.data, data.ctypes.data, whole)
        if len(data) % BLOCK:
            last = np.zeros(BLOCK, np.uint8)
            last[: len(data) % BLOCK] = data[whole * BLOCK :]
            self._update(self._state.ctypes.data, self._powers.ctypes.data, last.ctypes.data, 1)

    def digest(self) -> bytes:
        return self._state.tobytes()[::-1]


def _times_x(h: bytes) -> npt.NDArray[np.uint64]:
    """mulX_POLYVAL of RFC 8452 appendix A, with arithmetic instead of a branch on the top bit."""
    low, high = (np.frombuffer(h, ">u8").astype(np.uint64))[::-1]
    one, top = np.uint64(1), np.uint64(63)
    carry = high >> top
    return np.array([low << one | carry, high << one ^ low >> top ^ carry * np.uint64(_FOLD)], np.uint64)
