"""Silent VOLE: from few products to one per table entry, by noise that a public code spreads.

Afterwards the receiver (of the intersection) has random values a and blocks c, the sender the key Δ and
blocks b with c = a·Δ ⊕ b, entry by entry. The noise has one value per tree of seeds (regular noise): the
sender knows all leaves, the receiver all but the leaf at its point, where it gets leaf ⊕ β·Δ with the help of
`noisy_vole`. The ExAcc code of `accel.expand_accumulate` maps noise and leaves alike; a is pseudorandom by
the dual LPN assumption for that code (Boyle, Couteau, Gilboa, Ishai, Kohl, Scholl, CCS 2019; codes: the same
and Resch, CRYPTO 2022; use: Raghuraman, Rindal, CCS 2022, section 5).

Against a malicious sender whose trees or corrections are no such: both sides' leaves are combined with powers
of a random point, masked by one more product, and compared (Weng, Yang, Katz, Wang, "Wolverine", IEEE S&P
2021, figure 7). What remains is to guess where noise is, and to be caught if the guess is wrong.

Every function is pure: randomness is an argument. Arrays are as in `subspace_vole`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accel import expand_accumulate, gf128, ggm, sm3
from compute.protocols.psi.rr22 import noisy_vole
from compute.protocols.psi.rr22.parameters import Shape
from compute.protocols.psi.rr22.subspace_vole import DIGEST_BYTES, transpose

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

_PAD = b"liutong/rr22/pad/v1\0"
_EQUAL = b"liutong/rr22/equal/v1\0"
# Leaves combined at once: their powers stay in the cache.
_CHUNK = 1 << 14
_ROW = 64


def noise_points(shape: Shape, randomness: bytes) -> I64:
    """Where the noise is: one uniform leaf per tree, from 16 random bytes each (bias below 2^-100)."""
    words = np.frombuffer(randomness, "<u8").reshape(shape.noise, 2)
    # (high * 2^64 + low) mod leaves, in words.
    leaves = np.uint64(shape.leaves)
    high = words[:, 1] % leaves
    shift = np.uint64((1 << 32) % shape.leaves)
    high = high * shift % leaves * shift % leaves
    return ((high + words[:, 0] % leaves) % leaves).astype(np.int64)


def flips(shape: Shape, bits: U64, points: I64) -> U8:
    """The receiver's bits that turn its random choices into the sides that it needs, packed."""
    random = np.unpackbits(bits.view(np.uint8).reshape(-1), count=shape.choices, bitorder="little")
    return np.packbits(random ^ ggm.siblings(points, shape.leaves).reshape(-1), bitorder="little")


def offer_noise(
    shape: Shape, key: U64, columns: U64, packed_flips: U8, seeds: U64, context: bytes
) -> tuple[U64, U64, U64]:
    """The sender's part: leaves (noise, leaves, 2), masked sums (choices, 2, 2) and corrections (noise, 2).

    ``columns`` are all of `subspace_vole.hold`, ``seeds`` (noise, 2) are fresh. Sums and corrections cross.
    """
    leaves, sums = ggm.expand(seeds, shape.leaves)
    rows = transpose(columns[:, : shape.choice_blocks])[: shape.choices]
    turned = np.unpackbits(packed_flips, count=shape.choices, bitorder="little").astype(np.uint64)
    masked = sums.reshape(shape.choices, 2, 2)
    for side in (0, 1):
        chosen = np.uint64(0) - (turned ^ np.uint64(side))
        masked[:, side] ^= _pads(rows ^ (chosen[:, None] & key), context)
    own = products(shape, columns)
    corrections = _sums(leaves) ^ own[: shape.noise]
    return leaves, masked, corrections


def take_noise(shape: Shape, columns: U64, points: I64, masked: U64, corrections: U64, context: bytes) -> U64:
    """The receiver's leaves (noise, leaves, 2), with leaf ⊕ β·Δ at its points."""
    rows = transpose(columns[:, : shape.choice_blocks])[: shape.choices]
    sides = ggm.siblings(points, shape.leaves).reshape(-1)
    sums = masked[np.arange(shape.choices), sides] ^ _pads(rows, context)
    leaves = ggm.expand_punctured(points, sums.reshape(shape.noise, shape.depth, 2), shape.leaves)
    own = products(shape, columns)
    leaves[np.arange(shape.noise), points] = corrections ^ _sums(leaves) ^ own[: shape.noise]
    return leaves


