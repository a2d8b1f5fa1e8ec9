"""The server of a retrieval: holds the table, answers what it cannot see."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from compute.errors import ProtocolAbort
from compute.protocols.pir.simple import linear
from compute.protocols.pir.simple.batches import receive_words, send_words
from compute.protocols.pir.simple.database import Version, database
from compute.protocols.pir.simple.plan import HINT_ROW_BYTES
from compute.protocols.pir.simple.segments import Segment
from compute.protocols.pir.simple.shape import AnyParams, Need, Setup
from compute.protocols.protocol import Output, Part, Progress, Send, Session, Steps, receive
from compute.protocols.psi.ecdh.oprf import answer
from compute.protocols.stream import send_array


def server(session: Session, table: pa.Table) -> Steps:
    """Learns the number of queries, padded, and which hints the client has not."""
    params: AnyParams = session.params
    version = Version(session)
    held, cached = yield from database(session, version, table)
    shapes = tuple(segment.shape for segment in held.segments)
    yield Send("client", Setup(version.lineage, held.version, held.records, shapes))
    sent = yield from _hints(held.segments)
    yield Progress("pir.keys", 0, params.queries)
    yield from answer(session, "client", version.function.curve, version.scalar, params.queries)
    for segment in held.segments:
        yield from _answers(segment, params.queries)
    yield Progress("pir.answer", params.queries, params.queries)
    metrics = {
        "queries": params.queries,
        "records": held.records,
        "database_cached": int(cached),
        "hint_cached": int(not sent),
        "hint_bytes": sent,
    }
    return Output(units=params.queries, metrics=metrics)


def _hints(segments: Sequence[Segment]) -> Part[int]:
    """Send the hints that the client asks for; how many bytes that were."""
    due = {}
    for segment in segments:
        if segment.shape.data_digest:
            due[segment.shape.data_digest] = segment.data.hint
        due[segment.shape.key_digest] = segment.keys.hint
    need = yield from receive("client", Need)
    wanted = [digest for digest in due if digest in need.hints]
    if list(need.hints) != wanted:
        raise ProtocolAbort("client asked for hints that are not due")
    for digest in wanted:
        hint = due[digest]
        data = hint.data.cast("B")
        produce = lambda a, b, data=data: bytes(data[HINT_ROW_BYTES * a : HINT_ROW_BYTES * b])  # noqa: E731
        yield from send_array("client", len(hint), HINT_ROW_BYTES, produce, "pir.hint")
    return sum(due[digest].nbytes for digest in wanted)


def _answers(segment: Segment, lookups: int) -> Part[None]:
    """Answer all queries of a segment, as many in one pass over the matrix as a pass can take."""
    layout = segment.shape.layout
    count = lookups * layout.split
    for start in range(0, count, linear.BATCH):
        yield Progress("pir.answer", start // layout.split, lookups)
        batch = min(linear.BATCH, count - start)
        vectors = yield from receive_words("client", (batch, layout.columns), "pir.query")
        answers = segment.answer(vectors)
        yield from send_words("client", answers, "pir.answer")
