"""SM4 over many blocks on the GPU: ECB, CTR, CBC decryption, as `accel.sm4_backends` calls them.

Round keys, plaintext and key stream are cleared from the device's memory. Constant-time: it has no branch on
a secret, and every lane reads a copy of the table in its own bank of the shared memory.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from accel.byte_rows import U8
from accel.gpu import compile as gpu_compile
from accel.gpu import memory
from accel.gpu.launch import launch, resident
from accel.reference.sm4 import SBOX, round_keys

SOURCE = "sm4.cuh"
BLOCK_BYTES = 16
BLOCK = 256
BLOCKS_EACH = 4  # a multiprocessor, beside each other

_ECB, _CTR, _CBC_DECRYPT = 0, 1, 2
_COUNTERS = 1 << 128


def ecb(key: bytes, blocks: U8, output: U8, decrypt: bool) -> None:
    _run(_ECB, _round_keys(key, decrypt=decrypt), 0, None, blocks, output)


def ctr(key: bytes, counter: bytes, data: U8, output: U8) -> None:
    first = int.from_bytes(counter, "big")
    _run(_CTR, _round_keys(key, decrypt=False), first, None, data, output)


def cbc_decrypt(key: bytes, iv: bytes, blocks: U8, output: U8) -> None:
    if np.shares_memory(blocks, output):
        blocks = blocks.copy()  # a later piece needs the last block of the one before
    _run(_CBC_DECRYPT, _round_keys(key, decrypt=True), 0, iv, blocks, output)


@cache
def table() -> npt.NDArray[np.uint32]:
    """L(S(x) 2^24) for every byte x, L as in GB/T 32907-2016 section 6.2."""
    words = np.frombuffer(SBOX, np.uint8).astype(np.uint32) << np.uint32(24)
    mixed = words.copy()
    for turn in (2, 10, 18, 24):
        mixed ^= words << np.uint32(turn) | words >> np.uint32(32 - turn)
    return mixed


def _round_keys(key: bytes, *, decrypt: bool) -> npt.NDArray[np.uint32]:
    return np.array(round_keys(key)[:: -1 if decrypt else 1], np.uint32)


def _run(
    mode: int, keys: npt.NDArray[np.uint32], counter: int, iv: bytes | None, data: U8, output: U8
) -> None:
    kernel = gpu_compile.kernel(SOURCE, "sm4_blocks")
    count = -(-len(data) // BLOCK_BYTES)

    def start(first: int, last: int) -> memory.Finish:
        n, begin, end = last - first, BLOCK_BYTES * first, min(BLOCK_BYTES * last, len(data))
        given = data[begin:end]
        if iv is not None:
            before = data[begin - BLOCK_BYTES : begin] if first else np.frombuffer(iv, np.uint8)
            given = np.concatenate([before, given])
        elif len(given) < BLOCK_BYTES * n:
            given = np.concatenate([given, np.zeros(BLOCK_BYTES * n - len(given), np.uint8)])
        at = (counter + first) % _COUNTERS
        with memory.secrets_in() as secret:
            rk = secret(memory.upload(keys, secret=True))
            halves = memory.upload(np.array([at >> 64, at & 2**64 - 1], np.uint64))
            source = secret(memory.upload(given, secret=True))
            made = secret(memory.empty((BLOCK_BYTES * n,), np.uint8))
            launch(
                kernel,
                n,
                memory.upload(table()),
                rk,
                np.uint32(mode),
                halves,
                source,
                made,
                np.uint64(n),
                block=BLOCK,
                grid=resident(BLOCKS_EACH, n, block=BLOCK),
            )
            return memory.download(made[: end - begin], output[begin:end], secret=True)

    memory.in_pieces(count, 2 * BLOCK_BYTES, start, fixed=4096)
    memory.clear(keys)
