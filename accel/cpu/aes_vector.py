"""What AES-NI and VAES make for other operations: encrypted counters, and hashes of items (`accel.okvs`)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic

from accel.cpu.aes_ir import PARTS, Emitter, keys_for
from accel.cpu.jit import compiled

U64 = npt.NDArray[np.uint64]
U32 = npt.NDArray[np.uint32]

_VECTORS = {1: 8, 4: 4}  # side by side, by blocks a vector


def _encryption(parts: int) -> Any:
    """An intrinsic ``(blocks, keys)``, addresses: so many vectors are encrypted where they lie."""

    @intrinsic
    def encrypt(typing_context, blocks, keys):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            blocks, keys = arguments
            word = Emitter(builder, parts)
            states = [word.load(blocks, i) for i in range(_VECTORS[parts])]
            for i, state in enumerate(word.encrypt(keys, states)):
                word.store(blocks, state, i)
            return context.get_dummy_value()

        return types.void(*(types.int64,) * 2), emit

    return encrypt


def _digest(parts: int) -> Any:
    """An intrinsic ``(items, keys, h, d)``, addresses: h and a block that begins with d of so many items."""

    @intrinsic
    def digest(typing_context, items, keys, h, d):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            items, keys, h, d = arguments
            word, count = Emitter(builder, parts), _VECTORS[parts]
            halves = [
                word.separate(word.load(items, 2 * i), word.load(items, 2 * i + 1)) for i in range(count)
            ]
            firsts, seconds = [half[0] for half in halves], [half[1] for half in halves]

            def one_way(blocks: list[Any]) -> list[Any]:
                encrypted = word.encrypt(keys, blocks)
                return [builder.xor(x, y) for x, y in zip(encrypted, blocks, strict=True)]

            mixed = [builder.xor(x, y) for x, y in zip(one_way(firsts), seconds, strict=True)]
            hashes = one_way(mixed)
            for i, (x, y) in enumerate(zip(hashes, one_way(hashes), strict=True)):
                word.store(h, x, i)
                word.store(d, y, i)
            return context.get_dummy_value()

        return types.void(*(types.int64,) * 4), emit

    return digest


_encrypt_1, _encrypt_4 = _encryption(1), _encryption(4)
_digest_1, _digest_4 = _digest(1), _digest(4)


def _kernels(parts: int) -> tuple[Any, Any]:
    """On addresses and whole groups: slices of arrays take seconds to compile."""
    group = parts * _VECTORS[parts]

    @compiled(variant=parts)
    def encrypt(blocks, keys, groups):  # type: ignore[no-untyped-def]
        for i in range(groups):
            if parts == 4:
                _encrypt_4(blocks + 16 * group * i, keys)
            else:
                _encrypt_1(blocks + 16 * group * i, keys)

    @compiled(variant=parts)
    def digest(items, keys, h, d, groups):  # type: ignore[no-untyped-def]
        for i in range(groups):
            at = 16 * group * i
            if parts == 4:
                _digest_4(items + 2 * at, keys, h + at, d + at)
            else:
                _digest_1(items + 2 * at, keys, h + at, d + at)

    return encrypt, digest


_ENCRYPT, _DIGEST = (
    dict(zip((1, 4), pair, strict=True)) for pair in zip(_kernels(1), _kernels(4), strict=True)
)
_keys = lru_cache(maxsize=16)(keys_for)  # of public seeds


def words(level: str, seed: bytes, start: int, stop: int) -> U32:
    """See `accel.cpu.expand_accumulate.words`."""
    parts = PARTS[level]
    group, count = parts * _VECTORS[parts], 2 * (stop - start)
    groups = -(-count // group)
    blocks = np.zeros((groups * group, 2), dtype=np.uint64)
    blocks[:, 0] = np.arange(2 * start, 2 * start + len(blocks), dtype=np.uint64)
    _ENCRYPT[parts](blocks.ctypes.data, _keys(seed, parts).ctypes.data, groups)
    return blocks.reshape(-1)[: 2 * count].view(np.uint32)


def hash_items(level: str, items: U64, seed: bytes, start: int, stop: int, out: U64) -> None:
    """See `accel.cpu.okvs.hash_items`."""
    parts, size = PARTS[level], stop - start
    group, keys = parts * _VECTORS[parts], _keys(seed, parts)
    whole = size // group
    h, d = (np.empty((-(-size // group) * group, 2), dtype=np.uint64) for _ in range(2))
    source = items[start:stop]
    _DIGEST[parts](source.ctypes.data, keys.ctypes.data, h.ctypes.data, d.ctypes.data, whole)
    if done := size - whole * group:
        rest = np.zeros((group, 4), dtype=np.uint64)
        rest[:done] = source[whole * group :]
        at = 16 * whole * group
        _DIGEST[parts](rest.ctypes.data, keys.ctypes.data, h.ctypes.data + at, d.ctypes.data + at, 1)
    out[:size, :2], out[:size, 2] = h[:size], d[:size, 0]
