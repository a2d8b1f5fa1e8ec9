"""Linear algebra modulo 2^32 for LWE-based private information retrieval (SimplePIR), and its randomness.

Products are exact modulo 2^32. A database is a C-contiguous 2-D array of u8, u16 or u32, rows by columns;
``offset`` is subtracted from every entry on the fly, so that a database of bytes can be centred around 0
(which halves the noise) while it stays one byte an entry. Source: Henzinger, Hong, Corrigan-Gibbs,
Meiklejohn, Vaikuntanathan, "One Server for the Price of Two", USENIX Security 2023, section 4.

None of this validates who may see what: the protocol (compute.protocols.pir) owns keys, seeds and order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accel import selftest
from accel.cpu import gaussian as _gaussian
from accel.cpu import lwe as _cpu
from accel.cpu.key_stream import SEED_BYTES
from accel.errors import BadParameter
from accel.gpu import lwe as _gpu
from accel.gpu.lwe import DeviceDatabase as DeviceDatabase
from accel.gpu.lwe import resident as resident
from accel.randomness import Rng, draw, system_rng
from accel.reference import lwe as _reference
from accel.registry import Op

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
Database = npt.NDArray[Any]  # uint8, uint16 or uint32: checked at run time

LWE_DIMENSION = 1024
MODULUS_BITS = 32
ERROR_SIGMA = 6.4

# log2 of the number of columns (LWE samples of one query) -> largest plaintext modulus. 128-bit security at
# n = 1024, q = 2^32, sigma = 6.4; correct but for 2^-40 per entry if entries are centred around 0. Rerun the
# lattice estimator before changing a number. Source: the paper above, appendix; simplepir, params.csv.
_PLAINTEXT_MODULI = {13: 991, 14: 833, 15: 701, 16: 589, 17: 495, 18: 416, 19: 350, 20: 294, 21: 247}

_SAMPLED_COLUMNS = 256  # of the measured databases: a million rows still fit the memory
_NEVER = 1 << 62
_SAMPLES_AT_ONCE = 1 << 18  # 2 MiB of random words


def _sampled(batch: int, columns: int) -> tuple[Database, U32, int]:
    database = np.arange(batch * _SAMPLED_COLUMNS).astype(np.uint8).reshape(batch, _SAMPLED_COLUMNS)
    factor = (np.arange(_SAMPLED_COLUMNS * columns) * 2654435761).astype(np.uint32)
    return database, factor.reshape(_SAMPLED_COLUMNS, columns), 128


def _sampled_vector(batch: int) -> tuple[Database, U32, int]:
    database, matrix, offset = _sampled(batch, 1)
    return database, matrix[:, 0], offset


def _sampled_words(batch: int) -> tuple[U64]:
    return (np.arange(batch, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15),)


# Arguments: database, factor, offset. A batch is the rows of the database.
MATVEC: Op[[Database, U32, int], U32] = Op("lwe.matvec", sample=_sampled_vector)
MATVEC.backend("reference")(_reference.matvec)
MATVEC.backend("portable", needs="numba")(_cpu.matvec)
# A database that has to cross PCIe first arrives more slowly than the processor multiplies it.
MATVEC.backend("gpu", needs="cupy", min_batch=_NEVER)(_gpu.matvec)

MATMUL: Op[[Database, U32, int], U32] = Op("lwe.matmul", sample=lambda batch: _sampled(batch, 16))
MATMUL.backend("reference")(_reference.matmul)
MATMUL.backend("portable", needs="numba")(_cpu.matmul)
MATMUL.backend("gpu", needs="cupy", min_batch=4096)(_gpu.matmul)

GAUSSIAN: Op[[U64], U32] = Op("lwe.gaussian", sample=_sampled_words)
GAUSSIAN.backend("reference")(_reference.gaussian)
GAUSSIAN.backend("portable", needs="numba")(_gaussian.gaussian)


@MATVEC.backend("avx2", needs="numba")
def _avx2_matvec(database: Database, vector: U32, offset: int) -> U32:
    from accel.cpu import lwe_simd

    return lwe_simd.matvec(lwe_simd.AVX2, database, vector, offset)


@MATVEC.backend("ifma", needs="numba", instructions="avx512vnni")
def _vnni_matvec(database: Database, vector: U32, offset: int) -> U32:
    from accel.cpu import lwe_simd

    return lwe_simd.matvec(lwe_simd.VNNI, database, vector, offset)


@MATMUL.backend("avx2", needs="numba")
def _avx2_matmul(database: Database, matrix: U32, offset: int) -> U32:
    from accel.cpu import lwe_simd

    return lwe_simd.matmul(lwe_simd.AVX2, database, matrix, offset)


@MATMUL.backend("ifma", needs="numba", instructions="avx512vnni")
def _vnni_matmul(database: Database, matrix: U32, offset: int) -> U32:
    from accel.cpu import lwe_simd

    return lwe_simd.matmul(lwe_simd.VNNI, database, matrix, offset)


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


def sample_error(count: int, rng: Rng = system_rng, *, backend: str = "auto") -> U32:
    """Fresh errors from the discrete Gaussian with sigma 6.4, modulo 2^32, in constant time.

    8 bytes of ``rng`` a sample; the system's source gives a seed for AES-256-CTR instead. Statistical
    distance to the exact distribution at most 2^-56 per sample. Use each once.
    """
    selftest.ensure("lwe")
    if count < 0:
        raise BadParameter("the number of samples must not be negative")
    sample = GAUSSIAN.select(backend, batch=count)
    words = _gaussian.Words(rng)
    output = np.empty(count, dtype=np.uint32)
    for start in range(0, count, _SAMPLES_AT_ONCE):
        stop = min(start + _SAMPLES_AT_ONCE, count)
        output[start:stop] = sample(words(stop - start))
    return output


def matvec(
    database: Database | DeviceDatabase, vector: U32, *, offset: int = 0, backend: str = "auto"
) -> U32:
    """(database - offset) times a vector, modulo 2^32: one entry per row, exact.

    ``database`` (rows, columns) of u8, u16 or u32, or what `resident` made of one, which is multiplied where
    it lies; ``vector`` (columns,) of u32. Reads every entry whatever the vector holds: access pattern and
    timing do not depend on it. The first call compiles for seconds and caches on disk. Raises BadParameter
    for a wrong dtype or shape.
    """
    selftest.ensure("lwe")
    left, backend = _checked(database, vector, offset, 1, backend)
    return MATVEC.select(backend, batch=database.shape[0])(left, vector, offset)


def matmul(
    database: Database | DeviceDatabase, matrix: U32, *, offset: int = 0, backend: str = "auto"
) -> U32:
    """(database - offset) times a matrix, modulo 2^32, exact: the hint, or a batch of queries.

    ``database`` as in `matvec`, ``matrix`` (columns, k) of u32: a query is a column, and queries held as rows
    may be passed as ``queries.T``. The result (rows, k) has an answer in every column. Up to 16 queries cost
    one pass over the database (8 on the path ``avx2``). Access pattern and timing do not depend on entries.
    """
    selftest.ensure("lwe")
    left, backend = _checked(database, matrix, offset, 2, backend)
    return MATMUL.select(backend, batch=database.shape[0])(left, matrix, offset)


def _checked(
    database: Database | DeviceDatabase, right: U32, offset: int, right_dimensions: int, backend: str
) -> tuple[Any, str]:
    if isinstance(database, DeviceDatabase):
        if backend not in ("auto", "gpu"):
            raise BadParameter(f"a resident database is multiplied on its GPU, not by {backend!r}")
        backend = "gpu"
    elif (
        not isinstance(database, np.ndarray)
        or database.dtype not in (np.uint8, np.uint16, np.uint32)
        or database.ndim != 2
    ):
        raise BadParameter("the database must be a 2-D array of uint8, uint16 or uint32")
    else:
        database = np.ascontiguousarray(database)
    if not isinstance(right, np.ndarray) or right.dtype != np.uint32 or right.ndim != right_dimensions:
        raise BadParameter(f"the right factor must be a {right_dimensions}-D array of uint32")
    if database.shape[1] != right.shape[0]:
        raise BadParameter(
            f"the database has {database.shape[1]} columns, the right factor {right.shape[0]} rows"
        )
    if database.shape[1] > 1 << 21:
        raise BadParameter("at most 2^21 columns: beyond that the parameters are not defined")
    if not isinstance(offset, int | np.integer) or not 0 <= offset < 1 << 32:
        raise BadParameter("the offset must be an integer from 0 to 2^32 - 1")
    return database, backend


def _product_cases() -> Iterator[tuple[Database, U32, int, list[int]]]:
    for case in selftest.vectors("lwe")["products"]:
        database = np.array(case["database"], dtype=case["dtype"])
        yield database, np.array(case["vector"], dtype=np.uint32), case["offset"], case["result"]


@MATVEC.known_answer
def _known_vector_products(run: Callable[[Database, U32, int], U32]) -> None:
    for database, vector, offset, expected in _product_cases():
        selftest.expect(run(database, vector, offset).tolist() == expected, "lwe.matvec")


@MATMUL.known_answer
def _known_matrix_products(run: Callable[[Database, U32, int], U32]) -> None:
    # One number of columns for each kernel that `accel.cpu.lwe_simd` and `accel.cpu.lwe` choose from.
    for database, vector, offset, expected in _product_cases():
        for columns in (4, 8, 24):
            got = run(database, np.repeat(vector[:, None], columns, axis=1), offset)
            selftest.expect(all(column == expected for column in got.T.tolist()), "lwe.matmul")


@GAUSSIAN.known_answer
def _known_samples(run: Callable[[U64], U32]) -> None:
    cases = selftest.vectors("lwe")["gaussian"]
    got = run(np.array([case["word"] for case in cases], dtype=np.uint64))
    selftest.expect(got.astype(np.int32).tolist() == [case["sample"] for case in cases], "lwe.gaussian")


@selftest.known_answer("lwe")
def _known_answer() -> None:
    """What has one backend; products and samples answer when their backends are selected."""
    for case in selftest.vectors("lwe")["expand"]:
        row = _cpu.expand_rows(bytes.fromhex(case["seed"]), case["row"], case["row"] + 1, case["columns"])
        selftest.expect(row[0, :4].tolist() == case["first"], "lwe.expand_rows")
