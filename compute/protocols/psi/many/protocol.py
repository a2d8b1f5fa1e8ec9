"""The intersection of three to ten sets: ``p1`` … ``pN``, any of whom may get it.

    each ↔ each          Hello(size, ephemeral key): a key per pair, from which shares of zero are derived
    leader ↔ each other  programmed OPRF (`programmed`): leader's x ↦ the other's share of x if it has x,
                         something random if not
    leader               x is in all sets if all shares of x, its own included, sum to zero
    leader → each further role of ``output_to``   tags of the intersection under the key of the pair, padded

The leader is the first role of ``output_to``. Source: Kolesnikov, Matania, Pinkas, Rosulek, Trieu, "Practical
Multi-Party Private Set Intersection from Symmetric-Key Techniques", CCS 2017, with unconditional
zero-sharing: the variant for the augmented semi-honest model. Leakage and collusion: README.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Meta

from accel import sm3
from compute.errors import BadInput, BadMessage, ProtocolAbort
from compute.protocols import payload
from compute.protocols.identifiers import KeyColumns, Normalisation, column
from compute.protocols.keyset import KeySet, key_set
from compute.protocols.participants import require_roles
from compute.protocols.protocol import (
    JobKind,
    Message,
    Output,
    Part,
    Send,
    Session,
    Steps,
    receive,
    register,
)
from compute.protocols.psi.ecdh.curves import CurveName
from compute.protocols.psi.ecdh.masking import TAG_BYTES, member, receive_sorted, send_sorted
from compute.protocols.psi.ecdh.oprf import EcdhOprf
from compute.protocols.psi.many.programmed import evaluate, program
from compute.protocols.psi.many.together import together
from compute.protocols.psi.many.zero_sharing import KEY_BYTES, PairKeys, Words, share
from compute.protocols.psi.oprf import Items, Oprf
from compute.protocols.psi.rr22.oprf import Rr22
from compute.protocols.sets import MAX_ELEMENTS, check_intersection, check_peer_size, check_size
from compute.wire.messages import JobSpec, Name

MIN_PARTIES, MAX_PARTIES = 3, 10

Party = Annotated[str, Meta(pattern=r"^p([1-9]|10)$")]
Flags = npt.NDArray[np.bool_]
# What a leader holds per item and peer while their parts run: points or blocks, outputs, values.
_BYTES_PER_ITEM = 160


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of an intersection of many sets. ``max_elements`` bounds the distinct keys of each."""

    keys: Annotated[dict[Party, KeyColumns], Meta(min_length=MIN_PARTIES, max_length=MAX_PARTIES)]
    normalise: Normalisation = Normalisation()
    output_to: Annotated[tuple[Party, ...], Meta(min_length=1, max_length=MAX_PARTIES)] = ("p1",)
    deliver_to_consumer: bool = True
    output_columns: dict[Party, tuple[Name, ...]] = {}
    protocol: Literal["ecdh", "rr22"] = "ecdh"
    curve: CurveName = "curve25519"
    max_elements: Annotated[int, Meta(ge=1, le=MAX_ELEMENTS)] = 100_000

    def __post_init__(self) -> None:
        if set(self.keys) != set(self.roles):
            raise ValueError(f"keys: the parties are p1, p2, … without a gap, here up to p{len(self.keys)}")
        if len({len(columns) for columns in self.keys.values()}) != 1:
            raise ValueError("keys: all parties need the same number of key columns")
        if len(set(self.output_to)) != len(self.output_to):
            raise ValueError("output_to: name a party once")
        if unknown := sorted(set(self.output_to) - set(self.keys)):
            raise ValueError(f"output_to: {unknown[0]} is none of the parties")
        if idle := sorted(set(self.output_columns) - set(self.output_to)):
            raise ValueError(f"output_columns: {idle[0]} is not in output_to")

    @property
    def roles(self) -> tuple[str, ...]:
        """The parties in dialling order."""
        return tuple(f"p{index + 1}" for index in range(len(self.keys)))

    @property
    def leader(self) -> str:
        """Who compares."""
        return self.output_to[0]

    @property
    def oprf(self) -> Oprf:
        """What the programmed functions stand on."""
        return Rr22() if self.protocol == "rr22" else EcdhOprf(self.curve)


