"""Uniform secret scalars of the SM2 group, many at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accel.byte_rows import U8, below
from accel.randomness import Rng, draw
from accel.reference.sm2 import N


def in_range(rows: U8) -> npt.NDArray[np.bool_]:
    """Which big-endian rows of 32 bytes are from 1 to N - 1; the same steps for all."""
    return below(rows, N, nonzero=True)


def random_scalars(count: int, rng: Rng) -> U8:
    """Scalars from 1 to N - 1, uint8 of shape (count, 32), by rejection: no bias."""
    rows = np.frombuffer(bytearray(draw(rng, 32 * count)), np.uint8).reshape(count, 32)
    while True:
        bad = np.flatnonzero(~in_range(rows))
        if not len(bad):
            return rows
        rows[bad] = np.frombuffer(draw(rng, 32 * len(bad)), np.uint8).reshape(-1, 32)
