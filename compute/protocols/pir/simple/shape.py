"""Parameters, messages and results of retrieval: what server and client must agree on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from compute.protocols.identifiers import KeyColumns, Normalisation
from compute.protocols.pir.simple import fuse, linear, records
from compute.protocols.protocol import Message
from compute.wire.messages import Name

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


def columns_for(count: int, params: RowParams | KeywordParams) -> int:
    """How many columns a database of so many records has."""
    return fuse.layout(count).slots if isinstance(params, KeywordParams) else count


def row_label(row: int) -> bytes:
    """The label of a row number."""
    return row.to_bytes(8, "big")


def words(data: bytes) -> linear.U32:
    """Words modulo 2^32 as they travel."""
    return np.frombuffer(data, dtype="<u4").astype(np.uint32)


def slices(data: bytes, width: int) -> Callable[[int, int], bytes]:
    """What `stream.send_array` asks for: blocks of an array that exists already."""
    return lambda first, last: data[width * first : width * last]
