"""What both sides of an intersection say first, how the sets are cut, and what a job that goes on must keep.

    both         Hello: count, salted commitment to the input, what this node runs and how much it holds

Everything that follows (protocol, buckets, waves, widths) is computed from the two messages and the
parameters, by both sides alike.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from accel import features, sm3
from accel.features import LEVELS
from compute.errors import DataError, ProtocolAbort
from compute.protocols.protocol import Message, Part, Send, Session, receive
from compute.protocols.psi.buckets import Facts, bound, power_of_two
from compute.protocols.psi.choice import SUPPORTED
from compute.protocols.psi.labels import MAX_ROW_BYTES, LabelColumn, LabelColumns, width_of
from compute.protocols.sets import MAX_ELEMENTS, check_peer_size
from compute.protocols.stream import tag_bytes

# What an item takes while its bucket is compared: own and received arrays of the OPRF, its tables, tags.
ITEM_MEMORY_BYTES = 1 << 10
LEAST_ITEMS = 16
MOST_PARALLEL = 1 << 12

_FIRST = "psi.first"

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
class Plan:
    """How the sets are cut: public, and the same at both sides.

    ``wave`` buckets are compared at once; a bucket holds ``own`` items here and ``peer`` items there.
    """

    buckets: int
    wave: int
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
        wave, buckets = 1, 1
        if larger > most and not whole:
            wave = min(mine.parallel, theirs.parallel, max(1, most // LEAST_ITEMS))
            buckets = power_of_two(-(-larger * wave // most))
        return cls(
            buckets,
            min(wave, buckets),
            bound(mine.count, buckets),
            bound(theirs.count, buckets),
            tag_bytes(mine.count, theirs.count),
        )

    @property
    def waves(self) -> int:
        """How many waves there are."""
        return -(-self.buckets // self.wave)

    def of_wave(self, wave: int) -> range:
        """The buckets of wave 0, 1, …"""
        return range(wave * self.wave, min((wave + 1) * self.wave, self.buckets))


@dataclass(frozen=True, repr=False)
class Greeting:
    """The two first messages, and the salt of ours."""

    mine: Hello
    theirs: Hello
    salt: bytes


class _First(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a job of several waves began with."""

    salt: bytes
    mine: bytes
    theirs: bytes
    counts: tuple[int, int]
    what: str


def greet(
    session: Session, peer: str, source: Facts, labels: Sequence[LabelColumn], most_elements: int
) -> Part[Greeting]:
    """Exchange `Hello`.

    Raises CohortTooSmall or ProtocolAbort if the peer's set may not be compared with ours, and ProtocolAbort
    if a job that goes on has another input, here or there, than it began with.
    """
    first = _read(session) if session.resumed else None
    salt = first.salt if first else session.rng(32)
    commitment = sm3.digest(b"liutong/psi/input/v1" + session.binding + salt + source.checksum)
    mine = Hello(
        count=source.count,
        commitment=commitment,
        nonce=session.rng(32),
        supported=SUPPORTED,
        most_items=max(LEAST_ITEMS, session.memory_bytes // ITEM_MEMORY_BYTES),
        parallel=max(1, min(session.parallel, MOST_PARALLEL)),
        level=LEVELS.index(features.level()),
        labels=tuple(labels),
        resumed=session.resumed,
    )
    if first and not hmac.compare_digest(first.mine, commitment):
        raise ProtocolAbort("our input is another than when the job began: start a new job")
    yield Send(peer, mine)
    theirs = yield from receive(peer, Hello)
    check_peer_size(peer, theirs.count, most_elements, session.min_cohort)
    if width_of(theirs.labels) > MAX_ROW_BYTES:
        raise ProtocolAbort(f"{peer} describes labels of more than {MAX_ROW_BYTES} bytes a row")
    if theirs.nonce == mine.nonce:
        raise ProtocolAbort(f"{peer} sent our first message back")
    if theirs.resumed != session.resumed:
        raise ProtocolAbort(f"{peer} goes on from another checkpoint")
    if first and (first.theirs, first.counts) != (theirs.commitment, (mine.count, theirs.count)):
        raise ProtocolAbort(f"the input of {peer} is another than when the job began")
    return Greeting(mine, theirs, salt)


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
    if session.resumed:
        if _read(session).what != what or session.resumed > plan.waves:
            raise ProtocolAbort("memory or processors changed since the job began: start a new job")
    elif plan.waves > 1:
        mine, theirs = greeting.mine, greeting.theirs
        first = _First(greeting.salt, mine.commitment, theirs.commitment, (mine.count, theirs.count), what)
        session.workspace.write(_FIRST, msgspec.msgpack.encode(first))


def _read(session: Session) -> _First:
    try:
        return msgspec.msgpack.decode(session.workspace.read(_FIRST), type=_First)
    except msgspec.MsgspecError as error:
        raise DataError(f"{_FIRST} in the workspace is damaged") from error
