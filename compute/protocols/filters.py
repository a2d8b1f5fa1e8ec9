"""Conditions on rows: ``column op value``, all of which must hold. Nulls never fulfil a condition."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Meta

from compute.errors import BadInput
from compute.protocols.identifiers import column
from compute.wire.messages import Name, Text


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``value`` is text in the column's type: 40, 3.5, true, 2024-05-31; texts are compared as they stand."""

    column: Name
    op: Literal["eq", "ne", "lt", "le", "gt", "ge"]
    value: Text


Conditions = Annotated[tuple[Condition, ...], Meta(max_length=32)]

_OPERATORS = {
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
}


def apply(table: pa.Table, conditions: Sequence[Condition]) -> pa.Table:
    """The rows that fulfil every condition; raises BadInput for a value that is none of the column's type."""
    for condition in conditions:
        values = column(table, condition.column)
        scalar = _scalar(condition, values.type)
        mask = pc.call_function(_OPERATORS[condition.op], [values, scalar])
        table = table.filter(mask)
    return table


def columns_of(conditions: Sequence[Condition]) -> tuple[str, ...]:
    """The columns that the conditions read."""
    return tuple(condition.column for condition in conditions)


def _scalar(condition: Condition, arrow_type: pa.DataType) -> pa.Scalar:
    try:
        return pa.scalar(_parse(condition.value, arrow_type), type=arrow_type)
    except (ValueError, OverflowError, pa.ArrowException) as error:
        raise BadInput(
            f"filter: {condition.value!r} is no {arrow_type} value of column {condition.column!r}"
        ) from error


def _parse(text: str, arrow_type: pa.DataType) -> Any:
    if pa.types.is_boolean(arrow_type):
        if text not in ("true", "false"):
            raise ValueError(text)
        return text == "true"
    if pa.types.is_integer(arrow_type):
        return int(text)
    if pa.types.is_floating(arrow_type):
        return float(text)
    if pa.types.is_date(arrow_type):
        return datetime.date.fromisoformat(text)
    if pa.types.is_timestamp(arrow_type):
        return datetime.datetime.fromisoformat(text)
    return text
