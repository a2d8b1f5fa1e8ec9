"""Uniform integers from a byte source. The source is an argument everywhere: tests pass a seeded one."""

from __future__ import annotations

import os
from collections.abc import Callable

from accel.errors import BadParameter

Rng = Callable[[int], bytes]
"""``rng(n)`` returns n bytes. Production uses `system_rng`; anything else is for tests and vectors."""

system_rng: Rng = os.urandom


def draw(rng: Rng, length: int) -> bytes:
    """Exactly ``length`` bytes of ``rng``; raises BadParameter if the source is short."""
    data = rng(length)
    if len(data) != length:
        raise BadParameter(f"the random source gave {len(data)} bytes instead of {length}")
    return data


def random_bits(bits: int, rng: Rng) -> int:
    """A uniform integer in [0, 2^bits)."""
    length = (bits + 7) // 8
    return int.from_bytes(draw(rng, length), "big") >> (8 * length - bits)


def random_below(bound: int, rng: Rng) -> int:
    """A uniform integer in [0, bound) by rejection: no bias, and timing tells only how many were rejected."""
    if bound < 1:
        raise BadParameter("the bound of a random integer must be at least 1")
    bits = (bound - 1).bit_length()
    while True:
        candidate = random_bits(bits, rng)
        if candidate < bound:
            return candidate
