"""Cost of an intersection of many sets; see `compute.protocols.cost`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from accel import okvs
from compute.protocols.cost import Cost, array_bytes, message_bytes
from compute.protocols.psi.ecdh.cost import oprf_cost as ecdh_cost
from compute.protocols.psi.ecdh.curves import CurveName
from compute.protocols.psi.ecdh.masking import TAG_BYTES
from compute.protocols.psi.many.programmed import Hint
from compute.protocols.psi.many.protocol import Hello, Told, value_words
from compute.protocols.psi.many.zero_sharing import KEY_BYTES
from compute.protocols.psi.rr22.cost import oprf_cost as rr22_cost
from compute.protocols.psi.rr22.parameters import STANDARD


def cost(
    sizes: Mapping[str, int],
    output_to: Sequence[str] = ("p1",),
    *,
    protocol: str = "ecdh",
    curve: CurveName = "curve25519",
) -> Cost:
    """``sizes`` are the numbers of distinct keys by role."""
    leader = output_to[0]
    words = value_words(sizes[leader])
    hello = {role: message_bytes(Hello(count, bytes(KEY_BYTES))) for role, count in sizes.items()}
    sent = {role: (len(sizes) - 1) * size for role, size in hello.items()}
    operations: dict[str, int] = {}
    for role, count in sizes.items():
        if role == leader:
            continue
        if protocol == "rr22":
            one = rr22_cost(STANDARD, [count], [sizes[leader]])
        else:
            one = ecdh_cost(count, sizes[leader], curve)
        entries = okvs.layout(count).size
        sent[leader] += one.bytes_sent["receiver"]
        sent[role] += one.bytes_sent["sender"] + message_bytes(Hint(bytes(okvs.SEED_BYTES)))
        sent[role] += array_bytes(entries, 8 * words)
        for name, number in (*one.operations.items(), ("okvs_entry", entries)):
            operations[name] = operations.get(name, 0) + number
    told = message_bytes(Told(bytes(8))) + array_bytes(min(sizes.values()), TAG_BYTES)
    sent[leader] += (len(output_to) - 1) * told
    return Cost(sent, operations)
