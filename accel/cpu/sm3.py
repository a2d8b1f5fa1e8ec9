"""SM3 of many messages at once: one message per 32-bit lane, 16 lanes with AVX-512 and 8 with AVX2.

All rounds are unrolled; the state and the sliding window of sixteen message words stay in registers. SM3 has
neither tables nor branches: time depends on the lengths alone. Source: GB/T 32905-2016 section 5.3.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from accel.byte_rows import ByteRows
from accel.cpu.entries_ir import put_word, word_at
from accel.cpu.ir import I1, I8, I32, I64, call, load, splat, store
from accel.cpu.jit import compiled
from accel.cpu.threads import each_range
from accel.reference.sm3 import IV

Rows = npt.NDArray[np.uint8]

_INITIAL = np.array([IV], np.uint32)
_ROWS_A_RANGE = 1024  # enough to be worth a thread, and a multiple of both lane counts


def _compress(lanes: int) -> Any:
    """An intrinsic ``(state, blocks, active)``: one compression per lane.

    ``state`` is the address of 8 vectors, ``blocks`` that of the addresses of one block of 64 bytes a lane; a
    lane whose bit of ``active`` is clear keeps its state.
    """
    vector = ir.VectorType(I32, lanes)

    @intrinsic
    def compress(typing_context, state, blocks, active):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            base = builder.inttoptr(arguments[0], vector.as_pointer())
            table = builder.inttoptr(arguments[1], I64.as_pointer())
            rows = [
                builder.inttoptr(builder.load(builder.gep(table, [I32(lane)])), vector.as_pointer())
                for lane in range(lanes)
            ]
            bits = builder.trunc(arguments[2], ir.IntType(lanes))
            mask = builder.bitcast(bits, ir.VectorType(I1, lanes))
            before = [load(builder, base, i) for i in range(8)]
            after = _rounds(builder, vector, before, _message_words(builder, vector, rows))
            for i in range(8):
                store(builder, base, i, builder.select(mask, after[i], before[i]))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), emit

    return compress


def _message_words(builder: Any, vector: Any, rows: list[Any]) -> list[Any]:
    """Sixteen vectors, word j of every lane's block in vector j."""
    words: list[Any] = []
    for part in range(16 // vector.count):
        square = [builder.load(builder.gep(row, [I32(part)])) for row in rows]
        for value in square:
            value.align = 1
        words += _transpose(builder, square)
    name = f"llvm.bswap.v{vector.count}i32"
    return [call(builder, name, vector, word) for word in words]


def _transpose(builder: Any, rows: list[Any]) -> list[Any]:
    """Exchange row and lane numbers bit by bit."""
    count = len(rows)
    step = 1
    while step < count:
        low = [lane if not lane & step else count + lane - step for lane in range(count)]
        high = [lane + step if not lane & step else count + lane for lane in range(count)]
        for i in range(count):
            if not i & step:
                a, b = rows[i], rows[i + step]
                rows[i], rows[i + step] = (
                    builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, count), pattern))
                    for pattern in (low, high)
                )
        step *= 2
    return rows


def _rounds(builder: Any, vector: Any, state: list[Any], words: list[Any]) -> list[Any]:
    """Section 5.3.3, with the names of the standard for the working variables."""

    def rotate(x: Any, bits: int) -> Any:
        return call(builder, f"llvm.fshl.v{vector.count}i32", vector, x, x, splat(vector, bits % 32))

    def xor(*terms: Any) -> Any:
        return reduce(builder.xor, terms)

    def ternary(table: int, x: Any, y: Any, z: Any) -> Any:
        return call(builder, "llvm.x86.avx512.pternlog.d.512", vector, x, y, z, I32(table))

    def majority(x: Any, y: Any, z: Any) -> Any:
        if vector.count == 16:
            return ternary(0xE8, x, y, z)
        return builder.or_(builder.and_(x, y), builder.and_(builder.or_(x, y), z))

    def choose(x: Any, y: Any, z: Any) -> Any:
        return ternary(0xCA, x, y, z) if vector.count == 16 else xor(builder.and_(xor(y, z), x), z)

    def total(*terms: Any) -> Any:
        return reduce(builder.add, terms)

    w = list(words)
    a, b, c, d, e, f, g, h = state
    for j in range(64):
        i = j + 4
        if i >= 16:  # just in time: sixteen words are alive at any point
            mixed = xor(w[i - 16], w[i - 9], rotate(w[i - 3], 15))
            p1 = xor(mixed, rotate(mixed, 15), rotate(mixed, 23))
            w.append(xor(p1, rotate(w[i - 13], 7), w[i - 6]))
        constant = 0x79CC4519 if j < 16 else 0x7A879D8A
        constant = (constant << j % 32 | constant >> (32 - j % 32)) & 0xFFFFFFFF
        a12 = rotate(a, 12)
        # Sums are ordered so that what comes from the round before, through a and e, enters last.
        ss1 = rotate(total(e, splat(vector, constant), a12), 7)
        ff, gg = (xor(a, b, c), xor(e, f, g)) if j < 16 else (majority(a, b, c), choose(e, f, g))
        tt1 = total(d, xor(w[j], w[i]), ff, xor(ss1, a12))
        tt2 = total(h, w[j], gg, ss1)
        a, b, c, d = tt1, a, rotate(b, 9), c
        e, f, g, h = xor(tt2, rotate(tt2, 9), rotate(tt2, 17)), e, rotate(f, 19), g
    return [xor(x, y) for x, y in zip((a, b, c, d, e, f, g, h), state, strict=True)]


