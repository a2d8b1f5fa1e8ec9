"""The kernels themselves: each emits a function over the vectors from ``start`` to ``stop`` of a batch.

Arguments are pointers to bytes or to 64-bit words; `accel.cpu.weierstrass_vector` says what lies behind them.
A batch of projective points is homogeneous X, Y, Z for every vector.
"""

from __future__ import annotations

from typing import Any

from numba.core import cgutils

from accel.cpu import weierstrass_emit as emit
from accel.cpu import weierstrass_formulas as formulas
from accel.cpu.field256 import Value
from accel.cpu.field256_memory import Field
from accel.cpu.ir import I64, load
from accel.cpu.vector_words import Word


def multiply_base(f: Field, scalars: Any, table: Any, out: Any, start: Any, stop: Any) -> None:
    """Windows outside, the vectors of a block inside. Lowest window first: see `accel.cpu.weierstrass`."""
    builder = f.level.builder
    block, odd_words = emit.BASE_BLOCK, f.level.limbs + 1
    bits, windows = emit.BASE_WINDOWS[f.level.name]
    row_words = 10 << bits - 1
    odd, sums = emit.space(f, 0, block * odd_words), emit.space(f, 3 * block)
    other = emit.space(f, 3)
    results = builder.bitcast(out, emit.vectors(f))
    f.save(other, f.constant(1), 2)
    with cgutils.for_range_slice(builder, start, stop, I64(block), inc=True) as (first, _):
        left = builder.sub(stop, first)
        count = builder.select(builder.icmp_signed("<", left, I64(block)), left, I64(block))

        def odd_at(index: Any) -> Any:
            return builder.gep(odd, [builder.mul(index, I64(odd_words))])

        with cgutils.for_range(builder, count) as vector:
            rows = emit.row_pointer(f, scalars, builder.add(first, vector.index), emit.ROW_BYTES)
            emit.import_scalars(f, rows, odd_at(vector.index), bits * windows)
            total = emit.advance(f, sums, vector.index, 3)
            emit.pick_base(f, table, odd_at(vector.index), I64(1), total)
            f.save(total, f.constant(1), 2)
        with cgutils.for_range_slice(builder, I64(1), I64(windows - 1), I64(1), inc=True) as (window, _):
            row = builder.gep(table, [builder.mul(window, I64(row_words))])
            bit = builder.add(builder.mul(window, I64(bits)), I64(1))
            with cgutils.for_range(builder, count) as vector:
                emit.pick_base(f, row, odd_at(vector.index), bit, other)
                emit.add_affine(f, emit.advance(f, sums, vector.index, 3), other)
        with cgutils.for_range(builder, count) as vector:
            row = builder.gep(table, [I64((windows - 1) * row_words)])
            emit.pick_base(f, row, odd_at(vector.index), I64((windows - 1) * bits + 1), other)
            total = emit.advance(f, sums, vector.index, 3)
            emit.to_homogeneous(f, total)
            result = emit.advance(f, results, builder.add(first, vector.index), 3)
            emit.complete_add(f, result, total, other)


def multiply(f: Field, points: Any, scalars: Any, out: Any, start: Any, stop: Any) -> None:
    """A table of odd multiples a lane, then windows from the highest down."""
    builder = f.level.builder
    bits, windows = emit.OWN_WINDOWS
    entries = 1 << bits - 1
    odd, table = emit.space(f, 0, f.level.limbs + 1), emit.space(f, 3 * entries)
    total, other = emit.space(f, 3), emit.space(f, 3)
    results = builder.bitcast(out, emit.vectors(f))
    with cgutils.for_range_slice(builder, start, stop, I64(1), inc=True) as (vector, _):
        emit.import_scalars(f, emit.row_pointer(f, scalars, vector, 32), odd, bits * windows)
        for coordinate in range(2):
            rows = emit.row_pointer(f, points, vector, 64, 32 * coordinate)
            f.save(table, enter_rows(f, rows, 64, total), coordinate)
        f.save(table, f.constant(1), 2)
        emit.copy(f, total, table, 3)
        emit.double(f, total)
        with cgutils.for_range(builder, I64(entries - 1)) as entry:
            before = emit.advance(f, table, entry.index, 3)
            emit.add(f, emit.advance(f, before, I64(1), 3), before, total)
        emit.pick_own(f, table, odd, I64((windows - 1) * bits + 1), total)
        with cgutils.for_range(builder, I64(windows - 2)) as step:
            window = builder.sub(I64(windows - 2), step.index)
            emit.double(f, total, bits)
            emit.pick_own(f, table, odd, builder.add(builder.mul(window, I64(bits)), I64(1)), other)
            emit.add(f, total, total, other)
        emit.double(f, total, bits)
        emit.pick_own(f, table, odd, I64(1), other)
        emit.to_homogeneous(f, total)
        emit.to_homogeneous(f, other)
        emit.complete_add(f, emit.advance(f, results, vector, 3), total, other)


