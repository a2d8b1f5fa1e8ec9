"""What a role seals for the consumer: JSON bytes with numbers as they are, read back strictly."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
import pyarrow as pa

from compute.errors import BadMessage

T = TypeVar("T")


def encode(value: Any) -> bytes:
    """JSON of plain values and structs; floats survive exactly."""
    return msgspec.json.encode(value)


def decode(payload_type: type[T], payloads: Mapping[str, bytes], role: str) -> T:
    """The payload of ``role`` as this type; raises BadMessage if it is missing or does not fit."""
    if role not in payloads:
        raise BadMessage(f"there is no result of the role {role}")
    try:
        return msgspec.json.decode(payloads[role], type=payload_type, strict=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadMessage(f"the result of {role} is malformed: {error}") from error


def plain_rows(table: pa.Table) -> list[list[Any]]:
    """Rows of a table as JSON values: dates and times in ISO 8601, bytes refused by the encoder."""
    columns = [[_plain(value) for value in column.to_pylist()] for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)] if columns else []


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime.date | datetime.datetime) else value
