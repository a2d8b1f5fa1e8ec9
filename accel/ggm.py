"""Trees of seeds (GGM): one seed stretched to many blocks, and the same tree without one leaf.

The children of a node s are AES_K0(s) xor s and AES_K1(s) xor s, for two fixed public keys:
Matyas-Meyer-Oseas, correlation robust if AES under a fixed key is a random permutation (Guo, Katz, Wang, Yu,
"Efficient and Secure Multiparty Computation from Fixed-Key Block Ciphers", IEEE S&P 2020, section 4).
Security goes down by one bit with every doubling of the number of blocks made under the same keys: 2^40
blocks leave more than 80 bits.

A tree has ``depth(leaves)`` levels of children. Nodes without leaves below them are left out: level i has
``width(leaves, i)`` nodes. The sum of a side at a level is the xor of that child of *every* node of the level
above, the last right one included even where no leaf lies below it.

Who runs it: the sender of an oblivious correlation runs `expand` and offers both sums of each level by one
oblivious transfer; the receiver picks the side that its point is not on and runs `expand_punctured`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from accel import selftest
from accel.cpu import ggm as _cpu
from accel.errors import BadParameter
from accel.gf128 import U64, check_blocks
from accel.reference import ggm as _reference
from accel.reference.ggm import depth as _depth
from accel.reference.ggm import width as _width
from accel.registry import Op

I64 = npt.NDArray[np.int64]

MOST_LEAVES = 1 << 26

_SAMPLE_LEAVES = 61


def _sample_seeds(batch: int) -> tuple[U64, int]:
    return np.arange(2 * batch, dtype=np.uint64).reshape(batch, 2), _SAMPLE_LEAVES


def _sample_sums(batch: int) -> tuple[I64, U64, int]:
    points = np.arange(batch, dtype=np.int64) % _SAMPLE_LEAVES
    levels = _depth(_SAMPLE_LEAVES)
    return points, np.arange(2 * batch * levels, dtype=np.uint64).reshape(batch, levels, 2), _SAMPLE_LEAVES


EXPAND: Op[[U64, int], tuple[U64, U64]] = Op("ggm.expand", sample=_sample_seeds)
EXPAND.backend("reference")(_reference.expand)
EXPAND.backend("portable", needs="cryptography")(_cpu.expand)

EXPAND_PUNCTURED: Op[[I64, U64, int], U64] = Op("ggm.expand_punctured", sample=_sample_sums)
EXPAND_PUNCTURED.backend("reference")(_reference.expand_punctured)
EXPAND_PUNCTURED.backend("portable", needs="cryptography")(_cpu.expand_punctured)


def _register_vectors(level: str, instructions: str) -> None:
    """The backends on the processor's AES instructions; numba is imported when one is first called."""

    @EXPAND.backend(level, needs="numba", instructions=instructions)
    def expand(seeds: U64, leaves: int) -> tuple[U64, U64]:
        from accel.cpu import ggm_vector

        return ggm_vector.expand(level, seeds, leaves)

    @EXPAND_PUNCTURED.backend(level, needs="numba", instructions=instructions)
    def expand_punctured(points: I64, sums: U64, leaves: int) -> U64:
        from accel.cpu import ggm_vector

        return ggm_vector.expand_punctured(level, points, sums, leaves)


_register_vectors("avx2", "aes")
_register_vectors("ifma", "vaes")


def depth(leaves: int) -> int:
    """The levels of a tree: ceil(log2(leaves)), 0 for one leaf. Raises BadParameter outside 1 … 2^26."""
    if isinstance(leaves, bool) or not isinstance(leaves, int) or not 1 <= leaves <= MOST_LEAVES:
        raise BadParameter(f"a tree has from 1 to {MOST_LEAVES} leaves")
    return _depth(leaves)


def width(leaves: int, level: int) -> int:
    """The nodes of a level that have leaves below them: 1 at level 0, ``leaves`` at level ``depth``."""
    if not 0 <= level <= depth(leaves):
        raise BadParameter(f"there is no level {level}")
    return _width(leaves, level)


