"""SM3 of many messages and SM4 over many blocks: checks against the reference, rates on the device."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np

from accel.byte_rows import ByteRows
from accel.gpu import compile as gpu_compile
from accel.gpu import memory, sm3, sm4
from accel.gpu.launch import launch, resident
from accel.reference import sm3 as reference_sm3
from accel.reference import sm4 as reference_sm4
from bench.gpu.entry import Ceilings, Clock, Entry, row
from bench.measure import Row

BATCH = 1 << 24
KEY = bytes(range(16))
SM3_TARGET = 8e6  # a second on one core with IFMA: what a GPU must beat to be worth the copies
SM4_TARGET = 2e9  # bytes a second, likewise


def check(count: int = 200) -> None:
    """Digests and authenticators of mixed lengths; ECB, CTR and CBC with a counter that overflows."""
    rng = random.Random(3)
    messages = [rng.randbytes(i) for i in range(count)]
    rows = ByteRows.of(messages)
    digests = [digest.tobytes() for digest in sm3.digest_many(rows)]
    if digests != [reference_sm3.digest(message) for message in messages]:
        raise ArithmeticError("SM3 differs from the reference")
    block = np.frombuffer(rng.randbytes(64), np.uint8).reshape(1, 64)
    authenticators = [mac.tobytes() for mac in sm3.hmac_many(block, rows)]
    if authenticators != [reference_sm3.hmac(block.tobytes(), message) for message in messages]:
        raise ArithmeticError("HMAC-SM3 differs from the reference")
    data, iv = rng.randbytes(16 * count), b"\xff" * 15 + b"\xf0"
    given, got = np.frombuffer(data, np.uint8), np.empty(len(data), np.uint8)
    sm4.ctr(KEY, iv, given, got)
    if got.tobytes() != reference_sm4.ctr(KEY, iv, data):
        raise ArithmeticError("SM4-CTR differs from the reference")
    sm4.cbc_decrypt(KEY, iv, given, got)
    if got.tobytes() != reference_sm4.cbc_decrypt(KEY, iv, data):
        raise ArithmeticError("SM4-CBC differs from the reference")
    for decrypt in (False, True):
        sm4.ecb(KEY, given, got, decrypt)
        if got.tobytes() != reference_sm4.ecb(KEY, data, decrypt):
            raise ArithmeticError("SM4 differs from the reference")


def time(clock: Clock, ceilings: Ceilings, quick: bool) -> Iterator[Row]:
    """SM3 of 64-byte messages and the SM4-CTR key stream, both held against the memory they move."""
    count = BATCH // 4 if quick else BATCH
    n = np.uint64(count)
    data = memory.empty((count, 64), np.uint8)
    starts = memory.upload(np.arange(count, dtype=np.uint64) * np.uint64(64))
    lengths = memory.upload(np.full(count, 64, np.uint64))
    digests = memory.empty((count, 32), np.uint8)
    kernel = gpu_compile.kernel(sm3.SOURCE, "sm3_digests")
    seconds = clock(lambda: launch(kernel, count, data, starts, lengths, digests, n))
    yield row(
        "SM3 of 64 bytes",
        count,
        seconds,
        "op/s",
        "on the device, two compressions each",
        ceiling="copy bandwidth",
        allowed=ceilings.copy_bytes_per_s / (64 + 16 + 32),
        target=SM3_TARGET,
    )
    blocks = 4 * count
    table = memory.upload(sm4.table())
    keys = memory.upload(np.array(reference_sm4.round_keys(KEY), np.uint32))
    counter = memory.upload(np.zeros(2, np.uint64))
    stream = gpu_compile.kernel(sm4.SOURCE, "sm4_blocks")
    grid = resident(sm4.BLOCKS_EACH, blocks, block=sm4.BLOCK)
    arguments = table, keys, np.uint32(1), counter, data, data, np.uint64(blocks)
    seconds = clock(lambda: launch(stream, blocks, *arguments, block=sm4.BLOCK, grid=grid))
    yield row(
        "SM4-CTR",
        16 * blocks,
        seconds,
        "B/s",
        "on the device, in place",
        ceiling="copy bandwidth",
        allowed=ceilings.copy_bytes_per_s / 2,
        target=SM4_TARGET,
    )


ENTRIES = (Entry("SM3 and SM4", check, time),)
