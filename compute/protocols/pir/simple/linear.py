"""SimplePIR: a byte matrix whose columns can be read without telling which. An entry is a byte (p = 256).

    hint    H = D·A                      once per version, D the database of bytes minus 128, A from a seed
    query   q = A·s + e + 2^24·Σ unit    fresh s, e; selects one column, or a sum of columns
    answer  a = D·q                      a − H·s = 2^24·(selected column) + small

Source: Henzinger, Hong, Corrigan-Gibbs, Meiklejohn, Vaikuntanathan, "One Server for the Price of Two: Simple
and Fast Single-Server Private Information Retrieval", USENIX Security 2023, section 4; parameters n = 1024,
q = 2^32, σ = 6.4 (128 bits).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from accel import lwe
from compute.protocols.protocol import Rng

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
# Queries that one pass over the database answers.
BATCH = 16
DIMENSION = lwe.LWE_DIMENSION
_OFFSET = 128
_DELTA = 1 << 24
# Rows of A that are expanded at once: 64 MiB.
_STRIPE = 1 << 14


def hint(database: U8, seed: bytes) -> Iterator[U32]:
    """H, shape (rows, 1024), as it grows: one item per stripe of columns, the last one is complete."""
    total = np.zeros((database.shape[0], lwe.LWE_DIMENSION), dtype=np.uint32)
    for start in range(0, database.shape[1], _STRIPE):
        stripe = np.ascontiguousarray(database[:, start : start + _STRIPE])
        rows = lwe.expand_rows(seed, start, start + stripe.shape[1])
        total += lwe.matmul(stripe, rows, offset=_OFFSET)
        yield total


def stripes(columns: int) -> int:
    """How many items `hint` gives."""
    return -(-columns // _STRIPE)


def queries(selections: Sequence[Sequence[int]], columns: int, seed: bytes, rng: Rng) -> tuple[U32, U32]:
    """Secrets (n, 1024) and vectors (n, columns); vector i reads the sum modulo 256 of ``selections[i]``.

    Each serves once. A is expanded once for all of them.
    """
    count = len(selections)
    secrets = lwe.sample_secret(count * lwe.LWE_DIMENSION, rng).reshape(count, lwe.LWE_DIMENSION)
    vectors = lwe.sample_error(count * columns, rng).reshape(count, columns)
    factor = np.ascontiguousarray(secrets.T)
    for start in range(0, columns, _STRIPE):
        stop = min(start + _STRIPE, columns)
        vectors[:, start:stop] += lwe.matmul(lwe.expand_rows(seed, start, stop), factor).T
    for vector, selected in zip(vectors, selections, strict=True):
        vector[list(selected)] += np.uint32(_DELTA)  # columns of one query differ
    return secrets, vectors


def answer(database: U8, vectors: U32) -> U32:
    """D·q for every query, shape (rows, n): reads every byte of the database, whatever the queries."""
    if len(vectors) == 1:  # never worth carrying the matrix to a GPU, as a batch may be
        return lwe.matvec(database, vectors[0], offset=_OFFSET)[:, None]
    return lwe.matmul(database, np.ascontiguousarray(vectors.T), offset=_OFFSET)


def recover(secrets: U32, responses: U32, downloaded: U32) -> U8:
    """The selected bytes, shape (n, rows). Every query must have selected an odd number of columns."""
    noisy = responses - lwe.matmul(downloaded, np.ascontiguousarray(secrets.T))
    entries = (noisy + np.uint32(_DELTA // 2)) >> np.uint32(24)
    # Each selected column came minus 128; modulo 256 an odd number of them is off by 128.
    return np.ascontiguousarray((entries + np.uint32(_OFFSET)).astype(np.uint8).T)
