"""Arithmetic in GF(2^128) = GF(2)[x] / (x^128 + x^7 + x^2 + x + 1).

A block is two uint64 words, low word first: bit i of the 128 is the coefficient of x^i. n blocks are an array
(n, 2). Addition is xor.

**64-bit values.** The low-communication variant of RR22 has values of 64 bits and a key of 128. Nothing there
needs them to form a subfield: the code that compresses the noise is binary, and so are the rows of
`accel.okvs`, so every map that must commute with multiplication by the key is a xor of entries. A 64-bit
value v is the block (v, 0), and v -> v * key is linear over GF(2) and injective for a key other than 0. That
is all the correlation asks for (Raghuraman, Rindal, "Blazing Fast PSI from Improved OKVS and Subfield VOLE",
CCS 2022, section 4, with B a GF(2)-subspace in place of a subfield). `multiply_subspace` computes it.

Values may be secret: no backend but `reference` branches on them or takes an address from them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from accel import selftest
from accel.cpu import gf128 as _cpu
from accel.errors import BadParameter
from accel.reference import gf128 as _reference
from accel.registry import Op

U64 = npt.NDArray[np.uint64]


def _sample(batch: int) -> U64:
    words = np.arange(2 * batch, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return words.reshape(batch, 2)


MULTIPLY: Op[[U64, U64], U64] = Op("gf128.multiply", sample=lambda batch: (_sample(batch),) * 2)
MULTIPLY.backend("reference")(_reference.multiply)
MULTIPLY.backend("portable", needs="numba")(_cpu.multiply)

MULTIPLY_BY: Op[[U64, U64], U64] = Op(
    "gf128.multiply_by", sample=lambda batch: (_sample(batch), _sample(2)[1])
)
MULTIPLY_BY.backend("reference")(_reference.multiply_by)
MULTIPLY_BY.backend("portable", needs="numba")(_cpu.multiply_by)

INNER_PRODUCT: Op[[U64, U64], U64] = Op("gf128.inner_product", sample=lambda batch: (_sample(batch),) * 2)
INNER_PRODUCT.backend("reference")(_reference.inner_product)
INNER_PRODUCT.backend("portable", needs="numba")(_cpu.inner_product)


def _register_vectors(level: str, instructions: str) -> None:
    """The backends on carry-less multiplication; numba is imported when one is first called."""

    @MULTIPLY.backend(level, needs="numba", instructions=instructions)
    def multiply(a: U64, b: U64) -> U64:
        from accel.cpu import gf128_vector

        return gf128_vector.multiply(level, a, b)

    @MULTIPLY_BY.backend(level, needs="numba", instructions=instructions)
    def multiply_by(a: U64, b: U64) -> U64:
        from accel.cpu import gf128_vector

        return gf128_vector.multiply_by(level, a, b)

    @INNER_PRODUCT.backend(level, needs="numba", instructions=instructions)
    def inner_product(a: U64, b: U64) -> U64:
        from accel.cpu import gf128_vector

        return gf128_vector.inner_product(level, a, b)


_register_vectors("avx2", "pclmul")
_register_vectors("ifma", "vpclmulqdq")


def multiply(a: U64, b: U64, *, backend: str = "auto") -> U64:
    """The products of two arrays (n, 2) of blocks, element by element; or of n blocks and one block (2,).

    Raises BadParameter for a wrong dtype or shape.
    """
    a = check_blocks(a, "the left factor")
    if isinstance(b, np.ndarray) and b.ndim == 1:
        b = check_blocks(b[None], "the right factor")[0]
        return MULTIPLY_BY.select(backend, batch=len(a))(a, b)
    b = check_blocks(b, "the right factor")
    _same_length(a, b)
    return MULTIPLY.select(backend, batch=len(a))(a, b)


def multiply_subspace(a: U64, key: U64, *, backend: str = "auto") -> U64:
    """The products (n, 2) of n 64-bit values and one block (2,): value v counts as the block (v, 0)."""
    if not isinstance(a, np.ndarray) or a.dtype != np.uint64 or a.ndim != 1:
        raise BadParameter("64-bit values are a 1-D array of uint64")
    blocks = np.zeros((len(a), 2), dtype=np.uint64)
    blocks[:, 0] = a
    return multiply(blocks, key, backend=backend)


def inner_product(a: U64, b: U64, *, backend: str = "auto") -> U64:
    """The block (2,) that is the sum of the products of two arrays (n, 2), element by element."""
    a, b = check_blocks(a, "the left factor"), check_blocks(b, "the right factor")
    _same_length(a, b)
    return INNER_PRODUCT.select(backend, batch=len(a))(a, b)


def powers(x: U64, n: int, *, backend: str = "auto") -> U64:
    """x, x^2, …, x^n as (n, 2). There is no x^0: no coefficient of a random combination is a constant."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise BadParameter("the number of powers must be a non-negative integer")
    x = check_blocks(x[None] if isinstance(x, np.ndarray) else x, "the base")
    result = np.empty((n, 2), dtype=np.uint64)
    result[:1] = x
    done = 1
    while done < n:
        more = min(done, n - done)
        result[done : done + more] = multiply(result[:more], result[done - 1], backend=backend)
        done += more
    return result


def check_blocks(blocks: Any, what: str) -> U64:
    """``blocks`` as a C-contiguous array (n, 2) of uint64, or BadParameter."""
    if (
        not isinstance(blocks, np.ndarray)
        or blocks.dtype != np.uint64
        or blocks.ndim != 2
        or blocks.shape[1] != 2
    ):
        raise BadParameter(f"{what} must be blocks: an array (n, 2) of uint64")
    return np.ascontiguousarray(blocks)


def _same_length(a: U64, b: U64) -> None:
    if len(a) != len(b):
        raise BadParameter(f"{len(a)} blocks cannot be multiplied by {len(b)}")


def _cases() -> tuple[U64, U64, U64]:
    cases = selftest.vectors("gf128")["products"]
    a, b, c = ([int(case[name], 16) for case in cases] for name in ("a", "b", "product"))
    return _reference.to_blocks(a), _reference.to_blocks(b), _reference.to_blocks(c)


@MULTIPLY.known_answer
def _known_products(run: Callable[[U64, U64], U64]) -> None:
    a, b, c = _cases()
    selftest.expect(np.array_equal(run(a, b), c), "gf128.multiply")


@MULTIPLY_BY.known_answer
def _known_products_by_one(run: Callable[[U64, U64], U64]) -> None:
    a, b, c = _cases()
    for i in range(len(a)):
        selftest.expect(np.array_equal(run(a, b[i])[i], c[i]), "gf128.multiply_by")


@INNER_PRODUCT.known_answer
def _known_inner_product(run: Callable[[U64, U64], U64]) -> None:
    a, b, c = _cases()
    for n in range(len(a) + 1):
        selftest.expect(
            np.array_equal(run(a[:n], b[:n]), np.bitwise_xor.reduce(c[:n])), "gf128.inner_product"
        )
