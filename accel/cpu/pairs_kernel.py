"""One kernel for powers modulo n^2 in pairs (`pairs_ir`): it runs a straight-line program on blocks of lanes.

As `modular_kernel`, but every slot holds a pair of numbers for each lane of the block, the low half first.
Matrices have twice the limbs of n, or for `LOAD` a multiple of that; lanes come in whole vectors.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from numba import types

from accel.cpu import lanes_ir, modular_kernel, pairs_ir
from accel.cpu.jit import compiled

LOAD = 0  # target <- lanes of pair x of matrix a
COPY = 1  # target <- x
SQUARE = 2  # target <- x x
PRODUCT = 3  # target <- x y
TIMES = 4  # target <- target y0; x1 <- x1 + y1, without carries
SELECT = 5  # target <- slot x + digit of row y, of 2^window slots
LOOKUP = 6  # target <- entry of table row x named by the digits of row y
FINISH = 7  # target <- target times 1 + n (x0 y0 + x1) / R^2; x is overwritten
STORE = 8  # matrix out <- x, not reduced
ADD = 9  # target <- x + y
JOIN = 10  # target <- the number x0 + x1 n; its limbs fill the slot

# Wider windows would save products, but entries to read and to make grow faster.
WINDOW_BITS = {8: 7, 4: 6}

modular_kernel.DEFINITIONS.update(
    lookup_6=partial(lanes_ir.lookup, window=6),
    lookup_7=partial(lanes_ir.lookup, window=7),
    following_product=pairs_ir.following_product,
    following_square=pairs_ir.following_square,
    following_cross=pairs_ir.following_cross,
    accumulate=pairs_ir.accumulate,
    sum_of=pairs_ir.sum_of,
    lifted=pairs_ir.lifted,
    joined=pairs_ir.joined,
)
_call: Any = modular_kernel.call_emitted

_U64 = types.uint64
_INT = types.int64
_SIGNATURE = types.void(
    _INT,  # start: the lanes to work on, multiples of the vector's lanes
    _INT,  # stop
    types.Array(_INT, 2, "C", readonly=True),  # program
    _INT,  # vectors in a block
    types.Array(_U64, 2, "C", readonly=True),  # a
    types.Array(_U64, 2, "C"),  # out
    types.Array(types.uint8, 2, "C", readonly=True),  # digits: (rows, lanes)
    _INT,  # digit_step: 1, or 0 where all lanes share the first digits of each row
    _INT,  # window: bits of a digit of SELECT
    types.Array(_U64, 1, "C", readonly=True),  # table of LOOKUP
    types.Array(_U64, 1, "C"),  # memory: slots, constants (the last is -1), a number of scratch
    types.Array(_U64, 1, "C", readonly=True),  # n in limbs of the machine
    _U64,  # n0: -n^-1 modulo 2^(limb bits)
    types.Array(_U64, 1, "C", readonly=True),  # lift, see `pairs_ir`
    _INT,  # limbs of a pair in the matrices
)


@cache
def interpreter(lanes: int) -> Any:
    """The kernel for 8 lanes (IFMA) or 4 (AVX2); compiled when first asked for, then cached on disk."""
    table_words = 1 << WINDOW_BITS[lanes]
    lookup = f"lookup_{WINDOW_BITS[lanes]}"
    split = 8 // lanes

    @compiled(signature=_SIGNATURE, variant=lanes)
    def run(
        start: Any,
        stop: Any,
        program: Any,
        vectors: Any,
        a: Any,
        out: Any,
        digits: Any,
        digit_step: Any,
        window: Any,
        table: Any,
        memory: Any,
        n: Any,
        n0: Any,
        lift: Any,
        limbs: Any,
    ) -> None:
        inner = limbs * split // 2  # limbs of the machine in half a pair
        half = inner * lanes
        pair = 2 * half  # words of a pair in vectors
        slot = pair * vectors
        q = memory.size - half
        for block in range(start, stop, vectors * lanes):
            used = min(vectors, (stop - block) // lanes)
            for step in range(program.shape[0]):
                operation, t0 = program[step, 0], program[step, 1] * slot
                x, y = program[step, 2], program[step, 3]
                if operation == LOAD:
                    lane = x * limbs * a.shape[1] + block
                    _call("load_lanes", lanes, (memory, t0, a, lane, a.shape[1], limbs, used))
                    continue
                x0, x_step = (x * slot, pair) if x >= 0 else (q + x * pair, 0)
                if operation == STORE:
                    _call("store_lanes", lanes, (memory, x0, out, block, out.shape[1], limbs, used))
                    continue
                if operation == LOOKUP:
                    entry, digit = x * limbs * table_words, y * digits.shape[1] + block
                    _call(lookup, lanes, (memory, t0, table, entry, digits, digit, limbs, used))
                    continue
                y0, y_step = (y * slot, pair) if y >= 0 else (q + y * pair, 0)
                for v in range(used):
                    t1, x1, y1 = t0 + half, x0 + half, y0 + half
                    if operation == TIMES:
                        to_low = (memory, t0, memory, t0, memory, y0, n, 0, n0, memory, q, inner)
                        _call("product", lanes, to_low)
                        to_high = (memory, t1, memory, t1, memory, y0, n, 0, n0, memory, q, lift, 0, inner)
                        _call("following_product", lanes, to_high)
                        _call("accumulate", lanes, (memory, x1, memory, y1, inner))
                    elif operation == SQUARE:
                        to_low = (memory, t0, memory, x0, memory, x0, n, 0, n0, memory, q, inner)
                        _call("square", lanes, to_low)
                        to_high = (memory, t1, memory, x0, memory, x1, n, 0, n0, memory, q, lift, 0, inner)
                        _call("following_square", lanes, to_high)
                    elif operation == PRODUCT:
                        to_low = (memory, t0, memory, x0, memory, y0, n, 0, n0, memory, q, inner)
                        _call("product", lanes, to_low)
                        factors = (memory, x0, memory, x1, memory, y0, memory, y1)
                        rest = (n, 0, n0, memory, q, lift, 0, inner)
                        _call("following_cross", lanes, (memory, t1, *factors, *rest))
                    elif operation == SELECT:
                        digit = y * digits.shape[1] + (block + v * lanes) * digit_step
                        entries = (memory, x0, slot // lanes, 1 << window)
                        _call("select", lanes, (memory, t0, *entries, digits, digit, 2 * inner))
                    elif operation == FINISH:
                        _call("lifted", lanes, (memory, q, lift, 0, memory, x1, inner))
                        to_high = (memory, x1, memory, x0, memory, y0, n, 0, n0, memory, q, lift, 0, inner)
                        _call("following_product", lanes, to_high)
                        to_low = (memory, x0, memory, t0, memory, x1, n, 0, n0, memory, q, inner)
                        _call("product", lanes, to_low)
                        _call("sum_of", lanes, (memory, t1, memory, t1, memory, x0, inner))
                    elif operation == ADD:
                        _call("sum_of", lanes, (memory, t0, memory, x0, memory, y0, inner))
                        _call("sum_of", lanes, (memory, t1, memory, x1, memory, y1, inner))
                    elif operation == JOIN:
                        _call("joined", lanes, (memory, t0, memory, x0, memory, x1, n, 0, inner))
                    else:
                        for word in range(pair):
                            memory[t0 + word] = memory[x0 + word]
                    t0 += pair
                    x0 += x_step
                    y0 += y_step

    return run
