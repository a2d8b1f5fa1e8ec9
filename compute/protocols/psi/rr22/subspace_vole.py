"""128 correlations with the bits of one key, from 128 base transfers: SoftSpoken's subspace VOLE over GF(2).

The *holder* has a secret key of 128 bits Δ, the *extender* random bits u. Afterwards, for every bit Δ_c of
the key, the extender has a column v_c and the holder w_c = v_c ⊕ Δ_c·u, each as long as u (Roy,
"SoftSpokenOT", CRYPTO 2022, figures 7 and 8 with the repetition code). `tree_bits` = k key bits share a tree
of 2^k seeds, of which the holder misses the one at its k bits: 128/k bits cross per bit of u, for which
2^k·128/k are made.

Against a malicious extender: its trees are proved consistent (figure 13), and a random linear hash of u and
of the columns is compared (figure 8, with polynomials over GF(2^128) as universal hash; the last block of u
is spent on hiding it). What remains to a cheating extender is to guess bits of Δ; each guess ends the run
with probability one half. A holder sends nothing here but the challenge.

Arrays: u is (blocks, 2) words of 128 bits a block, columns (128, blocks, 2); bit c of Δ is bit c mod 64 of
word c // 64. Tree i covers the bits from k·i on, the first being the highest bit of a leaf's number.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from accel import gf128, ggm, sm3
from compute.errors import ProtocolAbort

KEY_BITS = 128
DIGEST_BYTES = 32
# Pseudorandom blocks of a leaf that go into the proof of its tree: twice the computational security.
_PROOF_BLOCKS = 2

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]


class Extension(NamedTuple):
    """What the extender makes: sums and corrections cross, bits and columns stay.

    ``sums`` (128, 2, 2): level sums of the trees under the base keys. ``corrections`` (trees - 1, blocks, 2).
    ``tree_sums`` (trees, 2, 2) and ``digest``: the proof of the trees.
    """

    sums: U64
    tree_sums: U64
    digest: U8
    corrections: U64
    bits: U64
    columns: U64


def key_bits(key: U64) -> U8:
    """The 128 bits of a key (2,), lowest first."""
    return np.unpackbits(np.ascontiguousarray(key).view(np.uint8), bitorder="little")


def extend(keys: U64, roots: U64, blocks: int, tree_bits: int) -> Extension:
    """The extender's part: ``keys`` (128, 2, 2) of the base transfers, ``roots`` (128/tree_bits, 2)."""
    leaves, levels = ggm.expand(roots, 1 << tree_bits)
    trees = len(roots)
    columns = np.empty((KEY_BITS, blocks, 2), np.uint64)
    rows = np.empty((trees, blocks, 2), np.uint64)
    proofs = np.empty((trees, 1 << tree_bits, _PROOF_BLOCKS, 2), np.uint64)
    for tree in range(trees):
        streams, proofs[tree] = _streams(leaves[tree], blocks)
        first = tree * tree_bits
        rows[tree] = _fold(streams, columns[first : first + tree_bits])
    return Extension(
        sums=levels.reshape(KEY_BITS, 2, 2) ^ keys,
        tree_sums=np.bitwise_xor.reduce(proofs, axis=1),
        digest=_digest(proofs),
        corrections=rows[1:] ^ rows[0],
        bits=rows[0],
        columns=columns,
    )


def hold(key: U64, keys: U64, sums: U64, corrections: U64, tree_bits: int) -> tuple[U64, U64]:
    """The holder's columns (128, blocks, 2), and the proofs of its trees for `check_trees`.

    ``keys`` (128, 2) are those of the base transfers whose choices are the complements of the key's bits.
    """
    bits = key_bits(key)
    known = sums[np.arange(KEY_BITS), 1 - bits] ^ keys
    trees, blocks = KEY_BITS // tree_bits, corrections.shape[1]
    weights = 1 << np.arange(tree_bits - 1, -1, -1)
    points = (bits.reshape(trees, tree_bits) * weights).sum(axis=1).astype(np.int64)
    leaves = ggm.expand_punctured(points, known.reshape(trees, tree_bits, 2), 1 << tree_bits)
    columns = np.empty((KEY_BITS, blocks, 2), np.uint64)
    proofs = np.empty((trees, 1 << tree_bits, _PROOF_BLOCKS, 2), np.uint64)
    numbers = np.arange(1 << tree_bits)
    for tree in range(trees):
        streams, proofs[tree] = _streams(leaves[tree], blocks)
        # Numbered from the missing leaf, its factor is 0: what cannot be known is not needed.
        streams = streams[numbers ^ points[tree]]
        streams[0] = 0
        first = tree * tree_bits
        _fold(streams, columns[first : first + tree_bits])
        proofs[tree, points[tree]] = 0
        if tree:
            masks = _masks(bits[first : first + tree_bits])
            columns[first : first + tree_bits] ^= masks[:, None, None] & corrections[tree - 1]
    return columns, proofs


