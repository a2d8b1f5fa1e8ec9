"""One kernel for all of batch modular arithmetic: it runs a straight-line program on blocks of lanes.

A program is an int64 matrix of instructions ``operation, target, x, y``; targets and operands name slots,
each holding a number for every lane of the block, or with -1, -2, ... a constant that all share. Windowed
powers, fixed-base powers, products of groups differ in their programs alone, so there is one kernel to
compile for a CPU level. Programs are public; secrets appear as values and as digits of `SELECT`, `LOOKUP`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from accel.cpu import lanes_ir, montgomery_ir
from accel.cpu.ir import I64
from accel.cpu.jit import compiled

LOAD_A = 0  # target <- lanes of matrix a
LOAD_B = 1  # target <- lanes of matrix b
STORE = 2  # matrix out <- target <- x, reduced below the modulus
MULTIPLY = 3  # target <- x y
SQUARE = 4  # target <- x x
SELECT = 5  # target <- slot x + digit of row y, of 2^window slots
LOOKUP = 6  # target <- entry of table row x named by the digit of row y
GATHER = 7  # target <- the row of ``rows`` that the index of row y names
STORE_ROWS = 8  # rows of ``out_rows`` <- target <- x, reduced below the modulus

_MACHINES = {8: montgomery_ir.Ifma, 4: montgomery_ir.Avx2}
DEFINITIONS = {
    "product": montgomery_ir.product,
    "square": montgomery_ir.square,
    "load_lanes": lanes_ir.load_lanes,
    "store_lanes": lanes_ir.store_lanes,
    "reduce": lanes_ir.reduce,
    "gather": lanes_ir.gather,
    "scatter": lanes_ir.scatter,
    "select": lanes_ir.select,
    "lookup": lanes_ir.lookup,
}


def _emit(typing_context: Any, name: Any, lanes: Any, arguments: Any) -> Any:
    """Call an emitted function; for a pointer it is given an array and an offset in its elements."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        title = f"{name.literal_value}_{lanes.literal_value}"
        function = builder.module.globals.get(title)
        if function is None:
            define = DEFINITIONS[name.literal_value]
            function = define(builder.module, title, _MACHINES[lanes.literal_value])
        given = list(zip(arguments, cgutils.unpack_tuple(builder, values[2]), strict=True))
        passed = []
        for parameter in function.args:
            kind, value = given.pop(0)
            if parameter.type.is_pointer:
                data = cgutils.create_struct_proxy(kind)(context, builder, value=value).data
                value = builder.bitcast(builder.gep(data, [given.pop(0)[1]]), parameter.type)
            elif value.type != I64:
                raise TypeError(f"{title} takes 64-bit integers")
            passed.append(value)
        builder.call(function, passed)
        return context.get_dummy_value()

    return types.void(name, lanes, arguments), code


call_emitted: Any = intrinsic(prefer_literal=True)(_emit)

_U64 = types.uint64
_MATRIX = types.Array(_U64, 2, "A", readonly=True)
_INT = types.int64
_SIGNATURE = types.void(
    _INT,  # start: the lanes to work on, a multiple of ``vectors * lanes``
    _INT,  # stop: only the last range may end inside a vector
    types.Array(_INT, 2, "C", readonly=True),  # program
    _INT,  # vectors in a block
    _MATRIX,  # a
    _MATRIX,  # b
    types.Array(_U64, 2, "C"),  # out
    types.Array(
        _U64, 2, "C", readonly=True
    ),  # rows: numbers one after the other, in whole vectors, for GATHER
    types.Array(_INT, 2, "C", readonly=True),  # index: (steps, lanes up to whole vectors)
    types.Array(_U64, 2, "C"),  # out_rows: as many as there are lanes in whole vectors
    types.Array(types.uint8, 2, "C", readonly=True),  # digits: (rows, lanes up to whole vectors)
    _INT,  # digit_step: 1, or 0 where all lanes share the first digits of each row
    _INT,  # window: bits of a digit of SELECT
    types.Array(_U64, 1, "C", readonly=True),  # table of LOOKUP
    types.Array(_U64, 1, "C"),  # memory: slots, constants (the last is -1), two numbers of scratch
    types.Array(_U64, 1, "C", readonly=True),  # n: the modulus in limbs of the machine
    _U64,  # n0: -n^-1 modulo 2^(limb bits)
    _INT,  # limbs of the matrices
)


