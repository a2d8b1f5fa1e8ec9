"""The kernels on four blocks a vector, on a processor that has AES and PCLMULQDQ for one.

Every 512-bit instruction is emitted as four of 128 bits; all else is what runs where VAES is. Run as a
program, with a cache of its own: kernels compiled like this must not be found by others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from accel import ggm
from accel.cpu import aes_ir, aes_vector, gf128_vector, ggm_vector
from accel.cpu import expand_accumulate as plain_code
from accel.cpu import gf128 as plain_field
from accel.cpu import ggm as plain_trees
from accel.cpu import okvs as plain_items
from accel.cpu.ir import I32, I64, call

SEED = bytes(range(16))


def split_call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    if not name.endswith(".512"):
        return call(builder, name, result, *arguments)
    block = ir.VectorType(I64, 2)
    total = None
    for part in range(4):
        mask = ir.Constant(ir.VectorType(I32, 2), [2 * part, 2 * part + 1])
        pieces = [
            builder.shuffle_vector(x, x, mask) if isinstance(x.type, ir.VectorType) else x for x in arguments
        ]
        piece = call(builder, name.removesuffix(".512"), block, *pieces)
        for word in range(2):
            total = ir.Constant(result, ir.Undefined) if total is None else total
            element = builder.extract_element(piece, I32(word))
            total = builder.insert_element(total, element, I32(2 * part + word))
    return total


def random_words(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).integers(0, 2**64, shape, dtype=np.uint64)


def check_field() -> None:
    for size in (0, 1, 3, 4, 15, 16, 17, 33, 4097, 4113):
        a, b = random_words(size, 2), random_words(size + 1, 2)[1:]
        key = random_words(1, 2)[0]
        assert np.array_equal(gf128_vector.multiply("ifma", a, b), plain_field.multiply(a, b))
        assert np.array_equal(gf128_vector.multiply_by("ifma", a, key), plain_field.multiply_by(a, key))
        assert np.array_equal(gf128_vector.inner_product("ifma", a, b), plain_field.inner_product(a, b))


def check_trees() -> None:
    for leaves in (*range(1, 40), 63, 64, 65, 257, 1000):
        seeds = random_words(3, 2)
        blocks, sums = plain_trees.expand(seeds, leaves)
        found, found_sums = ggm_vector.expand("ifma", seeds, leaves)
        assert np.array_equal(found, blocks)
        assert np.array_equal(found_sums, sums)
        points = np.array([0, leaves - 1, leaves // 3], dtype=np.int64)
        sides = ggm.siblings(points, leaves).astype(np.int64)[:, :, None, None]
        known = np.ascontiguousarray(np.take_along_axis(sums, sides, axis=2)[:, :, 0])
        blocks[np.arange(3), points] = 0
        assert np.array_equal(ggm_vector.expand_punctured("ifma", points, known, leaves), blocks)


def check_hashes() -> None:
    for start, stop in ((0, 0), (0, 1), (3, 18), (5, 21), (0, 33), (100, 1001)):
        words = aes_vector.words("ifma", SEED, start, stop)
        assert np.array_equal(words, plain_code.words(SEED, start, stop))
        items = random_words(stop, 4)
        found, wanted = (np.zeros((stop - start + 1, 3), dtype=np.uint64) for _ in range(2))
        aes_vector.hash_items("ifma", items, SEED, start, stop, found)
        plain_items.hash_items(items, SEED, start, stop, wanted)
        assert np.array_equal(found, wanted)


if __name__ == "__main__":
    aes_ir.call = gf128_vector.call = split_call
    check_field()
    check_trees()
    check_hashes()
    print("equal")
