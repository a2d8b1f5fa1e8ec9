"""Declared columns and the one Arrow type behind each declared type, whatever the source is.

    string → string · integer → int64 · number → float64 · boolean → bool · date → date32
    timestamp → microseconds UTC (a value without zone counts as UTC)

An empty text is a missing value in every source, so the same table gives the same commitment as CSV and as
Parquet. Texts hold no NUL and at most `MAX_FIELD_BYTES`; numbers are finite.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Meta

ColumnType = Literal["string", "integer", "number", "boolean", "date", "timestamp"]
Grade = Literal["L1", "L2", "L3", "L4"]
ColumnName = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]

MAX_FIELD_BYTES = 1 << 20

_ARROW: dict[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}

_INTEGER = r"^-?[0-9]{1,19}$"
# Between these lie the digits, the minus sign, the decimal point, and the slash that no number holds.
_MINUS, _NINE = ord("-"), ord("9")
_MAX_DIGITS = 19

_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"
_NOT_FINITE = r"(?i)^[+-]?(nan|inf|infinity)$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_TIMESTAMP = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?Z?$"

# What to do about a cell that does not fit; never the cell's value.
_REASON = {
    "integer": "is not an integer of at most 64 bits",
    "number": "is not a decimal number",
    "boolean": "is not true, false, 1 or 0",
    "date": "is not a date such as 2026-05-31",
    "timestamp": "is not a time such as 2026-05-31T12:30:00Z (UTC, no other zone)",
}
_NOT_FINITE_REASON = "is NaN or infinite: leave the cell empty if the value is missing"


class ColumnConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One declared column: ``[[dataset.source.columns]]``. L1 is public, L4 never leaves even as a statistic.

    A ``nullable`` column may have missing values; in others one is an error.
    """

    name: ColumnName
    type: ColumnType
    grade: Grade = "L2"
    description: Annotated[str, Meta(max_length=4000)] = ""
    nullable: bool = False

    @property
    def arrow_type(self) -> pa.DataType:
        """The Arrow type that every source gives for this column."""
        return _ARROW[self.type]


class BadCell(Exception):
    """Internal: a value does not fit. ``row`` counts from 0 in the array that was looked at."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(reason)
        self.row = row
        self.reason = reason


def parse(texts: pa.Array, column: ColumnConfig) -> pa.Array:
    """Texts as they stand in a CSV file, as the column's Arrow type; raises BadCell for the first misfit."""
    texts = _empty_to_null(texts)
    _check_text(texts)
    if column.type == "string":
        return _check_missing(texts, column)
    if column.type == "boolean":
        lowered = pc.utf8_lower(texts)
        true = pc.is_in(lowered, value_set=pa.array(["true", "1"]))
        fits = pc.or_(true, pc.is_in(lowered, value_set=pa.array(["false", "0"])))
        _require(pc.or_(fits, pc.is_null(texts)), _REASON["boolean"])
        return _check_missing(pc.if_else(pc.is_null(texts), pa.scalar(None, pa.bool_()), true), column)
    if _plain_numbers(texts, column.type):
        # Arrow's own parser refuses what is left to refuse, and patterns take most of the time of a read.
        return _check_missing(_finite(_cast(texts, column.arrow_type, _REASON[column.type])), column)
    if column.type == "number":
        not_finite = pc.match_substring_regex(texts, _NOT_FINITE)
        _require(pc.invert(not_finite), _NOT_FINITE_REASON)
    pattern = {"integer": _INTEGER, "number": _NUMBER, "date": _DATE, "timestamp": _TIMESTAMP}[column.type]
    _require(pc.match_substring_regex(texts, pattern), _REASON[column.type])
    if column.type == "number":
        # Arrow's parser wants no leading plus sign.
        texts = pc.replace_substring_regex(texts, r"^\+", "")
    if column.type == "timestamp":
        naive = _cast(pc.utf8_rtrim(texts, "Z"), pa.timestamp("us"), _REASON["timestamp"])
        return _check_missing(pc.assume_timezone(naive, "UTC"), column)
    return _check_missing(_finite(_cast(texts, column.arrow_type, _REASON[column.type])), column)


