"""Kernels of curve25519 over files of field elements: the ladder, loading and storing."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic

from accel.cpu import field25519_vector as field
from accel.cpu import ir
from accel.cpu.field25519_vector import Path
from accel.cpu.jit import compiled

U64 = npt.NDArray[np.uint64]

# Vectors that climb the ladder side by side: each alone waits for its own results.
_ABREAST = 4


def _pointers(context: Any, builder: Any, signature: Any, arguments: Any) -> tuple[Any, Any, Any]:
    e = field.emitter(signature.args[0], builder)
    file, words = (ir.pointer(context, builder, signature.args[k], arguments[k], e.kind) for k in (1, 3))
    return e, file, words


def _limb(builder: Any, e: Any, element: Any, k: int) -> Any:
    return builder.add(builder.mul(element, ir.I64(e.limbs)), ir.I64(k))


def _unpack_typing(context: Any, path: Any, file: Any, element: Any, words: Any, position: Any) -> Any:
    """file[element] = the number in the four vectors of ``words`` from vector ``position`` on."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        e, base, source = _pointers(context, builder, signature, arguments)
        at = [builder.add(arguments[4], ir.I64(k)) for k in range(4)]
        limbs = e.unpack([ir.load(builder, source, index) for index in at])
        for k, limb in enumerate(limbs):
            ir.store(builder, base, _limb(builder, e, arguments[2], k), limb)
        return context.get_dummy_value()

    return types.void(path, file, types.int64, words, types.int64), code


def _pack_typing(context: Any, path: Any, file: Any, element: Any, words: Any) -> Any:
    """The canonical number of file[element], in the first four vectors of ``words``."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        e, base, target = _pointers(context, builder, signature, arguments)
        limbs = [ir.load(builder, base, _limb(builder, e, arguments[2], k)) for k in range(e.limbs)]
        for k, word in enumerate(e.pack(e.canonical(limbs))):
            ir.store(builder, target, k, word)
        return context.get_dummy_value()

    return types.void(path, file, types.int64, words), code


_unpack: Any = intrinsic(_unpack_typing)
_pack: Any = intrinsic(_pack_typing)


def _ladder_instruction(step: bool) -> Any:
    @intrinsic
    def instruction(context: Any, path: Any, file: Any, element: Any, width: Any, swap: Any) -> Any:
        """On registers 0 to 3, two points: double the second where swap is 1, else the first.

        The double replaces the first; the sum of both, of difference u in register 4, replaces the second if
        this is a whole step.
        """

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            e = field.emitter(signature.args[0], builder)
            base = ir.pointer(context, builder, signature.args[1], arguments[1], e.kind)
            start, width, bit = arguments[2:]
            at = [builder.add(start, builder.mul(width, ir.I64(register))) for register in range(5)]
            p, q, r, s, u = (
                [ir.load(builder, base, _limb(builder, e, element, k)) for k in range(e.limbs)]
                for element in at
            )
            # The bit is secret: it becomes a mask, never a branch.
            mask = builder.icmp_unsigned("!=", ir.broadcast(builder, e.kind, bit), ir.splat(e.kind, 0))
            if step:
                results = e.ladder_step([p, q], [r, s], u, mask)
            else:
                chosen = [
                    [builder.select(mask, yes, no) for yes, no in zip(*pair, strict=True)]
                    for pair in ((r, p), (s, q))
                ]
                results = e.double(chosen)
            for element, result in zip(at, results, strict=False):
                for k, limb in enumerate(result):
                    ir.store(builder, base, _limb(builder, e, element, k), limb)
            return context.get_dummy_value()

        return types.void(path, file, types.int64, types.int64, types.uint64), code

    return instruction


_step = _ladder_instruction(step=True)
_double = _ladder_instruction(step=False)


@compiled
def ladder(path: Path, scalar: U64, file: U64, width: int, both: bool) -> None:
    """Registers 0 and 1: the clamped scalar times the point that registers 0, 1 and 2, 3 hold.

    With ``both``, registers 2 and 3: the same and the point once more, from which v follows.

    Bit 254 of a clamped scalar is one and bits 0 to 2 are zero: the first step is a doubling, and so are the
    last three if one point is enough. Which point is doubled depends on the difference of two neighbouring
    bits.
    """
    one = np.uint64(1)
    for first in range(0, width, _ABREAST):
        last = min(first + _ABREAST, width)
        for v in range(first, last):
            _double(path, file, v, width, np.uint64(0))
        for t in range(253, -1 if both else 2, -1):
            high, low = t + 1, t
            swap = (scalar[high >> 6] >> np.uint64(high & 63)) ^ (scalar[low >> 6] >> np.uint64(low & 63))
            for v in range(first, last):
                _step(path, file, v, width, swap & one)
        swap = (scalar[0] >> np.uint64(3)) & one
        for _ in range(0 if both else 3):
            for v in range(first, last):
                _double(path, file, v, width, swap)
            swap = np.uint64(0)


@compiled
def load_points(path: Path, points: U64, first: int, count: int, file: U64, element: int, width: int) -> None:
    """Rows ``first … first + count`` into a register, without bit 255; the base point in lanes beyond."""
    words = np.empty(4 * path.lanes, dtype=np.uint64)
    for v in range(width):
        for lane in range(path.lanes):
            at = v * path.lanes + lane
            for word in range(4):
                value = np.uint64(0)
                if at < count:
                    value = points[first + at, word]
                elif word == 0:
                    value = np.uint64(9)
                if word == 3:
                    value &= np.uint64(2**63 - 1)
                words[word * path.lanes + lane] = value
        _unpack(path, file, element + v, words, 0)


@compiled
def load_uniform(path: Path, uniform: U64, file: U64, width: int) -> None:
    """The numbers of `sha512_vector.expand` into registers "r" and "s" of the map, low and high words."""
    for v in range(width):
        for half in range(2):
            position = (2 * v + half) * 8
            _unpack(path, file, half * width + v, uniform, position)
            _unpack(path, file, (2 + half) * width + v, uniform, position + 4)


@compiled
def store_points(path: Path, file: U64, element: int, output: U64, first: int, count: int) -> None:
    words = np.empty(4 * path.lanes, dtype=np.uint64)
    for at in range(count):
        lane = at % path.lanes
        if lane == 0:
            _pack(path, file, element + at // path.lanes, words)
        for word in range(4):
            output[first + at, word] = words[word * path.lanes + lane]
