"""Private information retrieval by row or by keyword: SimplePIR over records under obliviously given keys.

    server → client   Setup(records, columns, bytes, filter seed, digest of H), then H
    client → server   {r·H(label)} per query
    server → client   {s·r·H(label)}          the client now has its labels' record keys
    client → server   per query: q;           server → client: a

By row a record is a column of the database. By keyword the ciphertexts are the values of a binary fuse map
keyed by F(keyword): a query selects three columns. Absent or present, the messages are the same in number
and size. Leakage: README.md.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Meta

from accel import curve25519
from compute.errors import BadInput, BadMessage, CohortTooSmall, ProtocolAbort
from compute.protocols import payload
from compute.protocols.identifiers import KeyColumns, Normalisation, encode_key, keys_of
from compute.protocols.participants import require_roles
from compute.protocols.pir.simple import fuse, linear, oprf, records
from compute.protocols.protocol import (
    JobKind,
    Message,
    Output,
    Progress,
    Rng,
    Send,
    Session,
    Steps,
    receive,
    register,
)
from compute.protocols.psi.ecdh.protocol import domain_separation
from compute.protocols.stream import receive_array, receive_points, send_array
from compute.wire.messages import JobSpec, Name

ROLES = ("server", "client")
MAX_QUERIES = 256
MAX_RECORD_BYTES = 1 << 14
Columns = Annotated[tuple[Name, ...], Meta(min_length=1, max_length=256)]
QueryCount = Annotated[int, Meta(ge=1, le=MAX_QUERIES)]
RecordBytes = Annotated[int, Meta(ge=64, le=MAX_RECORD_BYTES)]


class RowParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of retrieval by row number; which rows is the client's secret."""

    columns: Columns
    queries: QueryCount
    max_record_bytes: RecordBytes = 4096


class KeywordParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of retrieval by keyword; which keywords is the client's secret."""

    columns: Columns
    key: KeyColumns
    queries: QueryCount
    normalise: Normalisation = Normalisation()
    max_record_bytes: RecordBytes = 4096


class Setup(Message, frozen=True, tag="pir.setup"):
    """The public shape of the database, and which hint belongs to it."""

    records: Annotated[int, Meta(ge=0, le=linear.MAX_COLUMNS)]
    columns: Annotated[int, Meta(ge=1, le=linear.MAX_COLUMNS)]
    width: Annotated[int, Meta(ge=records.TAG_BYTES + records.SIZE_STEP, le=2 * MAX_RECORD_BYTES)]
    filter_seed: Annotated[bytes, Meta(max_length=fuse.SEED_BYTES)]
    hint_digest: Annotated[bytes, Meta(min_length=32, max_length=32)]


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One query's outcome."""

    found: bool
    records: list[dict[str, Any]]
    damaged: bool = False


