"""Deterministic arguments for measuring and checking operations on ciphertexts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accel.limbs import LIMB_BITS, LimbArray
from accel.modulus import Modulus


def residues(m: Modulus, batch: int, seed: int = 1) -> LimbArray:
    """Numbers below m, all odd."""
    limbs = np.random.default_rng(seed).integers(0, 1 << LIMB_BITS, (m.limbs, batch), dtype=np.uint64)
    top = (m.bits - 1) // LIMB_BITS
    limbs[top] &= np.uint64((1 << (m.bits - 1) % LIMB_BITS) - 1)
    limbs[top + 1 :] = 0
    limbs[0] |= np.uint64(1)
    return LimbArray(limbs)


def rows(batch: int, width: int) -> npt.NDArray[np.uint8]:
    """Exponents as big-endian bytes."""
    return np.random.default_rng(1).integers(0, 256, (batch, width), dtype=np.uint8)


def one_row(exponent: int, width: int) -> npt.NDArray[np.uint8]:
    """A batch of one given exponent."""
    return np.frombuffer(exponent.to_bytes(width, "big"), dtype=np.uint8).reshape(1, width)
