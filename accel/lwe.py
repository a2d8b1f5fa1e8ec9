"""Linear algebra modulo 2^32 for LWE-based private information retrieval (SimplePIR), and its randomness.

Products are exact modulo 2^32. A database is a C-contiguous 2-D array of u8, u16 or u32, rows by columns;
``offset`` is subtracted from every entry on the fly, so that a database of bytes can be centred around 0
(which halves the noise) while it stays one byte an entry. Source: Henzinger, Hong, Corrigan-Gibbs,
Meiklejohn, Vaikuntanathan, "One Server for the Price of Two", USENIX Security 2023, section 4.

None of this validates who may see what: the protocol (compute.protocols.pir) owns keys, seeds and order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accel import selftest
from accel.cpu import lwe as _cpu
from accel.cpu.gaussian import sample_gaussian
from accel.errors import BadParameter
from accel.randomness import Rng, draw, system_rng
from accel.reference import lwe as _reference
from accel.registry import Op

U32 = npt.NDArray[np.uint32]
Database = npt.NDArray[Any]  # uint8, uint16 or uint32: checked at run time

LWE_DIMENSION = 1024
MODULUS_BITS = 32
ERROR_SIGMA = 6.4
SEED_BYTES = 32

# log2 of the number of columns (LWE samples of one query) -> largest plaintext modulus. 128-bit security at
# n = 1024, q = 2^32, sigma = 6.4; correct but for 2^-40 per entry if entries are centred around 0. Rerun the
# lattice estimator before changing a number. Source: the paper above, appendix; simplepir, params.csv.
_PLAINTEXT_MODULI = {13: 991, 14: 833, 15: 701, 16: 589, 17: 495, 18: 416, 19: 350, 20: 294, 21: 247}

MATVEC: Op[[Database, U32, int], U32] = Op("lwe.matvec")
MATVEC.backend("reference")(_reference.matvec)
MATVEC.backend("portable", needs="numba")(_cpu.matvec)

MATMUL: Op[[Database, U32, int], U32] = Op("lwe.matmul")
MATMUL.backend("reference")(_reference.matmul)
MATMUL.backend("portable", needs="numpy")(_cpu.matmul)


@dataclass(frozen=True)
class Parameters:
    """One row of the parameter table: what ``columns`` columns allow."""

    columns: int
    plaintext_modulus: int
    lwe_dimension: int = LWE_DIMENSION
    modulus_bits: int = MODULUS_BITS
    error_sigma: float = ERROR_SIGMA

    @property
    def delta(self) -> int:
        """The factor that lifts a plaintext above the noise: floor(q / p)."""
        return (1 << self.modulus_bits) // self.plaintext_modulus


def parameters(columns: int) -> Parameters:
    """The row of the table for a database of so many columns; raises BadParameter beyond 2^21."""
    if columns < 1:
        raise BadParameter("a database has at least one column")
    for log_columns, plaintext_modulus in _PLAINTEXT_MODULI.items():
        if columns <= 1 << log_columns:
            return Parameters(columns, plaintext_modulus)
    raise BadParameter(
        f"{columns} columns are beyond the parameter table: at most {1 << 21}", columns=columns
    )


def expand_rows(seed: bytes, start: int, stop: int, columns: int = LWE_DIMENSION) -> U32:
    """Rows ``start`` to ``stop`` of the public matrix A of a seed, shape (stop - start, columns).

    Both sides expand the same seed: row r is the AES-256-CTR key stream under the seed, from counter block
    r * columns / 4 on, read as little-endian words. The seed is public; the stream stands for randomness.
    """
    if len(seed) != SEED_BYTES:
        raise BadParameter(f"a seed has {SEED_BYTES} bytes")
    if columns < 4 or columns % 4:
        raise BadParameter("the number of columns must be a positive multiple of 4")
    if not 0 <= start <= stop or stop * columns >= 1 << 64:
        raise BadParameter("rows are 0 <= start <= stop")
    return _cpu.expand_rows(seed, start, stop, columns)


def sample_secret(count: int, rng: Rng = system_rng) -> U32:
    """A fresh uniform secret vector modulo 2^32. Use it for one query."""
    if count < 0:
        raise BadParameter("the number of words must not be negative")
    return np.frombuffer(draw(rng, 4 * count), dtype="<u4").astype(np.uint32)


def sample_error(count: int, rng: Rng = system_rng) -> U32:
    """Fresh errors from the discrete Gaussian with sigma 6.4, modulo 2^32, in constant time.

    Statistical distance to the exact distribution at most 2^-56 per sample. Use each once.
    """
    selftest.ensure("lwe")
    if count < 0:
        raise BadParameter("the number of samples must not be negative")
    return sample_gaussian(count, rng).astype(np.uint32)


def matvec(database: Database, vector: U32, *, offset: int = 0, backend: str = "auto") -> U32:
    """(database - offset) times a vector, modulo 2^32: one entry per row, exact.

    ``database`` (rows, columns) of u8, u16 or u32, ``vector`` (columns,) of u32. Reads every entry whatever
    the vector holds: access pattern and timing do not depend on it. The first call compiles for seconds and
    caches on disk. Raises BadParameter for a wrong dtype or shape.
    """
    selftest.ensure("lwe")
    _check(database, vector, offset, 1)
    return MATVEC.select(backend, batch=database.shape[0])(np.ascontiguousarray(database), vector, offset)


def matmul(database: Database, matrix: U32, *, offset: int = 0, backend: str = "auto") -> U32:
    """(database - offset) times a matrix, modulo 2^32, exact: the hint, or a batch of queries.

    ``database`` (rows, columns) of u8, u16 or u32, ``matrix`` (columns, k) of u32, result (rows, k).
    """
    selftest.ensure("lwe")
    _check(database, matrix, offset, 2)
    return MATMUL.select(backend, batch=database.shape[0])(np.ascontiguousarray(database), matrix, offset)


def _check(database: Database, right: U32, offset: int, right_dimensions: int) -> None:
    if database.dtype not in (np.uint8, np.uint16, np.uint32) or database.ndim != 2:
        raise BadParameter("the database must be a 2-D array of uint8, uint16 or uint32")
    if right.dtype != np.uint32 or right.ndim != right_dimensions:
        raise BadParameter(f"the right factor must be a {right_dimensions}-D array of uint32")
    if database.shape[1] != right.shape[0]:
        raise BadParameter(
            f"the database has {database.shape[1]} columns, the right factor {right.shape[0]} rows"
        )
    if database.shape[1] > 1 << 21:
        raise BadParameter("at most 2^21 columns: beyond that the parameters are not defined")
    if not 0 <= offset < 1 << 32:
        raise BadParameter("the offset must be an integer from 0 to 2^32 - 1")


@selftest.known_answer("lwe")
def _known_answer() -> None:
    document = selftest.vectors("lwe")
    database = np.array(document["product"]["database"], dtype=np.uint8)
    vector = np.array(document["product"]["vector"], dtype=np.uint32)
    expected = document["product"]["result"]
    # The reference runs in numpy at once; the compiled backend is checked against it by the tests, because
    # compiling here would make the first import slow for callers who never multiply.
    got = _reference.matvec(database, vector, document["product"]["offset"])
    selftest.expect(got.tolist() == expected, "lwe.matvec")
    for case in document["expand"]:
        row = _cpu.expand_rows(bytes.fromhex(case["seed"]), case["row"], case["row"] + 1, case["columns"])
        selftest.expect(row[0, :4].tolist() == case["first"], "lwe.expand_rows")
