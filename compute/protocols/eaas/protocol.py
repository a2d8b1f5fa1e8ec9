"""The session kind of encryption as a service: no messages pass between roles.

The node opens a session for the job's duration and meters every call of its HTTP API (compute.eaas) against
the reservation. The kind exists so that grants, reservations and receipts treat a service like any job.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import pyarrow as pa
from msgspec import Meta

from compute.errors import BadInput
from compute.protocols.participants import require_roles
from compute.protocols.protocol import JobKind, Session, Steps, register
from compute.wire.messages import JobSpec

ROLES = ("service",)


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many calls at most, and for how long the session stays open."""

    calls: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    duration_s: Annotated[int, Meta(ge=1, le=86_400)] = 3600


def start(session: Session, table: pa.Table | None) -> Steps:
    """Nothing to run: raises BadInput. A node hands jobs of this kind to its encryption service."""
    raise BadInput("a job of kind eaas has no protocol: it is a session with the node's API")


def _roles(spec: JobSpec, params: Params) -> tuple[str, ...]:
    return require_roles(spec, ROLES)


def _columns(spec: JobSpec, params: Params, role: str) -> tuple[str, ...]:
    return ()


def _units(spec: JobSpec, params: Params, role: str) -> int:
    return params.calls


def _open(session: Session, payloads: Mapping[str, bytes]) -> dict[str, Any]:
    return {}


KIND = register(
    JobKind(
        name="eaas",
        operation="eaas",
        params=Params,
        roles=_roles,
        columns=_columns,
        units=_units,
        start=start,
        open_result=_open,
        role_names=ROLES,
        unit="call",
        example={"calls": 100, "duration_s": 3600},
    )
)
