"""Kernels over batches of field elements modulo 2^255 - 19, for every vector width.

A **file** is a uint64 array of vectors. An element of the batch takes ``limbs`` vectors, one lane a point;
register r of a file with registers ``width`` elements wide begins at element ``r * width``. The type of a
kernel's first argument, `Ifma` or `Avx2`, chooses the instructions when the kernel is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic

from accel.cpu import field25519_programs as programs
from accel.cpu import ir
from accel.cpu.field25519_avx2 import EmitAvx2
from accel.cpu.field25519_ifma import EmitIfma
from accel.cpu.field25519_programs import (
    ADD,
    CONSTANT,
    COPY,
    DIFFER,
    EITHER,
    EQUAL,
    INVERSES,
    MOVE_IF,
    MULTIPLY,
    ODD,
    PREFIX_PRODUCTS,
    SQUARE,
    SUBTRACT,
)
from accel.cpu.jit import compiled

U64 = npt.NDArray[np.uint64]


class Ifma(NamedTuple):
    """512-bit vectors with 52-bit multiply-add."""

    limbs: int
    lanes: int


class Avx2(NamedTuple):
    """256-bit vectors with 32-bit products."""

    limbs: int
    lanes: int


Path = Ifma | Avx2
PATHS: dict[str, Path] = {
    "ifma": Ifma(EmitIfma.limbs, EmitIfma.lanes),
    "avx2": Avx2(EmitAvx2.limbs, EmitAvx2.lanes),
}
_EMITTERS: dict[type, Any] = {Ifma: EmitIfma, Avx2: EmitAvx2}

# Vectors whose chain of squarings runs together: enough to hide the latency, few enough for the L1 cache.
_TOGETHER = 8


def emitter(path_type: Any, builder: Any) -> Any:
    return _EMITTERS[path_type.instance_class](builder)


def encode(path: Path) -> Callable[[int], list[int]]:
    """What gives the limbs of a number below 2^255."""
    function: Callable[[int], list[int]] = _EMITTERS[type(path)].encode
    return function


def constants(path: Path) -> U64:
    """What the instruction CONSTANT loads: a row of limbs for each constant."""
    limbs = encode(path)
    return np.array([limbs(value) for value in programs.CONSTANTS.values()], dtype=np.uint64)


def _instruction(emit: Any, operands: int) -> Any:
    """An intrinsic ``(path, file, element, …)`` from ``emit(emitter, load, store, *elements)``."""

    def typing(context: Any, path: Any, file: Any, *elements: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            e = emitter(signature.args[0], builder)
            base = ir.pointer(context, builder, signature.args[1], arguments[1], e.kind)

            def at(element: Any, limb: int) -> Any:
                return builder.add(builder.mul(element, ir.I64(e.limbs)), ir.I64(limb))

            def load(element: Any) -> Any:
                return [ir.load(builder, base, at(element, k)) for k in range(e.limbs)]

            def store(element: Any, value: Any) -> None:
                for k, limb in enumerate(value):
                    ir.store(builder, base, at(element, k), limb)

            emit(e, load, store, *arguments[2:])
            return context.get_dummy_value()

        return types.void(path, file, *[types.int64] * operands), code

    return intrinsic(_with_parameters(typing, operands))


def _with_parameters(typing: Any, operands: int) -> Any:
    """numba reads an intrinsic's parameters from its signature, so they must be spelled out."""
    if operands == 2:
        return lambda context, path, file, to, a: typing(context, path, file, to, a)
    return lambda context, path, file, to, a, b: typing(context, path, file, to, a, b)


def _condition(e: Any, value: Any) -> Any:
    """A one-bit vector as a stored condition: all ones or zero in the first limb."""
    return [e.builder.sext(value, e.kind)]


def _holds(e: Any, stored: Any) -> Any:
    return e.builder.icmp_unsigned("!=", stored[0], ir.splat(e.kind, 0))