class Hello(Message, frozen=True, tag="many.hello"):
    """How many distinct keys the sender compares, and its ephemeral X25519 key."""

    count: Annotated[int, Meta(ge=0, le=MAX_ELEMENTS)]
    key: Annotated[bytes, Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]


class Told(Message, frozen=True, tag="many.told"):
    """How many of the tags that follow are matches: 8 bytes, so that their number is not to be seen."""

    count: Annotated[bytes, Meta(min_length=8, max_length=8)]


class Matches(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an outputting role seals for the consumer; columns and rows only if they are to be delivered."""

    count: Annotated[int, Meta(ge=0)]
    columns: tuple[str, ...] = ()
    rows: list[list[Any]] = []


@dataclass(frozen=True, repr=False)  # holds keys
class _Peer:
    count: int
    share_key: bytes
    tag_key: bytes


def start(session: Session, table: pa.Table | None) -> Steps:
    """The steps of any of the parties."""
    if table is None:
        raise BadInput("a role of psi.many needs a table")
    params: Params = session.params
    me = session.role
    keys = key_set(table, params.keys[me], params.normalise)
    check_size(me, len(keys), params.max_elements, session.min_cohort)
    peers = yield from _greet(session, len(keys))
    counts = {role: peer.count for role, peer in peers.items()} | {me: len(keys)}
    words = value_words(counts[params.leader])
    mine = share([peer.share_key for peer in peers.values()], keys.digests, words)

    matched: Flags | None = None
    if me == params.leader:
        matched = yield from _lead(session, keys.digests, mine, peers)
    else:
        oprf, leader = params.oprf, params.leader
        instance = _instance(leader, me)
        yield from program(session, leader, oprf, keys.digests, mine, counts[leader], instance)
        if me in params.output_to:
            matched = yield from _told(session, keys.digests, peers[leader].tag_key, min(counts.values()))
    metrics = {
        "elements": len(keys),
        "peer_elements": sum(peer.count for peer in peers.values()),
        "parties": len(counts),
        "rows_repeated": keys.repeated,
        "rows_without_key": keys.without_key,
        "rows_unfit": keys.unfit,
    }
    if matched is None:
        return Output(units=len(keys), metrics=metrics)
    rows = _rows(table, keys, matched, me, params)
    result = Matches(int(matched.sum()))
    if params.deliver_to_consumer:
        result = Matches(result.count, tuple(rows.column_names), payload.plain_rows(rows))
    return Output(sealed=payload.encode(result), rows=rows, units=len(keys), metrics=metrics)


def value_words(leader_count: int) -> int:
    """Words of a share: 64 bits while a chance zero among all of the leader's items is below 2^-40."""
    return 1 if leader_count <= 1 << 24 else 2


def _greet(session: Session, count: int) -> Part[dict[str, _Peer]]:
    """Exchange sizes and keys with all others."""
    params: Params = session.params
    others = [role for role in params.roles if role != session.role]
    pairs = PairKeys(session.role, session.binding, session.rng(KEY_BYTES))
    for role in others:
        yield Send(role, Hello(count, pairs.public))
    peers = {}
    for role in others:
        hello = yield from receive(role, Hello)
        check_peer_size(role, hello.count, params.max_elements, session.min_cohort)
        agreed = [pairs.with_peer(role, hello.key, purpose) for purpose in (b"share", b"tags")]
        peers[role] = _Peer(hello.count, *agreed)
    return peers


def _lead(session: Session, items: Items, mine: Words, peers: Mapping[str, _Peer]) -> Part[Flags]:
    """Learns which of its items all others have, nothing of the rest, and tells the further outputs."""
    params: Params = session.params
    total = mine.copy()
    # As many peers side by side as the memory bears.
    at_once = max(1, session.memory_bytes // (2 * _BYTES_PER_ITEM * max(1, len(items))))
    roles = list(peers)
    for first in range(0, len(roles), at_once):
        parts = [
            evaluate(
                session,
                role,
                params.oprf,
                items,
                peers[role].count,
                mine.shape[1],
                _instance(session.role, role),
            )
            for role in roles[first : first + at_once]
        ]
        for values in (yield from together(parts)):
            total ^= values
    matched: Flags = np.logical_not(total.any(axis=1))
    check_intersection(int(matched.sum()), session.min_cohort)
    # Bytes and progress are public: without random tags among them they would tell the size of the result.
    missing = min(len(items), *(peer.count for peer in peers.values())) - int(matched.sum())
    for role in params.output_to[1:]:
        padding = np.frombuffer(session.rng(missing * TAG_BYTES), np.uint8).reshape(missing, TAG_BYTES)
        tags = np.concatenate([_tags(items[matched], peers[role].tag_key), padding])
        yield Send(role, Told(int(matched.sum()).to_bytes(8, "big")))
        yield from send_sorted(role, tags, TAG_BYTES)
    return matched


def _told(session: Session, items: Items, key: bytes, most: int) -> Part[Flags]:
    """The part of an output role that is not the leader: which of its items are among the ``most`` tags."""
    params: Params = session.params
    count = int.from_bytes((yield from receive(params.leader, Told)).count, "big")
    named = yield from receive_sorted(params.leader, most, TAG_BYTES)
    matched = member(_tags(items, key), named)
    if matched.sum() != count:
        raise ProtocolAbort(f"{params.leader} names a match that is none of our keys")
    check_intersection(count, session.min_cohort)
    return matched


def _tags(items: Items, key: bytes) -> Items:
    return np.ascontiguousarray(sm3.digest_many(items, prefix=key)[:, :TAG_BYTES])


def _instance(leader: str, role: str) -> bytes:
    return f"many {leader} {role}".encode()


def _rows(table: pa.Table, keys: KeySet, matched: Flags, me: str, params: Params) -> pa.Table:
    # In the order of the table: the same on every run.
    order = np.sort(keys.rows_of(np.flatnonzero(matched))[0])
    names = dict.fromkeys((*params.keys[me], *params.output_columns.get(me, ())))
    return pa.table({name: column(table, name) for name in names}).take(pa.array(order, type=pa.int64()))


def _roles(spec: JobSpec, params: Params) -> tuple[str, ...]:
    return require_roles(spec, params.roles)


def _columns(spec: JobSpec, params: Params, role: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*params.keys[role], *params.output_columns.get(role, ()))))


