"""Cost of a vertical statistics job; see `compute.protocols.cost`."""

from __future__ import annotations

from collections.abc import Sequence

from accel import curve25519
from compute.protocols.cost import Cost, array_bytes, message_bytes
from compute.protocols.sets import Size
from compute.protocols.stats.exchange import Summary
from compute.protocols.stats.vertical.protocol import Counts
from compute.protocols.stream import tag_bytes


def cost(groups: Sequence[int], members: int, modulus_bits: int = 3072) -> Cost:
    """``groups`` are the distinct keys of ``values`` per group, ``members`` those of ``members``."""
    rows = sum(groups)
    values = (
        message_bytes(Counts(tuple(groups)))
        + array_bytes(members, tag_bytes(rows, members))
        + array_bytes(rows, curve25519.POINT_BYTES)
        + array_bytes(rows, modulus_bits // 4)
    )
    sent = message_bytes(Size(members), Summary(len(groups), 0)) + array_bytes(
        members, curve25519.POINT_BYTES
    )
    return Cost(
        {"values": values, "members": sent},
        {
            "hash_to_curve": rows + members,
            "scalar_mult": 2 * (rows + members),
            "paillier_encrypt": rows,
            "paillier_add": rows,
            "paillier_decrypt": len(groups),
        },
    )
