"""Multiples of a fixed base of curve25519 by secret masks: 51 additions from a table, no doubling.

A mask stands for a scalar whose digits to the base 32 are odd, from -31 to 31: five of its bits give each.
Every digit costs one addition, whatever it is: sixteen odd multiples lie in the table for each position, all
of them read (with AVX-512, by one permutation of two registers), and the sign is a conditional move. The
formulas are complete, so no point is an exception.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic

from accel.cpu import field25519_vector as field
from accel.cpu import ir
from accel.cpu.field25519_vector import Path
from accel.cpu.jit import compiled
from accel.reference.curve25519_oprf import ENTRIES, WINDOW_BITS, WINDOWS
from accel.reference.curve25519_oprf import table as entries_of

U64 = npt.NDArray[np.uint64]

_COORDINATES = 3
# Vectors that go through the table side by side: their points stay in the L1 cache.
_ABREAST = 8


@lru_cache(maxsize=16)
def table(path: Path, base: bytes) -> U64:
    """The table of a public base: for each window, coordinate and limb the words of its 16 entries."""
    encode = field.encode(path)
    entries = [[[encode(value) for value in entry] for entry in window] for window in entries_of(base)]
    laid_out: U64 = np.array(entries, dtype=np.uint64).transpose(0, 2, 3, 1).ravel()
    laid_out.flags.writeable = False
    return laid_out


def _add_typing(
    context: Any, path: Any, file: Any, v: Any, width: Any, words: Any, table: Any, window: Any
) -> Any:
    """On element v of registers 0 to 3, a point: add the entry of ``window`` that each lane's digit names."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        b = builder
        e = field.emitter(signature.args[0], b)
        base, masks = (ir.pointer(context, b, signature.args[k], arguments[k], e.kind) for k in (1, 4))
        entries = ir.pointer(context, b, signature.args[5], arguments[5], ir.I64)
        start, width, window = (arguments[k] for k in (2, 3, 6))

        digit = _digit(b, e, masks, start, window)
        negative = b.icmp_unsigned("<", digit, ir.splat(e.kind, ENTRIES))
        low = b.and_(digit, ir.splat(e.kind, ENTRIES - 1))
        number = b.select(negative, b.xor(low, ir.splat(e.kind, ENTRIES - 1)), low)
        row = b.mul(window, ir.I64(_COORDINATES * e.limbs * ENTRIES))
        other = [
            [
                e.pick(entries, b.add(row, ir.I64((coordinate * e.limbs + k) * ENTRIES)), number)
                for k in range(e.limbs)
            ]
            for coordinate in range(_COORDINATES)
        ]
        at = [
            [
                b.add(b.mul(b.add(start, b.mul(width, ir.I64(register))), ir.I64(e.limbs)), ir.I64(k))
                for k in range(e.limbs)
            ]
            for register in range(4)
        ]
        point = [[ir.load(b, base, index) for index in register] for register in at]
        for register, value in zip(at, e.add_niels(point, other, negative), strict=True):
            for index, limb in zip(register, value, strict=True):
                ir.store(b, base, index, limb)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(path, file, i64, i64, words, table, i64), code


_add: Any = intrinsic(_add_typing)


def _digit(b: Any, e: Any, masks: Any, vector: Any, window: Any) -> Any:
    """Five bits of each lane's mask, of which the vectors 4 v to 4 v + 3 hold the words."""
    bit = b.mul(window, ir.I64(WINDOW_BITS))
    word, shift = b.lshr(bit, ir.I64(6)), b.and_(bit, ir.I64(63))
    first = b.mul(vector, ir.I64(4))
    here = ir.load(b, masks, b.add(first, word))
    # The last word has no next; of what is read instead no bit counts.
    last = b.icmp_unsigned("==", word, ir.I64(3))
    then = ir.load(b, masks, b.add(first, b.select(last, word, b.add(word, ir.I64(1)))))
    low = b.lshr(here, ir.broadcast(b, e.kind, shift))
    high = b.shl(b.shl(then, ir.splat(e.kind, 1)), ir.broadcast(b, e.kind, b.sub(ir.I64(63), shift)))
    return b.and_(b.or_(low, high), ir.splat(e.kind, 2 * ENTRIES - 1))


@compiled
def add_multiples(path: Path, masks: U64, table: U64, file: U64, width: int) -> None:
    """Registers 0 to 3, points as `add_niels` holds them: add what their masks say of the table's base.

    ``masks``: for each vector the four words of its lanes' masks, word by word.
    """
    for first in range(0, width, _ABREAST):
        last = min(first + _ABREAST, width)
        for window in range(WINDOWS):
            for v in range(first, last):
                _add(path, file, v, width, masks, table, window)
