"""Who receives, which protocol runs and how the sets are cut: from parameters and first messages alone."""

from __future__ import annotations

from collections.abc import Mapping

from accel.features import LEVELS
from compute.protocols.psi.agreement import Hello, Plan
from compute.protocols.psi.choice import Asked, Choice, choose
from compute.protocols.psi.intersect.params import ROLES, Params


def receiver_of(params: Params, counts: Mapping[str, int]) -> str:
    """The receiver of F: the role that gets the result; of two the one with fewer keys, which is cheaper."""
    if len(params.output_to) == 1:
        return params.output_to[0]
    return min(ROLES, key=lambda role: counts[role])


def agree(params: Params, mine: Hello, theirs: Hello, *, receiving: bool) -> tuple[Choice, Plan]:
    """What both sides compute alike; the plan as ours. Raises BadInput for what a node cannot run."""
    plan = Plan.of(mine, theirs)
    asked = Asked(
        params.protocol,
        params.curve,
        params.security,
        params.low_communication,
        params.link_mbit_s,
        params.plain_output,
    )
    receiver, sender = (mine, theirs) if receiving else (theirs, mine)
    chosen = choose(
        asked,
        receiver.count,
        sender.count,
        bucket_items=plan.peer if receiving else plan.own,
        level=LEVELS[min(mine.level, theirs.level)],
        supported=[name for name in receiver.supported if name in sender.supported],
    )
    return chosen, Plan.of(mine, theirs, whole=True) if chosen.protocol == "unbalanced" else plan
