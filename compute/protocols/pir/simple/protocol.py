"""Private information retrieval by row, by keyword, and of membership: SimplePIR over records under keys that
are given obliviously.

    server → client   Setup(version, segments: shapes and digests of hints)
    client → server   Need(digests of hints it has not)
    server → client   those hints
    client ↔ server   F of a label per query (`psi.ecdh.oprf`)    the client now has what opens its records
    client → server   per segment, 16 at a time: queries;  server → client: answers

A segment is a byte matrix; the second one, if there is one, holds what changed since the first was made, and
every query goes to both. Absent or present, real or dummy, the messages are the same in number and size.
Leakage: README.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import pyarrow as pa
from msgspec import Meta

from compute.errors import BadInput, BadMessage
from compute.protocols import payload
from compute.protocols.identifiers import Normalisation, encode_key
from compute.protocols.participants import require_roles
from compute.protocols.pir.simple import records
from compute.protocols.pir.simple.client import client
from compute.protocols.pir.simple.server import server
from compute.protocols.pir.simple.shape import (
    LADDER,
    MAX_QUERIES,
    Answers,
    AnyParams,
    KeywordParams,
    MemberParams,
    RowParams,
)
from compute.protocols.protocol import JobKind, Rng, Session, Steps, register
from compute.wire.messages import JobSpec

ROLES = ("server", "client")


def start(session: Session, table: pa.Table | None) -> Steps:
    """The steps of ``server`` with its table, or of ``client`` without one."""
    if session.role == "client":
        return client(session)
    if table is None:
        raise BadInput("the server of a retrieval needs a table")
    return server(session, table)


def _prepare_rows(params: dict[str, Any], rng: Rng) -> tuple[dict[str, Any], dict[str, bytes]]:
    final = dict(params)
    rows = _take(final, "rows", list[Annotated[int, Meta(ge=0, le=(1 << 32) - 1)]])
    return _padded(final, len(rows)), {"queries": msgspec.json.encode(rows)}


def _prepare_keywords(params: dict[str, Any], rng: Rng) -> tuple[dict[str, Any], dict[str, bytes]]:
    final = dict(params)
    keywords = _take(final, "keywords", list[list[str]])
    parts = len(final.get("key", ()))
    for number, keyword in enumerate(keywords):
        if len(keyword) != parts:
            raise BadInput(f"keywords: number {number} has {len(keyword)} parts, the key has {parts}")
        # An empty part or a NUL is an error of the user: say so before anything is signed.
        encode_key(keyword, _normalisation(final))
    return _padded(final, len(keywords)), {"queries": msgspec.json.encode(keywords)}


def _take(params: dict[str, Any], name: str, wanted: type[Any]) -> list[Any]:
    try:
        values: list[Any] = msgspec.convert(params.pop(name, None), type=wanted, strict=True)
    except msgspec.ValidationError as error:
        raise BadInput(f"{name}: {error}") from error
    if not 1 <= len(values) <= MAX_QUERIES:
        raise BadInput(f"{name}: 1 to {MAX_QUERIES} queries in a job")
    return values


def _normalisation(params: dict[str, Any]) -> Normalisation:
    try:
        return msgspec.convert(params.get("normalise", {}), type=Normalisation, strict=True)
    except msgspec.ValidationError as error:
        raise BadInput(f"normalise: {error}") from error


def _padded(params: dict[str, Any], real: int) -> dict[str, Any]:
    """The number of queries that everybody may see: the next step of the ladder."""
    try:
        ladder = msgspec.convert(params.get("pad_queries_to", LADDER), type=tuple[int, ...], strict=True)
    except msgspec.ValidationError as error:
        raise BadInput(f"pad_queries_to: {error}") from error
    steps = [step for step in ladder if step >= real]
    if not steps:
        raise BadInput(f"pad_queries_to: no step for {real} queries")
    return params | {"queries": min(steps)}


def _roles(spec: JobSpec, params: Any) -> tuple[str, ...]:
    return require_roles(spec, ROLES, "client")


def _columns(spec: JobSpec, params: AnyParams, role: str) -> tuple[str, ...]:
    if role == "client":
        return ()
    key = () if isinstance(params, RowParams) else params.key
    columns = () if isinstance(params, MemberParams) else params.columns
    return tuple(dict.fromkeys((*key, *columns)))


def _units(spec: JobSpec, params: AnyParams, role: str) -> int:
    return 0 if role == "client" else params.queries


def _open(session: Session, payloads: Mapping[str, bytes]) -> dict[str, Any]:
    answers = payload.decode(Answers, payloads, "client").answers
    if any(answer.damaged for answer in answers):
        raise BadMessage("the server delivered a record that does not open")
    if isinstance(session.params, MemberParams):
        return {"answers": [answer.found for answer in answers]}
    found = []
    room = session.memory_bytes
    for answer in answers:
        rows = records.parse(bytes(answer.record), session.params.columns)
        if rows is None:
            raise BadMessage("the result of client is malformed")
        room -= records.named_bytes(len(rows), session.params.columns)
        if room < 0:
            # A record of 64 KiB may hold 16,384 rows, and each has the names of all columns when it is shown.
            raise BadInput(
                f"the records have so many rows that with the names of their columns they take more than "
                f"{session.memory_bytes} bytes: ask for fewer at once, or for fewer columns"
            )
        found.append({"found": answer.found, "records": records.named(rows, session.params.columns)})
    return {"answers": found}


def _kind(name: str, params: type[Any], prepare: Any, example: dict[str, Any]) -> JobKind:
    return register(
        JobKind(
            name=name,
            operation="pir",
            params=params,
            roles=_roles,
            columns=_columns,
            units=_units,
            start=start,
            open_result=_open,
            prepare=prepare,
            consumer_role="client",
            role_names=ROLES,
            unit="query",
            example=example,
        )
    )


ROW = _kind(
    "pir.row", RowParams, _prepare_rows, {"columns": ["mean radius", "mean texture"], "rows": [3, 17]}
)
KEYWORD = _kind(
    "pir.keyword",
    KeywordParams,
    _prepare_keywords,
    {
        "columns": ["mean radius"],
        "key": ["pid"],
        "keywords": [["P-0007"], ["P-0008"]],
        "normalise": {"trim": True, "case": "keep"},
    },
)
MEMBER = _kind(
    "pir.member",
    MemberParams,
    _prepare_keywords,
    {"key": ["pid"], "keywords": [["P-0007"]], "normalise": {"trim": True, "case": "keep"}},
)
