"""Cost of an intersection of many sets; see `compute.protocols.cost`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from accel import okvs
from compute.protocols.cost import Cost, array_bytes, message_bytes
from compute.protocols.psi.ecdh.cost import oprf_cost as ecdh_cost
from compute.protocols.psi.ecdh.curves import CurveName
from compute.protocols.psi.many.agreement import Hello, Plan
from compute.protocols.psi.many.compare import TAG_BYTES, Told
from compute.protocols.psi.many.programmed import Hint, Turn
from compute.protocols.psi.many.zero_sharing import KEY_BYTES
from compute.protocols.psi.rr22.cost import oprf_cost as rr22_cost
from compute.protocols.psi.rr22.parameters import STANDARD

# Messages of a wave that wait for one another: turns, the OPRF's, the store.
_ROUNDS = {"ecdh": 4, "rr22": 6}


def cost(
    sizes: Mapping[str, int],
    output_to: Sequence[str] = ("p1",),
    *,
    protocol: str = "ecdh",
    curve: CurveName = "curve25519",
    most_items: int = 1 << 20,
    parallel: int = 1,
) -> Cost:
    """``sizes`` are the numbers of distinct keys by role; ``most_items`` and ``parallel`` what is assumed of
    every node, as in `Hello`."""
    leader = output_to[0]
    hellos = {
        role: Hello(count, bytes(32), bytes(KEY_BYTES), most_items, parallel, 0)
        for role, count in sizes.items()
    }
    plan = Plan.of(hellos, leader)
    sent = {role: (len(sizes) - 1) * message_bytes(hello) for role, hello in hellos.items()}
    operations: dict[str, int] = {}
    own = plan.sizes[leader]
    for wave in range(plan.waves):
        buckets = len(plan.of_wave(wave))
        for role in sizes:
            if role == leader:
                continue
            size = plan.sizes[role]
            if protocol == "rr22":
                one = rr22_cost(STANDARD, [size] * buckets, [own] * buckets)
            else:
                one = ecdh_cost(size * buckets, own * buckets, curve)
            turn = message_bytes(Turn(bytes(32)))
            entries = okvs.layout(size).size * buckets
            sent[leader] += one.bytes_sent["receiver"] + turn
            sent[role] += one.bytes_sent["sender"] + turn
            sent[role] += message_bytes(Hint((bytes(okvs.SEED_BYTES),) * buckets))
            sent[role] += array_bytes(entries, 8 * plan.words(leader))
            for name, number in (*one.operations.items(), ("okvs_entry", entries)):
                operations[name] = operations.get(name, 0) + number
    told = message_bytes(Told(bytes(8)))
    told += sum(array_bytes(plan.most_matches(wave), TAG_BYTES) for wave in range(plan.waves))
    sent[leader] += (len(output_to) - 1) * told
    return Cost(sent, operations, rounds=2 + _ROUNDS[protocol] * plan.waves)