def add(f: Field, left: Any, right: Any, start: Any, stop: Any) -> None:
    """left += right, projective."""
    builder = f.level.builder
    a, b = (builder.bitcast(memory, emit.vectors(f)) for memory in (left, right))
    with cgutils.for_range_slice(builder, start, stop, I64(1), inc=True) as (vector, _):
        total = emit.advance(f, a, vector, 3)
        emit.complete_add(f, total, total, emit.advance(f, b, vector, 3))


def to_affine(f: Field, points: Any, products: Any, out: Any, infinite: Any, start: Any, stop: Any) -> None:
    """Rows x ‖ y, zeros for infinity. One inversion a range: ``products`` keeps running products of Z."""
    builder = f.level.builder
    running, scratch = emit.space(f, 1), emit.space(f, 1)
    source, kept = (builder.bitcast(memory, emit.vectors(f)) for memory in (points, products))
    f.save(running, f.constant(1))
    with cgutils.for_range_slice(builder, start, stop, I64(1), inc=True) as (vector, _):
        point = emit.advance(f, source, vector, 3)
        z = f.load(point, 2)
        none = f.is_zero(z)
        z = f.select(none, f.constant(1), z)
        f.save(point, z, 2)
        emit.store_flags(f, none, infinite, vector)
        before = f.load(running)
        f.save(emit.advance(f, kept, vector, 1), before)
        f.save(running, f.mul(before, z))
    f.save(running, f.power(f.load(running), f.modulus - 2))
    size = builder.sub(stop, start)
    with cgutils.for_range(builder, size) as step:
        vector = builder.sub(builder.sub(stop, I64(1)), step.index)
        point = emit.advance(f, source, vector, 3)
        x, y, z = emit.load_point(f, point)
        inverse = f.load(running)
        own = f.mul(inverse, f.load(emit.advance(f, kept, vector, 1)))
        f.save(running, f.mul(inverse, z))
        flags = load(builder, builder.bitcast(infinite, emit.vectors(f)), vector)
        none = [builder.icmp_unsigned("!=", flags, f.level.constant(0)[0])]
        for coordinate, value in enumerate((x, y)):
            limbs = f.canonical(f.mul(value, own))
            limbs = [f.level.select(none, f.level.constant(0), word) for word in limbs]
            rows = emit.row_pointer(f, out, vector, 64, 32 * coordinate)
            emit.export_rows(f, limbs, scratch, rows, I64(64))


def on_curve(f: Field, points: Any, flags: Any, start: Any, stop: Any) -> None:
    scratch = emit.space(f, 1)
    with cgutils.for_range_slice(f.level.builder, start, stop, I64(1), inc=True) as (vector, _):
        x, y = (enter_rows(f, emit.row_pointer(f, points, vector, 64, 32 * c), 64, scratch) for c in range(2))
        good = f.is_zero(f.sub(f.sqr(y), formulas.right_side(f, x)))
        emit.store_flags(f, good, flags, vector)


def decompress(f: Field, xs: Any, parities: Any, out: Any, flags: Any, start: Any, stop: Any) -> None:
    """y of every x, two vectors at a time to hide the latency of the square root."""

    def one_pair(inner: Field, rows: Any, wanted: Any, target: Any, good: Any, at: Any) -> None:
        builder = inner.level.builder
        wide = inner.on(type(inner.level)(builder, 2, by_call=True))
        scratch = emit.space(inner, 1)
        places = [builder.add(at, I64(way)) for way in range(2)]
        x = joined(
            inner,
            wide,
            [enter_rows(inner, emit.row_pointer(inner, rows, v, 32), 32, scratch) for v in places],
        )
        base = builder.bitcast(wanted, emit.vectors(inner))
        odd = [
            builder.icmp_unsigned("!=", load(builder, base, v), inner.level.constant(0)[0]) for v in places
        ]
        square = formulas.right_side(wide, x)
        y = formulas.square_root(wide, square)
        found = wide.is_zero(wide.sub(wide.sqr(y), square))
        y = wide.negate_if([builder.not_(c) for c in wide.same(wide.is_odd(y), odd)], y)
        limbs = wide.canonical(y)
        for way, v in enumerate(places):
            words: list[Word] = [[word[way]] for word in limbs]
            emit.export_rows(inner, words, scratch, emit.row_pointer(inner, target, v, 32), I64(32))
            emit.store_flags(inner, [found[way]], good, v)

    made = f.function("decompress_pair", [xs.type, parities.type, out.type, flags.type, I64], one_pair)
    with cgutils.for_range_slice(f.level.builder, start, stop, I64(2), inc=True) as (vector, _):
        f.level.builder.call(made, [xs, parities, out, flags, vector])


