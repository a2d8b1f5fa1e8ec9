"""Cost of the ECDH OPRF; see `compute.protocols.cost`."""

from __future__ import annotations

from compute.protocols.cost import Cost, message_bytes
from compute.protocols.psi.ecdh.curves import GROUPS, CurveName
from compute.protocols.psi.ecdh.oprf import BLOCK, Points


def oprf_cost(sender: int, receiver: int, curve: CurveName = "curve25519") -> Cost:
    """One run of `EcdhOprf`; the numbers of items over all its buckets. Bytes are exact."""
    one_way = points_bytes(receiver, GROUPS[curve].point_bytes)
    return Cost(
        {"sender": one_way, "receiver": one_way},
        {"hash_to_curve": sender + receiver, "scalar_mult": sender + 3 * receiver},
    )


def points_bytes(count: int, width: int) -> int:
    """Encoded size of ``count`` points of ``width`` bytes in the blocks of `oprf.Points`."""
    full, rest = divmod(count, BLOCK)
    total = full * message_bytes(Points(0, bytes(BLOCK * width))) if full else 0
    total += message_bytes(Points(0, bytes(rest * width))) if rest else 0
    # MessagePack writes a block's number in 1 byte below 2^7, then in 2, 3 and 5.
    blocks = full + bool(rest)
    return total + sum(
        extra * max(0, blocks - first) for first, extra in ((1 << 7, 1), (1 << 8, 1), (1 << 16, 2))
    )
