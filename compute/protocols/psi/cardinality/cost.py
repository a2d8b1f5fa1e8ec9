"""Cost of a cardinality job; see `compute.protocols.cost`."""

from __future__ import annotations

from collections.abc import Sequence

from compute.protocols.cost import Cost, array_bytes, message_bytes
from compute.protocols.psi.ecdh.cost import points_bytes
from compute.protocols.psi.ecdh.curves import GROUPS, CurveName
from compute.protocols.psi.ecdh.returning import returned_bytes
from compute.protocols.sets import Size


def cost(
    left: int, right: int, output_to: Sequence[str] = ("left",), curve: CurveName = "curve25519"
) -> Cost:
    """``left`` and ``right`` are the numbers of distinct keys."""
    sizes = {"left": left, "right": right}
    width = returned_bytes(left, right)
    sent = {}
    for role, peer in (("left", "right"), ("right", "left")):
        sent[role] = message_bytes(Size(sizes[role])) + points_bytes(sizes[role], GROUPS[curve].point_bytes)
        if peer in output_to:
            sent[role] += array_bytes(sizes[peer], width)
    return Cost(sent, {"hash_to_curve": left + right, "scalar_mult": 2 * (left + right)})