def _units(spec: JobSpec, params: Params, role: str) -> int:
    return params.max_elements


def _open(session: Session, payloads: Mapping[str, bytes]) -> dict[str, Any]:
    params: Params = session.params
    results = {role: payload.decode(Matches, payloads, role) for role in params.output_to}
    counts = {result.count for result in results.values()}
    if len(counts) != 1:
        raise BadMessage("the roles report different intersections")
    opened: dict[str, Any] = {"count": counts.pop()} | dict.fromkeys(params.roles)
    if params.deliver_to_consumer:
        for role, result in results.items():
            if any(len(row) != len(result.columns) for row in result.rows):
                raise BadMessage(f"the result of {role} has rows of another length than its columns")
            opened[role] = {"columns": list(result.columns), "rows": result.rows}
    return opened


KIND = register(
    JobKind(
        name="psi.many",
        operation="psi",
        params=Params,
        roles=_roles,
        columns=_columns,
        units=_units,
        start=start,
        open_result=_open,
        result_roles=tuple(f"p{index + 1}" for index in range(MAX_PARTIES)),
        role_names=("p*",),
        unit="distinct key compared",
        example={
            "keys": {"p1": ["patient_id"], "p2": ["pid"], "p3": ["person"]},
            "normalise": {"trim": True, "case": "keep"},
            "output_to": ["p1", "p3"],
            "deliver_to_consumer": True,
            "output_columns": {"p1": ["diagnosis"]},
            "protocol": "ecdh",
            "curve": "curve25519",
            "max_elements": 100_000,
        },
    )
)