class Answers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the client ends with, in the order asked."""

    answers: list[Answer]


@dataclass(frozen=True, repr=False)  # holds records: keep it out of logs
class _Database:
    matrix: linear.U8
    records: int
    filter_seed: bytes


def start(session: Session, table: pa.Table | None) -> Steps:
    """The steps of ``server`` with its table, or of ``client`` without one."""
    if session.role == "client":
        return _client(session)
    if table is None:
        raise BadInput("the server of a retrieval needs a table")
    return _server(session, table)


def _server(session: Session, table: pa.Table) -> Steps:
    """Learns the number of queries."""
    params: RowParams | KeywordParams = session.params
    scalar = curve25519.random_scalar(session.rng)
    yield Progress("pir.encode", 0, table.num_rows)
    database = _encode(session, table, scalar)
    yield Progress("pir.hint", 0, 1)
    hint = linear.hint(database.matrix, linear.matrix_seed(session.binding)).astype("<u4").tobytes()
    width, columns = database.matrix.shape
    digest = hashlib.sha256(hint).digest()
    yield Send("client", Setup(database.records, columns, width, database.filter_seed, digest))

    row = linear.HINT_ROW_BYTES
    yield from send_array("client", width, row, _slices(hint, row), "pir.hint")
    blinded = yield from receive_points("client", [params.queries], "pir.keys")
    evaluated = curve25519.scalar_mult_many(blinded, scalar)
    yield from send_array("client", params.queries, 32, _slices(evaluated, 32), "pir.keys")
    for number in range(params.queries):
        yield Progress("pir.answer", number, params.queries)
        data = yield from receive_array("client", columns, 4, "pir.query")
        answer = linear.answer(database.matrix, _words(data)).astype("<u4").tobytes()
        yield from send_array("client", width, 4, _slices(answer, 4), "pir.answer")
    yield Progress("pir.answer", params.queries, params.queries)
    return Output(units=params.queries, metrics={"queries": params.queries, "records": database.records})


def _client(session: Session) -> Steps:
    """Learns the records asked for, and how many there are."""
    params: RowParams | KeywordParams = session.params
    wanted = _wanted(session)
    setup = yield from receive("server", Setup)
    _check_setup(setup, params)
    hint = yield from receive_array("server", setup.width, linear.HINT_ROW_BYTES, "pir.hint")
    if not hmac.compare_digest(hashlib.sha256(hint).digest(), setup.hint_digest):
        raise ProtocolAbort("server sent a hint that is not the one it announced")
    downloaded = _words(hint).reshape(setup.width, -1)

    dst = domain_separation(b"PIR", session.binding)
    blinded = [oprf.blind(label, dst, session.rng) for label in wanted]
    points = b"".join(item.point for item in blinded)
    yield from send_array("server", len(blinded), 32, _slices(points, 32), "pir.keys")
    evaluated = yield from receive_points("server", [len(blinded)], "pir.keys")
    secrets = [
        oprf.unblind(item, evaluated[32 * index : 32 * index + 32]) for index, item in enumerate(blinded)
    ]

    seed = linear.matrix_seed(session.binding)
    answers = []
    for number, query in enumerate(linear.queries(len(wanted), setup.columns, seed, session.rng)):
        yield Progress("pir.query", number, len(wanted))
        selected = _positions(setup, params, wanted[number], secrets[number])
        vector = query.select(selected).astype("<u4").tobytes()
        yield from send_array("server", setup.columns, 4, _slices(vector, 4), "pir.query")
        response = _words((yield from receive_array("server", setup.width, 4, "pir.answer")))
        sealed = linear.recover(query, response, downloaded)
        record = records.open_sealed(sealed, secrets[number], session.binding)
        answers.append(_answer(record, setup, params, wanted[number]))
    yield Progress("pir.query", len(wanted), len(wanted))
    metrics = {"queries": len(wanted), "records": setup.records}
    return Output(sealed=payload.encode(Answers(answers)), metrics=metrics)


def _encode(session: Session, table: pa.Table, scalar: bytes) -> _Database:
    params: RowParams | KeywordParams = session.params
    if isinstance(params, KeywordParams):
        keys = keys_of(table, params.key, params.normalise)
        labels, groups = list(keys.encoded), list(keys.rows)
    else:
        labels = [_row_label(row) for row in range(table.num_rows)]
        groups = [(row,) for row in range(table.num_rows)]
    floor = max(1, session.min_cohort)
    if len(labels) < floor:
        raise CohortTooSmall(
            f"the table has {len(labels)} records, fewer than the floor of {floor}", floor=floor
        )
    plain = records.row_records(table, params.columns, groups, params.max_record_bytes)
    size = records.padded_bytes(plain)
    linear.check_columns(_columns_for(len(labels), params))
    secrets = oprf.evaluate(labels, domain_separation(b"PIR", session.binding), scalar)
    each = [secrets[at : at + 32] for at in range(0, len(secrets), 32)]
    sealed = records.matrix(
        [
            records.seal(record, size, secret, session.binding)
            for record, secret in zip(plain, each, strict=True)
        ]
    )
    filter_seed = b""
    if isinstance(params, KeywordParams):
        filter_seed, sealed = fuse.build(each, sealed, session.rng)
    return _Database(np.ascontiguousarray(sealed.T), len(labels), filter_seed)


def _columns_for(count: int, params: RowParams | KeywordParams) -> int:
    return fuse.layout(count).slots if isinstance(params, KeywordParams) else count


def _check_setup(setup: Setup, params: RowParams | KeywordParams) -> None:
    keyword = isinstance(params, KeywordParams)
    if setup.columns != _columns_for(setup.records, params):
        raise ProtocolAbort("server announced another number of columns than its records need")
    if len(setup.filter_seed) != (fuse.SEED_BYTES if keyword else 0):
        raise ProtocolAbort("server announced a filter of another kind")
    most = params.max_record_bytes + records.LENGTH_BYTES + records.SIZE_STEP + records.TAG_BYTES
    if setup.width > most or (setup.width - records.TAG_BYTES) % records.SIZE_STEP:
        raise ProtocolAbort("server announced records of an impossible size")


def _positions(setup: Setup, params: RowParams | KeywordParams, label: bytes, secret: bytes) -> Sequence[int]:
    if isinstance(params, KeywordParams):
        return fuse.layout(setup.records).positions(secret, setup.filter_seed)
    # A row beyond the table still needs a query that looks like one; which column does not matter.
    return (int.from_bytes(label, "big") % setup.columns,)


def _answer(record: bytes | None, setup: Setup, params: RowParams | KeywordParams, label: bytes) -> Answer:
    # A server that spoils one record must not see whether it was the one: the protocol goes on and only
    # `open_result` complains.
    if record is not None:
        rows = records.parse(record, params.columns)
        return Answer(False, [], damaged=True) if rows is None else Answer(True, rows)
    present = isinstance(params, RowParams) and int.from_bytes(label, "big") < setup.records
    return Answer(False, [], damaged=present)


def _wanted(session: Session) -> list[bytes]:
    """The labels asked for; raises BadInput if the job's secret state is missing or does not fit."""
    params: RowParams | KeywordParams = session.params
    try:
        state = session.secrets["queries"]
    except KeyError as error:
        raise BadInput("this job's queries are not here: they were kept where the job was signed") from error
    if isinstance(params, KeywordParams):
        keywords = msgspec.json.decode(state, type=list[list[str]])
        labels = [encode_key(parts, params.normalise) for parts in keywords]
    else:
        labels = [_row_label(row) for row in msgspec.json.decode(state, type=list[int])]
    if len(labels) != params.queries:
        raise BadInput("the job was signed for another number of queries")
    return labels


