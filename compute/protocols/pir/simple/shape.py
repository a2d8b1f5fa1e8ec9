"""Parameters, messages and results of retrieval: what server and client must agree on."""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec
from msgspec import Meta

from compute.protocols.identifiers import KeyColumns, Normalisation
from compute.protocols.pir.simple import fuse, records
from compute.protocols.pir.simple.plan import MAX_RECORDS, MAX_SPLIT, MAX_STACK, Layout
from compute.protocols.protocol import Message, Session
from compute.protocols.psi.ecdh.oprf import Function, context
from compute.wire.messages import Name

MAX_QUERIES = 256
MAX_RECORD_BYTES = 1 << 16
# 2^-48 per absent key: it reads bytes that look random.
FINGERPRINT_BYTES = 6
LADDER = (1, 2, 4, 8, 16, 32, 64, 128, 256)
Columns = Annotated[tuple[Name, ...], Meta(min_length=1, max_length=256)]
QueryCount = Annotated[int, Meta(ge=1, le=MAX_QUERIES)]
RecordBytes = Annotated[int, Meta(ge=64, le=MAX_RECORD_BYTES)]
Ladder = Annotated[tuple[QueryCount, ...], Meta(min_length=1, max_length=32)]
Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all retrievals declare: ``queries``, a step of ``pad_queries_to``, is what the server sees."""

    queries: QueryCount
    pad_queries_to: Ladder = LADDER

    def __post_init__(self) -> None:
        if list(self.pad_queries_to) != sorted(set(self.pad_queries_to)):
            raise ValueError("pad_queries_to: numbers must ascend")
        if self.queries not in self.pad_queries_to:
            raise ValueError("queries must be one of pad_queries_to")


class RowParams(Params, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters of retrieval by row number; which rows is the client's secret."""

    columns: Columns
    max_record_bytes: RecordBytes = 4096


class KeywordParams(Params, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters of retrieval by keyword; which keywords is the client's secret."""

    columns: Columns
    key: KeyColumns
    normalise: Normalisation = Normalisation()
    max_record_bytes: RecordBytes = 4096


class MemberParams(Params, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters of a membership test; which keywords is the client's secret."""

    key: KeyColumns
    normalise: Normalisation = Normalisation()


AnyParams = RowParams | KeywordParams | MemberParams


class SegmentShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One matrix of a database. Digests are SHA-256 of the hints; ``data_digest`` is empty without data."""

    records: Annotated[int, Meta(ge=1, le=MAX_RECORDS)]
    data_bytes: Annotated[int, Meta(ge=0, le=2 * MAX_RECORD_BYTES)]
    key_bytes: Annotated[int, Meta(ge=1, le=records.KEY_BYTES)]
    keyed: bool
    stack: Annotated[int, Meta(ge=1, le=MAX_STACK)]
    split: Annotated[int, Meta(ge=1, le=MAX_SPLIT)]
    filter_seed: Annotated[bytes, Meta(max_length=fuse.SEED_BYTES)]
    salts: Annotated[bytes, Meta(max_length=fuse.SALT_BYTES * MAX_STACK)]
    data_digest: Annotated[bytes, Meta(max_length=32)]
    key_digest: Digest

    @property
    def layout(self) -> Layout:
        """The shape as `plan` has it."""
        return Layout(self.records, self.data_bytes, self.key_bytes, self.keyed, self.stack, self.split)


class Setup(Message, frozen=True, tag="pir.setup"):
    """The public shape of the database: its first segment, and what changed since that was made.

    ``lineage`` is what the server takes the database to be: sides that disagree would find nothing.
    """

    lineage: Digest
    version: Digest
    records: Annotated[int, Meta(ge=1, le=MAX_RECORDS)]
    segments: Annotated[tuple[SegmentShape, ...], Meta(min_length=1, max_length=2)]


class Need(Message, frozen=True, tag="pir.need"):
    """Which hints the client has not: digests in the order of `digests`."""

    hints: Annotated[tuple[Digest, ...], Meta(max_length=4)]


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One query's outcome; ``record`` is JSON as the server sealed it, checked by `records.parse`."""

    found: bool
    record: msgspec.Raw = msgspec.Raw(b"[]")
    damaged: bool = False


class Answers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the client ends with, in the order asked."""

    answers: list[Answer]


def lineage(session: Session) -> bytes:
    """What all versions of one database share; both sides compute it from what was signed.

    The dataset, the kind and everything that decides what a record is; not the job, not the version.
    """
    params: AnyParams = session.params
    dataset = next(part.dataset for part in session.spec.participants if part.role == "server")
    described = [
        session.spec.kind,
        dataset,
        getattr(params, "columns", ()),
        getattr(params, "key", ()),
        getattr(params, "normalise", None),
        getattr(params, "max_record_bytes", 0),
    ]
    return hashlib.sha256(b"liutong/pir/lineage/v3\0" + msgspec.json.encode(described)).digest()


def function(family: bytes) -> Function:
    """The public half of the oblivious function of all versions; each has a secret scalar of its own."""
    return Function("curve25519", context("curve25519", b"pir", family))


def matrix_seed(family: bytes, number: int) -> bytes:
    """The seed of segment ``number``'s A: from public facts, so that neither side can choose an A."""
    return hashlib.sha256(b"liutong/pir/matrix/v2\0" + family + bytes([number])).digest()


def row_label(row: int) -> bytes:
    """The label of a row number."""
    return row.to_bytes(32, "big")
