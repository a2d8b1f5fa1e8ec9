"""Private set intersection by Diffie-Hellman over curve25519, between the roles ``left`` and ``right``.

Each role hashes its distinct keys to the curve, multiplies by its own fresh scalar and sends them in random
order. Each multiplies what it got once more. Scalars commute, so equal keys meet in equal elements:

    left → right   Size(n), {a·H(x)}        right → left   Size(m), {b·H(y)}
    for a role in ``output_to``: its peer returns tags of its doubly multiplied elements, in its order;
    it multiplies the peer's elements itself, takes their tags and compares.

Source: Meadows, "A More Efficient Cryptographic Matchmaking Protocol", 1986; Huberman, Franklin, Hogg,
"Enhancing Privacy and Trust in Electronic Communities", 1999; hash to curve: RFC 9380. Leakage: README.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa
from msgspec import Meta

from accel import curve25519
from compute.errors import BadInput, BadMessage, CohortTooSmall, ProtocolAbort
from compute.protocols import payload
from compute.protocols.identifiers import KeyColumns, Keys, Normalisation, column, keys_of
from compute.protocols.participants import require_roles
from compute.protocols.protocol import JobKind, Output, Part, Send, Session, Steps, receive, register
from compute.protocols.sets import (
    MAX_ELEMENTS,
    Size,
    blinding,
    check_peer_size,
    check_size,
    domain_separation,
)
from compute.protocols.stream import (
    permutation,
    receive_array,
    receive_points,
    send_array,
    split,
    tag_bytes,
    tags,
)
from compute.wire.messages import JobSpec, Name

ROLES = ("left", "right")
Side = Literal["left", "right"]


class BothKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Key columns of both roles, compared in order."""

    left: KeyColumns
    right: KeyColumns


class BothColumns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Columns that an outputting role adds to its matching rows."""

    left: tuple[Name, ...] = ()
    right: tuple[Name, ...] = ()


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of a PSI job. ``max_elements`` bounds the distinct keys of either side."""

    keys: BothKeys
    normalise: Normalisation = Normalisation()
    output_to: Annotated[tuple[Side, ...], Meta(min_length=1, max_length=2)] = ("left",)
    deliver_to_consumer: bool = True
    output_columns: BothColumns = BothColumns()
    max_elements: Annotated[int, Meta(ge=1, le=MAX_ELEMENTS)] = 100_000

    def __post_init__(self) -> None:
        if len(self.keys.left) != len(self.keys.right):
            raise ValueError("keys: both roles need the same number of key columns")
        if len(set(self.output_to)) != len(self.output_to):
            raise ValueError("output_to: name a role once")
        for side in ROLES:
            if getattr(self.output_columns, side) and side not in self.output_to:
                raise ValueError(f"output_columns: {side} is not in output_to")