@intrinsic
def _copy(typing_context, target, source, size):  # type: ignore[no-untyped-def]
    """Copy ``size`` bytes between addresses."""

    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        target, source = (builder.inttoptr(address, I8.as_pointer()) for address in arguments[:2])
        cgutils.raw_memcpy(builder, target, source, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), emit


@intrinsic
def _swap_bytes(typing_context, word):  # type: ignore[no-untyped-def]
    """An unsigned number with its bytes in the other order."""

    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bswap(arguments[0])

    return word(word), emit


_compress_8, _compress_16 = _compress(8), _compress(16)


def _digest_kernel(lanes: int) -> Any:
    """``digest(source, starts, lengths, order, states, done, padded, output, start, stop)``.

    Message i, for i in ``order``, is ``lengths[i]`` bytes at address ``source + starts[i]``; ``done`` bytes
    before it, a multiple of 64, have led to row i of ``states``, or row 0 if there is no other. Neighbours in
    ``order`` should take equally many blocks. Not ``padded``, they give the state after whole blocks.
    """

    @compiled(variant=lanes)
    def digest(source, starts, lengths, order, states, done, padded, output, start, stop):  # type: ignore[no-untyped-def]
        rows = np.zeros((lanes, 64), np.uint8)
        words = rows.view(np.uint64)
        state = np.zeros((8, lanes), np.uint32)
        table = np.full(lanes, rows.ctypes.data)  # a lane at rest keeps an address that may be read
        ending = 8 if padded else -64  # bytes that the end of a message needs beyond the 0x80
        for first in range(start, stop, lanes):
            used = min(lanes, stop - first)
            blocks = 0
            for lane in range(used):
                i = order[first + lane]
                blocks = max(blocks, (lengths[i] + ending) // 64 + 1)
                if len(states) > 1:
                    for k in range(8):
                        state[k, lane] = states[i, k]
            if len(states) == 1:
                for k in range(8):
                    state[k, :] = states[0, k]
            for block in range(blocks):
                active = 0
                for lane in range(used):
                    i = order[first + lane]
                    left = lengths[i] - 64 * block
                    at = source + starts[i] + 64 * block
                    if left >= 64:
                        active |= 1 << lane
                        table[lane] = at
                    elif left >= -ending:
                        # The end of the message, its padding or its length are in this block.
                        active |= 1 << lane
                        to = rows.ctypes.data + 64 * lane
                        table[lane] = to
                        for k in range(8):
                            words[lane, k] = 0
                        if left > 0:
                            _copy(to, at, left)  # type: ignore[call-arg]
                        if left >= 0:
                            rows[lane, left] = 0x80
                        if left < 56:
                            words[lane, 7] = _swap_bytes(np.uint64(8 * (done + lengths[i])))  # type: ignore[call-arg]
                if lanes == 16:
                    _compress_16(state.ctypes.data, table.ctypes.data, active)
                else:
                    _compress_8(state.ctypes.data, table.ctypes.data, active)
            for lane in range(used):
                i = order[first + lane]
                for k in range(8):
                    output[i, k] = _swap_bytes(state[k, lane])  # type: ignore[call-arg]

    return digest


_DIGEST = {lanes: _digest_kernel(lanes) for lanes in (8, 16)}


def digest_many(lanes: int, messages: ByteRows) -> Rows:
    """SM3 of every message: uint8 of shape (n, 32)."""
    return _run(lanes, messages, _INITIAL, done=0, padded=True)


def hmac_many(lanes: int, keys: Rows, messages: ByteRows) -> Rows:
    """HMAC-SM3 of every message; ``keys`` are zero-padded rows of 64 bytes, one or one per message."""
    inner, outer = (
        _run(lanes, ByteRows.of(keys ^ np.uint8(pad)), _INITIAL, done=0, padded=False)
        .view(">u4")
        .astype(np.uint32)
        for pad in (0x36, 0x5C)
    )
    digests = _run(lanes, messages, inner, done=64, padded=True)
    return _run(lanes, ByteRows.of(digests), outer, done=64, padded=True)


def _joined_kernel(lanes: int) -> Any:
    """``digest(parts, widths, strides, rest, output, start, stop)``: messages of one block.

    Message i is ``widths[k]`` bytes, a multiple of 8, at address ``parts[k] + strides[k] * i``, one part
    after the other; ``rest`` is a block of which the end is padding and length.
    """

    @compiled(variant=lanes)
    def digest(parts, widths, strides, rest, output, start, stop):  # type: ignore[no-untyped-def]
        rows = np.zeros((lanes, 64), np.uint8)
        base = rows.ctypes.data
        state = np.zeros((8, lanes), np.uint32)
        table = np.empty(lanes, np.int64)
        for lane in range(lanes):
            rows[lane] = rest
            table[lane] = base + 64 * lane
        for first in range(start, stop, lanes):
            used = min(lanes, stop - first)
            at = base
            for k in range(len(parts)):
                source = parts[k] + strides[k] * first
                for lane in range(used):
                    for word in range(0, widths[k], 8):
                        put_word(at + 64 * lane + word, word_at(source + strides[k] * lane + word))
                at += widths[k]
            for k in range(8):
                state[k, :] = _INITIAL[0, k]
            if lanes == 16:
                _compress_16(state.ctypes.data, table.ctypes.data, 0xFFFF)
            else:
                _compress_8(state.ctypes.data, table.ctypes.data, 0xFF)
            for lane in range(used):
                for k in range(8):
                    output[first + lane, k] = _swap_bytes(state[k, lane])  # type: ignore[call-arg]

    return digest


_JOINED = {lanes: _joined_kernel(lanes) for lanes in (8, 16)}


def digest_joined(lanes: int, parts: list[Rows], count: int) -> Rows:
    """SM3 of rows i of all parts, or the only one, joined: uint8 of shape (n, 32). See `accel.sm3`."""
    output = np.empty((count, 8), np.uint32)
    widths = np.array([part.shape[1] for part in parts])
    strides = np.array([part.strides[0] if len(part) == count else 0 for part in parts])
    addresses = np.array([part.ctypes.data for part in parts])
    rest = np.zeros(64, np.uint8)
    total = int(widths.sum())
    rest[total] = 0x80
    rest[56:] = np.frombuffer((8 * total).to_bytes(8, "big"), np.uint8)
    kernel = _JOINED[lanes]

    def work(start: int, stop: int) -> None:
        kernel(addresses, widths, strides, rest, output, start, stop)

    each_range(count, _ROWS_A_RANGE, work)
    return output.view(np.uint8)


def _run(lanes: int, messages: ByteRows, states: npt.NDArray[np.uint32], *, done: int, padded: bool) -> Rows:
    data, starts, lengths = messages.data, messages.starts, messages.lengths
    output = np.empty((len(starts), 8), np.uint32)
    # Lanes work in step: let those that take equally many blocks work together.
    blocks = (lengths + 72) // 64
    even = not len(blocks) or blocks.min() == blocks.max()
    order = np.arange(len(starts)) if even else np.argsort(blocks, kind="stable")
    kernel = _DIGEST[lanes]

    def work(start: int, stop: int) -> None:
        kernel(data.ctypes.data, starts, lengths, order, states, done, padded, output, start, stop)

    each_range(len(starts), _ROWS_A_RANGE, work)
    return output.view(np.uint8)
