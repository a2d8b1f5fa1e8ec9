"""What the kernels of `weierstrass_kernels` consist of: rows to limbs, digits, tables, point steps.

Everything is emitted into LLVM functions that take pointers, so that each is compiled once per kernel.
A value in memory is `limbs` vectors, a point two or three values, one number a lane. Tables of secret
digits are read in full. Windows and recoding are those of `accel.cpu.weierstrass`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from accel.cpu import weierstrass_formulas as formulas
from accel.cpu.field256 import Value
from accel.cpu.field256_memory import Field
from accel.cpu.ir import I8, I32, I64, broadcast, load, store
from accel.cpu.vector_words import Word

I256 = ir.IntType(256)
ROW_BYTES = 32
BASE_WINDOWS = {"ifma": (7, 37), "avx2": (6, 43)}  # bits and number; entries of IFMA tables fill permutations
OWN_WINDOWS = (5, 52)
BASE_BLOCK = 16  # vectors that share a row of the base table while it is in the first-level cache


def advance(f: Field, memory: Any, index: Any, values: int) -> Any:
    """The pointer to item ``index`` of items that take ``values`` values each."""
    size = values * f.level.limbs * f.level.ways
    return f.level.builder.gep(memory, [f.level.builder.mul(index, I64(size))])


def space(f: Field, values: int, spare_words: int = 0) -> Any:
    """Memory on the stack; to be asked for at the beginning of a function only."""
    level = f.level
    return level.builder.alloca(level.kind, (values * level.limbs + spare_words) * level.ways)


def load_point(f: Field, memory: Any) -> tuple[Value, Value, Value]:
    return f.load(memory, 0), f.load(memory, 1), f.load(memory, 2)


def load_pair(f: Field, memory: Any) -> tuple[Value, Value]:
    return f.load(memory, 0), f.load(memory, 1)


def save_all(f: Field, memory: Any, values: Sequence[Value]) -> None:
    for i, value in enumerate(values):
        f.save(memory, value, i)


def vectors(f: Field) -> Any:
    return f.level.kind.as_pointer()


def import_rows(f: Field, rows: Any, stride: Any, memory: Any) -> None:
    """One big-endian row of 32 bytes a lane, ``stride`` bytes apart, to carried limbs."""

    def emit(inner: Field, source: Any, step: Any, target: Any) -> None:
        builder, bits, lanes = inner.level.builder, inner.level.bits, inner.level.lanes
        words = builder.bitcast(target, I64.as_pointer())
        with cgutils.for_range(builder, I64(lanes)) as lane:
            at = builder.gep(source, [builder.mul(lane.index, step)])
            number = builder.load(builder.bitcast(at, I256.as_pointer()))
            number.align = 1
            number = builder.bswap(number)
            for limb in range(inner.level.limbs):
                shifted = builder.trunc(builder.lshr(number, I256(bits * limb)), I64)
                piece = builder.and_(shifted, I64((1 << bits) - 1))
                builder.store(piece, builder.gep(words, [builder.add(lane.index, I64(limb * lanes))]))

    made = f.function("import_rows", [I8.as_pointer(), I64, vectors(f)], emit)
    f.level.builder.call(made, [rows, stride, memory])


def export_rows(f: Field, limbs: list[Word], scratch: Any, rows: Any, stride: Any) -> None:
    """Carried limbs below 2^256 to big-endian rows; the inverse of `import_rows`."""

    def emit(inner: Field, source: Any, target: Any, step: Any) -> None:
        builder, bits, lanes = inner.level.builder, inner.level.bits, inner.level.lanes
        words = builder.bitcast(source, I64.as_pointer())
        with cgutils.for_range(builder, I64(lanes)) as lane:
            number: Any = I256(0)
            for limb in range(inner.level.limbs):
                piece = builder.load(builder.gep(words, [builder.add(lane.index, I64(limb * lanes))]))
                number = builder.or_(number, builder.shl(builder.zext(piece, I256), I256(bits * limb)))
            at = builder.gep(target, [builder.mul(lane.index, step)])
            builder.store(builder.bswap(number), builder.bitcast(at, I256.as_pointer())).align = 1

    for index, (vector,) in enumerate(limbs):
        store(f.level.builder, scratch, index, vector)
    made = f.function("export_rows", [vectors(f), I8.as_pointer(), I64], emit)
    f.level.builder.call(made, [scratch, rows, stride])


def row_pointer(f: Field, rows: Any, vector: Any, stride: int, offset: int = 0) -> Any:
    """The first row of vector number ``vector``."""
    builder = f.level.builder
    return builder.gep(rows, [builder.add(builder.mul(vector, I64(stride * f.level.lanes)), I64(offset))])


def store_flags(f: Field, condition: Word, flags: Any, vector: Any) -> None:
    """One 64-bit 0 or 1 a lane."""
    builder = f.level.builder
    base = builder.bitcast(flags, vectors(f))
    store(builder, base, vector, builder.zext(condition[0], f.level.kind))


def import_scalars(f: Field, rows: Any, memory: Any, total_bits: int) -> None:
    """Scalars below the order n, made odd by n where they are even, with bit ``total_bits`` set.

    The bit is the upper half of the highest digit, see `digit`. One word more than a value is written.
    """
    import_rows(f, rows, I64(ROW_BYTES), memory)

    def emit(inner: Field, target: Any) -> None:
        level, builder = inner.level, inner.level.builder
        limbs = [[load(builder, target, limb)] for limb in range(level.limbs)]
        even = level.compare("==", level.low(limbs[0], 1), level.constant(0))
        mask = (1 << level.bits) - 1
        n = inner.curve.n
        for at in range(level.limbs):
            part = level.constant(n >> level.bits * at & mask)
            limbs[at] = level.add(limbs[at], level.select(even, part, level.constant(0)))
        for at in range(level.limbs - 1):
            limbs[at + 1] = level.add(limbs[at + 1], level.right(limbs[at], level.bits))
            limbs[at] = level.low(limbs[at])
        limbs.append(level.constant(0))
        at, bit = divmod(total_bits, level.bits)
        limbs[at] = level.bit_or(limbs[at], level.constant(1 << bit))
        for at, (vector,) in enumerate(limbs):
            store(builder, target, at, vector)

    f.level.builder.call(f.function(f"odd_{total_bits}", [vectors(f)], emit), [memory])


def digit(f: Field, odd: Any, bit: Any, window_bits: int) -> tuple[Word, Word]:
    """(i, negative) for the digit ±(2 i + 1) of the window that begins at ``bit``, one above its place."""
    level, builder = f.level, f.level.builder
    limb, offset = builder.udiv(bit, I64(level.bits)), builder.urem(bit, I64(level.bits))
    low = builder.lshr(load(builder, odd, limb), broadcast(builder, level.kind, offset))
    rest = broadcast(builder, level.kind, builder.sub(I64(level.bits), offset))
    high = builder.shl(load(builder, odd, builder.add(limb, I64(1))), rest)
    value = level.low([builder.or_(low, high)], window_bits)
    half = level.constant(1 << window_bits - 1)
    negative = level.compare("==", level.bit_and(value, half), level.constant(0))
    flip = level.select(negative, level.constant(-1), level.constant(0))
    return level.low(level.bit_xor(value, flip), window_bits - 1), negative


def pick_base(f: Field, row: Any, odd: Any, bit: Any, pair: Any) -> None:
    """The affine base-table entry of a digit, with its sign."""
    window_bits, _ = BASE_WINDOWS[f.level.name]
    entries = 1 << window_bits - 1

    def emit(inner: Field, table: Any, scalar: Any, at: Any, target: Any) -> None:
        level = inner.level
        index, negative = digit(inner, scalar, at, window_bits)
        limbs = level.pick(table, index, entries, 10)
        x, y = (inner.loaded(level.from_limbs52(part)) for part in (limbs[:5], limbs[5:]))
        save_all(inner, target, (x, inner.negate_if(negative, y)))

    made = f.function("pick_base", [I64.as_pointer(), vectors(f), I64, vectors(f)], emit)
    f.level.builder.call(made, [row, odd, bit, pair])


def pick_own(f: Field, table: Any, odd: Any, bit: Any, target: Any) -> None:
    """The entry of the lane's own table of Jacobian points, with its sign."""
    window_bits, _ = OWN_WINDOWS

    def emit(inner: Field, memory: Any, scalar: Any, at: Any, out: Any) -> None:
        level = inner.level
        index, negative = digit(inner, scalar, at, window_bits)
        chosen = []
        for coordinate in range(3):

            def entry(at: Any, before: list[Word], coordinate: int = coordinate) -> list[Word]:
                here = level.compare("==", index, [broadcast(level.builder, level.kind, at)])
                other = inner.load(advance(inner, memory, at, 3), coordinate)
                return [level.select(here, a, b) for a, b in zip(other.limbs, before, strict=True)]

            zeros = [level.constant(0)] * level.limbs
            chosen.append(inner.loaded(level.scan(1 << window_bits - 1, zeros, entry)))
        x, y, z = chosen
        save_all(inner, out, (x, inner.negate_if(negative, y), z))

    made = f.function("pick_own", [vectors(f), vectors(f), I64, vectors(f)], emit)
    f.level.builder.call(made, [table, odd, bit, target])