class Matches(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an outputting role seals for the consumer; columns and rows only if they are to be delivered."""

    count: Annotated[int, Meta(ge=0)]
    columns: tuple[str, ...] = ()
    rows: list[list[Any]] = []


def start(session: Session, table: pa.Table | None) -> Steps:
    """The steps of ``left`` or ``right``, who run the same code."""
    if table is None:
        raise BadInput("a role of psi needs a table")
    params: Params = session.params
    me = session.role
    peer = ROLES[1 - ROLES.index(me)]
    keys = keys_of(table, getattr(params.keys, me), params.normalise)
    check_size(me, len(keys), params.max_elements, session.min_cohort)
    dst = domain_separation(b"PSI", session.binding)
    # A random order: positions on the wire tell nothing about positions in the table.
    order = permutation(len(keys), session.rng)
    items = [keys.encoded[index] for index in order]
    scalar = curve25519.random_scalar(session.rng)

    yield Send(peer, Size(len(items)))
    theirs_count = (yield from receive(peer, Size)).count
    check_peer_size(peer, theirs_count, params.max_elements, session.min_cohort)
    width = tag_bytes(len(items), theirs_count)

    yield from send_array(peer, len(items), curve25519.POINT_BYTES, blinding(items, dst, scalar), "psi.blind")
    theirs = yield from receive_points(peer, [theirs_count], "psi.receive")
    doubled: list[bytes] = []

    def tagged(first: int, last: int) -> bytes:
        points = theirs[first * curve25519.POINT_BYTES : last * curve25519.POINT_BYTES]
        block = tags(curve25519.scalar_mult_many(points, scalar), session.binding, width)
        doubled.extend(block)
        return b"".join(block)

    metrics = {
        "elements": len(keys),
        "peer_elements": theirs_count,
        "rows_repeated": keys.repeated,
        "rows_without_key": keys.without_key,
    }
    if peer in params.output_to:
        yield from send_array(peer, theirs_count, width, tagged, "psi.double_blind")
    else:
        tagged(0, theirs_count)
    if me not in params.output_to:
        return Output(units=len(keys), metrics=metrics)

    matched = yield from _matches(peer, len(items), width, frozenset(doubled))
    if len(matched) < session.min_cohort:
        raise CohortTooSmall(
            f"the intersection is below the floor of {session.min_cohort}: check key columns and "
            "normalisation on both sides",
            floor=session.min_cohort,
        )
    rows = _rows(table, keys, [order[index] for index in matched], me, params)
    result = Matches(len(matched))
    if params.deliver_to_consumer:
        result = Matches(len(matched), tuple(rows.column_names), payload.plain_rows(rows))
    return Output(
        sealed=payload.encode(result),
        rows=rows,
        units=len(keys),
        metrics=metrics,
    )


def _matches(peer: str, count: int, width: int, theirs: frozenset[bytes]) -> Part[list[int]]:
    mine = split((yield from receive_array(peer, count, width, "psi.match")), width)
    if len(set(mine)) != count:
        raise ProtocolAbort(f"{peer} returned a tag twice")
    return [index for index, tag in enumerate(mine) if tag in theirs]


def _rows(table: pa.Table, keys: Keys, matched: list[int], me: str, params: Params) -> pa.Table:
    # In the order of the encoded key: the same on every run, whatever the shuffle was.
    numbers = [row for index in sorted(matched, key=keys.encoded.__getitem__) for row in keys.rows[index]]
    names = dict.fromkeys(getattr(params.keys, me) + getattr(params.output_columns, me))
    columns = {name: column(table, name) for name in names}
    return pa.table(columns).take(pa.array(numbers, type=pa.int64()))


def _roles(spec: JobSpec, params: Params) -> tuple[str, ...]:
    return require_roles(spec, ROLES)


def _columns(spec: JobSpec, params: Params, role: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(getattr(params.keys, role) + getattr(params.output_columns, role)))


def _units(spec: JobSpec, params: Params, role: str) -> int:
    return params.max_elements


def _open(session: Session, payloads: Mapping[str, bytes]) -> dict[str, Any]:
    params: Params = session.params
    results = {role: payload.decode(Matches, payloads, role) for role in params.output_to}
    counts = {result.count for result in results.values()}
    if len(counts) != 1:
        raise BadMessage("the roles report different intersections")
    opened: dict[str, Any] = {"count": counts.pop(), "left": None, "right": None}
    if params.deliver_to_consumer:
        for role, result in results.items():
            if any(len(row) != len(result.columns) for row in result.rows):
                raise BadMessage(f"the result of {role} has rows of another length than its columns")
            opened[role] = {"columns": list(result.columns), "rows": result.rows}
    return opened


KIND = register(
    JobKind(
        name="psi",
        operation="psi",
        params=Params,
        roles=_roles,
        columns=_columns,
        units=_units,
        start=start,
        open_result=_open,
        result_roles=ROLES,
        role_names=ROLES,
        unit="distinct key compared",
        example={
            "keys": {"left": ["patient_id"], "right": ["pid"]},
            "normalise": {"trim": True, "case": "keep"},
            "output_to": ["left"],
            "deliver_to_consumer": True,
            "output_columns": {"left": ["diagnosis"], "right": []},
            "max_elements": 100_000,
        },
    )
)
