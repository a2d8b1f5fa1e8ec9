"""The operations of `accel.modular` on the GPU: limb matrices in, limb matrices out, any batch in pieces.

What an observer on the same GPU could see: kernels address memory by index alone, tables are read in full and
the sequence of products depends on public widths, so neither time nor addresses carry a secret. Every buffer
is cleared before it goes back to the pool. Not covered: power, and whoever can read device memory while a
kernel runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.errors import NotInvertible
from accel.gpu import memory
from accel.gpu.field import Field, Keep, Shape, best_window, digits_of
from accel.gpu.launch import launch
from accel.limbs import LimbArray
from accel.modular_backends import ByteRows, FixedBasePlan, Groups
from accel.modulus import Modulus

FIXED_BASE_WINDOW = 6  # a table entry is read by every thread: wider windows cost more than products save

_Work = Callable[[int, int, Keep], Any]


def enter(values: LimbArray, m: Modulus) -> LimbArray:
    """x R mod m: the product with R^2."""
    return _by_constant(values, m, m.radix_squared)


def leave(values: LimbArray, m: Modulus) -> LimbArray:
    """x: the product with 1."""
    return _by_constant(values, m, 1)


def multiply(a: LimbArray, b: LimbArray, m: Modulus) -> LimbArray:
    with _under(m) as (field, keep):
        shared = len(b) == 1 and len(a) != 1
        one_b = field.shape.tiles(b.limbs, keep) if shared else None

        def work(first: int, last: int, keep: Keep) -> Any:
            x = field.shape.tiles(a.limbs[:, first:last], keep)
            y = one_b if shared else field.shape.tiles(b.limbs[:, first:last], keep)
            return field.product(x, y, last - first, keep, shared=shared)

        return _over(len(a), field, work, numbers=10)


def square(a: LimbArray, m: Modulus) -> LimbArray:
    with _under(m) as (field, _):

        def work(first: int, last: int, keep: Keep) -> Any:
            x = field.shape.tiles(a.limbs[:, first:last], keep)
            return field.product(x, x, last - first, keep)

        return _over(len(a), field, work, numbers=7)


def power(bases: LimbArray, exponents: int | Sequence[int], m: Modulus) -> LimbArray:
    if isinstance(exponents, int):
        return _power(bases, [exponents], max(exponents.bit_length(), 1), m)
    bits = max((e.bit_length() for e in exponents), default=1)
    return _power(bases, exponents, max(bits, 1), m)


def power_secret(bases: LimbArray, exponent: int, exponent_bits: int, m: Modulus) -> LimbArray:
    return _power(bases, [exponent], exponent_bits, m)


def fixed_base_power(plan: FixedBasePlan, exponents: ByteRows) -> LimbArray:
    """Digits choose from the plan's table, which stays on the device; it is public and is not cleared."""
    m = plan.m
    table = plan.table("gpu", lambda: upload_table(plan.base, plan.exponent_bits, m))
    with _under(m) as (field, keep):
        to_form = field.number(m.one, keep)

        def work(first: int, last: int, keep: Keep) -> Any:
            digits = digits_of(exponents[first:last], plan.exponent_bits, FIXED_BASE_WINDOW)
            there = keep(memory.upload(digits, secret=True))
            digits.fill(0)
            count = last - first
            return field.fixed_base(table, FIXED_BASE_WINDOW, there, to_form, count, keep, last_each=False)

        return _over(len(exponents), field, work, numbers=4 + plan.exponent_bits // 512)


def upload_table(base: int, exponent_bits: int, m: Modulus) -> Any:
    """base^(c 2^(w d)) in the kernels' Montgomery form for every digit c of every window d."""
    shape = Shape.of(m.bits)
    with memory.translated():
        return memory.upload(fixed_base_table(base, exponent_bits, m, shape, FIXED_BASE_WINDOW))


def fixed_base_table(
    base: int, exponent_bits: int, m: Modulus, shape: Shape, window: int
) -> npt.NDArray[np.uint32]:
    """uint32 of shape (windows, 2^window, words)."""
    windows = -(-exponent_bits // window)
    table = np.empty((windows, 1 << window, shape.words), np.uint32)
    step, one = base % m.value, (1 << shape.bits) % m.value
    for d in range(windows):
        entry = one
        for c in range(1 << window):
            table[d, c] = np.frombuffer(entry.to_bytes(shape.number_bytes, "little"), "<u4")
            entry = entry * step % m.value
        step = pow(step, 1 << window, m.value)
    return table


def multi_power(bases: LimbArray, exponents: Sequence[Sequence[int]], m: Modulus) -> LimbArray:
    """One power for every base and row, then the product of the row."""
    inverses = inverse(bases, m) if any(e < 0 for row in exponents for e in row) else bases
    rows = []
    for row in exponents:
        chosen = np.where(np.array([e < 0 for e in row], dtype=bool), inverses.limbs, bases.limbs)
        powers = power(LimbArray(chosen), [abs(e) for e in row], m)
        rows.append(product_by_group(powers, np.zeros(len(bases), np.int64), 1, m).limbs)
    if not rows:
        return m.array([])
    return LimbArray(np.concatenate(rows, axis=1))


def product_by_group(values: LimbArray, groups: Groups, count: int, m: Modulus) -> LimbArray:
    """Neighbours of a group are multiplied in pairs until one is left.

    A group that lies in several pieces of the batch has a partial product in each; they are few and are
    multiplied on the host.
    """
    order = np.argsort(groups, kind="stable")
    products = [m.one] * count
    with _under(m) as (field, _):

        def start(first: int, last: int) -> memory.Finish:
            chosen = order[first:last]
            with memory.secrets_in() as keep:
                tiles = field.shape.tiles(values.limbs[:, chosen], keep)
                named, sizes = np.unique(groups[chosen], return_counts=True)
                tiles = _reduced(field, tiles, sizes, keep)
                partial = np.empty((m.limbs, len(named)), np.uint64)
                deliver = field.shape.deliver(tiles, partial, keep)

            def finish() -> None:
                deliver()
                for group, product in zip(named.tolist(), LimbArray(partial).to_ints(), strict=True):
                    products[group] = m.from_montgomery(products[group] * product)

            return finish

        memory.in_pieces(len(values), 7 * field.shape.number_bytes, start)
    return m.array(products)


def inverse(values: LimbArray, m: Modulus) -> LimbArray:
    """Montgomery's trick as a tree: products of pairs up to one, its inverse on the host, then down again."""
    output = np.empty((m.limbs, len(values)), np.uint64)
    with _under(m) as (field, _):
        one = m.array([m.one]).limbs

        def start(first: int, last: int) -> memory.Finish:
            with memory.secrets_in() as keep:
                with_one = np.concatenate([values.limbs[:, first:last], one], axis=1)
                levels = [field.shape.tiles(with_one, keep)]
                sizes = [last - first]
                while sizes[-1] > 1:
                    pairs = (sizes[-1] + 1) // 2
                    left, right = np.arange(0, 2 * pairs, 2), np.arange(1, 2 * pairs, 2)
                    # Every level ends with a 1, which stands in for what an odd number at the end lacks.
                    left, right = (np.append(x, sizes[-1]) for x in (left, right))
                    right = np.minimum(right, sizes[-1])
                    levels.append(_gathered(field, levels[-1], left, levels[-1], right, keep))
                    sizes.append(pairs)
                root = np.empty((m.limbs, 1), np.uint64)
                field.shape.deliver(levels[-1], root, keep)()
                inverted = _inverted(LimbArray(root).to_ints()[0], values, first, last, m)
                tiles = field.shape.tiles(m.array([inverted]).limbs, keep)
                for level, size in zip(reversed(levels[:-1]), reversed(sizes[:-1]), strict=True):
                    child = np.arange(size)
                    tiles = _gathered(field, tiles, child // 2, level, np.minimum(child ^ 1, size), keep)
                return field.shape.deliver(tiles, output[:, first:last], keep)

        memory.in_pieces(len(values), 10 * field.shape.number_bytes, start)
    return LimbArray(output)


def crt(residues_p: LimbArray, residues_q: LimbArray, p: Modulus, q: Modulus, pq: Modulus) -> LimbArray:
    """x_p + p ((x_q - x_p) p^-1 mod q)."""
    from accel.gpu import wide

    output = np.empty((pq.limbs, len(residues_p)), np.uint64)
    with memory.secrets_in() as keep, memory.translated():
        garner = wide.Garner(p, q, pq, keep)

        def start(first: int, last: int) -> memory.Finish:
            with memory.secrets_in() as keep:
                x_p = garner.p_shape.tiles(residues_p.limbs[:, first:last], keep)
                x_q = garner.field_q.shape.tiles(residues_q.limbs[:, first:last], keep)
                x = garner.combine(x_p, x_q, last - first, keep)
                return garner.shape.deliver(x, output[:, first:last], keep)

        memory.in_pieces(len(residues_p), 8 * garner.shape.number_bytes, start)
    return LimbArray(output)


@contextmanager
def _under(m: Modulus) -> Iterator[tuple[Field, Keep]]:
    with memory.secrets_in() as keep, memory.translated():
        yield Field(m, keep), keep


def _over(count: int, field: Field, work: _Work, *, numbers: int, fixed: int = 0) -> LimbArray:
    """Run ``work(first, last, keep)`` over a batch in pieces; ``numbers`` bounds what one element takes."""
    output = np.empty((field.m.limbs, count), np.uint64)

    def start(first: int, last: int) -> memory.Finish:
        with memory.secrets_in() as keep:
            return field.shape.deliver(work(first, last, keep), output[:, first:last], keep)

    memory.in_pieces(count, numbers * field.shape.number_bytes, start, fixed=fixed)
    return LimbArray(output)


def _by_constant(values: LimbArray, m: Modulus, constant: int) -> LimbArray:
    with _under(m) as (field, keep):
        factor = field.number(constant, keep)

        def work(first: int, last: int, keep: Keep) -> Any:
            x = field.shape.tiles(values.limbs[:, first:last], keep)
            return field.product(x, factor, last - first, keep, shared=True)

        return _over(len(values), field, work, numbers=7)


def _power(bases: LimbArray, exponents: Sequence[int], exponent_bits: int, m: Modulus) -> LimbArray:
    """One exponent for all bases, or as many as there are bases."""
    each = len(exponents) == len(bases) != 1
    window = best_window(exponent_bits)
    width = -(-exponent_bits // 8)

    def digits(chosen: Sequence[int], keep: Keep) -> Any:
        rows = np.frombuffer(b"".join(e.to_bytes(width, "big") for e in chosen), np.uint8)
        lowest_first = digits_of(rows.reshape(len(chosen), width), exponent_bits, window)
        return keep(memory.upload(np.ascontiguousarray(lowest_first[::-1]), secret=True))

    with _under(m) as (field, keep):
        for_all = None if each or not bases.limbs.shape[1] else digits(exponents, keep)

        def work(first: int, last: int, keep: Keep) -> Any:
            count = last - first
            x = field.enter(field.shape.tiles(bases.limbs[:, first:last], keep), count, keep)
            these = digits(exponents[first:last], keep) if each else for_all
            y = field.power(x, these, window, count, keep, each=each)
            return field.leave(y, count, keep)

        scratch = field.power_scratch_bytes(window, len(bases)) * memory.PIECES_IN_FLIGHT
        return _over(len(bases), field, work, numbers=9 + exponent_bits // 256, fixed=scratch)


def _gathered(
    field: Field,
    a: Any,
    a_at: npt.NDArray[np.integer[Any]],
    b: Any,
    b_at: npt.NDArray[np.integer[Any]],
    keep: Keep,
) -> Any:
    there = [memory.upload(at.astype(np.uint32)) for at in (a_at, b_at)]
    return field.product(a, b, len(a_at), keep, a_at=there[0], b_at=there[1])


def _reduced(field: Field, tiles: Any, sizes: npt.NDArray[np.intp], keep: Keep) -> Any:
    """The product of each run of ``sizes`` neighbours."""
    while int(sizes.max()) > 1:
        starts = np.cumsum(sizes) - sizes
        halves = (sizes + 1) // 2
        within = np.arange(int(halves.sum())) - np.repeat(np.cumsum(halves) - halves, halves)
        left = np.repeat(starts, halves) + 2 * within
        paired = 2 * within + 1 < np.repeat(sizes, halves)
        tiles = _pairs(field, tiles, left, paired, keep)
        sizes = halves
    return tiles


def _pairs(
    field: Field, tiles: Any, left: npt.NDArray[np.intp], paired: npt.NDArray[np.bool_], keep: Keep
) -> Any:
    """left (left + 1) where there is a pair, left alone where not."""
    output = field.shape.empty(len(left), keep)
    for is_pair in (True, False):
        to = np.flatnonzero(paired == is_pair)
        if not len(to):
            continue
        from_at: Any = memory.upload(left[to].astype(np.uint32))
        part = tiles
        if is_pair:
            after = memory.upload((left[to] + 1).astype(np.uint32))
            part = field.product(tiles, tiles, len(to), keep, a_at=from_at, b_at=after)
            from_at = np.uint64(0)  # a null pointer: in order
        to_at = memory.upload(to.astype(np.uint32))
        launch(field.shape.kernel("move"), len(to), part, from_at, output, to_at, np.uint64(len(to)))
    return output


def _inverted(root: int, values: LimbArray, first: int, last: int, m: Modulus) -> int:
    """From the Montgomery form of a product to that of its inverse."""
    try:
        return pow(root, -1, m.value) * m.radix_squared % m.value
    except ValueError:
        piece = LimbArray(values.limbs[:, first:last]).to_ints()
        index = first + next(i for i, x in enumerate(piece) if math.gcd(x, m.value) != 1)
        raise NotInvertible(f"value {index} shares a factor with the modulus", index=index) from None
