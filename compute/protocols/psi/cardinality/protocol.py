"""How many keys two sets share, and how many there are in all, and nothing about which: ``left`` and
``right``.

    left → right   Size(n), {a·H(x)} in random order       right → left   Size(m), {b·H(y)} in random order
    to each role of ``output_to``, from its peer: tags of its own keys under both secrets, sorted

The role multiplies the peer's elements itself, takes their tags and counts those that are among its own. Its
own tags came back sorted, so it cannot tell to which of its keys one belongs. Sets larger than the memory lie
on disk, and a job that was cut goes on from its last checkpoint. Building block and sources:
`compute.protocols.psi.ecdh.masking`; also De Cristofaro, Gasti, Tsudik, "Fast and Private Computation of
Cardinality of Set Intersection and Union", CANS 2012. Leakage: README.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa
from msgspec import Meta

from compute.errors import BadInput, BadMessage
from compute.protocols import payload
from compute.protocols.identifiers import Normalisation
from compute.protocols.participants import require_roles
from compute.protocols.protocol import JobKind, Output, Session, Steps, register
from compute.protocols.psi.buckets import collect
from compute.protocols.psi.ecdh.curves import CurveName
from compute.protocols.psi.ecdh.masking import begin, exchange
from compute.protocols.psi.ecdh.oprf import Function, context
from compute.protocols.psi.ecdh.returning import compare_tags, return_tags, swap_tags
from compute.protocols.sets import MAX_ELEMENTS, KeysOfSides, check_intersection, check_size
from compute.wire.messages import JobSpec

ROLES = ("left", "right")
Side = Literal["left", "right"]
Measure = Literal["intersection", "union"]


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of a cardinality job. ``max_elements`` bounds the distinct keys of either side."""

    keys: KeysOfSides
    normalise: Normalisation = Normalisation()
    measures: Annotated[tuple[Measure, ...], Meta(min_length=1, max_length=2)] = ("intersection",)
    output_to: Annotated[tuple[Side, ...], Meta(min_length=1, max_length=2)] = ("left",)
    curve: CurveName = "curve25519"
    max_elements: Annotated[int, Meta(ge=1, le=MAX_ELEMENTS)] = 100_000

    def __post_init__(self) -> None:
        if len(self.keys.left) != len(self.keys.right):
            raise ValueError("keys: both roles need the same number of key columns")
        if len(set(self.output_to)) != len(self.output_to):
            raise ValueError("output_to: name a role once")
        if len(set(self.measures)) != len(self.measures):
            raise ValueError("measures: name a measure once")


class Counts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an outputting role seals for the consumer: the measures that were asked for.

    ``padding`` makes it as long as it could be, so that its length does not tell a count.
    """

    intersection: Annotated[int, Meta(ge=0)] | None = None
    union: Annotated[int, Meta(ge=0)] | None = None
    padding: str = ""


def start(session: Session, table: pa.Table | None) -> Steps:
    """The steps of ``left`` or ``right``, who run the same code."""
    if table is None:
        raise BadInput("a role of psi.cardinality needs a table")
    params: Params = session.params
    me = session.role
    peer = ROLES[1 - ROLES.index(me)]
    source = yield from collect(session, table, getattr(params.keys, me), params.normalise)
    check_size(me, source.count, params.max_elements, session.min_cohort)
    function = Function(params.curve, context(params.curve, b"cardinality", session.binding))
    pieces = (keys.digests for keys in source.pieces())
    side = yield from begin(session, peer, function, source, pieces)
    yield from exchange(side)
    shared = 0
    if len(params.output_to) == 2:
        shared = yield from swap_tags(side)
    elif me in params.output_to:
        shared = yield from compare_tags(side)
    else:
        yield from return_tags(side)
    metrics = {
        "elements": source.count,
        "peer_elements": side.theirs,
        "rows_repeated": source.repeated,
        "rows_without_key": source.without_key,
        "rows_unfit": source.unfit,
    }
    if me not in params.output_to:
        return Output(units=source.count, metrics=metrics)
    check_intersection(shared, session.min_cohort)
    found = {"intersection": shared, "union": side.mine + side.theirs - shared}
    asked = {measure: found[measure] for measure in params.measures}
    return Output(
        sealed=_sealed(asked),
        rows=pa.table({measure: [value] for measure, value in asked.items()}),
        units=source.count,
        metrics=metrics,
    )


def _sealed(asked: Mapping[Measure, int]) -> bytes:
    most = dict.fromkeys(asked, 2 * MAX_ELEMENTS)
    return payload.encode_padded(_counts(asked), _counts(most))


def _counts(asked: Mapping[Measure, int]) -> Counts:
    return Counts(asked.get("intersection"), asked.get("union"))


def _roles(spec: JobSpec, params: Params) -> tuple[str, ...]:
    return require_roles(spec, ROLES)


def _columns(spec: JobSpec, params: Params, role: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(getattr(params.keys, role)))


def _units(spec: JobSpec, params: Params, role: str) -> int:
    return params.max_elements


def _open(session: Session, payloads: Mapping[str, bytes]) -> dict[str, Any]:
    params: Params = session.params
    results = [
        msgspec.structs.replace(payload.decode(Counts, payloads, role), padding="")
        for role in params.output_to
    ]
    if any(result != results[0] for result in results):
        raise BadMessage("the roles report different counts")
    opened: dict[str, Any] = {measure: getattr(results[0], measure) for measure in params.measures}
    if msgspec.to_builtins(results[0]) != opened:
        raise BadMessage("the result has other measures than were asked for")
    return opened


KIND = register(
    JobKind(
        name="psi.cardinality",
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
            "measures": ["intersection", "union"],
            "output_to": ["left"],
            "curve": "curve25519",
            "max_elements": 100_000,
        },
        resumable=True,
    )
)
