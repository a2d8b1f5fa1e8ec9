"""Cost of a horizontal statistics job; see `compute.protocols.cost`."""

from __future__ import annotations

from compute.protocols.cost import Cost, message_bytes
from compute.protocols.stats.exchange import Summary
from compute.protocols.stats.horizontal.protocol import Partial


def cost(parties: int, groups: int, modulus_bits: int = 3072) -> Cost:
    """Independent of the number of rows: a party sends one ciphertext per group."""
    partial = message_bytes(Partial((False,) * groups, bytes(groups * modulus_bits // 4)))
    summary = message_bytes(Summary(groups, 0))
    sent = {
        f"p{number}": (partial if number > 1 else 0) + (summary if number < parties else 0)
        for number in range(1, parties + 1)
    }
    return Cost(
        sent,
        {
            "paillier_encrypt": parties * groups,
            "paillier_add": (parties - 1) * groups,
            "paillier_decrypt": groups,
        },
    )
