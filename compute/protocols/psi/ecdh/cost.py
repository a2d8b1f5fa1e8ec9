"""Cost of a PSI job; see `compute.protocols.cost`."""

from __future__ import annotations

from collections.abc import Sequence

from accel import curve25519
from compute.protocols.cost import Cost, array_bytes, message_bytes
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