def check_trees(key: U64, proofs: U64, tree_sums: U64, digest: U8, tree_bits: int) -> None:
    """The holder's check that the extender's trees are trees. Raises ProtocolAbort."""
    trees = KEY_BITS // tree_bits
    weights = 1 << np.arange(tree_bits - 1, -1, -1)
    points = (key_bits(key).reshape(trees, tree_bits) * weights).sum(axis=1)
    filled = proofs.copy()
    filled[np.arange(trees), points] = np.bitwise_xor.reduce(proofs, axis=1) ^ tree_sums
    if not np.array_equal(_digest(filled), digest):
        raise ProtocolAbort("the peer's transfers do not fit together")


def fingerprint(bits: U64, columns: U64, challenge: U64) -> tuple[U64, U8]:
    """The extender's answer to a challenge (2,): the hash of u (2,), and a digest of the columns' hashes."""
    return _hash(bits, _powers(challenge, len(bits))), _digest(_hash_columns(columns, challenge))


def check_fingerprint(key: U64, columns: U64, challenge: U64, bits_hash: U64, digest: U8) -> None:
    """The holder's check of `fingerprint`. Raises ProtocolAbort."""
    expected = _hash_columns(columns, challenge) ^ (_masks(key_bits(key))[:, None] & bits_hash)
    if not np.array_equal(_digest(expected), digest):
        raise ProtocolAbort("the peer's transfers do not fit together")


def transpose(columns: U64) -> U64:
    """Rows instead of columns: (128, blocks, 2) to (128 * blocks, 2), one block of 128 bits per bit of u."""
    bits = np.unpackbits(columns.reshape(KEY_BITS, -1).view(np.uint8), axis=1, bitorder="little")
    packed = np.packbits(np.ascontiguousarray(bits.T), axis=1, bitorder="little")
    return packed.view(np.uint64)


def _streams(seeds: U64, blocks: int) -> tuple[U64, U64]:
    """Pseudorandom blocks of every seed (n, 2): (n, blocks, 2), and as many again as its proof takes."""
    expanded, _ = ggm.expand(seeds, blocks + _PROOF_BLOCKS)
    return expanded[:, :blocks], expanded[:, blocks:]


def _fold(streams: U64, columns: U64) -> U64:
    """Write the sums of the streams whose number has bit l, highest first, to columns[l]; give all's sum."""
    for column in columns:
        half = len(streams) // 2
        np.bitwise_xor.reduce(streams[half:], axis=0, out=column)
        streams = streams[:half] ^ streams[half:]
    return np.ascontiguousarray(streams[0])


def _masks(bits: U8) -> U64:
    """Bits to words of all zeros or all ones."""
    return np.uint64(0) - bits.astype(np.uint64)


def _powers(challenge: U64, blocks: int) -> U64:
    """Coefficients of the hash; that of the last block is 1, so that it hides the rest."""
    coefficients = gf128.powers(challenge, blocks)
    coefficients[-1] = (1, 0)
    return coefficients


def _hash(column: U64, coefficients: U64) -> U64:
    return gf128.inner_product(np.ascontiguousarray(column), coefficients)


def _hash_columns(columns: U64, challenge: U64) -> U64:
    coefficients = _powers(challenge, columns.shape[1])
    return np.stack([_hash(column, coefficients) for column in columns])


def _digest(blocks: U64) -> U8:
    return np.frombuffer(sm3.digest(np.ascontiguousarray(blocks).tobytes()), np.uint8)
