"""Cost of a PSI job; see `compute.protocols.cost`."""

from __future__ import annotations

from collections.abc import Sequence

from accel import curve25519
from compute.protocols.cost import Cost, array_bytes, message_bytes
from compute.protocols.psi.ecdh.curves import GROUPS, CurveName
from compute.protocols.psi.ecdh.oprf import BLOCK, Points
from compute.protocols.sets import Size
from compute.protocols.stream import tag_bytes


def cost(left: int, right: int, output_to: Sequence[str] = ("left",)) -> Cost:
    """``left`` and ``right`` are the numbers of distinct keys."""
    sizes = {"left": left, "right": right}
    width = tag_bytes(left, right)
    sent = {}
    for role, peer in (("left", "right"), ("right", "left")):
        sent[role] = message_bytes(Size(sizes[role])) + array_bytes(sizes[role], curve25519.POINT_BYTES)
        if peer in output_to:
            sent[role] += array_bytes(sizes[peer], width)
    return Cost(sent, {"hash_to_curve": left + right, "scalar_mult": 2 * (left + right)})


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
