"""Adding ciphertexts and multiplying them by plain integers: products and powers of `accel.modular`.

Modulo the square of a modulus with spare bits in its limbs, powers on the vector paths work on pairs.
They are operations of their own because thresholds depend on the size: the samples are of Paillier-2048.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from accel import modular, samples
from accel.additive import CPU_PATHS, GPU_BATCH
from accel.limbs import LimbArray
from accel.modular import Modulus
from accel.registry import Op

_SAMPLE_MODULUS = Modulus(((1 << 2048) - 1942289) ** 2)


def _multiply(
    elements: LimbArray,
    factors: int | Sequence[int],
    m: Modulus,
    *,
    backend: str,
    power: Callable[..., LimbArray] = modular.power,
) -> LimbArray:
    """Every ciphertext to one exponent or one of its own; a negative one inverts its ciphertext first."""
    if isinstance(factors, int):
        signed = modular.inverse(elements, m, backend=backend) if factors < 0 else elements
        return signed if abs(factors) == 1 else power(signed, abs(factors), m, backend=backend)
    below = np.flatnonzero(np.fromiter((factor < 0 for factor in factors), dtype=bool, count=len(factors)))
    if below.size:
        limbs = elements.limbs.copy()
        limbs[:, below] = modular.inverse(elements.take(below), m, backend=backend).limbs
        elements = LimbArray(limbs)
    return power(elements, [abs(factor) for factor in factors], m, backend=backend)


def _vector_multiply(
    elements: LimbArray, factors: int | Sequence[int], m: Modulus, *, backend: str
) -> LimbArray:
    from accel.cpu import paillier

    return _multiply(elements, factors, m, backend=backend, power=paillier.power)


def _two_arrays(batch: int) -> tuple[object, ...]:
    return (
        samples.residues(_SAMPLE_MODULUS, batch, 1),
        samples.residues(_SAMPLE_MODULUS, batch, 2),
        _SAMPLE_MODULUS,
    )


def _array_and_factors(batch: int) -> tuple[object, ...]:
    factors = np.random.default_rng(3).integers(0, 1 << 63, batch).tolist()
    return samples.residues(_SAMPLE_MODULUS, batch, 1), factors, _SAMPLE_MODULUS


ADD: Op[[LimbArray, LimbArray, Modulus], LimbArray] = Op("encrypted.add", sample=_two_arrays)
MULTIPLY: Op[[LimbArray, int | Sequence[int], Modulus], LimbArray] = Op(
    "encrypted.multiply", sample=_array_and_factors
)

for _name, _needs in (("reference", ""), *CPU_PATHS):
    # One sum is as fast with GMP.
    ADD.backend(_name, needs=_needs, min_batch=2 if _needs == "numba" else 1)(
        partial(modular.multiply, backend=_name)
    )
    MULTIPLY.backend(_name, needs=_needs)(
        partial(_vector_multiply if _needs == "numba" else _multiply, backend=_name)
    )
ADD.backend("gpu", needs="cupy", min_batch=GPU_BATCH)(partial(modular.multiply, backend="gpu"))
MULTIPLY.backend("gpu", needs="cupy", min_batch=GPU_BATCH)(partial(_multiply, backend="gpu"))
