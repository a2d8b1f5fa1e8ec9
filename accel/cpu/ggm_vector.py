"""Trees of seeds by AES-NI or VAES: a tree at a time, a level at a time, in memory that stays in the cache.

A step makes the children of 4 vectors of nodes. Levels are filled up with zero nodes to whole steps, and an
unknown node is a zero node too: their children are the same known pair, so that a sum is put right by adding
that pair if an odd number of them went in.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic

from accel.cpu.aes_ir import BLOCK, PARTS, Emitter, keys_for
from accel.cpu.jit import compiled
from accel.cpu.lane_memory import aligned
from accel.cpu.threads import each_range
from accel.reference import aes
from accel.reference.ggm import KEYS, depth, width

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

_VECTORS = 4  # of nodes a step: with two keys, eight chains of AES


def _step(parts: int) -> Any:
    """An intrinsic ``(nodes, children, keys, sums)``, all addresses; sums: a vector a side."""

    @intrinsic
    def step(typing_context, nodes, children, keys, sums):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            nodes, children, keys, sums = arguments
            word = Emitter(builder, parts)
            seeds = [word.load(nodes, i) for i in range(_VECTORS)]
            second = builder.add(keys, keys.type(11 * word.bytes))
            sides = []
            for side, schedule in enumerate((keys, second)):
                grown = word.encrypt(schedule, seeds)
                grown = [builder.xor(x, seed) for x, seed in zip(grown, seeds, strict=True)]
                total = word.load(sums, side)
                for x in grown:
                    total = builder.xor(total, x)
                word.store(sums, total, side)
                sides.append(grown)
            for i, (left, right) in enumerate(zip(*sides, strict=True)):
                first, last = word.interleave(left, right)
                word.store(children, first, 2 * i)
                word.store(children, last, 2 * i + 1)
            return context.get_dummy_value()

        return types.void(*(types.int64,) * 4), emit

    return step


_step_1, _step_4 = _step(1), _step(4)


def _kernel(parts: int) -> Any:
    nodes = _VECTORS * parts

    @compiled(variant=parts)
    def grow(  # type: ignore[no-untyped-def]
        roots, points, known, widths, keys, zero_children, scratch, totals, out, sums, start, stop
    ):
        """Trees ``start`` to ``stop``: whole ones, or, where there are ``points``, punctured ones.

        ``scratch`` and ``out`` are flat, places in them counted in words: slices of arrays take seconds
        to compile. Two thirds of the scratch are two levels of nodes in turn, the last is for a step.
        """
        levels = widths.shape[0] - 1
        leaves = widths[levels]
        third = scratch.shape[0] // 3
        punctured = points.shape[0] > 0
        for tree in range(start, stop):
            here, there = 0, third
            for i in range(2 * nodes):
                scratch[i] = 0
            if not punctured:
                scratch[0], scratch[1] = roots[tree, 0], roots[tree, 1]
            at = np.int64(0)
            for level in range(levels):
                count, following = widths[level], widths[level + 1]
                last = level == levels - 1
                steps = (count + nodes - 1) // nodes
                for i in range(4 * parts):
                    totals[i] = 0
                for s in range(steps):
                    first = 4 * nodes * s
                    inside = not last or 2 * nodes * (s + 1) <= leaves
                    to = scratch.ctypes.data + 8 * (there + first if inside else 2 * third)
                    if last and inside:
                        to = out.ctypes.data + 8 * (2 * leaves * tree + first)
                    source = scratch.ctypes.data + 8 * here + 16 * nodes * s
                    if parts == 4:
                        _step_4(source, to, keys.ctypes.data, totals.ctypes.data)
                    else:
                        _step_1(source, to, keys.ctypes.data, totals.ctypes.data)
                    if not inside:
                        for i in range(2 * leaves - first):
                            out[2 * leaves * tree + first + i] = scratch[2 * third + i]
                zeros = steps * nodes - count + np.int64(punctured)
                for side in range(2):
                    for word in range(2):
                        total = zero_children[2 * side + word] if zeros & 1 else np.uint64(0)
                        for part in range(parts):
                            total ^= totals[2 * parts * side + 2 * part + word]
                        totals[2 * side + word] = total
                if punctured:
                    bit = points[tree] >> (levels - 1 - level) & 1
                    at = 2 * at + bit
                    sibling = at ^ 1
                    for word in range(2):
                        value = totals[2 * (1 - bit) + word] ^ known[tree, level, word]
                        if last:
                            out[2 * (leaves * tree + at) + word] = 0
                            if sibling < following:
                                out[2 * (leaves * tree + sibling) + word] = value
                        else:
                            # Beyond the level a sibling is overwritten by the zeros below.
                            scratch[there + 2 * at + word] = 0
                            scratch[there + 2 * sibling + word] = value
                else:
                    for i in range(4):
                        sums[tree, level, i >> 1, i & 1] = totals[i]
                if not last:
                    for i in range(2 * nodes):
                        scratch[there + 2 * following + i] = 0
                    here, there = there, here
            if levels == 0:
                out[2 * tree], out[2 * tree + 1] = scratch[0], scratch[1]

    return grow


_GROW = {parts: _kernel(parts) for parts in (1, 4)}
_NO_POINTS = np.empty(0, dtype=np.int64)
_NO_BLOCKS = np.empty((0, 2), dtype=np.uint64)
_NO_SUMS = np.empty((0, 0, 2), dtype=np.uint64)


def expand(level: str, seeds: U64, leaves: int) -> tuple[U64, U64]:
    sums = np.empty((len(seeds), depth(leaves), 2, 2), dtype=np.uint64)
    return _grow(level, len(seeds), leaves, seeds, _NO_POINTS, _NO_SUMS, sums), sums


def expand_punctured(level: str, points: I64, known: U64, leaves: int) -> U64:
    nothing = np.empty((0, 0, 2, 2), dtype=np.uint64)
    return _grow(level, len(points), leaves, _NO_BLOCKS, points, known, nothing)


def _grow(level: str, trees: int, leaves: int, roots: U64, points: I64, known: U64, sums: U64) -> U64:
    parts = PARTS[level]
    kernel, keys = _GROW[parts], _keys(parts)
    out = np.empty((trees, leaves, 2), dtype=np.uint64)
    widths = np.array([width(leaves, i) for i in range(depth(leaves) + 1)], dtype=np.int64)
    # A level at most half the leaves wide, with room for the rest of a step and a step of zeros.
    third = 2 * (-(-leaves // 2) + 4 * _VECTORS * parts)

    def work(start: int, stop: int) -> None:
        scratch, totals, flat = aligned(3 * third), aligned(4 * parts), out.reshape(-1)
        kernel(roots, points, known, widths, keys, _ZERO_CHILDREN, scratch, totals, flat, sums, start, stop)
        scratch[:] = 0  # it held seeds

    each_range(trees, 1, work)
    return out


_ZERO_CHILDREN = np.frombuffer(b"".join(aes.encrypt(key, bytes(BLOCK)) for key in KEYS), np.uint64).copy()


@cache
def _keys(parts: int) -> U64:
    return np.concatenate([keys_for(key, parts) for key in KEYS])
