"""The client of a retrieval: the consumer, who alone learns what it asked for."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

import msgspec

from compute.errors import BadInput, ProtocolAbort
from compute.protocols import payload
from compute.protocols.identifiers import encode_key
from compute.protocols.pir.simple import fuse, linear, oprf, records
from compute.protocols.pir.simple.shape import (
    Answer,
    Answers,
    KeywordParams,
    RowParams,
    Setup,
    columns_for,
    row_label,
    slices,
    words,
)
from compute.protocols.protocol import Output, Progress, Session, Steps, receive
from compute.protocols.sets import domain_separation
from compute.protocols.stream import receive_array, receive_points, send_array


def client(session: Session) -> Steps:
    """Learns the records asked for, and how many there are."""
    params: RowParams | KeywordParams = session.params
    wanted = _wanted(session)
    setup = yield from receive("server", Setup)
    _check_setup(setup, params)
    hint = yield from receive_array("server", setup.width, linear.HINT_ROW_BYTES, "pir.hint")
    if not hmac.compare_digest(hashlib.sha256(hint).digest(), setup.hint_digest):
        raise ProtocolAbort("server sent a hint that is not the one it announced")
    downloaded = words(hint).reshape(setup.width, -1)

    dst = domain_separation(b"PIR", session.binding)
    blinded = [oprf.blind(label, dst, session.rng) for label in wanted]
    points = b"".join(item.point for item in blinded)
    yield from send_array("server", len(blinded), 32, slices(points, 32), "pir.keys")
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
        yield from send_array("server", setup.columns, 4, slices(vector, 4), "pir.query")
        response = words((yield from receive_array("server", setup.width, 4, "pir.answer")))
        sealed = linear.recover(query, response, downloaded)
        record = records.open_sealed(sealed, secrets[number], session.binding)
        answers.append(_answer(record, setup, params, wanted[number]))
    yield Progress("pir.query", len(wanted), len(wanted))
    metrics = {"queries": len(wanted), "records": setup.records}
    return Output(sealed=payload.encode(Answers(answers)), metrics=metrics)


def _check_setup(setup: Setup, params: RowParams | KeywordParams) -> None:
    keyword = isinstance(params, KeywordParams)
    if setup.columns != columns_for(setup.records, params):
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
        labels = [row_label(row) for row in msgspec.json.decode(state, type=list[int])]
    if len(labels) != params.queries:
        raise BadInput("the job was signed for another number of queries")
    return labels
