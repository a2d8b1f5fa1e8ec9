"""SHA-512 in the lanes of vectors, and expand_message_xmd (RFC 9380 section 5.3.1) for many messages at once.

One message per lane. Messages of one vector may differ in length: a lane that has taken its last block keeps
its state while the others go on, so a long message costs its seven neighbours time and nothing else.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir as llvm
from numba import types
from numba.extending import intrinsic

from accel.cpu import ir
from accel.cpu.jit import compiled

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]

BLOCK_BYTES = 128
UNIFORM_BYTES = 96  # two field elements of 48 bytes
SLACK = 8  # bytes that must follow the messages
WORDS = 8  # of one uniform field element: six, and two of zero that make two numbers of four words


def _primes(count: int) -> list[int]:
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return found


def _root(value: int, power: int) -> int:
    """The largest integer whose ``power`` is at most ``value``."""
    low, high = 0, 1 << (value.bit_length() // power + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**power <= value else (low, middle)
    return low


# FIPS 180-4 sections 4.2.3 and 5.3.5: the first 64 fractional bits of cube and square roots of primes.
K = np.array([_root(p << 192, 3) & (2**64 - 1) for p in _primes(80)], dtype=np.uint64)
INITIAL = np.array([_root(p << 128, 2) & (2**64 - 1) for p in _primes(8)], dtype=np.uint64)

_ALL = np.uint64(2**64 - 1)


class Tag(NamedTuple):
    """What depends on the domain separation tag alone."""

    after_message: U8  # `SLACK` zeros || l_i_b_str || 0 || DST_prime || first padding byte || zeros
    length: int  # of what follows a message, padding left out
    blocks: U64  # two rows: the blocks of b_1 and b_2, whose first eight words are filled in for each message


def prepare(dst: bytes) -> Tag:
    if len(dst) > 255:
        dst = hashlib.sha512(b"H2C-OVERSIZE-DST-" + dst).digest()
    dst_prime = dst + bytes([len(dst)])
    after = UNIFORM_BYTES.to_bytes(2, "big") + b"\0" + dst_prime + b"\x80"
    rows = []
    for counter in (1, 2):
        text = bytes(64) + bytes([counter]) + dst_prime
        padded = text + b"\x80" + bytes(-(len(text) + 17) % BLOCK_BYTES) + (8 * len(text)).to_bytes(16, "big")
        rows.append(np.frombuffer(padded, dtype=">u8").astype(np.uint64))
    tail = bytes(SLACK) + after + bytes(2 * BLOCK_BYTES)
    return Tag(np.frombuffer(tail, dtype=np.uint8), len(after) - 1, np.stack(rows))


def _kind(lanes: Any) -> Any:
    """The vector type of a numba tuple type whose length is the number of lanes."""
    return llvm.VectorType(ir.I64, lanes)


class _Rounds:
    """Emits rounds on lists of vectors: ``v`` the eight state words, ``w`` the sixteen schedule words."""

    def __init__(self, builder: Any, kind: Any) -> None:
        self.builder, self.kind = builder, kind

    def sixteen(self, v: list[Any], w: list[Any], keys: list[Any], *, schedule: bool) -> None:
        b = self.builder
        for t in range(16):
            a, bb, c, d, e, f, g, h = v
            choice = b.xor(g, b.and_(e, b.xor(f, g)))
            t1 = self._sum(h, self._sigma(e, 14, 18, 41), choice, b.add(keys[t], w[t]))
            majority = b.or_(b.and_(a, bb), b.and_(c, b.or_(a, bb)))
            t2 = self._sum(self._sigma(a, 28, 34, 39), majority)
            v[:] = [b.add(t1, t2), a, bb, c, b.add(d, t1), e, f, g]
            if schedule:
                s0 = self._sigma(w[(t + 1) % 16], 1, 8, shift=7)
                s1 = self._sigma(w[(t + 14) % 16], 19, 61, shift=6)
                w[t] = self._sum(w[t], s0, w[(t + 9) % 16], s1)

    def _sigma(self, x: Any, *rotations: int, shift: int = 0) -> Any:
        parts = [self._rotate(x, bits) for bits in rotations]
        if shift:
            parts.append(self.builder.lshr(x, ir.splat(self.kind, shift)))
        return self.builder.xor(self.builder.xor(parts[0], parts[1]), parts[2])

    def _rotate(self, x: Any, bits: int) -> Any:
        name = f"llvm.fshr.v{self.kind.count}i64"
        return ir.call(self.builder, name, self.kind, x, x, ir.splat(self.kind, bits))

    def _sum(self, *terms: Any) -> Any:
        total = terms[0]
        for term in terms[1:]:
            total = self.builder.add(total, term)
        return total


def _rounds(schedule: bool) -> Any:
    @intrinsic
    def rounds(context: Any, lanes: Any, work: Any, keys: Any, first: Any) -> Any:
        """Sixteen rounds on ``work`` (8 state and 16 schedule vectors) with ``keys[first:first + 16]``."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = _kind(signature.args[0].count)
            base = ir.pointer(context, builder, signature.args[1], arguments[1], kind)
            table = ir.pointer(context, builder, signature.args[2], arguments[2], ir.I64)
            v = [ir.load(builder, base, k) for k in range(8)]
            w = [ir.load(builder, base, 8 + k) for k in range(16)]
            scalars = [ir.load(builder, table, builder.add(arguments[3], ir.I64(t))) for t in range(16)]
            k = [ir.broadcast(builder, kind, scalar) for scalar in scalars]
            _Rounds(builder, kind).sixteen(v, w, k, schedule=schedule)
            for index, value in enumerate(v + w if schedule else v):
                ir.store(builder, base, index, value)
            return context.get_dummy_value()

        return types.void(lanes, work, keys, types.int64), code

    return rounds


