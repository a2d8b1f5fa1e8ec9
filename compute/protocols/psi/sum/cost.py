"""Cost of a sum over an intersection; see `compute.protocols.cost`."""

from __future__ import annotations

from accel import paillier
from compute.protocols.cost import Cost, array_bytes, message_bytes
from compute.protocols.psi.ecdh.cost import points_bytes
from compute.protocols.psi.ecdh.curves import GROUPS, CurveName
from compute.protocols.psi.ecdh.returning import returned_bytes
from compute.protocols.psi.sum.totals import SLOT_BITS, Scheme
from compute.protocols.sets import Size


def cost(
    values: int,
    members: int,
    columns: int,
    *,
    scheme: Scheme = "paillier",
    modulus_bits: int = paillier.DEFAULT_MODULUS_BITS,
    curve: CurveName = "curve25519",
) -> Cost:
    """``values`` and ``members`` are the numbers of distinct keys."""
    # Room for slots: of Paillier plaintexts half the modulus, of Okamoto-Uchiyama a third of its bits.
    room = modulus_bits - 1 if scheme == "paillier" else modulus_bits // 3 - 2
    carriers = -(-(columns + 1) // (room // SLOT_BITS))
    ciphertext_bytes = modulus_bits // (4 if scheme == "paillier" else 8)
    width = GROUPS[curve].point_bytes
    return Cost(
        {
            "values": message_bytes(Size(values))
            + points_bytes(values, width)
            + array_bytes(members, returned_bytes(values, members))
            + array_bytes(values, carriers * ciphertext_bytes),
            "members": message_bytes(Size(members)) + points_bytes(members, width),
        },
        {
            "hash_to_curve": values + members,
            "scalar_mult": 2 * (values + members),
            f"{scheme}_encrypt": values * carriers,
            f"{scheme}_add": values * carriers,
            f"{scheme}_decrypt": carriers,
        },
    )
