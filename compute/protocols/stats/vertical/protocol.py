"""Count, sum, mean and variance over an intersection: private intersection-sum for a third party.

``values`` holds a number per row, ``members`` says which keys count, the consumer alone learns the result:

    members → values   Size(m), {a·H(y)} in random order
    values → members   Counts(n per group), tags of {b·a·H(y)} sorted,
                       per group in random order {b·H(x)} and Enc(count, sum, squares of x's rows)
    members            multiplies by a, compares tags, adds the ciphertexts that match, rerandomises
    members → values   Summary(released, suppressed);   members → consumer: the sums, under its key

Source: Ion, Kreuter, Nergiz, Patel, Saxena, Seth, Raykova, Shanahan, Yung, "On Deploying Secure Computing:
Private Intersection-Sum-with-Cardinality", EuroS&P 2020, figure 2; here the key belongs to the consumer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import pyarrow as pa
from msgspec import Meta

from accel import curve25519, paillier
from compute.errors import BadInput, CohortTooSmall, ProtocolAbort
from compute.protocols import filters
from compute.protocols.identifiers import Normalisation, keys_of
from compute.protocols.participants import require_consumer_apart, require_roles
from compute.protocols.protocol import JobKind, Message, Output, Rng, Send, Session, Steps, receive, register
from compute.protocols.sets import MAX_ELEMENTS, BothKeys, Size, check_peer_size, check_size, large_enough
from compute.protocols.stats import exchange, moments
from compute.protocols.stats.exchange import Summary
from compute.protocols.stats.moments import Moments
from compute.protocols.stats.vertical.points import blinding, domain_separation, receive_points, tags
from compute.protocols.stream import Uint32, receive_array, send_array, split, tag_bytes, uniform_order
from compute.wire.messages import JobSpec

ROLES = ("values", "members")


class Params(moments.Question, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters of a vertical statistics job; see `moments.Question` for the rest."""

    keys: BothKeys
    normalise: Normalisation = Normalisation()
    max_elements: Annotated[int, Meta(ge=1, le=MAX_ELEMENTS)] = 100_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.keys.values) != len(self.keys.members):
            raise ValueError("keys: both roles need the same number of key columns")


class Counts(Message, frozen=True, tag="stats.counts"):
    """How many distinct keys ``values`` has per group, in the order of the groups."""

    groups: Annotated[tuple[Uint32, ...], Meta(min_length=1, max_length=64)]


def start(session: Session, table: pa.Table | None) -> Steps:
    """The steps of ``values`` or of ``members``."""
    if table is None:
        raise BadInput("a role of stats.vertical needs a table")
    return _values(session, table) if session.role == "values" else _members(session, table)


def _values(session: Session, table: pa.Table) -> Steps:
    """Learns how many distinct keys ``members`` has, and how many groups were suppressed."""
    params: Params = session.params
    key = moments.public_key(params)
    groups, distinct = _grouped(filters.apply(table, params.filter), params)
    counts = tuple(len(group) for group in groups)
    check_size("values", sum(counts), params.max_elements, session.min_cohort)
    dst = domain_separation(session.binding)
    scalar = curve25519.random_scalar(session.rng)
    shuffled = [item for group in groups for item in _shuffled(group, session.rng)]

    yield Send("members", Counts(counts))
    members = (yield from receive("members", Size)).count
    check_peer_size("members", members, params.max_elements, session.min_cohort)
    theirs = yield from receive_points("members", [members], "psi.receive")
    width = tag_bytes(sum(counts), members)
    # Sorted: the order in which members sent its elements must not come back.
    doubled = sorted(tags(curve25519.scalar_mult_many(theirs, scalar), session.binding, width))

    blind = blinding([item for item, _ in shuffled], dst, scalar)

    def encrypt(first: int, last: int) -> bytes:
        plain = [row.pack() for _, row in shuffled[first:last]]
        array = paillier.encrypt_ints(key, plain, bound=moments.BOUND, rng=session.rng)
        return exchange.to_bytes(array)

    yield from send_array(
        "members", members, width, lambda first, last: b"".join(doubled[first:last]), "psi.double_blind"
    )
    yield from send_array("members", len(shuffled), curve25519.POINT_BYTES, blind, "psi.blind")
    yield from send_array("members", len(shuffled), key.ciphertext_bytes, encrypt, "stats.encrypt")
    summary = yield from receive("members", Summary)
    exchange.check_summary(summary, len(counts), "members")
    return Output(
        units=len(counts),
        metrics={
            "elements": distinct,
            "peer_elements": members,
            "groups": len(counts),
            "groups_suppressed": summary.suppressed,
        },
    )


