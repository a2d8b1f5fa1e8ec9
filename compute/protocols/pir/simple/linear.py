"""SimplePIR: a byte matrix whose columns can be read without telling which. An entry is a byte (p = 256).

    hint    H = D·A                      once per job, D the database of bytes minus 128, A from a seed
    query   q = A·s + e + 2^24·Σ unit    fresh s, e; selects one column, or a sum of columns
    answer  a = D·q                      a − H·s = 2^24·(selected column) + small

Source: Henzinger, Hong, Corrigan-Gibbs, Meiklejohn, Vaikuntanathan, "One Server for the Price of Two: Simple
and Fast Single-Server Private Information Retrieval", USENIX Security 2023, section 4; parameters n = 1024,
q = 2^32, σ = 6.4 (128 bits).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accel import lwe
from compute.errors import BadInput
from compute.protocols.protocol import Rng

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
HINT_ROW_BYTES = 4 * lwe.LWE_DIMENSION
MAX_COLUMNS = 1 << 20
_OFFSET = 128
_DELTA = 1 << 24
# Rows of A that are expanded at once: 64 MiB.
_STRIPE = 1 << 14


def matrix_seed(binding: bytes) -> bytes:
    """The seed of A: from the job, so neither side can choose an A that suits it."""
    return hashlib.sha256(b"liutong/pir/matrix/v1\0" + binding).digest()


def check_columns(columns: int) -> None:
    """Raise BadInput for more columns than bytes can be read from at these parameters."""
    if not 1 <= columns <= MAX_COLUMNS or lwe.parameters(columns).plaintext_modulus < 256:
        raise BadInput(f"the table needs {columns} columns; 1 to {MAX_COLUMNS} can be searched at once")


def hint(database: U8, seed: bytes) -> U32:
    """H, shape (bytes per record, 1024)."""
    total = np.zeros((database.shape[0], lwe.LWE_DIMENSION), dtype=np.uint32)
    for start in range(0, database.shape[1], _STRIPE):
        stripe = np.ascontiguousarray(database[:, start : start + _STRIPE])
        rows = lwe.expand_rows(seed, start, start + stripe.shape[1])
        total += lwe.matmul(stripe, rows, offset=_OFFSET)
    return total


@dataclass(frozen=True, repr=False)
class Query:
    """A query before it selects anything: ``vector`` is A·s + e. For one use."""

    secret: U32
    vector: U32

    def select(self, columns: Iterable[int]) -> U32:
        """The vector that reads the sum modulo 256 of these columns."""
        vector = self.vector.copy()
        for column in columns:
            vector[column] += np.uint32(_DELTA)
        return vector


def queries(count: int, columns: int, seed: bytes, rng: Rng) -> list[Query]:
    """``count`` fresh queries; A is expanded once for all of them."""
    secrets = [lwe.sample_secret(lwe.LWE_DIMENSION, rng) for _ in range(count)]
    vectors = [lwe.sample_error(columns, rng) for _ in range(count)]
    all_secrets = np.array(secrets, dtype=np.uint32).reshape(count, lwe.LWE_DIMENSION)
    for start in range(0, columns, _STRIPE):
        stop = min(start + _STRIPE, columns)
        products = lwe.matmul(lwe.expand_rows(seed, start, stop), all_secrets.T)
        for vector, product in zip(vectors, products.T, strict=True):
            vector[start:stop] += product
    return [Query(secret, vector) for secret, vector in zip(secrets, vectors, strict=True)]


def answer(database: U8, vector: U32) -> U32:
    """D·q: reads every byte of the database, whatever the query."""
    return lwe.matvec(database, vector, offset=_OFFSET)


def recover(query: Query, response: U32, downloaded: U32) -> bytes:
    """The selected bytes. An odd number of columns must have been selected."""
    noisy = response - lwe.matvec(downloaded, query.secret)
    entries = ((noisy + np.uint32(_DELTA // 2)) >> np.uint32(24)) & np.uint32(255)
    # Each selected column came minus 128; modulo 256 an odd number of them is off by 128.
    return ((entries + np.uint32(_OFFSET)) & np.uint32(255)).astype(np.uint8).tobytes()