def noise_values(shape: Shape, bits: U64) -> U64:
    """The receiver's values β (products, words) in its bits u."""
    first = shape.choice_blocks
    return noisy_vole.values(bits[first : first + shape.value_blocks], shape.products, shape.mode.words)


def combination(
    shape: Shape, columns: U64, bits: U64, points: I64, leaves: U64, at: U64
) -> tuple[U64, bytes]:
    """The receiver's masked combination (2,) of its noise at a random point; the digest it expects."""
    values = noise_values(shape, bits)
    powers = _powers_at(points + np.arange(shape.noise) * shape.leaves, at)
    masked = gf128.inner_product(values[: shape.noise], powers) ^ values[shape.noise]
    total = _combine_leaves(leaves, at) ^ products(shape, columns)[shape.noise]
    return masked, _digest(total)


def combination_digest(shape: Shape, key: U64, columns: U64, leaves: U64, at: U64, masked: U64) -> bytes:
    """The sender's digest of what the receiver's combination must be."""
    total = _combine_leaves(leaves, at) ^ products(shape, columns)[shape.noise]
    return _digest(total ^ gf128.multiply(masked[None], key)[0])


def spread(shape: Shape, leaves: U64, code_seed: bytes) -> U64:
    """The sender's b, or the receiver's c (outputs, 2). Uses up the leaves."""
    return expand_accumulate.compress(leaves.reshape(-1, 2), shape.outputs, code_seed, overwrite=True)


def spread_noise(shape: Shape, bits: U64, points: I64, leaves: U64, code_seed: bytes) -> tuple[U64, U64]:
    """The receiver's a (outputs, words) and c (outputs, 2). Uses up the leaves."""
    noise = noise_values(shape, bits)[: shape.noise]
    a = expand_accumulate.compress_noise(points, noise, shape.leaves, shape.outputs, code_seed)
    return a, spread(shape, leaves, code_seed)


def products(shape: Shape, columns: U64) -> U64:
    """Products by Gilboa (products, 2): noise and its mask, or all there is of a small table."""
    return noisy_vole.combine(_value_columns(shape, columns), shape.products, shape.mode.words)


def _value_columns(shape: Shape, columns: U64) -> U64:
    return columns[:, shape.choice_blocks : shape.choice_blocks + shape.value_blocks]


def _sums(leaves: U64) -> U64:
    """The sums of the trees' leaves (noise, leaves, 2): (noise, 2)."""
    # Sums along rows of many words are several times faster than along rows of two.
    trees, count, _ = leaves.shape
    whole = count - count % _ROW
    rows = np.bitwise_xor.reduce(leaves[:, :whole].reshape(trees, -1, 2 * _ROW), axis=1)
    parts = np.concatenate([rows.reshape(trees, _ROW, 2), leaves[:, whole:]], axis=1)
    sums: U64 = np.bitwise_xor.reduce(parts, axis=1)
    return sums


def _pads(rows: U64, context: bytes) -> U64:
    """What hides a sum: SM3 of context, number of the transfer and its block; (n, 2) to (n, 2)."""
    count = len(rows)
    numbers = np.arange(count, dtype="<u8").reshape(count, 1)
    messages = np.concatenate([numbers, rows], axis=1).view(np.uint8)
    return np.ascontiguousarray(sm3.digest_many(messages, prefix=_PAD + context)[:, :16]).view(np.uint64)


def _digest(block: U64) -> bytes:
    return sm3.digest(_EQUAL + block.tobytes())[:DIGEST_BYTES]


def _combine_leaves(leaves: U64, at: U64) -> U64:
    """The sum over all leaves i of leaf_i·at^(i+1)."""
    flat = leaves.reshape(-1, 2)
    powers = gf128.powers(at, min(_CHUNK, len(flat)))
    step, total = powers[-1:], np.zeros((1, 2), np.uint64)
    # Horner over chunks, the last one first.
    for start in range((len(flat) - 1) // _CHUNK * _CHUNK, -1, -_CHUNK):
        chunk = flat[start : start + _CHUNK]
        total = gf128.multiply(total, step) ^ gf128.inner_product(chunk, powers[: len(chunk)])
    result: U64 = total[0]
    return result


def _powers_at(exponents: I64, at: U64) -> U64:
    """at^(e+1) for every exponent e."""
    low = gf128.powers(at, _CHUNK)
    high = gf128.powers(low[-1], int(exponents.max()) // _CHUNK + 1)
    high = np.concatenate([np.array([[1, 0]], np.uint64), high])
    return gf128.multiply(low[exponents % _CHUNK], high[exponents // _CHUNK])