def _members(session: Session, table: pa.Table) -> Steps:
    """Learns the size of every group and of its intersection with our keys."""
    params: Params = session.params
    key = moments.public_key(params)
    keys = keys_of(table, params.keys.members, params.normalise)
    check_size("members", len(keys), params.max_elements, session.min_cohort)
    dst = domain_separation(session.binding)
    scalar = curve25519.random_scalar(session.rng)
    items = [keys.encoded[index] for index in uniform_order(len(keys), session.rng)]

    blind = blinding(items, dst, scalar)

    yield Send("values", Size(len(items)))
    counts = (yield from receive("values", Counts)).groups
    if len(counts) != len(params.group_names):
        raise ProtocolAbort("values sent another number of groups than were asked for")
    check_peer_size("values", sum(counts), params.max_elements, session.min_cohort)
    yield from send_array("values", len(items), curve25519.POINT_BYTES, blind, "psi.blind")
    width = tag_bytes(sum(counts), len(items))
    mine = split((yield from receive_array("values", len(items), width, "psi.match")), width)
    if len(set(mine)) != len(items):
        raise ProtocolAbort("values returned a tag twice")
    # Distinct within a group; a key with rows in two groups shows up in both.
    theirs = yield from receive_points("values", counts, "psi.receive")
    data = yield from receive_array("values", sum(counts), key.ciphertext_bytes, "stats.receive")
    ciphertexts = exchange.from_bytes(key, data, sum(counts), "values")

    known = frozenset(mine)
    doubled = tags(curve25519.scalar_mult_many(theirs, scalar), session.binding, width)
    released: dict[int, int] = {}
    start_at = 0
    for index, count in enumerate(counts):
        matched = [at for at in range(start_at, start_at + count) if doubled[at] in known]
        start_at += count
        if not large_enough(len(matched), count, session.min_cohort):
            continue
        total = ciphertexts.take(matched).sum().rerandomize(session.rng)
        released[index] = total.ciphertexts()[0]
    suppressed = len(counts) - len(released)
    if not released:
        raise CohortTooSmall(
            f"all {suppressed} groups are suppressed: each has fewer than {session.min_cohort} rows in the "
            "intersection, or leaves fewer outside it",
            floor=session.min_cohort,
        )
    yield Send("values", Summary(len(released), suppressed))
    return Output(
        sealed=moments.seal(params, released, suppressed),
        units=len(counts),
        metrics={
            "elements": len(keys),
            "peer_elements": sum(counts),
            "groups": len(counts),
            "groups_suppressed": suppressed,
        },
    )


def _grouped(table: pa.Table, params: Params) -> tuple[list[dict[bytes, Moments]], int]:
    """Per group, the moments of every distinct key; and the number of distinct keys over all groups."""
    keys = keys_of(table, params.keys.values, params.normalise)
    key_of_row = {row: encoded for encoded, rows in zip(keys.encoded, keys.rows, strict=True) for row in rows}
    groups: list[dict[bytes, Moments]] = [{} for _ in params.group_names]
    for row in moments.rows_of(table, params):
        encoded = key_of_row.get(row.number)
        if encoded is not None:
            group = groups[row.group]
            group[encoded] = group.get(encoded, Moments()) + row.moments
    return groups, len({encoded for group in groups for encoded in group})


def _shuffled(group: dict[bytes, Moments], rng: Rng) -> list[tuple[bytes, Moments]]:
    items = list(group.items())
    return [items[index] for index in uniform_order(len(items), rng)]


def _roles(spec: JobSpec, params: Params) -> tuple[str, ...]:
    moments.public_key(params)
    require_consumer_apart(spec)
    return require_roles(spec, ROLES)


def _columns(spec: JobSpec, params: Params, role: str) -> tuple[str, ...]:
    if role == "members":
        return tuple(dict.fromkeys(params.keys.members))
    return tuple(dict.fromkeys(params.keys.values + params.value_columns))


def _open(session: Session, payloads: Mapping[str, bytes]) -> dict[str, Any]:
    return moments.open_totals(session, payloads, "members")


KIND = register(
    JobKind(
        name="stats.vertical",
        operation="stats",
        params=Params,
        roles=_roles,
        columns=_columns,
        units=moments.units,
        start=start,
        open_result=_open,
        prepare=moments.prepare,
        result_roles=("members",),
        role_names=ROLES,
        unit="group",
        example={
            "keys": {"values": ["patient_id"], "members": ["pid"]},
            "normalise": {"trim": True, "case": "keep"},
            "value": "mean radius",
            "group_by": "diagnosis",
            "groups": ["malignant", "benign"],
            "filter": [{"column": "age", "op": "ge", "value": "40"}],
            "max_elements": 100_000,
            "key_bits": 3072,
        },
    )
)