def _emit_equal(e: Any, load: Any, store: Any, to: Any, a: Any, b: Any) -> None:
    difference = e.canonical(e.sub(load(a), load(b)))
    merged = difference[0]
    for limb in difference[1:]:
        merged = e.builder.or_(merged, limb)
    store(to, _condition(e, e.builder.icmp_unsigned("==", merged, ir.splat(e.kind, 0))))


def _emit_odd(e: Any, load: Any, store: Any, to: Any, a: Any) -> None:
    low = e.builder.and_(e.canonical(load(a))[0], ir.splat(e.kind, 1))
    store(to, _condition(e, e.builder.icmp_unsigned("!=", low, ir.splat(e.kind, 0))))


def _emit_move_if(e: Any, load: Any, store: Any, to: Any, condition: Any, a: Any) -> None:
    holds = _holds(e, load(condition))
    pairs = zip(load(a), load(to), strict=True)
    store(to, [e.builder.select(holds, new, old) for new, old in pairs])


multiply = _instruction(lambda e, load, store, d, a, b: store(d, e.multiply(load(a), load(b))), 3)
square = _instruction(lambda e, load, store, d, a: store(d, e.square(load(a))), 2)
add = _instruction(lambda e, load, store, d, a, b: store(d, e.add(load(a), load(b))), 3)
subtract = _instruction(lambda e, load, store, d, a, b: store(d, e.sub(load(a), load(b))), 3)
copy = _instruction(lambda e, load, store, d, a: store(d, load(a)), 2)
move_if = _instruction(_emit_move_if, 3)
equal = _instruction(_emit_equal, 3)
odd = _instruction(_emit_odd, 2)
either = _instruction(lambda e, load, store, d, a, b: store(d, [e.builder.or_(load(a)[0], load(b)[0])]), 3)
differ = _instruction(lambda e, load, store, d, a, b: store(d, [e.builder.xor(load(a)[0], load(b)[0])]), 3)


@compiled
def run(path: Path, program: npt.NDArray[np.int64], table: U64, file: U64, width: int) -> None:
    """Run a program over a file whose registers are ``width`` elements wide; ``table`` is `constants`."""
    for line in range(program.shape[0]):
        operation = program[line, 0]
        d = program[line, 1] * width
        a = program[line, 2] * width
        b = program[line, 3] * width
        if operation == MULTIPLY:
            for v in range(width):
                multiply(path, file, d + v, a + v, b + v)
        elif operation == SQUARE:
            for first in range(0, width, _TOGETHER):
                last = min(first + _TOGETHER, width)
                source = a
                for _ in range(program[line, 3]):
                    for v in range(first, last):
                        square(path, file, d + v, source + v)
                    source = d
        elif operation == ADD:
            for v in range(width):
                add(path, file, d + v, a + v, b + v)
        elif operation == SUBTRACT:
            for v in range(width):
                subtract(path, file, d + v, a + v, b + v)
        elif operation == CONSTANT:
            for k in range(path.limbs):
                for lane in range(path.lanes):
                    file[(d * path.limbs + k) * path.lanes + lane] = table[program[line, 2], k]
            for v in range(1, width):
                copy(path, file, d + v, d)
        elif operation == COPY:
            for v in range(width):
                copy(path, file, d + v, a + v)
        elif operation == MOVE_IF:
            for v in range(width):
                move_if(path, file, d + v, a + v, b + v)
        elif operation == EQUAL:
            for v in range(width):
                equal(path, file, d + v, a + v, b + v)
        elif operation == ODD:
            for v in range(width):
                odd(path, file, d + v, a + v)
        elif operation == EITHER:
            for v in range(width):
                either(path, file, d + v, a + v, b + v)
        elif operation == DIFFER:
            for v in range(width):
                differ(path, file, d + v, a + v, b + v)
        elif operation == PREFIX_PRODUCTS:
            copy(path, file, d, a)
            for v in range(1, width):
                multiply(path, file, d + v, d + v - 1, a + v)
        elif operation == INVERSES:
            for v in range(width - 1, 0, -1):
                multiply(path, file, d + v, d, b + v - 1)
                multiply(path, file, d, d, a + v)