def expand(seeds: U64, leaves: int, *, backend: str = "auto") -> tuple[U64, U64]:
    """The leaves (t, leaves, 2) of t trees and their sums (t, depth, 2, 2): [tree, level, side] is a block.

    ``seeds`` (t, 2) are secret and fresh: a seed serves one tree. Level i of the sums belongs to the children
    of level i, side 0 to the left ones. Constant-time. Raises BadParameter for a wrong dtype, shape or size.
    """
    seeds = check_blocks(seeds, "seeds")
    depth(leaves)
    return EXPAND.select(backend, batch=len(seeds))(seeds, leaves)


def expand_punctured(points: I64, sums: U64, leaves: int, *, backend: str = "auto") -> U64:
    """The leaves (t, leaves, 2) of t trees without the leaf at ``points``, where there is a zero block.

    ``points`` (t,) of int64 below ``leaves``; ``sums`` (t, depth, 2): of each level, the sum of the side that
    the path to the point does not take (`siblings` says which). Sums are taken as they are: wrong ones give
    wrong leaves. The points choose addresses: whoever shares the processor's caches may learn of them, the
    network does not. Raises BadParameter for a wrong dtype, shape or range.
    """
    levels = depth(leaves)
    points = _check_points(points, leaves)
    if not isinstance(sums, np.ndarray) or sums.dtype != np.uint64 or sums.shape != (len(points), levels, 2):
        raise BadParameter(f"sums must be an array ({len(points)}, {levels}, 2) of uint64")
    return EXPAND_PUNCTURED.select(backend, batch=len(points))(points, np.ascontiguousarray(sums), leaves)


def siblings(points: I64, leaves: int) -> npt.NDArray[np.uint8]:
    """(t, depth): the side that the path to the point does not take: what to choose by transfer."""
    levels = depth(leaves)
    points = _check_points(points, leaves)
    shifts = np.arange(levels - 1, -1, -1, dtype=np.int64)
    return (1 - (points[:, None] >> shifts & 1)).astype(np.uint8)


def _check_points(points: Any, leaves: int) -> I64:
    if not isinstance(points, np.ndarray) or points.dtype != np.int64 or points.ndim != 1:
        raise BadParameter("points are a 1-D array of int64")
    if points.size and not (points.min() >= 0 and points.max() < leaves):
        raise BadParameter(f"points are below the number of leaves, {leaves}")
    return np.ascontiguousarray(points)


def _blocks(text: str) -> U64:
    return np.frombuffer(bytes.fromhex(text), np.uint64).reshape(-1, 2).copy()


@EXPAND.known_answer
def _known_trees(run: Callable[[U64, int], tuple[U64, U64]]) -> None:
    for case in selftest.vectors("ggm")["trees"]:
        leaves, sums = run(_blocks(case["seed"]), case["leaves"])
        selftest.expect(leaves.tobytes().hex() == case["blocks"], "ggm.expand")
        selftest.expect(sums.tobytes().hex() == case["sums"], "ggm.expand, sums")


@EXPAND_PUNCTURED.known_answer
def _known_punctured(run: Callable[[I64, U64, int], U64]) -> None:
    for case in selftest.vectors("ggm")["trees"]:
        count = case["leaves"]
        points = np.arange(count, dtype=np.int64)
        sums = _blocks(case["sums"]).reshape(1, depth(count), 2, 2)
        side = siblings(points, count)[:, :, None, None]
        chosen = np.take_along_axis(np.repeat(sums, count, axis=0), side.astype(np.int64), axis=2)[:, :, 0]
        expected = np.repeat(_blocks(case["blocks"])[None], count, axis=0)
        expected[points, points] = 0
        got = run(points, np.ascontiguousarray(chosen), count)
        selftest.expect(np.array_equal(got, expected), "ggm.expand_punctured")
