"""The server of a retrieval: holds the table, answers what it cannot see."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from accel import curve25519
from compute.errors import CohortTooSmall
from compute.protocols.identifiers import keys_of
from compute.protocols.pir.simple import fuse, linear, oprf, records
from compute.protocols.pir.simple.shape import (
    KeywordParams,
    RowParams,
    Setup,
    columns_for,
    row_label,
    slices,
    words,
)
from compute.protocols.protocol import Output, Progress, Send, Session, Steps
from compute.protocols.sets import domain_separation
from compute.protocols.stream import receive_array, receive_points, send_array


@dataclass(frozen=True, repr=False)  # holds records: keep it out of logs
class _Database:
    matrix: linear.U8
    records: int
    filter_seed: bytes


def server(session: Session, table: pa.Table) -> Steps:
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
    yield from send_array("client", width, row, slices(hint, row), "pir.hint")
    blinded = yield from receive_points("client", [params.queries], "pir.keys")
    evaluated = curve25519.scalar_mult_many(blinded, scalar)
    yield from send_array("client", params.queries, 32, slices(evaluated, 32), "pir.keys")
    for number in range(params.queries):
        yield Progress("pir.answer", number, params.queries)
        data = yield from receive_array("client", columns, 4, "pir.query")
        answer = linear.answer(database.matrix, words(data)).astype("<u4").tobytes()
        yield from send_array("client", width, 4, slices(answer, 4), "pir.answer")
    yield Progress("pir.answer", params.queries, params.queries)
    return Output(units=params.queries, metrics={"queries": params.queries, "records": database.records})


def _encode(session: Session, table: pa.Table, scalar: bytes) -> _Database:
    params: RowParams | KeywordParams = session.params
    if isinstance(params, KeywordParams):
        keys = keys_of(table, params.key, params.normalise)
        labels, groups = list(keys.encoded), list(keys.rows)
    else:
        labels = [row_label(row) for row in range(table.num_rows)]
        groups = [(row,) for row in range(table.num_rows)]
    floor = max(1, session.min_cohort)
    if len(labels) < floor:
        raise CohortTooSmall(
            f"the table has {len(labels)} records, fewer than the floor of {floor}", floor=floor
        )
    plain = records.row_records(table, params.columns, groups, params.max_record_bytes)
    size = records.padded_bytes(plain)
    linear.check_columns(columns_for(len(labels), params))
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
