"""The expand-accumulate code, which turns sparse noise into pseudorandom blocks (for silent VOLE).

`compress` is y = B A e over GF(2), entries being words of 64 or 128 bits: A replaces every entry by the xor
of all up to it, each output is the xor of 7 entries at public pseudorandom positions. Whoever knows nothing
of a sparse noise vector e but its structure cannot tell y from random: dual LPN, assumed for this code.

Sources: Boyle, Couteau, Gilboa, Ishai, Kohl, Resch, Scholl, "Correlated Pseudorandomness from
Expand-Accumulate Codes", CRYPTO 2022; parameters of `ExAcc7` in libOTe (`EAConfigure`, `getRegNoiseWeight`):
expander weight 7, five noise positions an output, relative distance d = 0.05, of which libOTe says "known to
be high but likely overall accurate". Regular noise of weight t withstands linear tests up to (1 - 2 d)^t: t =
128 / -log2(0.9) = 843, rounded up to a multiple of 8. README says what is known against these figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, log2
from typing import Any

import numpy as np
import numpy.typing as npt

from accel import selftest
from accel.cpu import expand_accumulate as _cpu
from accel.errors import BadParameter
from accel.reference import expand_accumulate as _reference
from accel.registry import Op

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

SEED_BYTES = 16
SECURITY_BITS = 128
SCALER = 5  # noise positions an output
RELATIVE_DISTANCE = 0.05
MOST_OUTPUTS = 1 << 29  # positions are below 2^32

_LEAST_BLOCK = 8  # positions a block of regular noise
_WEIGHT_STEP = 8


@dataclass(frozen=True)
class Code:
    """The noise that a number of outputs needs: ``weight`` blocks of ``block`` positions, one in use each."""

    outputs: int
    weight: int
    block: int

    @property
    def size(self) -> int:
        """The length m of the noise vector."""
        return self.weight * self.block


def _sample(batch: int) -> tuple[list[U64], int, bytes]:
    size = code(batch).size
    values = (np.arange(2 * size, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)).reshape(size, 2)
    return [values, values[:, 0].copy()], batch, bytes(SEED_BYTES)


def _sample_noise(batch: int) -> tuple[I64, U64, int, int, bytes]:
    shape = code(batch)
    noise = np.arange(2 * shape.weight, dtype=np.uint64).reshape(shape.weight, 2)
    return np.arange(shape.weight, dtype=np.int64) % shape.block, noise, shape.block, batch, bytes(SEED_BYTES)


COMPRESS: Op[[Sequence[U64], int, bytes], list[U64]] = Op("expand_accumulate.compress", sample=_sample)
COMPRESS.backend("reference")(_reference.compress)
COMPRESS.backend("portable", needs="numba cryptography")(_cpu.compress)

COMPRESS_NOISE: Op[[I64, U64, int, int, bytes], U64] = Op(
    "expand_accumulate.compress_noise", sample=lambda batch: _sample_noise(batch)
)
COMPRESS_NOISE.backend("reference")(_reference.compress_noise)
COMPRESS_NOISE.backend("portable", needs="numba cryptography")(_cpu.compress_noise)


def _register_vectors(level: str, instructions: str) -> None:
    """The backends that make positions by AES instructions; numba is imported at the first call."""

    def words(seed: bytes, start: int, stop: int) -> npt.NDArray[np.uint32]:
        from accel.cpu import aes_vector

        return aes_vector.words(level, seed, start, stop)

    @COMPRESS.backend(level, needs="numba", instructions=instructions)
    def compress(inputs: Sequence[U64], outputs: int, seed: bytes) -> list[U64]:
        return _cpu.compress_with(words, inputs, outputs, seed)

    @COMPRESS_NOISE.backend(level, needs="numba", instructions=instructions)
    def compress_noise(points: I64, noise: U64, block: int, outputs: int, seed: bytes) -> U64:
        return _cpu.compress_noise_with(words, points, noise, block, outputs, seed)


_register_vectors("avx2", "aes")
_register_vectors("ifma", "vaes")


def noise_weight(n: int) -> int:
    """The blocks of regular noise t for n outputs: 848, whatever n (derivation above)."""
    _check_outputs(n)
    least = SECURITY_BITS / -log2(1 - 2 * RELATIVE_DISTANCE)
    return ceil(least / _WEIGHT_STEP) * _WEIGHT_STEP


def code(n: int) -> Code:
    """The noise that n outputs need; the same on both sides. Raises BadParameter outside 0 … 2^29."""
    weight = noise_weight(n)
    return Code(n, weight, max(_LEAST_BLOCK, -(-SCALER * n // weight)))


def compress(values: U64, n: int, seed: bytes, *, overwrite: bool = False, backend: str = "auto") -> U64:
    """n outputs from m values: (m, 2) gives (n, 2); (m,), words of 64 bits, gives (n,).

    ``seed``: 16 public bytes that choose the code, drawn after the noise was fixed. ``overwrite`` allows the
    values to be replaced by their sums, which saves a copy. Addresses depend on public positions alone.
    Raises BadParameter for a wrong dtype, shape or length.
    """
    (result,) = _compress([values], n, seed, overwrite, backend)
    return result


def compress_pair(
    a: U64, c: U64, n: int, seed: bytes, *, overwrite: bool = False, backend: str = "auto"
) -> tuple[U64, U64]:
    """`compress` of two inputs of one length by one walk of the positions: shapes may differ, as there."""
    first, second = _compress([a, c], n, seed, overwrite, backend)
    return first, second


def compress_noise(points: I64, noise: U64, block: int, n: int, seed: bytes, *, backend: str = "auto") -> U64:
    """`compress` of regular noise, never written out: block i is 0 but for ``noise[i]`` at ``points[i]``.

    ``points`` (t,) of int64 below ``block``, ``noise`` (t, k) with k = 1 or 2 words; gives (n, k). Addresses
    and branches depend on public positions alone. Raises BadParameter for a wrong dtype, shape or range.
    """
    _check_outputs(n)
    _check_seed(seed)
    if not isinstance(points, np.ndarray) or points.dtype != np.int64 or points.ndim != 1 or not len(points):
        raise BadParameter("points are a 1-D array of int64, not empty")
    if not isinstance(noise, np.ndarray) or noise.dtype != np.uint64 or noise.ndim != 2:
        raise BadParameter("noise is a 2-D array of uint64")
    if len(noise) != len(points) or noise.shape[1] not in (1, 2):
        raise BadParameter("noise has one row of 1 or 2 words for every point")
    if isinstance(block, bool) or not isinstance(block, int) or not 1 <= block * len(points) < 1 << 32:
        raise BadParameter("there are from 1 to 2^32 - 1 values")
    if points.min() < 0 or points.max() >= block:
        raise BadParameter(f"points are below {block}, the size of a block")
    run = COMPRESS_NOISE.select(backend, batch=n)
    return run(np.ascontiguousarray(points), np.ascontiguousarray(noise), block, n, seed)


def _compress(inputs: list[U64], n: int, seed: bytes, overwrite: bool, backend: str) -> list[U64]:
    _check_outputs(n)
    _check_seed(seed)
    inputs = [_checked(values) for values in inputs]
    size = len(inputs[0])
    if any(len(values) != size for values in inputs):
        raise BadParameter("both inputs must have one length")
    if not 1 <= size < 1 << 32:
        raise BadParameter("there are from 1 to 2^32 - 1 values")
    run = COMPRESS.select(backend, batch=n)
    if not overwrite or not all(values.flags.writeable for values in inputs):
        inputs = [values.copy() for values in inputs]
    return run(inputs, n, seed)


def _check_seed(seed: Any) -> None:
    if not isinstance(seed, bytes) or len(seed) != SEED_BYTES:
        raise BadParameter(f"a seed is {SEED_BYTES} bytes")


def _check_outputs(n: Any) -> None:
    if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= MOST_OUTPUTS:
        raise BadParameter(f"the number of outputs is from 0 to {MOST_OUTPUTS}")


def _checked(values: Any) -> U64:
    if (
        not isinstance(values, np.ndarray)
        or values.dtype != np.uint64
        or not (values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 2))
    ):
        raise BadParameter("values are an array (m, 2) or (m,) of uint64")
    return np.ascontiguousarray(values)


@COMPRESS.known_answer
def _known_code(run: Callable[[Sequence[U64], int, bytes], list[U64]]) -> None:
    for case in selftest.vectors("expand_accumulate")["codes"]:
        size = case["size"]
        words = np.arange(1, 2 * size + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        blocks, singles = run(
            [words.reshape(size, 2), words[:size].copy()], case["outputs"], bytes.fromhex(case["seed"])
        )
        selftest.expect(blocks.tobytes().hex() == case["blocks"], "expand_accumulate.compress")
        selftest.expect(singles.tobytes().hex() == case["words"], "expand_accumulate.compress, 64 bits")


@COMPRESS_NOISE.known_answer
def _known_noise(run: Callable[[I64, U64, int, int, bytes], U64]) -> None:
    arguments = _sample_noise(20)
    selftest.expect(
        np.array_equal(run(*arguments), _reference.compress_noise(*arguments)),
        "expand_accumulate.compress_noise",
    )
