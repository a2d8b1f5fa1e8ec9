"""SM4 over many blocks: word i of 16 (AVX-512 and GFNI) or 8 (AVX2 and AES-NI) blocks in one vector, four
such groups at a time so that their rounds overlap. No table is read at a secret place.

Kernels take addresses, so that any buffer can be read and written in place, and work in whole groups of
``64 * lanes`` bytes; `accel.cpu.sm4_bulk` brings the rest of a message. The form of a round is explained in
`accel.cpu.sm4_sbox`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from accel.cpu.ir import I8, I32, I64, broadcast, call, splat
from accel.cpu.jit import compiled
from accel.cpu.sm4_sbox import ENTER, FROM_AES, KEY, LEAVE, SUBSTITUTE, Affine, Q, R

BLOCK = 16
_STREAMS = 4


class _Emitter:
    """Writes the steps of SM4 for vectors of ``lanes`` words; a step takes and gives LLVM values."""

    def __init__(self, builder: Any, lanes: int) -> None:
        self.builder, self.lanes = builder, lanes
        self.words = ir.VectorType(I32, lanes)
        self.bytes = ir.VectorType(I8, 4 * lanes)

    def affine(self, word: Any, maps: Affine) -> Any:
        """One affine map on every byte."""
        return self._affine_512(word, maps) if self.lanes == 16 else self._lookups(word, [maps])[0]

    def inversion(self, word: Any, maps: list[Affine]) -> list[Any]:
        """Affine maps of the AES inverse of every byte."""
        if self.lanes == 16:
            return [self._affine_512(word, each, "affineinv") for each in maps]
        return self._lookups(self._aes(word), [each.after(FROM_AES) for each in maps])

    def rotate(self, word: Any, bits: int) -> Any:
        """Every word, rotated to the left."""
        if bits % 8 or self.lanes == 16:
            name = f"llvm.fshl.v{self.lanes}i32"
            return call(self.builder, name, self.words, word, word, splat(self.words, bits))
        return self._bytes(word, [(i & ~3) + (i - bits // 8) % 4 for i in range(4 * self.lanes)])

    def round(self, x: list[Any], key: Any) -> Any:
        """The word that follows x[0] … x[3], in the form of `accel.cpu.sm4_sbox`."""
        xor = self.builder.xor
        # x[3] is the newest word: it enters last, so that the rest is ready before it.
        mixed = xor(xor(xor(x[1], x[2]), key), x[3])
        q, r = self.inversion(mixed, [Q, R])
        total = xor(xor(xor(x[0], q), r), self.rotate(q, 8))
        return xor(xor(total, self.rotate(q, 16)), self.rotate(r, 24))

    def transpose(self, rows: list[Any]) -> list[Any]:
        """Word i of each 128-bit part of row j <-> word j of that part of row i."""
        a, b, c, d = rows
        pairs = [self._unpack(x, y, at) for x, y in ((a, b), (c, d)) for at in (0, 2)]
        low, high = (pairs[0], pairs[2]), (pairs[1], pairs[3])
        return [self._unpack_pairs(*pair, at) for pair in (low, high) for at in (0, 1)]

    def swap(self, word: Any) -> Any:
        """Words to and from big-endian."""
        return call(self.builder, f"llvm.bswap.v{self.lanes}i32", self.words, word)

    def load(self, address: Any, offset: int) -> Any:
        value = self.builder.load(self._pointer(address, offset))
        value.align = 1
        return value

    def store(self, address: Any, offset: int, value: Any) -> None:
        self.builder.store(value, self._pointer(address, offset)).align = 1

    def _pointer(self, address: Any, offset: int) -> Any:
        at = self.builder.add(address, I64(offset))
        return self.builder.inttoptr(at, self.words.as_pointer())

    def _affine_512(self, word: Any, maps: Affine, kind: str = "affine") -> Any:
        rows = self.builder.bitcast(splat(ir.VectorType(I64, 8), maps.gfni), self.bytes)
        name = f"llvm.x86.vgf2p8{kind}qb.512"
        value = self.builder.bitcast(word, self.bytes)
        mapped = call(self.builder, name, self.bytes, value, rows, I8(maps.constant))
        return self.builder.bitcast(mapped, self.words)

    def _lookups(self, word: Any, maps: list[Affine]) -> list[Any]:
        """Affine maps as sums of two table reads inside a register, one for each half of a byte."""
        builder = self.builder
        fifteen = splat(self.words, 0x0F0F0F0F)
        low = builder.bitcast(builder.and_(word, fifteen), self.bytes)
        high = builder.bitcast(builder.and_(builder.lshr(word, splat(self.words, 4)), fifteen), self.bytes)
        results = []
        for each in maps:
            halves = [
                call(builder, "llvm.x86.avx2.pshuf.b", self.bytes, ir.Constant(self.bytes, 2 * table), index)
                for table, index in zip(each.nibbles, (low, high), strict=True)
            ]
            results.append(builder.bitcast(builder.xor(*halves), self.words))
        return results

    def _aes(self, word: Any) -> Any:
        """AESENCLAST with a zero key; the bytes are first moved to where its ShiftRows finds them."""
        builder, half = self.builder, ir.VectorType(I64, 2)
        moved = self._bytes(word, [i & ~15 | (i + 12 * (i % 4)) % 16 for i in range(32)])
        whole = builder.bitcast(moved, ir.VectorType(I64, 4))
        halves = []
        for at in (0, 2):
            part = builder.shuffle_vector(whole, whole, ir.Constant(ir.VectorType(I32, 2), [at, at + 1]))
            halves.append(call(builder, "llvm.x86.aesni.aesenclast", half, part, splat(half, 0)))
        joined = builder.shuffle_vector(*halves, ir.Constant(ir.VectorType(I32, 4), [0, 1, 2, 3]))
        return builder.bitcast(joined, self.words)

    def _bytes(self, word: Any, pattern: list[int]) -> Any:
        value = self.builder.bitcast(word, self.bytes)
        mask = ir.Constant(ir.VectorType(I32, 4 * self.lanes), pattern)
        return self.builder.bitcast(self.builder.shuffle_vector(value, value, mask), self.words)

    def _unpack(self, x: Any, y: Any, at: int) -> Any:
        pattern = [
            part + at + i // 2 + (self.lanes if i % 2 else 0)
            for part in range(0, self.lanes, 4)
            for i in range(4)
        ]
        return self.builder.shuffle_vector(x, y, ir.Constant(self.words, pattern))

    def _unpack_pairs(self, x: Any, y: Any, at: int) -> Any:
        pattern = [
            part + 2 * at + i % 2 + (self.lanes if i // 2 else 0)
            for part in range(0, self.lanes, 4)
            for i in range(4)
        ]
        return self.builder.shuffle_vector(x, y, ir.Constant(self.words, pattern))


def _encryption(emitter: _Emitter, keys: Any, streams: list[list[Any]]) -> list[list[Any]]:
    """All rounds over some groups of four words; gives the four words of the output in their order."""
    builder, words = emitter.builder, emitter.words
    slots = [
        [cgutils.alloca_once_value(builder, emitter.affine(x, ENTER)) for x in stream] for stream in streams
    ]
    # Four rounds bring every word back to its place, so the loop body needs no moves.
    with cgutils.for_range(builder, I64(8)) as loop:
        x = [[builder.load(slot) for slot in stream] for stream in slots]
        for i in range(4):
            place = builder.add(builder.mul(loop.index, I64(16)), I64(4 * i))
            key = builder.load(builder.inttoptr(builder.add(keys, place), I32.as_pointer()))
            spread = broadcast(builder, words, key)
            for stream in x:
                stream.append(emitter.round(stream[i : i + 4], spread))
        for stream, values in zip(slots, x, strict=True):
            for slot, value in zip(stream, values[4:], strict=True):
                builder.store(value, slot)
    return [[emitter.affine(builder.load(slot), LEAVE) for slot in reversed(stream)] for stream in slots]


def _counters(emitter: _Emitter, high: Any, low: Any, first: int) -> list[Any]:
    """The words of the counters from high, low + first on, in the order in which `transpose` makes rows."""
    builder, lanes, words = emitter.builder, emitter.lanes, emitter.words
    steps = [first + lane % 4 * (lanes // 4) + lane // 4 for lane in range(lanes)]
    base = [
        broadcast(builder, words, builder.trunc(builder.lshr(half, I64(shift)), I32))
        for half in (high, low)
        for shift in (32, 0)
    ]
    value = builder.add(base[3], ir.Constant(words, steps))
    result, carry = [value], builder.icmp_unsigned("<", value, base[3])
    for word in (base[2], base[1], base[0]):
        value = builder.add(word, builder.zext(carry, words))
        result.insert(0, value)
        carry = builder.and_(carry, builder.icmp_unsigned("==", value, splat(words, 0)))
    return result


def _cipher(lanes: int, mode: str) -> Any:
    """An intrinsic ``(source, target, keys, high, low)`` over one group; the counter is for CTR only.

    ``mode`` is ``ecb``, ``ctr`` or ``chained``: each block of the output plus the block before it in the
    source.
    """

    @intrinsic
    def cipher(typing_context, source, target, keys, high, low):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            source, target, keys, high, low = arguments
            emitter = _Emitter(builder, lanes)
            width = 4 * lanes

            def rows(stream: int, at: int = 0) -> list[Any]:
                return [emitter.load(source, (4 * stream + j) * width + at) for j in range(4)]

            if mode == "ctr":
                start = [_counters(emitter, high, low, stream * lanes) for stream in range(_STREAMS)]
            else:
                start = [emitter.transpose([emitter.swap(x) for x in rows(s)]) for s in range(_STREAMS)]
            done = _encryption(emitter, keys, start)
            for stream, output in enumerate(done):
                finished = [emitter.swap(x) for x in emitter.transpose(output)]
                if mode != "ecb":
                    other = rows(stream, 0 if mode == "ctr" else -BLOCK)
                    finished = [builder.xor(x, y) for x, y in zip(finished, other, strict=True)]
                for j, row in enumerate(finished):
                    emitter.store(target, (4 * stream + j) * width, row)
            return context.get_dummy_value()

        return types.void(*(types.int64,) * 5), emit

    return cipher


def _expansion(lanes: int) -> Any:
    """An intrinsic ``(key words, parameters, target)``: 32 round keys, every lane doing the same.

    The first have FK added, the second are CK; the third come out in the form that the rounds want.
    """

    @intrinsic
    def expand(typing_context, key, parameters, target):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            key, parameters, target = (builder.inttoptr(address, I32.as_pointer()) for address in arguments)
            emitter = _Emitter(builder, lanes)

            def word(array: Any, at: Any) -> Any:
                return broadcast(builder, emitter.words, builder.load(builder.gep(array, [at])))

            slots = [cgutils.alloca_once_value(builder, word(key, I64(i))) for i in range(4)]
            with cgutils.for_range(builder, I64(32)) as loop:
                k = [builder.load(slot) for slot in slots]
                mixed = builder.xor(builder.xor(k[1], k[2]), builder.xor(k[3], word(parameters, loop.index)))
                (b,) = emitter.inversion(emitter.affine(mixed, KEY), [SUBSTITUTE])
                b = builder.xor(b, builder.xor(emitter.rotate(b, 13), emitter.rotate(b, 23)))
                k.append(builder.xor(k[0], b))
                for slot, value in zip(slots, k[1:], strict=True):
                    builder.store(value, slot)
                entered = builder.extract_element(emitter.affine(k[4], KEY), I32(0))
                builder.store(entered, builder.gep(target, [loop.index]))
            return context.get_dummy_value()

        return types.void(*(types.int64,) * 3), emit

    return expand


# numba keys its cache on what a closure holds, and an intrinsic held there would never be found again: they
# are globals, and the closures below hold the number of lanes alone.
_expand_8, _expand_16 = _expansion(8), _expansion(16)
_ecb_8, _ecb_16 = _cipher(8, "ecb"), _cipher(16, "ecb")
_ctr_8, _ctr_16 = _cipher(8, "ctr"), _cipher(16, "ctr")
_chained_8, _chained_16 = _cipher(8, "chained"), _cipher(16, "chained")


def expand_kernel(lanes: int) -> Any:
    @compiled(variant=lanes)
    def expand(key, parameters, target):  # type: ignore[no-untyped-def]
        if lanes == 16:
            _expand_16(key, parameters, target)
        else:
            _expand_8(key, parameters, target)

    return expand


def ecb_kernel(lanes: int) -> Any:
    @compiled(variant=lanes)
    def ecb(source, target, keys, start, stop):  # type: ignore[no-untyped-def]
        for at in range(start * 64 * lanes, stop * 64 * lanes, 64 * lanes):
            if lanes == 16:
                _ecb_16(source + at, target + at, keys, 0, 0)
            else:
                _ecb_8(source + at, target + at, keys, 0, 0)

    return ecb


def chained_kernel(lanes: int) -> Any:
    """Like ``ecb``, each block added to the one before it in ``source``; 16 bytes before it are read too."""

    @compiled(variant=lanes)
    def chained(source, target, keys, start, stop):  # type: ignore[no-untyped-def]
        for at in range(start * 64 * lanes, stop * 64 * lanes, 64 * lanes):
            if lanes == 16:
                _chained_16(source + at, target + at, keys, 0, 0)
            else:
                _chained_8(source + at, target + at, keys, 0, 0)

    return chained


def ctr_kernel(lanes: int) -> Any:
    """``high`` and ``low`` (uint64) are the counter of group 0."""

    @compiled(variant=lanes)
    def ctr(source, target, keys, high, low, start, stop):  # type: ignore[no-untyped-def]
        for group in range(start, stop):
            at = group * 64 * lanes
            now = low + np.uint64(4 * lanes) * np.uint64(group)
            up = np.int64(high + np.uint64(now < low))
            if lanes == 16:
                _ctr_16(source + at, target + at, keys, up, np.int64(now))
            else:
                _ctr_8(source + at, target + at, keys, up, np.int64(now))

    return ctr
