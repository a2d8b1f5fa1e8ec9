"""Cost of the ECDH OPRF; see `compute.protocols.cost`."""

from __future__ import annotations

from compute.protocols.cost import Cost, message_bytes
from compute.protocols.psi.ecdh.curves import GROUPS, CurveName
from compute.protocols.psi.ecdh.oprf import BLOCK, Key, Points


def oprf_cost(sender: int, receiver: int, curve: CurveName = "curve25519") -> Cost:
    """One run of `EcdhOprf`; the numbers of items over all its buckets. Bytes are exact."""
    return Cost(
        {"sender": answers_bytes(receiver, curve), "receiver": asked_bytes(receiver, curve)},
        operations(sender, receiver, curve),
    )


def asked_bytes(count: int, curve: CurveName) -> int:
    """What asks for F of ``count`` items."""
    return points_bytes(count, GROUPS[curve].point_bytes)


def answers_bytes(count: int, curve: CurveName) -> int:
    """What answers them."""
    width = GROUPS[curve].key_bytes
    key = message_bytes(Key(bytes(width))) if count and width else 0
    return key + points_bytes(count, GROUPS[curve].point_bytes)


def operations(evaluated: int, asked: int, curve: CurveName) -> dict[str, int]:
    """Of F of ``evaluated`` items by who has the key, and of ``asked`` by who has not."""
    hashed = {"hash_to_curve": evaluated + asked}
    if GROUPS[curve].key_bytes:
        return hashed | {"scalar_mult": evaluated + asked, "base_mult": 2 * asked}
    return hashed | {"scalar_mult": evaluated + 3 * asked}


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