_rounds_and_schedule = _rounds(True)
_last_rounds = _rounds(False)


def _swap_bytes_typing(context: Any, lanes: Any, work: Any) -> Any:
    """Big-endian words, read as little-endian, into numbers: the sixteen schedule vectors of ``work``."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = _kind(signature.args[0].count)
        base = ir.pointer(context, builder, signature.args[1], arguments[1], kind)
        for k in range(8, 24):
            swapped = ir.call(builder, f"llvm.bswap.v{kind.count}i64", kind, ir.load(builder, base, k))
            ir.store(builder, base, k, swapped)
        return context.get_dummy_value()

    return types.void(lanes, work), code


_swap_bytes: Any = intrinsic(_swap_bytes_typing)


def _accumulate_typing(context: Any, lanes: Any, state: Any, work: Any, active: Any) -> Any:
    """state += work in the lanes whose word of ``active`` is all ones."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = _kind(signature.args[0].count)
        total, added, mask = (
            ir.pointer(context, builder, signature.args[k], arguments[k], kind) for k in (1, 2, 3)
        )
        lanes_in = ir.load(builder, mask, 0)
        for k in range(8):
            more = builder.and_(ir.load(builder, added, k), lanes_in)
            ir.store(builder, total, k, builder.add(ir.load(builder, total, k), more))
        return context.get_dummy_value()

    return types.void(lanes, state, work, active), code


_accumulate: Any = intrinsic(_accumulate_typing)


@compiled
def _compress(lanes: Any, state: U64, work: U64, keys: U64, active: U64) -> None:
    """Take the block in the schedule vectors of ``work`` into the state of the active lanes."""
    for i in range(8 * len(lanes)):
        work[i] = state[i]
    for first in range(0, 64, 16):
        _rounds_and_schedule(lanes, work, keys, first)
    _last_rounds(lanes, work, keys, 64)
    _accumulate(lanes, state, work, active)


