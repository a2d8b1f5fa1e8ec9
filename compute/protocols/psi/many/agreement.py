"""What all parties say first, and how the sets are cut: computed alike by everyone from these messages.

    each ↔ each   Hello: count, salted commitment to the input, ephemeral key, how much the node holds

Nobody repeats to the others what it was told: that all parties saw the same is checked between the leader
and each other party, when every wave begins (`Greeting.instance`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from accel import sm3
from compute.errors import ProtocolAbort
from compute.protocols.protocol import Message, Part, Send, Session, receive
from compute.protocols.psi.beginning import Beginning, Input
from compute.protocols.psi.buckets import Facts, bound
from compute.protocols.psi.many.params import Params
from compute.protocols.psi.many.zero_sharing import KEY_BYTES, PairKeys
from compute.protocols.psi.waves import LEAST_ITEMS, MOST_PARALLEL, Cut, buckets_and_wave, limits
from compute.protocols.sets import MAX_ELEMENTS, check_peer_size
from compute.wire import codec

_MOST_OF_ONE_WORD = 1 << 24


class Hello(Message, frozen=True, tag="many.hello"):
    """First message of each party to each other one, in every attempt.

    ``count`` is how many distinct keys it compares; ``commitment`` a digest of them under a salt of the job's
    first attempt; ``key`` an X25519 key, fresh in every attempt; ``most_items`` how many items it can hold at
    once and ``parallel`` how many buckets it wants at once.
    """

    count: Annotated[int, Meta(ge=0, le=MAX_ELEMENTS)]
    commitment: Annotated[bytes, Meta(min_length=32, max_length=32)]
    key: Annotated[bytes, Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
    most_items: Annotated[int, Meta(ge=LEAST_ITEMS, le=1 << 40)]
    parallel: Annotated[int, Meta(ge=1, le=MOST_PARALLEL)]
    resumed: Annotated[int, Meta(ge=0, le=1 << 40)]


@dataclass(frozen=True)
class Plan(Cut):
    """How the sets are cut; a bucket holds ``sizes[role]`` items of that role, random ones among them."""

    sizes: Mapping[str, int]

    @classmethod
    def of(cls, hellos: Mapping[str, Hello], leader: str) -> Plan:
        """The leader compares with all others at once, so its share of memory for each is the smaller."""
        held = {role: hello.most_items for role, hello in hellos.items()}
        held[leader] //= len(hellos) - 1
        larger = max(hello.count for hello in hellos.values())
        parallel = min(hello.parallel for hello in hellos.values())
        buckets, wave = buckets_and_wave(larger, max(LEAST_ITEMS, min(held.values())), parallel)
        return cls(buckets, wave, {role: bound(hello.count, buckets) for role, hello in hellos.items()})

    def words(self, leader: str) -> int:
        """Words of a share: 64 bits while a chance zero among all items of the leader is below 2^-40."""
        return 1 if self.sizes[leader] * self.buckets <= _MOST_OF_ONE_WORD else 2

    def most_matches(self, wave: int) -> int:
        """How many keys of a wave all may have: what is told of it has this length, whatever the result."""
        return len(self.of_wave(wave)) * min(self.sizes.values())


@dataclass(frozen=True, repr=False)  # holds keys
class Greeting:
    """All first messages, ours included, in the order of the roles; and the keys of ours with each other."""

    hellos: Mapping[str, Hello]
    share_keys: Mapping[str, bytes]
    tag_keys: Mapping[str, bytes]
    plan: Plan

    def instance(self, role: str, wave: int) -> bytes:
        """Of the leader and ``role`` in one wave: equal only if both saw the same first messages of all.

        Public, and different for every wave of every attempt, since keys are.
        """
        said = b"".join(sm3.digest(codec.encode(hello)) for hello in self.hellos.values())
        return sm3.digest(b"liutong/psi/many/wave/v2" + said + role.encode() + wave.to_bytes(8, "big"))


def greet(session: Session, source: Facts) -> Part[Greeting]:
    """Exchange `Hello` with all others and settle how the sets are cut.

    Raises CohortTooSmall or ProtocolAbort if a peer's set may not be compared with ours, and ProtocolAbort if
    a job that goes on has another input, plan or checkpoint, here or there, than it began with.
    """
    params: Params = session.params
    me, others = session.role, [role for role in params.roles if role != session.role]
    began = Beginning.of(session, source.checksum)
    pairs = PairKeys(me, session.binding, session.rng(KEY_BYTES))
    most_items, parallel = limits(session)
    mine = Hello(source.count, began.commitment, pairs.public, most_items, parallel, session.resumed)
    for role in others:
        yield Send(role, mine)
    hellos = {me: mine}
    for role in others:
        hellos[role] = theirs = yield from receive(role, Hello)
        check_peer_size(role, theirs.count, params.max_elements, session.min_cohort)
        if theirs.key == mine.key:
            raise ProtocolAbort(f"{role} sent our first message back")
        if theirs.resumed != session.resumed:
            raise ProtocolAbort(f"{role} goes on from another checkpoint")
    hellos = {role: hellos[role] for role in params.roles}
    inputs = {role: Input(hello.commitment, hello.count) for role, hello in hellos.items()}
    began.hold(inputs)
    plan = Plan.of(hellos, params.leader)
    check_padding(plan, hellos, me, params)
    sizes = " ".join(str(size) for size in plan.sizes.values())
    began.settle(inputs, f"{params.oprf.name} {plan.buckets} {plan.wave} {sizes}", plan.waves)
    share_keys, tag_keys = (
        {role: pairs.with_peer(role, hellos[role].key, purpose) for role in others}
        for purpose in (b"share", b"tags")
    )
    return Greeting(hellos, share_keys, tag_keys, plan)


def check_padding(plan: Plan, hellos: Mapping[str, Hello], me: str, params: Params) -> None:
    """Raise ProtocolAbort if limits would let a peer compare far more items than it says and may.

    See `compute.protocols.psi.agreement.check_padding`: nobody sees whether what fills a bucket is random.
    """
    ours = {
        role: msgspec.structs.replace(hello, most_items=hellos[me].most_items, parallel=hellos[me].parallel)
        for role, hello in hellos.items()
    }
    alone = Plan.of(ours, params.leader)
    for role, size in plan.sizes.items():
        allowed = max(params.max_elements, 2 * hellos[role].count, 2 * alone.sizes[role] * alone.buckets)
        if role != me and size * plan.buckets > allowed:
            raise ProtocolAbort(f"the limits ask for {plan.buckets} buckets: too many for the keys of {role}")
