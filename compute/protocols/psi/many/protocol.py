"""The intersection of three to ten sets: ``p1`` … ``pN``, any of whom may get it.

    each ↔ each          Hello (`agreement`): sizes, limits, a key per pair from which shares of zero come
    per wave of buckets:
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
from typing import Any

import numpy as np
import pyarrow as pa

from compute.errors import BadInput
from compute.protocols import payload
from compute.protocols.identifiers import column
from compute.protocols.participants import require_roles
from compute.protocols.protocol import JobKind, Output, Session, Steps, register
from compute.protocols.psi.buckets import collect
from compute.protocols.psi.delivery import Matches, longest_count, opened, padded, taken
from compute.protocols.psi.many.agreement import greet
from compute.protocols.psi.many.compare import Side, find
from compute.protocols.psi.many.params import MAX_PARTIES, Params
from compute.protocols.psi.waves import Arrays
from compute.protocols.sets import check_size
from compute.wire.messages import JobSpec


def start(session: Session, table: pa.Table | None) -> Steps:
    """The steps of any of the parties."""
    if table is None:
        raise BadInput("a role of psi.many needs a table")
    params: Params = session.params
    source = yield from collect(session, table, params.keys[session.role], params.normalise)
    check_size(session.role, source.count, params.max_elements, session.min_cohort)
    greeting = yield from greet(session, source)
    side = Side(session, params, source, greeting)
    found = yield from find(side)
    counts = {role: hello.count for role, hello in greeting.hellos.items()}
    metrics = {
        "elements": source.count,
        "peer_elements": sum(counts.values()) - source.count,
        "parties": len(counts),
        "rows_repeated": source.repeated,
        "rows_without_key": source.without_key,
        "rows_unfit": source.unfit,
        "buckets": greeting.plan.buckets,
    }
    if found is None:
        return Output(units=source.count, metrics=metrics)
    rows = _rows(table, side, found)
    count = sum(len(some) for wave in found for some in wave)
    sealed = _sealed(count, rows, params)
    return Output(sealed=sealed, rows=rows, units=source.count, metrics=metrics)


def _rows(table: pa.Table, side: Side, found: list[Arrays]) -> pa.Table:
    """Matching rows in the order of the table: the same on every run."""
    pieces = [np.empty(0, np.int64)]
    for wave, matched in enumerate(found):
        for keys, some in zip(side.keys_of(wave), matched, strict=True):
            pieces.append(keys.rows_of(some)[0])
    names = side.params.columns(side.session.role)
    own = pa.table({name: column(table, name) for name in names})
    return taken(own, np.sort(np.concatenate(pieces)))


def _sealed(count: int, rows: pa.Table, params: Params) -> bytes:
    """The payload for the consumer; without rows its length does not tell the count."""
    told = Matches(count, protocol=params.oprf.name)
    if not params.deliver_to_consumer:
        return padded(told, longest_count(told))
    return payload.encode(
        Matches(count, tuple(rows.column_names), payload.plain_rows(rows), protocol=told.protocol)
    )


def _roles(spec: JobSpec, params: Params) -> tuple[str, ...]:
    return require_roles(spec, params.roles)


def _columns(spec: JobSpec, params: Params, role: str) -> tuple[str, ...]:
    return params.columns(role)


def _units(spec: JobSpec, params: Params, role: str) -> int:
    return params.max_elements


def _open(session: Session, payloads: Mapping[str, bytes]) -> dict[str, Any]:
    params: Params = session.params
    said, tables = opened(payloads, params.output_to, deliver=params.deliver_to_consumer)
    return {"count": said.count, **dict.fromkeys(params.roles), **tables}


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
        resumable=True,
    )
)
