"""Rows as JSON: every type of a column as a consumer reads it, times in every form."""

from __future__ import annotations

import datetime as dt
import json

import pyarrow as pa
import pytest

from compute.protocols import payload

UTC = dt.UTC
TIMES = [
    dt.datetime(1, 1, 1, tzinfo=UTC),
    dt.datetime(999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    dt.datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
    None,
    dt.datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
    dt.datetime(9999, 12, 31, 23, 59, 59, 100_000, tzinfo=UTC),
]


@pytest.mark.parametrize(
    ("column", "written"),
    [
        (pa.array(["a", None, ""]), ["a", None, ""]),
        (pa.array([-(2**63), None, 7]), [-(2**63), None, 7]),
        (pa.array([0.1, None, -0.0]), [0.1, None, -0.0]),
        (pa.array([True, None]), [True, None]),
        (pa.array([dt.date(1960, 1, 1), None, dt.date(2024, 2, 29), dt.date(1960, 1, 1)]),
         ["1960-01-01", None, "2024-02-29", "1960-01-01"]),
        (pa.array(TIMES, pa.timestamp("us", "UTC")), [value and value.isoformat() for value in TIMES]),
        (pa.array([19_782 * 86_400], pa.timestamp("s")), ["2024-02-29T00:00:00"]),
        (pa.chunked_array([], pa.date32()), []),
    ],
    ids=["texts", "integers", "numbers", "booleans", "dates", "times", "times without a zone", "nothing"],
)  # fmt: skip
def test_rows_are_json_values(column: pa.Array, written: list[object]) -> None:
    table = pa.table({"a": column, "b": column})
    assert json.loads(payload.encode(payload.plain_rows(table))) == [[value, value] for value in written]
    split = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert payload.plain_rows(split) == payload.plain_rows(table)


def test_a_table_without_columns_has_no_rows() -> None:
    assert payload.plain_rows(pa.table({})) == []
