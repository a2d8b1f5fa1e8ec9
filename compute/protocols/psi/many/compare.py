"""Waves of buckets at the leader and at each other party; and what further outputs are told at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from msgspec import Meta

from accel import sm3
from compute.errors import ProtocolAbort
from compute.protocols.keyset import KeySet
from compute.protocols.protocol import Message, Part, Send, Session, receive
from compute.protocols.psi.buckets import Source, filled
from compute.protocols.psi.many.agreement import Greeting, Plan
from compute.protocols.psi.many.params import Params
from compute.protocols.psi.many.programmed import evaluate, program
from compute.protocols.psi.many.together import together
from compute.protocols.psi.many.zero_sharing import Words, share
from compute.protocols.psi.matching import match
from compute.protocols.psi.oprf import Items
from compute.protocols.psi.waves import Arrays, in_waves
from compute.protocols.sets import check_intersection
from compute.protocols.stream import receive_rows, send_rows, uniform_order

# Of the intersection, for further outputs: two keys of a job meet with probability 2^-68 at most.
TAG_BYTES = 16


class Told(Message, frozen=True, tag="many.told"):
    """How many of the tags that follow are matches: 8 bytes, so that their number is not to be seen."""

    count: Annotated[bytes, Meta(min_length=8, max_length=8)]


@dataclass(frozen=True, repr=False)  # holds identifiers and keys
class Side:
    """One party's part in a job."""

    session: Session
    params: Params
    source: Source
    greeting: Greeting

    @property
    def plan(self) -> Plan:
        """How the sets are cut."""
        return self.greeting.plan

    def keys_of(self, wave: int) -> list[KeySet]:
        """Our keys in the buckets of a wave."""
        return [self.source.bucket(bucket, self.plan.buckets) for bucket in self.plan.of_wave(wave)]

    def filled(self, sets: Sequence[KeySet]) -> tuple[list[Items], list[Words]]:
        """The items of each bucket, keys first and random ones behind them, and our shares of them.

        Their order shows in no message: stores have none, and masked points of other items look alike.
        """
        size, words = self.plan.sizes[self.session.role], self.plan.words(self.params.leader)
        items = [filled(keys.digests, size, self.session.rng) for keys in sets]
        return items, [share(self.greeting.share_keys.values(), each, words) for each in items]


def find(side: Side) -> Part[list[Arrays] | None]:
    """All waves. An output role gets which of its keys all have: per wave an array for each bucket, numbers
    of keys in the order of their digests. The others get None.

    Raises CohortTooSmall if they are too few, ProtocolAbort for what a peer may not send.
    """
    session, params = side.session, side.params
    if session.role == params.leader:
        found = yield from in_waves(session, side.plan, lambda wave: _lead(side, wave))
        check_intersection(_count(found), session.min_cohort)
        yield from _tell(side, found)
        return found
    yield from in_waves(session, side.plan, lambda wave: _follow(side, wave))
    return (yield from _be_told(side)) if session.role in params.output_to else None


def _lead(side: Side, wave: int) -> Part[Arrays]:
    """Learns which of its keys in a wave all others have, and nothing of the rest."""
    plan, me = side.plan, side.session.role
    sets = side.keys_of(wave)
    items, totals = side.filled(sets)
    parts = [
        evaluate(
            side.session,
            role,
            side.params.oprf,
            items,
            plan.sizes[role],
            plan.words(me),
            side.greeting.instance(role, wave),
        )
        for role in side.params.roles
        if role != me
    ]
    for values in (yield from together(parts)):
        for total, value in zip(totals, values, strict=True):
            total ^= value
    # Random items, which stand behind the keys, match by chance alone.
    return tuple(
        np.flatnonzero(~total[: len(keys)].any(axis=1)) for keys, total in zip(sets, totals, strict=True)
    )


def _follow(side: Side, wave: int) -> Part[Arrays]:
    """Learns nothing."""
    me, leader = side.session.role, side.params.leader
    items, shares = side.filled(side.keys_of(wave))
    instance = side.greeting.instance(me, wave)
    yield from program(
        side.session, leader, side.params.oprf, items, shares, side.plan.sizes[leader], instance
    )
    return ()


def _tell(side: Side, found: list[Arrays]) -> Part[None]:
    roles = side.params.output_to[1:]
    for role in roles:
        yield Send(role, Told(_count(found).to_bytes(8, "big")))
    for wave, matched in enumerate(found) if roles else ():
        sets = side.keys_of(wave)
        digests = np.concatenate([keys.digests[some] for keys, some in zip(sets, matched, strict=True)])
        # Bytes and progress are public: without random tags they would tell the size of the result.
        missing = side.plan.most_matches(wave) - len(digests)
        if missing < 0:
            raise ProtocolAbort("more keys match than the smallest set has: peers deviate together")
        for role in roles:
            padding = np.frombuffer(side.session.rng(missing * TAG_BYTES), np.uint8)
            tags = _tags(digests, side.greeting.tag_keys[role])
            tags = np.concatenate([tags, padding.reshape(missing, TAG_BYTES)])
            tags = tags[uniform_order(len(tags), side.session.rng)]
            yield from send_rows(role, tags, "psi.match")


def _be_told(side: Side) -> Part[list[Arrays]]:
    """The part of an output role that is not the leader: which of its keys are among the tags."""
    leader = side.params.leader
    count = int.from_bytes((yield from receive(leader, Told)).count, "big")
    found: list[Arrays] = []
    for wave in range(side.plan.waves):
        most = side.plan.most_matches(wave)
        named = yield from receive_rows(leader, most, TAG_BYTES, "psi.match")
        sets = side.keys_of(wave)
        tags = _tags(np.concatenate([keys.digests for keys in sets]), side.greeting.tag_keys[leader])
        matched = np.sort(match(tags, named)[0])
        ends = np.cumsum([0, *(len(keys) for keys in sets)])
        cuts = np.searchsorted(matched, ends)
        found.append(
            tuple(matched[cut:stop] - end for cut, stop, end in zip(cuts, cuts[1:], ends, strict=False))
        )
    if _count(found) != count:
        raise ProtocolAbort(f"{leader} names a match that is none of our keys")
    check_intersection(count, side.session.min_cohort)
    return found


def _tags(items: Items, key: bytes) -> Items:
    return np.ascontiguousarray(sm3.digest_many(items, prefix=key)[:, :TAG_BYTES])


def _count(found: list[Arrays]) -> int:
    return sum(len(some) for wave in found for some in wave)