def _slices(data: bytes, width: int) -> Callable[[int, int], bytes]:
    return lambda first, last: data[width * first : width * last]


def _row_label(row: int) -> bytes:
    return row.to_bytes(8, "big")


def _words(data: bytes) -> linear.U32:
    return np.frombuffer(data, dtype="<u4").astype(np.uint32)


def _prepare_rows(params: dict[str, Any], rng: Rng) -> tuple[dict[str, Any], dict[str, bytes]]:
    final = dict(params)
    rows = _take(final, "rows", list[Annotated[int, Meta(ge=0, le=(1 << 32) - 1)]])
    return final | {"queries": len(rows)}, {"queries": msgspec.json.encode(rows)}


def _prepare_keywords(params: dict[str, Any], rng: Rng) -> tuple[dict[str, Any], dict[str, bytes]]:
    final = dict(params)
    keywords = _take(final, "keywords", list[list[str]])
    parts = len(final.get("key", ()))
    for number, keyword in enumerate(keywords):
        if len(keyword) != parts:
            raise BadInput(f"keywords: number {number} has {len(keyword)} parts, the key has {parts}")
        # An empty part or a NUL is an error of the user: say so before anything is signed.
        encode_key(keyword, Normalisation())
    return final | {"queries": len(keywords)}, {"queries": msgspec.json.encode(keywords)}


def _take(params: dict[str, Any], name: str, wanted: type[Any]) -> list[Any]:
    try:
        values: list[Any] = msgspec.convert(params.pop(name, None), type=wanted, strict=True)
    except msgspec.ValidationError as error:
        raise BadInput(f"{name}: {error}") from error
    if not 1 <= len(values) <= MAX_QUERIES:
        raise BadInput(f"{name}: 1 to {MAX_QUERIES} queries in a job")
    return values


def _roles(spec: JobSpec, params: Any) -> tuple[str, ...]:
    return require_roles(spec, ROLES, "client")


def _columns(spec: JobSpec, params: RowParams | KeywordParams, role: str) -> tuple[str, ...]:
    if role == "client":
        return ()
    key = params.key if isinstance(params, KeywordParams) else ()
    return tuple(dict.fromkeys((*key, *params.columns)))


def _units(spec: JobSpec, params: RowParams | KeywordParams, role: str) -> int:
    return 0 if role == "client" else params.queries


def _open(session: Session, payloads: Mapping[str, bytes]) -> dict[str, Any]:
    answers = payload.decode(Answers, payloads, "client").answers
    if any(answer.damaged for answer in answers):
        raise BadMessage("the server delivered a record that does not open")
    return {"answers": [{"found": answer.found, "records": answer.records} for answer in answers]}


ROW = register(
    JobKind(
        name="pir.row",
        operation="pir",
        params=RowParams,
        roles=_roles,
        columns=_columns,
        units=_units,
        start=start,
        open_result=_open,
        prepare=_prepare_rows,
        consumer_role="client",
        role_names=ROLES,
        unit="query",
        example={"columns": ["mean radius", "mean texture"], "rows": [3, 17]},
    )
)

KEYWORD = register(
    JobKind(
        name="pir.keyword",
        operation="pir",
        params=KeywordParams,
        roles=_roles,
        columns=_columns,
        units=_units,
        start=start,
        open_result=_open,
        prepare=_prepare_keywords,
        consumer_role="client",
        role_names=ROLES,
        unit="query",
        example={
            "columns": ["mean radius"],
            "key": ["pid"],
            "keywords": [["P-0007"], ["P-0008"]],
            "normalise": {"trim": True, "case": "keep"},
        },
    )
)
