"""What a role seals for the consumer: JSON bytes with numbers as they are, read back strictly."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from compute.errors import BadMessage

T = TypeVar("T")
_NO_FRACTION = ".000000"  # which ISO 8601 leaves out


def encode(value: Any) -> bytes:
    """JSON of plain values and structs; floats survive exactly."""
    return msgspec.json.encode(value)


def encode_padded(value: msgspec.Struct, longest: msgspec.Struct) -> bytes:
    """JSON of a struct, as long as ``longest`` would be: its text ``padding`` fills it up, so that its length
    does not tell its numbers."""
    # Never empty: a field may be left out if it is.
    lengths = [len(encode(msgspec.structs.replace(each, padding=" "))) for each in (longest, value)]
    return encode(msgspec.structs.replace(value, padding=" " * (1 + lengths[0] - lengths[1])))


def decode(payload_type: type[T], payloads: Mapping[str, bytes], role: str) -> T:
    """The payload of ``role`` as this type; raises BadMessage if it is missing or does not fit."""
    if role not in payloads:
        raise BadMessage(f"there is no result of the role {role}")
    try:
        return msgspec.json.decode(payloads[role], type=payload_type, strict=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadMessage(f"the result of {role} is malformed: {error}") from error


def plain_rows(table: pa.Table) -> list[tuple[Any, ...]]:
    """Rows of a table as JSON values: dates and times in ISO 8601, bytes refused by the encoder."""
    # Tuples: of millions of lists Python's garbage collector alone takes seconds.
    return [*zip(*(_cells(column) for column in table.columns), strict=True)]


def _cells(column: pa.ChunkedArray) -> list[Any]:
    if column.type == pa.timestamp("us", "UTC"):
        texts = pc.strftime(column.cast(pa.timestamp("us")), "%Y-%m-%dT%H:%M:%S")
        whole = pc.utf8_slice_codeunits(texts, 0, -len(_NO_FRACTION))
        texts = pc.if_else(pc.ends_with(texts, _NO_FRACTION), whole, texts)
        column = pc.binary_join_element_wise(texts, "+00:00", "")
    elif pa.types.is_temporal(column.type):
        # Each distinct day is written once.
        encoded = column.combine_chunks().dictionary_encode()
        plain = [_plain(value) for value in encoded.dictionary.to_pylist()]
        return [None if index is None else plain[index] for index in encoded.indices.to_pylist()]
    cells: list[Any] = column.to_pylist()
    return cells


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime.date | datetime.datetime) else value
