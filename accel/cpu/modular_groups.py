"""Products of many numbers into few, by the vector kernels: by group, and as simultaneous powers.

Numbers are first laid one after the other in memory, so that every lane can follow its own list of them.

Simultaneous powers take the cheaper of two ways. Few rows over many bases: the bases of equal digit are
multiplied together, window by window, and the products of the digits are combined (Pippenger 1976; Bernstein,
Doumen, Lange, Oosterwijk 2012 call it the bucket method). Many rows over few bases: each base gets a table of
its powers, and all windows share their squarings (Straus 1964).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from accel.cpu.lane_memory import aligned
from accel.cpu.modular_kernel import GATHER, LOAD_A, LOOKUP, MULTIPLY, SQUARE, STORE, STORE_ROWS
from accel.cpu.modular_program import ONE, Program, little_digits
from accel.limbs import U64, LimbArray
from accel.modular_backends import Groups
from accel.modulus import Modulus

if TYPE_CHECKING:
    from accel.cpu.modular_vector import VectorBackend

Integers = npt.NDArray[np.int64]
Entry = TypeVar("Entry", np.int64, np.uint8)

_PIECES = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_RUN_PRODUCTS = 200  # what starting the kernel costs, in products
_DIGITS_AT_ONCE = 1 << 20  # of exponents of simultaneous powers
_TABLE_WORDS = 1 << 25  # 256 MB of tables


def product_by_group(
    backend: VectorBackend, values: LimbArray, groups: Groups, count: int, m: Modulus
) -> LimbArray:
    items = np.arange(len(values), dtype=np.int64)
    products = _products(backend, _as_rows(backend, values, m), items, groups, count, m)
    return LimbArray(np.ascontiguousarray(products[:-1, : m.limbs].T))


def multi_power(
    backend: VectorBackend, bases: LimbArray, exponents: Sequence[Sequence[int]], m: Modulus
) -> LimbArray:
    bits = max((e.bit_length() for row in exponents for e in row), default=0)
    if bits == 0:
        return m.array([m.one] * len(exponents))
    cost, width = min((_bucket_cost(w, bits, len(bases), len(exponents)), w) for w in range(1, 13))
    if _table_cost(backend.window_bits, bits, len(bases), len(exponents)) < cost:
        return _in_portions_of_bases(backend, bases, exponents, bits, m)
    numbers = _as_rows(backend, bases, m)
    parts = [
        _by_buckets(backend, numbers, rows, bits, width, m).limbs
        for rows in _portions(exponents, len(bases) * -(-bits // width))
    ]
    return LimbArray(np.concatenate(parts, axis=1))


def _portions(exponents: Sequence[Sequence[int]], digits_in_row: int) -> Iterator[Sequence[Sequence[int]]]:
    """Rows few enough that their digits fit in memory together."""
    at_once = max(1, _DIGITS_AT_ONCE // digits_in_row)
    for start in range(0, len(exponents), at_once):
        yield exponents[start : start + at_once]


def _in_portions_of_bases(
    backend: VectorBackend, bases: LimbArray, exponents: Sequence[Sequence[int]], bits: int, m: Modulus
) -> LimbArray:
    """By tables, for so many bases at a time that their tables fit in memory together."""
    at_once = max(1, _TABLE_WORDS // (m.limbs << backend.window_bits))
    product = m.array([m.one] * len(exponents))
    for start in range(0, len(bases), at_once):
        some = bases[start : start + at_once]
        table = backend.digit_table(some, m)
        chosen = [row[start : start + at_once] for row in exponents]
        parts = [
            _by_tables(backend, table, rows, bits, m).limbs
            for rows in _portions(chosen, len(some) * -(-bits // backend.window_bits))
        ]
        powers = LimbArray(np.concatenate(parts, axis=1))
        product = backend.multiply(product, powers, m) if start else powers
    return product


def _products(
    backend: VectorBackend, numbers: U64, items: Integers, groups: Integers, count: int, m: Modulus
) -> U64:
    """Rows of ``count`` products and a last row of 1: that of numbers[items[i]] over groups[i] == g.

    The last of ``numbers`` is 1. Round by round, groups are cut into pieces and each lane multiplies one.
    """
    result = np.repeat(numbers[-1:], count + 1, axis=0)
    # Narrow integers are sorted digit by digit, in linear time.
    keys = groups.astype(np.uint16) if count <= 1 << 16 else groups
    items = items[np.argsort(keys, kind="stable")]
    sizes = np.bincount(groups, minlength=count)
    names = np.flatnonzero(sizes)
    sizes = sizes[names]
    while True:
        starts = np.cumsum(sizes) - sizes
        single = sizes == 1
        result[names[single]] = numbers[items[starts[single]]]
        items = items[np.repeat(~single, sizes)]
        names, sizes = names[~single], sizes[~single]
        if not names.size:
            return result
        pieces = -(-sizes // _longest_piece(sizes, backend.lanes))
        numbers, items = _multiply_pieces(backend, numbers, items, _piece_lengths(sizes, pieces), m)
        sizes = pieces


def _multiply_pieces(
    backend: VectorBackend, numbers: U64, items: Integers, lengths: Integers, m: Modulus
) -> tuple[U64, Integers]:
    """Products of consecutive pieces of the items, as rows, and which row belongs to each piece."""
    starts = np.cumsum(lengths) - lengths
    order = np.argsort(lengths, kind="stable")
    out = _rows(backend, len(lengths), m)
    begin = 0
    # Pieces of about one length run together. Lanes beyond the last piece write rows of the next run.
    for stop in _runs(lengths[order]):
        chosen = order[begin:stop]
        longest = int(lengths[order[stop - 1]])
        at = starts[chosen] + np.arange(longest)[:, None]
        inside = at < starts[chosen] + lengths[chosen]
        index = np.where(inside, items[np.minimum(at, len(items) - 1)], len(numbers) - 1)
        program: Program = [(GATHER, 0, 0, 0)]
        for step in range(1, longest):
            program += [(GATHER, 1, 0, step), (MULTIPLY, 0, 0, 1)]
        program.append((STORE_ROWS, 0, 0, 0))
        whole = _whole(index, backend.lanes)
        target = out[begin : begin + whole.shape[1]]
        backend.run(program, 2, m, stop - begin, rows=numbers, index=whole, out_rows=target)
        begin = stop
    rows = np.empty(len(lengths), dtype=np.int64)
    rows[order] = np.arange(len(lengths))
    return out, rows


def _runs(lengths: Integers) -> list[int]:
    """Where runs of ascending lengths end, so that padding costs about as much as one run more would."""
    ends: list[int] = []
    values, counts = np.unique(lengths, return_counts=True)
    stop, longest, padding = len(lengths), 0, 0
    for value, count in zip(values[::-1].tolist(), counts[::-1].tolist(), strict=True):
        padding += count * (longest - value)
        if not longest or padding > _RUN_PRODUCTS + 4 * longest:
            ends.append(stop)
            longest, padding = value, 0
        stop -= count
    return ends[::-1]


def _piece_lengths(sizes: Integers, pieces: Integers) -> Integers:
    """Each group in so many pieces whose lengths differ by one at most."""
    rank = np.arange(int(pieces.sum())) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    return np.repeat(sizes // pieces, pieces) + (rank < np.repeat(sizes % pieces, pieces))


def _longest_piece(sizes: Integers, lanes: int) -> int:
    """Long pieces save rounds and memory, short ones keep all lanes busy."""
    terms = int(sizes.sum())

    def cost(piece: int) -> float:
        pieces = -(-sizes // piece)
        count = int(pieces.sum())
        vectors = -(-count // lanes)
        return vectors * lanes * (1.15 * terms / count - 0.5) + 2 * (count - len(sizes))

    return min(_PIECES, key=cost)


def _bucket_cost(width: int, bits: int, bases: int, rows: int) -> float:
    windows = -(-bits // width)
    return windows * rows * (bases + 2 * (1 << width)) + bits * rows


def _table_cost(width: int, bits: int, bases: int, rows: int) -> float:
    # Vectors of rows: a few rows cost as much as eight.
    return bases * (1 << width) + -(-rows // 8) * 8 * (1.15 * bases * -(-bits // width) + bits)


def _by_buckets(
    backend: VectorBackend,
    numbers: U64,
    exponents: Sequence[Sequence[int]],
    bits: int,
    width: int,
    m: Modulus,
) -> LimbArray:
    rows, bases = len(exponents), len(exponents[0])
    digits = _digits(exponents, bits, width)
    windows, buckets = len(digits), 1 << width
    window, row, base = np.nonzero(digits.reshape(windows, rows, bases))
    lane = row * windows + window
    groups = lane * buckets + digits.reshape(windows, rows, bases)[window, row, base]
    products = _products(backend, numbers, base, groups, rows * windows * buckets, m)

    # Running products from the highest digit down: each bucket is multiplied in as often as its digit says.
    lanes = np.arange(rows * windows)
    index = lanes * buckets + np.arange(buckets - 1, 0, -1)[:, None]
    program: Program = [(GATHER, 0, 0, 0), (MULTIPLY, 1, 0, ONE)]
    for step in range(1, buckets - 1):
        program += [(GATHER, 2, 0, step), (MULTIPLY, 0, 0, 2), (MULTIPLY, 1, 1, 0)]
    program.append((STORE_ROWS, 0, 1, 0))
    by_window = _run_to_rows(backend, program, 3, m, len(lanes), products, _whole(index, backend.lanes))

    index = np.arange(rows) * windows + np.arange(windows - 1, -1, -1)[:, None]
    program = [(GATHER, 0, 0, 0)]
    for step in range(1, windows):
        program += [(SQUARE, 0, 0, 0)] * width + [(GATHER, 1, 0, step), (MULTIPLY, 0, 0, 1)]
    program.append((STORE, 0, 0, 0))
    return backend.run(program, 2, m, rows, rows=by_window, index=_whole(index, backend.lanes))


def _by_tables(
    backend: VectorBackend, table: U64, exponents: Sequence[Sequence[int]], bits: int, m: Modulus
) -> LimbArray:
    width, rows, bases = backend.window_bits, len(exponents), len(exponents[0])
    # Digit rows by window, then base; lanes are rows of exponents.
    windows = _digits(exponents, bits, width).reshape(-1, rows, bases).transpose(0, 2, 1)
    digits = _whole(windows.reshape(-1, rows).astype(np.uint8), backend.lanes)
    program: Program = []
    for window in reversed(range(len(windows))):
        if program:
            program += [(SQUARE, 0, 0, 0)] * width
        for base in range(bases):
            found = 1 if program else 0
            program.append((LOOKUP, found, base, window * bases + base))
            if found:
                program.append((MULTIPLY, 0, 0, 1))
    program.append((STORE, 0, 0, 0))
    return backend.run(program, 2, m, rows, digits=digits, table=table, streams=True)


def _digits(exponents: Sequence[Sequence[int]], bits: int, width: int) -> npt.NDArray[np.int64]:
    """Windows of all exponents, lowest first: (windows, rows times bases)."""
    size = -(-bits // 8)
    data = b"".join(e.to_bytes(size, "little") for row in exponents for e in row)
    rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, size)
    return little_digits(rows, bits, width).astype(np.int64)


def _as_rows(backend: VectorBackend, values: LimbArray, m: Modulus) -> U64:
    """The numbers one after the other in whole vectors; a 1 comes last."""
    program: Program = [(LOAD_A, 0, 0, 0), (STORE_ROWS, 0, 0, 0)]
    out = _rows(backend, len(values), m)
    backend.run(program, 1, m, len(values), a=values, out_rows=out)
    return out


def _run_to_rows(
    backend: VectorBackend, program: Program, slots: int, m: Modulus, count: int, rows: U64, index: Integers
) -> U64:
    out = _rows(backend, count, m)
    backend.run(program, slots, m, count, constants=[m.one], rows=rows, index=index, out_rows=out)
    return out


def _rows(backend: VectorBackend, count: int, m: Modulus) -> U64:
    lanes = backend.lanes
    shape = -(-count // lanes) * lanes + lanes + 1, -(-m.limbs // lanes) * lanes
    out = aligned(shape[0] * shape[1]).reshape(shape)
    out[-1] = 0
    out[-1, : m.limbs] = m.array([m.one]).limbs[:, 0]
    return out


def _whole(lanes: npt.NDArray[Entry], width: int) -> npt.NDArray[Entry]:
    """Zeros added on the right up to whole vectors, contiguous."""
    padded = np.zeros((lanes.shape[0], -(-lanes.shape[1] // width) * width), dtype=lanes.dtype)
    padded[:, : lanes.shape[1]] = lanes
    return padded