def conform(values: pa.Array, column: ColumnConfig) -> pa.Array:
    """Typed values of Parquet or a database as the column's Arrow type; raises BadCell.

    A type that is not the declared one (text for a number, a time for a date) is refused as a whole, with
    row -1; nothing is parsed or rounded.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if not _is_kind(values.type, column.type):
        raise BadCell(-1, f"is {values.type}, but is declared as {column.type}")
    if column.type == "string":
        values = values.cast(pa.string())
        try:
            values.validate(full=True)
        except pa.ArrowInvalid:
            raise BadCell(-1, "holds text that is not UTF-8") from None
        values = _empty_to_null(values)
        _check_text(values)
        return _check_missing(values, column)
    if column.type == "timestamp" and values.type.tz is None:
        values = pc.assume_timezone(values, "UTC")
    typed = _cast(values, column.arrow_type, f"cannot be held exactly as {column.type}")
    return _check_missing(_finite(typed), column)


def _is_kind(arrow_type: pa.DataType, declared: ColumnType) -> bool:
    types = pa.types
    return bool(
        {
            "string": types.is_string(arrow_type)
            or types.is_large_string(arrow_type)
            or types.is_string_view(arrow_type),
            "integer": types.is_integer(arrow_type),
            "number": types.is_floating(arrow_type)
            or types.is_integer(arrow_type)
            or types.is_decimal(arrow_type),
            "boolean": types.is_boolean(arrow_type),
            "date": types.is_date(arrow_type),
            "timestamp": types.is_timestamp(arrow_type),
        }[declared]
    )


def _empty_to_null(texts: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def _check_text(texts: pa.Array) -> None:
    content = _content(texts)
    if content.size > MAX_FIELD_BYTES:
        short = pc.less_equal(pc.binary_length(texts), MAX_FIELD_BYTES)
        _require(short, f"is longer than {MAX_FIELD_BYTES} bytes")
    if content.size and content.min() == 0:
        _require(pc.invert(pc.match_substring(texts, "\x00")), "contains a NUL character")


def _content(texts: pa.Array) -> npt.NDArray[np.uint8]:
    """The bytes of all texts, one after the other, as they lie in the array."""
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return np.zeros(0, np.uint8)
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]]


def _plain_numbers(texts: pa.Array, declared: ColumnType) -> bool:
    """Whether all texts are of digits, signs and points alone, and none longer than an integer may be.

    Among such texts the patterns and Arrow's parser accept the same ones.
    """
    if declared not in ("integer", "number"):
        return False
    content = _content(texts)
    if not content.size:
        return True
    longest = pc.max(pc.binary_length(texts)).as_py()
    return bool(content.min() >= _MINUS and content.max() <= _NINE and longest <= _MAX_DIGITS)


def _check_missing(values: pa.Array, column: ColumnConfig) -> pa.Array:
    if values.null_count and not column.nullable:
        _require(pc.is_valid(values), "is empty: fill it, or declare the column nullable")
    return values


def _finite(values: pa.Array) -> pa.Array:
    if pa.types.is_floating(values.type):
        _require(pc.is_finite(values), _NOT_FINITE_REASON)
    return values


def _cast(values: pa.Array, arrow_type: pa.DataType, reason: str) -> pa.Array:
    try:
        return values.cast(arrow_type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass
    # Arrow does not say where: find the first row that fails by itself.
    for row in range(len(values)):
        try:
            values.slice(row, 1).cast(arrow_type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise BadCell(row, reason) from None
    raise BadCell(-1, reason)


def _require(fits: pa.Array, reason: str) -> None:
    """Nulls fit: whether a value may be missing is another question."""
    row = pc.index(fits, pa.scalar(False)).as_py()
    if row >= 0:
        raise BadCell(row, reason)