@cache
def interpreter(lanes: int) -> Any:
    """The kernel for 8 lanes (IFMA) or 4 (AVX2); compiled when first asked for, then cached on disk."""
    table_words = 1 << lanes_ir.window_bits(lanes)
    split = 8 // lanes  # limbs of the machine in an outer limb

    @compiled(signature=_SIGNATURE, variant=lanes)
    def run(
        start: Any,
        stop: Any,
        program: Any,
        vectors: Any,
        a: Any,
        b: Any,
        out: Any,
        rows: Any,
        index: Any,
        out_rows: Any,
        digits: Any,
        digit_step: Any,
        window: Any,
        table: Any,
        memory: Any,
        n: Any,
        n0: Any,
        limbs: Any,
    ) -> None:
        inner = limbs * split
        number = inner * lanes  # words of a number in vectors
        slot = number * vectors
        edge = memory.size - number
        q = edge - number
        for block in range(start, stop, vectors * lanes):
            whole = min(vectors, (stop - block) // lanes)
            left = (
                min(vectors * lanes, stop - block) - whole * lanes
            )  # lanes of a last vector that is not whole
            used = whole + (left > 0)
            ragged = whole * number
            for step in range(program.shape[0]):
                operation, target = program[step, 0], program[step, 1] * slot
                x, row = program[step, 2], program[step, 3]
                here, here_step = (x * slot, number) if x >= 0 else (q + x * number, 0)
                there, there_step = (row * slot, number) if row >= 0 else (q + row * number, 0)
                if operation <= LOAD_B:
                    matrix = a if operation == LOAD_A else b
                    stride = matrix.strides[0] // 8
                    call_emitted("load_lanes", lanes, (memory, target, matrix, block, stride, limbs, whole))
                    if left:
                        for j in range(limbs):
                            for k in range(lanes):
                                memory[edge + j * lanes + k] = (
                                    matrix[j, block + whole * lanes + k] if k < left else 0
                                )
                        call_emitted(
                            "load_lanes", lanes, (memory, target + ragged, memory, edge, lanes, limbs, 1)
                        )
                    continue
                if operation == STORE:
                    for v in range(used):
                        at = target + v * number
                        call_emitted(
                            "reduce",
                            lanes,
                            (memory, at, memory, here + v * here_step, n, 0, memory, q, inner),
                        )
                    call_emitted(
                        "store_lanes", lanes, (memory, target, out, block, out.shape[1], limbs, whole)
                    )
                    if left:
                        call_emitted(
                            "store_lanes", lanes, (memory, target + ragged, memory, edge, lanes, limbs, 1)
                        )
                        for j in range(limbs):
                            for k in range(left):
                                out[j, block + whole * lanes + k] = memory[edge + j * lanes + k]
                    continue
                if operation == LOOKUP:
                    entry = x * limbs * table_words
                    digit = row * digits.shape[1] + block
                    call_emitted("lookup", lanes, (memory, target, table, entry, digits, digit, limbs, used))
                    continue
                for v in range(used):
                    lane = block + v * lanes
                    digit = row * digits.shape[1] + lane * digit_step
                    if operation == MULTIPLY:
                        call_emitted(
                            "product",
                            lanes,
                            (memory, target, memory, here, memory, there, n, 0, n0, memory, q, inner),
                        )
                    elif operation == SQUARE:
                        call_emitted(
                            "square",
                            lanes,
                            (memory, target, memory, here, memory, here, n, 0, n0, memory, q, inner),
                        )
                    elif operation == SELECT:
                        entry = slot // lanes
                        call_emitted(
                            "select",
                            lanes,
                            (memory, target, memory, here, entry, 1 << window, digits, digit, inner),
                        )
                    elif operation == GATHER:
                        at = row * index.shape[1] + lane
                        call_emitted(
                            "gather", lanes, (memory, target, rows, 0, index, at, rows.shape[1], limbs)
                        )
                    else:
                        at = lane * out_rows.shape[1]
                        call_emitted("reduce", lanes, (memory, target, memory, here, n, 0, memory, q, inner))
                        call_emitted("scatter", lanes, (memory, target, out_rows, at, out_rows.shape[1]))
                    target += number
                    here += here_step
                    there += there_step

    return run
