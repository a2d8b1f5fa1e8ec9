"""What the processor could do at most: the ceilings that rates are held against."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from accel import features
from accel.cpu import ir as words

_CHAINS = 16  # the instruction takes four cycles and two start in each: eight would do


def multiply_adds() -> float | None:
    """52-bit multiply-adds on 8 lanes a second on one core, or None without IFMA: the best of ten runs."""
    if not features.has_level("ifma"):
        return None
    sink = np.zeros(8, dtype=np.uint64)
    rounds = 2_000_000
    _run_chains(sink, 1)
    return max(_CHAINS * rounds / _seconds(lambda: _run_chains(sink, rounds)) for _ in range(10))


def read_bandwidth(threads: int) -> float:
    """Bytes a second read from memory by ``threads`` threads: the best of ten passes over 1 GiB."""
    from concurrent.futures import ThreadPoolExecutor

    # Written, or every page would be the one page of zeros, and that stays in the cache.
    memory = np.ones(1 << 27, dtype=np.uint64)
    parts = np.array_split(memory, threads)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(_sum, parts))
        return max(memory.nbytes / _seconds(lambda: list(pool.map(_sum, parts))) for _ in range(10))


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@njit(nogil=True)
def _sum(memory: Any) -> Any:
    """Eight streams at a time: one alone does not keep enough requests to the memory in flight."""
    length = memory.size // 8
    total = np.uint64(0)
    for i in range(length):
        for stream in range(8):
            total += memory[stream * length + i]
    return total


@intrinsic
def _chains(typing_context: Any, sink: Any, rounds: Any) -> Any:
    """``rounds`` times one multiply-add on each of 16 accumulators that stay in registers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target = words.pointer(context, builder, signature.args[0], arguments[0], words.U64X8)
        operand = words.load(builder, target, 0)
        kind = words.U64X8
        entry = builder.basic_block
        loop = builder.append_basic_block("chains")
        end = builder.append_basic_block("end")
        builder.branch(loop)
        builder.position_at_end(loop)
        counter = builder.phi(words.I64)
        counter.add_incoming(words.I64(0), entry)
        accumulators = [builder.phi(kind) for _ in range(_CHAINS)]
        following = [
            words.call(builder, "llvm.x86.avx512.vpmadd52l.uq.512", kind, a, operand, operand)
            for a in accumulators
        ]
        for number, (accumulator, value) in enumerate(zip(accumulators, following, strict=True)):
            # Different starts, or the compiler folds the chains into one.
            accumulator.add_incoming(words.splat(kind, number), entry)
            accumulator.add_incoming(value, loop)
        increased = builder.add(counter, words.I64(1))
        counter.add_incoming(increased, loop)
        builder.cbranch(builder.icmp_unsigned("<", increased, arguments[1]), loop, end)
        builder.position_at_end(end)
        total = following[0]
        for value in following[1:]:
            total = builder.xor(total, value)
        words.store(builder, target, 0, total)
        return context.get_dummy_value()

    return types.void(sink, types.int64), generate


@njit(nogil=True)
def _run_chains(sink: Any, rounds: Any) -> None:
    _chains(sink, rounds)