def double(f: Field, point: Any, times: int = 1) -> None:
    """In place, Jacobian."""

    def emit(inner: Field, memory: Any, count: Any) -> None:
        with cgutils.for_range(inner.level.builder, count):
            save_all(inner, memory, formulas.jacobian_double(inner, load_point(inner, memory)))

    f.level.builder.call(f.function("double", [vectors(f), I32], emit), [point, I32(times)])


def add_affine(f: Field, point: Any, pair: Any) -> None:
    """In place, for operands that `formulas.jacobian_add_affine` takes."""

    def emit(inner: Field, memory: Any, other: Any) -> None:
        total = formulas.jacobian_add_affine(inner, load_point(inner, memory), load_pair(inner, other))
        save_all(inner, memory, total)

    f.level.builder.call(f.function("add_affine", [vectors(f)] * 2, emit), [point, pair])


def add(f: Field, out: Any, point: Any, other: Any) -> None:
    """For operands that `formulas.jacobian_add` takes."""

    def emit(inner: Field, target: Any, left: Any, right: Any) -> None:
        total = formulas.jacobian_add(inner, load_point(inner, left), load_point(inner, right))
        save_all(inner, target, total)

    f.level.builder.call(f.function("add", [vectors(f)] * 3, emit), [out, point, other])


def to_homogeneous(f: Field, point: Any) -> None:
    """In place."""

    def emit(inner: Field, memory: Any) -> None:
        save_all(inner, memory, formulas.homogeneous(inner, load_point(inner, memory)))

    f.level.builder.call(f.function("to_homogeneous", [vectors(f)], emit), [point])


def complete_add(f: Field, out: Any, left: Any, right: Any) -> None:
    """Any two points in homogeneous coordinates."""

    def emit(inner: Field, target: Any, a: Any, b: Any) -> None:
        total = formulas.complete_add(inner, load_point(inner, a), load_point(inner, b))
        save_all(inner, target, total)

    f.level.builder.call(f.function("complete_add", [vectors(f)] * 3, emit), [out, left, right])


def copy(f: Field, target: Any, source: Any, values: int) -> None:
    for index in range(values * f.level.limbs * f.level.ways):
        store(f.level.builder, target, index, load(f.level.builder, source, index))