def _word_typing(context: Any, data: Any, index: Any) -> Any:
    """The eight bytes of ``data`` from ``index`` on, at any alignment, as a number."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        base = ir.pointer(context, builder, signature.args[0], arguments[0], ir.I8)
        where = builder.bitcast(builder.gep(base, [arguments[1]]), ir.I64.as_pointer())
        value = builder.load(where)
        value.align = 1
        return value

    return types.uint64(data, types.int64), code


_word: Any = intrinsic(_word_typing)


@compiled
def _fill(work: U64, at: int, step: int, block: int, data: U8, start: int, length: int, tail: U8) -> None:
    """Words ``work[at], work[at + step], …``: a block of message || tail || zeros.

    Whole words are read, beyond the end of the message too: `SLACK` bytes follow the data.
    """
    for word in range(16):
        position = 128 * block + 8 * word
        left = length - position
        value = np.uint64(0)
        if left > 0:
            value = _word(data, start + position)
            if left < SLACK:
                value &= (np.uint64(1) << np.uint64(8 * left)) - np.uint64(1)
        if left < SLACK:
            value |= _word(tail, SLACK - left)
        work[at + word * step] = value


def state_after_zeros(lanes: Any) -> U64:
    """The state after the block of zeros that expand_message_xmd begins every message with."""
    state = np.repeat(INITIAL, len(lanes))
    _compress(lanes, state, np.zeros(24 * len(lanes), np.uint64), K, np.full(len(lanes), _ALL))
    return state[:: len(lanes)].copy()


@compiled
def expand(
    lanes: Any,
    data: U8,
    offsets: npt.NDArray[np.int64],
    first: int,
    count: int,
    tail: U8,
    tail_length: int,
    blocks: U64,
    zero_block: U64,
    output: U64,
) -> None:
    """expand_message_xmd to 96 bytes of messages ``first … first + count`` of ``data``, cut at ``offsets``.

    ``tail`` and ``tail_length`` are those of the `Tag`; `SLACK` bytes follow the messages in ``data``.
    ``lanes`` is any tuple whose length is the number of lanes, ``zero_block`` the state after a block of
    zeros. ``output``: for every vector of messages two field elements of eight words, little end first, of
    which the last two are zero, lane by lane. Lanes beyond the count get the empty message.
    """
    n = len(lanes)
    state, first_hash = np.empty(8 * n, np.uint64), np.empty(8 * n, np.uint64)
    work = np.empty(24 * n, np.uint64)
    starts, lengths, lasts = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    everyone = np.full(n, _ALL)
    active = np.empty(n, np.uint64)
    for vector in range((count + n - 1) // n):
        longest = 0
        for lane in range(n):
            message = vector * n + lane
            starts[lane], lengths[lane] = 0, 0
            if message < count:
                starts[lane] = offsets[first + message]
                lengths[lane] = offsets[first + message + 1] - starts[lane]
            lasts[lane] = (lengths[lane] + tail_length + 16) // 128
            longest = max(longest, lasts[lane])
        for word in range(8):
            for lane in range(n):
                state[word * n + lane] = zero_block[word]
        for number in range(longest + 1):
            for lane in range(n):
                active[lane] = _ALL if number <= lasts[lane] else np.uint64(0)
                if number <= lasts[lane]:
                    _fill(work, 8 * n + lane, n, number, data, starts[lane], lengths[lane], tail)
            _swap_bytes(lanes, work)
            for lane in range(n):
                if number == lasts[lane]:
                    work[23 * n + lane] = 8 * (128 + lengths[lane] + tail_length)
            _compress(lanes, state, work, K, active)
        for i in range(8 * n):
            first_hash[i] = state[i]
        out = vector * 16 * n
        for counter in range(2):
            for number in range(blocks.shape[1] // 16):
                for word in range(16):
                    value = blocks[counter, number * 16 + word]
                    for lane in range(n):
                        work[(8 + word) * n + lane] = value
                if number == 0:
                    # The state still holds b_1 when b_2 begins.
                    for i in range(8 * n):
                        work[8 * n + i] = first_hash[i] ^ (state[i] if counter == 1 else np.uint64(0))
                    for word in range(8):
                        for lane in range(n):
                            state[word * n + lane] = INITIAL[word]
                _compress(lanes, state, work, K, everyone)
            # Big-endian: the first of six words is the highest. b_1 gives six words and two, b_2 four.
            for word in range(8 if counter == 0 else 4):
                index = word + 8 * counter
                for lane in range(n):
                    value = state[word * n + lane]
                    output[out + (index // 6 * WORDS + 5 - index % 6) * n + lane] = value
        for element in range(2):
            for word in range(6, WORDS):
                for lane in range(n):
                    output[out + (element * WORDS + word) * n + lane] = 0
