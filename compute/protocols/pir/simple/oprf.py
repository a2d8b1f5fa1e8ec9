"""An oblivious pseudorandom function over curve25519: the key of a record, for one label, unseen.

The server holds a scalar s and gives records under keys F(label) = s·H(label). The client sends r·H(label)
with a fresh r, gets s·r·H(label) and removes r. The server sees a uniform element, the client learns F at
one label per evaluation. Source: RFC 9497, section 3.3.1 (OPRF mode), here by u-coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

from accel import curve25519
from compute.protocols.protocol import Rng

# Order of the prime-order subgroup, RFC 7748 section 4.1.
ORDER = (1 << 252) + 27742317777372353535851937790883648493
_LOWEST, _BEYOND = 1 << 254, 1 << 255


@dataclass(frozen=True, repr=False)
class Blinded:
    """A blinded label: ``point`` is sent, ``remover`` undoes the blinding."""

    point: bytes
    remover: bytes


def evaluate(labels: list[bytes], dst: bytes, scalar: bytes) -> bytes:
    """F of labels that are known, 32 bytes each: what the server does with its own records."""
    return curve25519.hash_and_multiply(labels, dst, scalar)


def blind(label: bytes, dst: bytes, rng: Rng) -> Blinded:
    """Hide a label under a fresh scalar."""
    while True:
        scalar = curve25519.random_scalar(rng)
        remover = _clamped_inverse(scalar)
        if remover is not None:
            point = curve25519.hash_and_multiply([label], dst, scalar)
            return Blinded(point, remover)


def unblind(blinded: Blinded, evaluated: bytes) -> bytes:
    """F of the label; raises accel's InvalidPoint for what is no group element."""
    return curve25519.scalar_mult_many(evaluated, blinded.remover)


def _clamped_inverse(scalar: bytes) -> bytes | None:
    """A clamped scalar that inverts this one modulo the group order, if there is one (one time in two).

    Clamped scalars are the multiples of 8 from 2^254 to 2^255. The inverse plus 8 multiples of the odd group
    order runs through all residues modulo 8, and half of these candidates lie in the range.
    """
    inverse = pow(int.from_bytes(scalar, "little"), -1, ORDER)
    for multiple in range(8):
        candidate = inverse + multiple * ORDER
        if candidate % 8 == 0 and _LOWEST <= candidate < _BEYOND:
            return candidate.to_bytes(32, "little")
    return None
