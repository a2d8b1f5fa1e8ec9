"""The client of a retrieval: the consumer, who alone learns what it asked for."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from accel import sm3
from compute.errors import BadInput
from compute.protocols import payload
from compute.protocols.identifiers import encode_key
from compute.protocols.pir.simple import fuse, linear, records
from compute.protocols.pir.simple.batches import receive_words, send_words
from compute.protocols.pir.simple.downloads import hints
from compute.protocols.pir.simple.linear import U8, U32
from compute.protocols.pir.simple.segments import masks
from compute.protocols.pir.simple.shape import (
    FINGERPRINT_BYTES,
    Answer,
    Answers,
    AnyParams,
    MemberParams,
    RowParams,
    SegmentShape,
    Setup,
    function,
    lineage,
    matrix_seed,
    row_label,
)
from compute.protocols.pir.simple.trust import check_setup
from compute.protocols.protocol import Output, Part, Progress, Session, Steps, receive
from compute.protocols.psi.ecdh.oprf import ask

# Words of query vectors that are prepared at once, as long as they fill one batch at least: 64 MiB.
_PREPARED_WORDS = 1 << 24


def client(session: Session) -> Steps:
    """Learns the records asked for, and how many there are."""
    params: AnyParams = session.params
    wanted = _wanted(session)
    family = lineage(session)
    setup = yield from receive("server", Setup)
    check_setup(setup, params, family, session.memory_bytes)
    downloaded, fetched = yield from hints(session.cache, setup, session.spec)

    yield Progress("pir.keys", 0, params.queries)
    secrets = yield from ask(session, "server", function(family), wanted.labels)

    cells = []
    for number, (shape, hint) in enumerate(zip(setup.segments, downloaded, strict=True)):
        cells.append((yield from _read(session, wanted, shape, hint, matrix_seed(family, number))))
    yield Progress("pir.query", params.queries, params.queries)
    opener = _Opener(params, setup, secrets)
    answers = [opener.answer(wanted.labels, cells, index) for index in range(wanted.real)]
    metrics = {
        "queries": params.queries,
        "records": setup.records,
        "hint_cached": int(not fetched),
        "hint_bytes": fetched,
    }
    return Output(sealed=payload.encode(Answers(answers)), metrics=metrics)


@dataclass(frozen=True, repr=False)  # holds what is asked: keep it out of logs
class _Wanted:
    """Labels (n, 32) of which the first ``real`` are asked for; the others are dummies, chosen at random."""

    labels: U8
    real: int


def _read(session: Session, wanted: _Wanted, shape: SegmentShape, hint: U32, seed: bytes) -> Part[U8]:
    """The cell that each label has in a segment: (n, data bytes and key bytes)."""
    layout = shape.layout
    buckets, slots = _places(wanted.labels, shape)
    selections = [
        [piece * layout.slots + int(slot) for slot in row] for row in slots for piece in range(layout.split)
    ]
    rounds = max(1, _PREPARED_WORDS // (linear.BATCH * layout.columns))
    found = np.empty((len(selections), layout.rows), np.uint8)
    for start in range(0, len(selections), rounds * linear.BATCH):
        chosen = selections[start : start + rounds * linear.BATCH]
        secrets, vectors = linear.queries(chosen, layout.columns, seed, session.rng)
        for first in range(0, len(chosen), linear.BATCH):
            yield Progress("pir.query", (start + first) // layout.split, len(wanted.labels))
            batch = vectors[first : first + linear.BATCH]
            yield from send_words("server", batch, "pir.query")
            responses = yield from receive_words("server", (layout.rows, len(batch)), "pir.answer")
            found[start + first : start + first + len(batch)] = linear.recover(
                secrets[first : first + len(batch)], responses, hint
            )
    data = _cells(found[:, : layout.data_rows], buckets, shape, layout.data_bytes)
    keys = _cells(found[:, layout.data_rows :], buckets, shape, layout.key_bytes)
    return np.concatenate([data, keys], axis=1)


def _cells(found: U8, buckets: fuse.I64, shape: SegmentShape, width: int) -> U8:
    """Each label's bytes: its bucket's rows, all pieces one after the other."""
    pieces = found.reshape(len(buckets), shape.split, shape.stack, -1)
    cells: U8 = pieces[np.arange(len(buckets)), :, buckets].reshape(len(buckets), -1)[:, :width]
    return cells


def _places(labels: U8, shape: SegmentShape) -> tuple[fuse.I64, fuse.I64]:
    """Bucket (n,) and slots (n, 3 or 1) of every label in a segment."""
    if shape.keyed:
        places = fuse.places_of(labels, shape.filter_seed, shape.salts, shape.stack, shape.layout.filter)
        return places.buckets, places.slots
    # A row beyond the table still needs a query that looks like one; which it reads does not matter.
    rows = np.array([int.from_bytes(row.tobytes()[-8:], "big") % shape.records for row in labels], np.int64)
    return rows % shape.stack, (rows // shape.stack)[:, None]


@dataclass(frozen=True, repr=False)
class _Opener:
    params: AnyParams
    setup: Setup
    secrets: U8

    def answer(self, labels: U8, cells: list[U8], index: int) -> Answer:
        """What one query found."""
        if isinstance(self.params, MemberParams):
            mask = self._mask(index, FINGERPRINT_BYTES)
            return Answer(bool((cells[0][index] == mask).all()))
        for shape, found in zip(self.setup.segments, cells, strict=True):
            record = self._open(found[index], shape, index)
            if record is not None:
                if records.parse(record, self.params.columns) is None:
                    return Answer(False, damaged=True)
                return Answer(True, msgspec.Raw(record))
        # A server that spoils one record must not see whether it was the one: the protocol goes on and only
        # `open_result` complains.
        row = int.from_bytes(labels[index].tobytes(), "big")
        return Answer(False, damaged=isinstance(self.params, RowParams) and row < self.setup.records)

    def _open(self, cell: U8, shape: SegmentShape, index: int) -> bytes | None:
        masked = cell[shape.data_bytes :]
        key = masked + self._mask(index, records.KEY_BYTES)
        return records.open_sealed(cell[: shape.data_bytes].tobytes(), key.tobytes())

    def _mask(self, index: int, width: int) -> U8:
        mask: U8 = masks(self.secrets[index : index + 1], self.setup.version, width)[0]
        return mask


def _wanted(session: Session) -> _Wanted:
    """The labels asked for, and dummies up to the number that was signed.

    Raises BadInput if the job's secret state is missing or does not fit.
    """
    params: AnyParams = session.params
    try:
        state = session.secrets["queries"]
    except KeyError as error:
        raise BadInput("this job's queries are not here: they were kept where the job was signed") from error
    if isinstance(params, RowParams):
        labels = [row_label(row) for row in msgspec.json.decode(state, type=list[int])]
    else:
        keywords = msgspec.json.decode(state, type=list[list[str]])
        digests = sm3.digest_many([encode_key(parts, params.normalise) for parts in keywords])
        labels = [row.tobytes() for row in digests]
    if not 1 <= len(labels) <= params.queries:
        raise BadInput("the job was signed for another number of queries")
    dummies = [session.rng(32) for _ in range(params.queries - len(labels))]
    rows = np.frombuffer(b"".join(labels + dummies), np.uint8).reshape(-1, 32)
    return _Wanted(rows, len(labels))