def map_to_curve(f: Field, elements: Any, out: Any, start: Any, stop: Any) -> None:
    """Rows of two field elements to the sum of their images, projective; both are mapped side by side."""

    def one(inner: Field, rows: Any, target: Any, at: Any) -> None:
        builder = inner.level.builder
        wide = inner.on(type(inner.level)(builder, 2, by_call=True))
        scratch, images = emit.space(inner, 1), [emit.space(inner, 3) for _ in range(2)]
        u = joined(
            inner,
            wide,
            [enter_rows(inner, emit.row_pointer(inner, rows, at, 64, 32 * c), 64, scratch) for c in range(2)],
        )
        for index, coordinate in enumerate(formulas.map_to_curve(wide, u)):
            limbs = wide.stored(coordinate)
            for way in range(2):
                inner.save(images[way], inner.loaded([[word[way]] for word in limbs]), index)
        result = emit.advance(inner, builder.bitcast(target, emit.vectors(inner)), at, 3)
        emit.complete_add(inner, result, *images)

    made = f.function("map_one", [elements.type, out.type, I64], one)
    with cgutils.for_range_slice(f.level.builder, start, stop, I64(1), inc=True) as (vector, _):
        f.level.builder.call(made, [elements, out, vector])


def add_modulo_order(f: Field, left: Any, right: Any, out: Any, start: Any, stop: Any) -> None:
    """(a + b) mod n of rows below 2^256; left rows are 64 bytes apart, the others 32."""
    scratch = emit.space(f, 1)
    with cgutils.for_range_slice(f.level.builder, start, stop, I64(1), inc=True) as (vector, _):
        a = plain_rows(f, emit.row_pointer(f, left, vector, 64), 64, scratch)
        b = plain_rows(f, emit.row_pointer(f, right, vector, 32), 32, scratch)
        total = f.less_modulus(f.less_modulus(f.carry(f.add(a, b))))
        emit.export_rows(f, total.limbs, scratch, emit.row_pointer(f, out, vector, 32), I64(32))


def sign(
    f: Field,
    points: Any,
    digests: Any,
    nonces: Any,
    inverse: Any,
    out: Any,
    flags: Any,
    start: Any,
    stop: Any,
) -> None:
    """r = e + x, s = (k + r) / (1 + d) - r: the standard's (k - r d) / (1 + d) with one product.

    ``inverse`` is one row, 1 / (1 + d) times 2^260.
    """
    level, builder = f.level, f.level.builder
    scratch = emit.space(f, 1)
    with cgutils.for_range_slice(builder, start, stop, I64(1), inc=True) as (vector, _):
        x = plain_rows(f, emit.row_pointer(f, points, vector, 64), 64, scratch)
        e = plain_rows(f, emit.row_pointer(f, digests, vector, 32), 32, scratch)
        k = plain_rows(f, emit.row_pointer(f, nonces, vector, 32), 32, scratch)
        factor = plain_rows(f, inverse, 0, scratch)
        r = f.less_modulus(f.less_modulus(f.carry(f.add(x, e))))
        sum_ = f.less_modulus(f.carry(f.add(k, r)))
        s = f.less_modulus(f.less_modulus(f.carry(f.sub(f.mul(sum_, factor), r))))
        bad = level.bit_or(level.bit_or(all_zero(f, r), all_zero(f, s)), all_zero(f, sum_))
        for half, value in enumerate((r, s)):
            limbs = [level.select(bad, level.constant(0), word) for word in value.limbs]
            rows = emit.row_pointer(f, out, vector, 64, 32 * half)
            emit.export_rows(f, limbs, scratch, rows, I64(64))
        emit.store_flags(f, [builder.not_(condition) for condition in bad], flags, vector)


def plain_rows(f: Field, rows: Any, stride: int, scratch: Any) -> Value:
    """Rows as numbers below 2^256."""
    emit.import_rows(f, rows, I64(stride), scratch)
    limbs = [[load(f.level.builder, scratch, limb)] for limb in range(f.level.limbs)]
    return f.below_2_256(limbs)


def enter_rows(f: Field, rows: Any, stride: int, scratch: Any) -> Value:
    """Rows in the field's representation."""
    return f.enter(plain_rows(f, rows, stride, scratch))


def joined(f: Field, wide: Field, parts: list[Value]) -> Value:
    """Values of ``f``, of one way each, as a value of several ways."""
    stored = [f.stored(part) for part in parts]
    return wide.loaded([[v for part in words for v in part] for words in zip(*stored, strict=True)])


def all_zero(f: Field, a: Value) -> Word:
    total = a.limbs[0]
    for limb in a.limbs[1:]:
        total = f.level.bit_or(total, limb)
    return f.level.compare("==", total, f.level.constant(0))
