"""Register tiles of products of bytes with balanced digits, in LLVM: see `lwe_simd` for what they compute.

A step takes four bytes of a row, a word. A tile keeps an accumulator of 32-bit lanes for every row and
vector, and each step adds to it, lane by lane, the word's four bytes times four digits of the packed factor:

- `BYTES` (VNNI): digits of 8 bits, four to a word; one vpdpbusd multiplies four unsigned by four signed bytes
  and adds the products. (They fit what it has room for: 255 * 128 < 2^15.)
- `HALVES` (AVX2): digits of 16 bits, two to a word. Bytes 0 and 2 of the word, then 1 and 3, are spread to
  16 bits, each pair with a word of its own in the packed factor; vpmaddwd multiplies and adds two.

In a product with several columns, a word of a row is broadcast to all lanes. In a product with one column,
the lanes take consecutive words. When the steps are done, lanes are shifted by the weight of their digit,
lanes of one column are summed, and the sums are added to the output. Everything wraps modulo 2^32, so it is
exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir as llvm
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from accel.cpu.ir import I8, I16, I32, I64, broadcast, call, pointer, splat
from accel.cpu.jit import compiled

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]

# Ahead of the reading of a row: a few hundred ns of memory latency at the speed of a core.
_PREFETCH_BYTES = 2048


@dataclass(frozen=True)
class Digits:
    """How a processor multiplies: vectors of ``lanes`` words, digits of ``bits`` bits, ``parts`` words of
    digits against four bytes, and ``dot(builder, accumulator, word, parts)`` for a vector of each."""

    lanes: int
    bits: int
    parts: int
    dot: Callable[[Any, Any, Any, Sequence[Any]], Any]

    @property
    def count(self) -> int:
        """Digits of a 32-bit number."""
        return 32 // self.bits


def _dot_bytes(builder: Any, accumulator: Any, word: Any, parts: Sequence[Any]) -> Any:
    return call(builder, "llvm.x86.avx512.vpdpbusd.512", accumulator.type, accumulator, word, parts[0])


def _dot_halves(builder: Any, accumulator: Any, word: Any, parts: Sequence[Any]) -> Any:
    halves = llvm.VectorType(I16, 16)
    spread = builder.bitcast(word, halves)
    pairs = (builder.and_(spread, splat(halves, 255)), builder.lshr(spread, splat(halves, 8)))
    for pair, digits in zip(pairs, parts, strict=True):
        factor = builder.bitcast(digits, halves)
        product = call(builder, "llvm.x86.avx2.pmadd.wd", accumulator.type, pair, factor)
        accumulator = builder.add(accumulator, product)
    return accumulator


BYTES = Digits(lanes=16, bits=8, parts=1, dot=_dot_bytes)
HALVES = Digits(lanes=8, bits=16, parts=2, dot=_dot_halves)


class Plan(NamedTuple):
    """What a kernel needs to know of its tile and of the arrays. Offsets count words, strides bytes."""

    rows: int  # of a tile
    columns: int  # of a tile, and of a panel of the packed factor
    panels: int
    steps: int  # over the whole depth
    step_bytes: int  # how far a step moves along a row
    step_words: int  # how far a step moves along the packed factor
    stride: int  # from row to row
    block_rows: int  # a multiple of rows: what is read again for every panel
    block_steps: int  # what is multiplied before the sums are added to the output


def _tile(digits: Digits, rows: int, vectors: int, columns: int) -> Any:
    """The intrinsic ``tile(data, at, stride, packed, word, steps, output, to, pitch)``.

    Adds to ``output[to + row * pitch + column]`` the product over ``steps`` steps, for every row of the tile.
    Row r starts at byte ``at + r * stride`` of ``data``, its digits at word ``word`` of ``packed``.
    """
    vector = llvm.VectorType(I32, digits.lanes)
    step_bytes = 4 if columns > 1 else 4 * digits.lanes

    def emit(builder: Any, base: Any, stride: Any, factor: Any, steps: Any, target: Any, pitch: Any) -> None:
        starts = [base]
        for _ in range(1, rows):
            starts.append(builder.gep(starts[-1], [stride]))
        sums = [
            [cgutils.alloca_once_value(builder, vector(None)) for _ in range(vectors)] for _ in range(rows)
        ]
        with cgutils.for_range(builder, steps) as loop:
            first = builder.mul(loop.index, I64(vectors * digits.parts))
            parts = [
                _load(builder, builder.gep(factor, [builder.add(first, I64(k))]), vector, 4)
                for k in range(vectors * digits.parts)
            ]
            offset = builder.mul(loop.index, I64(step_bytes))
            for start, row_sums in zip(starts, sums, strict=True):
                here = builder.gep(start, [offset])
                if columns > 1:
                    word = broadcast(builder, vector, _load(builder, here, I32, 1))
                else:
                    _prefetch(builder, builder.gep(here, [I64(_PREFETCH_BYTES)]))
                    word = _load(builder, here, vector, 1)
                for k, total in enumerate(row_sums):
                    mine = parts[k * digits.parts : (k + 1) * digits.parts]
                    builder.store(digits.dot(builder, builder.load(total), word, mine), total)
        for row_sums in sums:
            folded = _fold(builder, digits, [builder.load(total) for total in row_sums], columns)
            before = _load(builder, target, folded.type, 4)
            place = builder.bitcast(target, folded.type.as_pointer())
            builder.store(builder.add(before, folded), place).align = 4
            target = builder.gep(target, [pitch])

    def tile(_typing, data, at, stride, packed, word, steps, output, to, pitch):  # type: ignore[no-untyped-def]
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            data_type, packed_type, output_type = (signature.args[k] for k in (0, 3, 6))
            base = builder.gep(pointer(context, builder, data_type, values[0], I8), [values[1]])
            factor = builder.gep(pointer(context, builder, packed_type, values[3], I32), [values[4]])
            factor = builder.bitcast(factor, vector.as_pointer())
            target = builder.gep(pointer(context, builder, output_type, values[6], I32), [values[7]])
            emit(builder, base, values[2], factor, values[5], target, values[8])
            return context.get_dummy_value()

        size = types.intp
        return types.void(data, size, size, packed, size, size, output, size, size), generate

    # The symbol of `_sweep` for this tile is named after it, and must differ from the others (`jit`).
    tile.__name__ = tile.__qualname__ = f"tile_{digits.bits}_{rows}_{vectors}_{columns}"
    return intrinsic(tile)


def _fold(builder: Any, digits: Digits, sums: Sequence[Any], columns: int) -> Any:
    """Lanes shifted by the weight of their digit, then lanes of one column summed: a vector of columns."""
    kind = sums[0].type
    total = kind(None)
    for number, value in enumerate(sums):
        # Digit d of column c lies at d * columns + c, counted over all vectors; one column fills a vector.
        place = [number] * digits.lanes
        if columns > 1:
            place = [(number * digits.lanes + lane) // columns for lane in range(digits.lanes)]
        total = builder.add(total, builder.shl(value, kind([digits.bits * digit for digit in place])))
    lanes = digits.lanes
    while lanes > columns:
        lanes //= 2
        halves = llvm.VectorType(I32, lanes)
        low, high = halves(list(range(lanes))), halves(list(range(lanes, 2 * lanes)))
        total = builder.add(
            builder.shuffle_vector(total, total, low), builder.shuffle_vector(total, total, high)
        )
    return total


def _load(builder: Any, place: Any, kind: Any, align: int) -> Any:
    value = builder.load(builder.bitcast(place, kind.as_pointer()))
    value.align = align
    return value


def _prefetch(builder: Any, place: Any) -> None:
    """Into all caches, for reading; past the end of the memory it does nothing."""
    kind = llvm.FunctionType(llvm.VoidType(), [place.type, I32, I32, I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [place, I32(0), I32(3), I32(1)])


@njit(nogil=True)
def _sweep(tile: Any, data: U8, packed: U32, output: U32, plan: Plan, start: int, stop: int) -> None:
    """Rows ``start`` to ``stop``, both multiples of the tile's rows: blocks of depth that stay in a cache,
    each met by a block of rows that does too."""
    pitch = plan.panels * plan.columns
    for top in range(start, stop, plan.block_rows):
        bottom = min(top + plan.block_rows, stop)
        for first in range(0, plan.steps, plan.block_steps):
            steps = min(plan.block_steps, plan.steps - first)
            for panel in range(plan.panels):
                word = (panel * plan.steps + first) * plan.step_words
                for row in range(top, bottom, plan.rows):
                    at = row * plan.stride + first * plan.step_bytes
                    to = row * pitch + panel * plan.columns
                    tile(data, at, plan.stride, packed, word, steps, output, to, pitch)


# Ten accumulators or more hide the latency of vpdpbusd (5 cycles, two a cycle), eight that of the additions
# on AVX2 with its 16 registers; more rows let a load of the factor serve more of them.
_bytes_16 = _tile(BYTES, 6, 4, 16)
_bytes_8 = _tile(BYTES, 8, 2, 8)
_bytes_4 = _tile(BYTES, 12, 1, 4)
_bytes_1 = _tile(BYTES, 6, 4, 1)
_halves_8 = _tile(HALVES, 4, 2, 8)
_halves_4 = _tile(HALVES, 8, 1, 4)
_halves_1 = _tile(HALVES, 4, 2, 1)

# One function a tile, so that only those in use are compiled.


@compiled
def _sweep_bytes_16(data: U8, packed: U32, output: U32, plan: Plan, start: int, stop: int) -> None:
    _sweep(_bytes_16, data, packed, output, plan, start, stop)


@compiled
def _sweep_bytes_8(data: U8, packed: U32, output: U32, plan: Plan, start: int, stop: int) -> None:
    _sweep(_bytes_8, data, packed, output, plan, start, stop)


@compiled
def _sweep_bytes_4(data: U8, packed: U32, output: U32, plan: Plan, start: int, stop: int) -> None:
    _sweep(_bytes_4, data, packed, output, plan, start, stop)


@compiled
def _sweep_bytes_1(data: U8, packed: U32, output: U32, plan: Plan, start: int, stop: int) -> None:
    _sweep(_bytes_1, data, packed, output, plan, start, stop)


@compiled
def _sweep_halves_8(data: U8, packed: U32, output: U32, plan: Plan, start: int, stop: int) -> None:
    _sweep(_halves_8, data, packed, output, plan, start, stop)


@compiled
def _sweep_halves_4(data: U8, packed: U32, output: U32, plan: Plan, start: int, stop: int) -> None:
    _sweep(_halves_4, data, packed, output, plan, start, stop)


@compiled
def _sweep_halves_1(data: U8, packed: U32, output: U32, plan: Plan, start: int, stop: int) -> None:
    _sweep(_halves_1, data, packed, output, plan, start, stop)


@dataclass(frozen=True)
class Tile:
    """A compiled tile: ``rows`` rows by ``columns`` columns in ``vectors`` accumulators a row.

    ``sweep(data, packed, output, plan, start, stop)`` adds the product of the rows to the output.
    """

    digits: Digits
    rows: int
    vectors: int
    columns: int
    sweep: Callable[[U8, U32, U32, Plan, int, int], None]


# From the narrowest: the first that is wide enough is taken, the widest in panels beyond that.
BYTE_TILES = (
    Tile(BYTES, 6, 4, 1, _sweep_bytes_1),
    Tile(BYTES, 12, 1, 4, _sweep_bytes_4),
    Tile(BYTES, 8, 2, 8, _sweep_bytes_8),
    Tile(BYTES, 6, 4, 16, _sweep_bytes_16),
)
HALF_TILES = (
    Tile(HALVES, 4, 2, 1, _sweep_halves_1),
    Tile(HALVES, 8, 1, 4, _sweep_halves_4),
    Tile(HALVES, 4, 2, 8, _sweep_halves_8),
)
