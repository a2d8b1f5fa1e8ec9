"""Private set intersection between the roles ``left`` and ``right``: the job kind `psi`.

The protocol is chosen from public facts (`psi.choice`); the engine (`psi.engine`) does the rest over it. The
role in ``output_to`` is the receiver of the oblivious pseudorandom function; if both are, the one with fewer
keys, which is cheaper. Leakage: README.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from accel import sm3
from compute.errors import BadInput, DataError, ProtocolAbort
from compute.protocols.participants import require_roles
from compute.protocols.protocol import JobKind, Output, Part, Progress, Session, Steps, register
from compute.protocols.psi import choice as choices
from compute.protocols.psi import engine, labels
from compute.protocols.psi.agreement import Greeting, Plan, greet, settle
from compute.protocols.psi.buckets import Facts, Source, collect
from compute.protocols.psi.choice import Choice
from compute.protocols.psi.delivery import opened
from compute.protocols.psi.ecdh.oprf import EcdhOprf
from compute.protocols.psi.engine import Found
from compute.protocols.psi.intersect.agree import agree, receiver_of
from compute.protocols.psi.intersect.params import ROLES, Params
from compute.protocols.psi.intersect.result import label_names, own_names, result_rows, sealed
from compute.protocols.psi.labels import LabelColumn
from compute.protocols.psi.oprf import Oprf
from compute.protocols.psi.rr22.oprf import Rr22
from compute.protocols.psi.unbalanced.online import lookup, serve
from compute.protocols.psi.unbalanced.version import Version
from compute.protocols.sets import check_intersection, check_size
from compute.protocols.stream import uniform_order
from compute.wire.messages import JobSpec


def start(session: Session, table: pa.Table | None) -> Steps:
    """The steps of ``left`` or ``right``, who run the same code."""
    if table is None:
        raise BadInput("a role of psi needs a table")
    params: Params = session.params
    me = session.role
    peer = ROLES[1 - ROLES.index(me)]
    label_names(params, me, peer)
    source = _prepared(session, params, me, table) or (yield from _collected(session, params, me, table))
    check_size(me, source.count, params.max_elements, session.min_cohort)
    given = _given(table, params, me, source)
    greeting = yield from greet(session, peer, source, given, params.max_elements)
    if len(greeting.theirs.labels) != len(getattr(params.label_columns, peer)):
        raise ProtocolAbort(f"{peer} describes other label columns than were asked for")
    job = _Job(session, params, me, peer, table, source, given, greeting)
    chosen, plan = agree(params, greeting.mine, greeting.theirs, receiving=job.receiving)
    settle(session, greeting, plan, chosen.name)
    yield Progress(f"psi.choice.{chosen.protocol}", 1, 1)

    if chosen.protocol == "unbalanced":
        found = yield from job.unbalanced(chosen)
    else:
        found = yield from job.balanced(chosen, plan)
    if params.result_check:
        known = found.keys if found is not None and len(params.output_to) == 2 else None
        yield from engine.check_result(session, peer, greeting, _parties(session.spec), known)
    metrics = {
        "elements": source.count,
        "peer_elements": greeting.theirs.count,
        "rows_repeated": source.repeated,
        "rows_without_key": source.without_key,
        "rows_unfit": source.unfit,
        "buckets": plan.buckets,
        "protocol": choices.CODES[chosen.protocol],
    }
    if found is None:
        return Output(units=source.count, metrics=metrics)
    rows = result_rows(table, found, params, me, peer, greeting.theirs.labels)
    return Output(
        sealed=sealed(found, rows, params, chosen, greeting.theirs.labels),
        rows=rows,
        units=source.count,
        metrics=metrics,
    )


def _collected(session: Session, params: Params, me: str, table: pa.Table) -> Part[Source]:
    return (yield from collect(session, table, getattr(params.keys, me), params.normalise))


def _prepared(session: Session, params: Params, me: str, table: pa.Table) -> Facts | None:
    """What is known of our keys without reading a row, if an earlier job prepared them for lookups.

    Only of a role that gets no result: who does maps matches to rows.
    """
    if not params.plain_output or me in params.output_to or not session.version_secret:
        return None
    return _version(session, params, me).recall(table.num_rows)


def _version(session: Session, params: Params, me: str) -> Version:
    described = msgspec.json.encode((getattr(params.keys, me), params.normalise), order="deterministic")
    return Version(session, sm3.digest(described), params.curve)


def _given(table: pa.Table, params: Params, me: str, source: Facts) -> tuple[LabelColumn, ...]:
    names = getattr(params.label_columns, me)
    if names and source.repeated and params.label_rows == "refuse":
        raise BadInput(
            f"{source.repeated} rows of {me} repeat a key: label_rows 'first' takes the first row of each",
            count=source.repeated,
        )
    return labels.describe(table, names)


@dataclass(frozen=True, repr=False)  # holds identifiers
class _Job:
    """What one role knows once both have said `Hello`."""

    session: Session
    params: Params
    me: str
    peer: str
    table: pa.Table
    source: Facts
    given: tuple[LabelColumn, ...]
    greeting: Greeting

    @property
    def receiving(self) -> bool:
        """Is ours the receiver of F?"""
        counts = {self.me: self.greeting.mine.count, self.peer: self.greeting.theirs.count}
        return receiver_of(self.params, counts) == self.me

    def read(self) -> Part[Source]:
        """Our keys, read now if so far only their size was known; raises DataError if they are others."""
        if isinstance(self.source, Source):
            return self.source
        source = yield from _collected(self.session, self.params, self.me, self.table)
        if source.checksum != self.source.checksum:
            raise DataError("the keys are not those that were prepared for this version")
        return source

    def balanced(self, chosen: Choice, plan: Plan) -> Part[Found | None]:
        """Any protocol over an `Oprf`."""
        names = getattr(self.params.label_columns, self.me)

        def labels_of(rows: engine.Numbers) -> engine.Rows:
            return labels.packed(self.table.select(names).take(pa.array(rows)), names, self.given)

        side = engine.Side(
            session=self.session,
            peer=self.peer,
            oprf=_oprf(chosen),
            source=(yield from self.read()),
            plan=plan,
            greeting=self.greeting,
            mutual=len(self.params.output_to) == 2,
            labels_of=labels_of if names else None,
        )
        return (yield from (engine.receive_result if self.receiving else engine.send_result)(side))

    def unbalanced(self, chosen: Choice) -> Part[Found | None]:
        """A lookup in the sender's set, which is prepared once per version."""
        session, peer, count = self.session, self.peer, self.greeting.theirs.count
        if not self.receiving:
            version = _version(session, self.params, self.me)
            yield from serve(version, peer, self.source, self.table.num_rows, count, self.read)
            return None
        keys = (yield from self.read()).bucket(0, 1)
        order = uniform_order(len(keys), session.rng)
        inside = yield from lookup(session, peer, keys.digests[order], count, chosen.curve)
        matched = np.sort(order[inside])
        check_intersection(len(matched), session.min_cohort)
        rows, _ = keys.rows_of(matched)
        return Found(len(matched), rows, np.empty((len(rows), 0), np.uint8))


def _oprf(chosen: Choice) -> Oprf:
    if chosen.protocol == "ecdh":
        return EcdhOprf(chosen.curve)
    return Rr22(malicious=chosen.malicious, low_communication=chosen.low_communication)


def _parties(spec: JobSpec) -> bytes:
    """Roles, datasets and their versions, as bytes."""
    return msgspec.json.encode(
        sorted((item.role, item.dataset, item.commitment) for item in spec.participants)
    )


def _roles(spec: JobSpec, params: Params) -> tuple[str, ...]:
    return require_roles(spec, ROLES)


def _columns(spec: JobSpec, params: Params, role: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(own_names(params, role) + getattr(params.label_columns, role)))


def _units(spec: JobSpec, params: Params, role: str) -> int:
    return params.max_elements


def _open(session: Session, payloads: Mapping[str, bytes]) -> dict[str, Any]:
    params: Params = session.params
    said, tables = opened(payloads, params.output_to, deliver=params.deliver_to_consumer)
    return {
        "count": said.count,
        "protocol": {"name": said.protocol, "reason": said.reason},
        **dict.fromkeys(ROLES),
        **tables,
    }


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
        resumable=True,
    )
)
