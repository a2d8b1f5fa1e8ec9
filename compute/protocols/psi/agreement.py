"""What both sides of an intersection say first, how the sets are cut, and what a job that goes on must keep.

    both         Hello: count, salted commitment to the input, what this node runs and how much it holds

Everything that follows (protocol, buckets, waves, widths) is computed from the two messages and the
parameters, by both sides alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from accel import features
from accel.features import LEVELS
from compute.errors import ProtocolAbort
from compute.protocols.protocol import Message, Part, Send, Session, receive
from compute.protocols.psi.beginning import Beginning, Input
from compute.protocols.psi.buckets import Facts, bound
from compute.protocols.psi.choice import SUPPORTED
from compute.protocols.psi.labels import MAX_ROW_BYTES, LabelColumn, LabelColumns, width_of
from compute.protocols.psi.waves import (
    ITEM_MEMORY_BYTES,
    LEAST_ITEMS,
    MOST_PARALLEL,
    Cut,
    buckets_and_wave,
    limits,
)
from compute.protocols.sets import MAX_ELEMENTS, check_peer_size
from compute.protocols.stream import tag_bytes

Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Supported = Annotated[tuple[Annotated[str, Meta(max_length=40)], ...], Meta(max_length=16)]


class Hello(Message, frozen=True, tag="psi.hello"):
    """First message of each side, in every attempt.

    ``commitment`` is a digest of the input under a salt of the job's first attempt, so it tells nothing and
    stays the same; ``nonce`` is fresh. ``most_items`` is how many items this side can hold at once,
    ``parallel`` how many buckets it wants at once, ``level`` which of `accel.features.LEVELS` it has,
    ``labels`` describes the label columns it gives.
    """

    count: Annotated[int, Meta(ge=0, le=MAX_ELEMENTS)]
    commitment: Bytes32
    nonce: Bytes32
    supported: Supported
    most_items: Annotated[int, Meta(ge=LEAST_ITEMS, le=1 << 40)]
    parallel: Annotated[int, Meta(ge=1, le=MOST_PARALLEL)]
    level: Annotated[int, Meta(ge=0, le=len(LEVELS) - 1)]
    labels: LabelColumns
    resumed: Annotated[int, Meta(ge=0, le=1 << 40)]


@dataclass(frozen=True)
class Plan(Cut):
    """How the sets are cut; a bucket holds ``own`` items here and ``peer`` items there. Public."""

    own: int
    peer: int
    tag_bytes: int

    @classmethod
    def of(cls, mine: Hello, theirs: Hello, *, whole: bool = False) -> Plan:
        """One bucket if both sides can hold the larger set at once (or must: ``whole``); else as many as
        their limits ask for.
        """
        widths = width_of(mine.labels) + width_of(theirs.labels)
        most = min(mine.most_items, theirs.most_items) * ITEM_MEMORY_BYTES // (ITEM_MEMORY_BYTES + widths)
        most = max(LEAST_ITEMS, most)
        larger = max(mine.count, theirs.count)
        parallel = min(mine.parallel, theirs.parallel)
        buckets, wave = (1, 1) if whole else buckets_and_wave(larger, most, parallel)
        return cls(
            buckets,
            wave,
            bound(mine.count, buckets),
            bound(theirs.count, buckets),
            tag_bytes(mine.count, theirs.count),
        )


@dataclass(frozen=True, repr=False)
class Greeting:
    """The two first messages, and what this job is held to."""

    mine: Hello
    theirs: Hello
    began: Beginning
    inputs: Mapping[str, Input]


def greet(
    session: Session, peer: str, source: Facts, labels: Sequence[LabelColumn], most_elements: int
) -> Part[Greeting]:
    """Exchange `Hello`.

    Raises CohortTooSmall or ProtocolAbort if the peer's set may not be compared with ours, and ProtocolAbort
    if a job that goes on has another input, here or there, than it began with.
    """
    began = Beginning.of(session, source.checksum)
    most_items, parallel = limits(session)
    mine = Hello(
        count=source.count,
        commitment=began.commitment,
        nonce=session.rng(32),
        supported=SUPPORTED,
        most_items=most_items,
        parallel=parallel,
        level=LEVELS.index(features.level()),
        labels=tuple(labels),
        resumed=session.resumed,
    )
    yield Send(peer, mine)
    theirs = yield from receive(peer, Hello)
    check_peer_size(peer, theirs.count, most_elements, session.min_cohort)
    if width_of(theirs.labels) > MAX_ROW_BYTES:
        raise ProtocolAbort(f"{peer} describes labels of more than {MAX_ROW_BYTES} bytes a row")
    if theirs.nonce == mine.nonce:
        raise ProtocolAbort(f"{peer} sent our first message back")
    if theirs.resumed != session.resumed:
        raise ProtocolAbort(f"{peer} goes on from another checkpoint")
    said = {session.role: mine, peer: theirs}
    inputs = {role: Input(hello.commitment, hello.count) for role, hello in said.items()}
    began.hold(inputs)
    return Greeting(mine, theirs, began, inputs)


def check_padding(plan: Plan, mine: Hello, theirs: Hello, most_elements: int) -> None:
    """Raise ProtocolAbort if a peer's limits would let it compare far more items than it says and may.

    A bucket is filled up with random items, and nobody sees whether they are: of a few keys in very many
    buckets nearly all would be others. What our own limits ask for is no doing of the peer.
    """
    alone = Plan.of(mine, msgspec.structs.replace(mine, count=theirs.count, labels=()))
    allowed = max(most_elements, 2 * theirs.count, 2 * alone.peer * alone.buckets)
    if plan.peer * plan.buckets > allowed:
        raise ProtocolAbort(f"the peer's limits ask for {plan.buckets} buckets: too many for its keys")


def settle(session: Session, greeting: Greeting, plan: Plan, protocol: str) -> None:
    """Keep what the job begins with, or hold a job that goes on to it; raises ProtocolAbort."""
    check_padding(plan, greeting.mine, greeting.theirs, session.params.max_elements)
    what = f"{protocol} {plan.buckets} {plan.wave} {plan.own} {plan.peer}"
    greeting.began.settle(greeting.inputs, what, plan.waves)
