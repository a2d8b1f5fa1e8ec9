"""Cost of a job of kind `psi`; see `compute.protocols.cost`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accel.features import LEVELS
from compute.protocols.cost import Cost, array_bytes, message_bytes
from compute.protocols.psi.agreement import Hello, Plan
from compute.protocols.psi.choice import SUPPORTED, Choice, Level
from compute.protocols.psi.ecdh import cost as ecdh
from compute.protocols.psi.engine import Proof, ResultCheck
from compute.protocols.psi.intersect.agree import agree, receiver_of
from compute.protocols.psi.intersect.params import ROLES, Params
from compute.protocols.psi.labels import MAC_BYTES, LabelColumn, width_of
from compute.protocols.psi.rr22 import cost as rr22
from compute.protocols.psi.rr22.oprf import Rr22
from compute.protocols.psi.unbalanced.cost import unbalanced_cost


@dataclass(frozen=True)
class Machine:
    """What a quote assumes of the nodes: as in `psi.agreement.Hello`."""

    most_items: int = 1 << 20
    parallel: int = 1
    level: Level = "ifma"


@dataclass(frozen=True)
class Predicted:
    """The protocol a job will run, the number of its buckets and what it costs."""

    choice: Choice
    buckets: int
    cost: Cost


def predict(
    left: int,
    right: int,
    params: Params,
    *,
    machine: Machine = Machine(),
    labels: Mapping[str, Sequence[LabelColumn]] | None = None,
    prepared: bool = False,
    downloaded: bool = False,
) -> Predicted:
    """``left`` and ``right`` are the numbers of distinct keys.

    ``labels``: kinds and widths of each role's label columns. ``prepared``, ``downloaded``: see
    `unbalanced_cost`.
    """
    given = {role: tuple((labels or {}).get(role, ())) for role in ROLES}
    counts = {"left": left, "right": right}
    hellos = {role: _hello(counts[role], machine, given[role]) for role in ROLES}
    receiver = receiver_of(params, counts)
    sender = ROLES[1 - ROLES.index(receiver)]
    chosen, plan = agree(params, hellos[receiver], hellos[sender], receiving=True)
    if chosen.protocol == "unbalanced":
        part = unbalanced_cost(
            plan.peer, plan.own, prepared=prepared, downloaded=downloaded, curve=chosen.curve
        )
        sent = {receiver: part.bytes_sent["client"], sender: part.bytes_sent["server"]}
        operations = dict(part.operations)
    else:
        sent, operations = _balanced(chosen, plan, receiver, sender)
        if given[sender]:
            sent[sender] += _each_wave(plan, width_of(given[sender]) + MAC_BYTES)
        if len(params.output_to) == 2:
            bits = array_bytes(-(-plan.peer * plan.buckets // 8), 1)
            sent[receiver] += bits + message_bytes(Proof(bytes(32)))
            if given[receiver]:
                sent[receiver] += array_bytes(min(left, right), width_of(given[receiver]) + MAC_BYTES)
    for role in ROLES:
        sent[role] += message_bytes(hellos[role])
        sent[role] += message_bytes(ResultCheck(bytes(32))) if params.result_check else 0
    return Predicted(chosen, plan.buckets, Cost(sent, operations))


def _balanced(
    chosen: Choice, plan: Plan, receiver: str, sender: str
) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes per role and operations of all waves; ``plan`` is the receiver's."""
    sent = {receiver: 0, sender: _each_wave(plan, plan.tag_bytes)}
    operations: dict[str, int] = {}
    for wave in range(plan.waves):
        buckets = len(plan.of_wave(wave))
        if chosen.protocol == "ecdh":
            part = ecdh.oprf_cost(plan.peer * buckets, plan.own * buckets, chosen.curve)
        else:
            mode = Rr22(malicious=chosen.malicious, low_communication=chosen.low_communication).mode
            part = rr22.oprf_cost(mode, [plan.peer] * buckets, [plan.own] * buckets)
        sent[receiver] += part.bytes_sent["receiver"]
        sent[sender] += part.bytes_sent["sender"]
        for name, number in part.operations.items():
            operations[name] = operations.get(name, 0) + number
    return sent, operations


def _each_wave(plan: Plan, width: int) -> int:
    """Arrays of the sender, one per wave."""
    return sum(array_bytes(plan.peer * len(plan.of_wave(wave)), width) for wave in range(plan.waves))


def _hello(count: int, machine: Machine, labels: Sequence[LabelColumn]) -> Hello:
    return Hello(
        count=count,
        commitment=bytes(32),
        nonce=bytes(32),
        supported=SUPPORTED,
        most_items=machine.most_items,
        parallel=machine.parallel,
        level=LEVELS.index(machine.level),
        labels=tuple(labels),
        resumed=0,
    )
