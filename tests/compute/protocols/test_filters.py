"""Conditions select the rows they say, by the column's own type."""

import datetime

import pyarrow as pa
import pytest

from compute.errors import BadInput
from compute.protocols.filters import Condition, apply

TABLE = pa.table(
    {
        "age": [39, 40, None, 41],
        "size": [1.5, 2.5, 3.5, 4.5],
        "sex": ["f", "m", "f", "f"],
        "alive": [True, False, True, None],
        "seen": [datetime.date(2026, 1, day) for day in (1, 2, 3, 4)],
        "row": [0, 1, 2, 3],
    }
)


@pytest.mark.parametrize(
    ("column", "op", "value", "rows"),
    [
        ("age", "ge", "40", [1, 3]),
        ("age", "ne", "40", [0, 3]),
        ("size", "lt", "2.5", [0]),
        ("size", "le", "2.5", [0, 1]),
        ("sex", "eq", "f", [0, 2, 3]),
        ("alive", "eq", "true", [0, 2]),
        ("seen", "gt", "2026-01-02", [2, 3]),
    ],
)
def test_selects_rows(column: str, op: str, value: str, rows: list[int]) -> None:
    assert apply(TABLE, [Condition(column, op, value)])["row"].to_pylist() == rows


def test_all_conditions_hold_together() -> None:
    conditions = [Condition("sex", "eq", "f"), Condition("size", "gt", "2")]
    assert apply(TABLE, conditions)["row"].to_pylist() == [2, 3]


@pytest.mark.parametrize(
    ("column", "value"),
    [("age", "old"), ("age", "1.5"), ("age", str(1 << 80)), ("size", "x"), ("alive", "yes"), ("seen", "May")],
)
def test_a_value_of_another_type_names_the_column(column: str, value: str) -> None:
    with pytest.raises(BadInput, match=column):
        apply(TABLE, [Condition(column, "eq", value)])


def test_an_unknown_column_is_refused() -> None:
    with pytest.raises(BadInput, match="no column 'height'"):
        apply(TABLE, [Condition("height", "eq", "1")])
