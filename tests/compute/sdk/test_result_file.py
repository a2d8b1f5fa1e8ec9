"""Opened results of every form as files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from compute.errors import BadInput, DataError
from compute.sdk.result_file import result_tables, write_result

PSI = {
    "count": 2,
    "left": {"columns": ["id", "n"], "rows": [["=a", 1], ["b", None]]},
    "right": None,
}
BOTH = PSI | {"right": {"columns": ["id"], "rows": []}}
STATS = {"groups": {"a": {"count": 3, "mean": 0.1}, "b": {"count": 4, "mean": 2.0}}, "suppressed": 1}
PIR = {
    "answers": [
        {"found": True, "records": [{"mean": 1.5}, {"mean": 2.5}]},
        {"found": False, "records": []},
    ]
}
MODEL = {"intercept": 0.5, "coefficients": {"x": 1.0}}


@pytest.mark.parametrize(
    ("value", "options", "expected"),
    [
        (PSI, {}, '"id","n"\n"\'=a",1\n"b",\n'),
        (PSI, {"exact": True}, '"id","n"\n"=a",1\n"b",\n'),
        (PSI, {"columns": ["n", "id"]}, '"n","id"\n1,"\'=a"\n,"b"\n'),
        (BOTH, {"part": "right"}, '"id"\n'),
        (STATS, {}, '"group","count","mean"\n"a",3,0.1\n"b",4,2\n'),
        ({"count": 7, "left": None}, {}, '"count"\n7\n'),
        (
            {"count": 7, "protocol": {"name": "rr22", "reason": "fast"}, "left": None},
            {},
            '"count","protocol.name","protocol.reason"\n7,"rr22","fast"\n',
        ),
        ({"answers": [{"found": True}, {"found": False}]}, {}, '"query","found"\n1,true\n2,false\n'),
        ({"answers": [True, False]}, {}, '"query","found"\n1,true\n2,false\n'),
    ],
)
def test_a_result_as_csv(tmp_path: Path, value: Any, options: dict[str, Any], expected: str) -> None:
    write_result(value, tmp_path / "out", "csv", **options)
    assert (tmp_path / "out").read_text() == expected


def test_answers_have_a_row_per_record_and_the_number_of_their_query(tmp_path: Path) -> None:
    assert write_result(PIR, tmp_path / "out", "parquet") == 3
    assert pq.read_table(tmp_path / "out").to_pydict() == {
        "query": [1, 1, 2],
        "found": [True, True, False],
        "mean": [1.5, 2.5, None],
    }


@pytest.mark.parametrize("value", [PSI, STATS, PIR, MODEL])
def test_a_result_as_json_is_the_result(tmp_path: Path, value: Any) -> None:
    write_result(value, tmp_path / "out", "json")
    assert json.loads((tmp_path / "out").read_text()) == value


@pytest.mark.parametrize(
    ("value", "options", "said"),
    [
        (MODEL, {}, "no table"),
        ([1, 2], {}, "no table"),
        ({"answers": [{"found": True, "records": [{"query": 1}]}]}, {}, "column 'query' of their own"),
        (BOTH, {}, "left, right"),
        (PSI, {"part": "right"}, "no table 'right'"),
        (PSI, {"columns": ["ghost"]}, "no column 'ghost'; it has 'id', 'n'"),
        (PSI, {"columns": ["id", "id"]}, "each once"),
        ({"left": {"columns": ["id"], "rows": [["a"], [1]]}}, {}, "several types"),
        ({"left": {"columns": ["id"], "rows": [[1 << 70]]}}, {}, "several types"),
    ],
)
def test_what_does_not_fit_is_told_and_no_file_is_made(
    tmp_path: Path, value: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        write_result(value, tmp_path / "out", "csv", **options)
    assert list(tmp_path.iterdir()) == []


def test_json_takes_no_columns_and_no_nan(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        write_result(PSI, tmp_path / "out", "json", columns=["id"])
    with pytest.raises(BadInput):
        write_result({"x": math.nan}, tmp_path / "out", "json")
    with pytest.raises(DataError):
        write_result(PSI, tmp_path / "ghost" / "out", "json")
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_columns_without_values_has_columns() -> None:
    (table,) = result_tables({"left": {"columns": ["a", "b"], "rows": [[None, 1]]}}).values()
    assert table.to_pydict() == {"a": [None], "b": [1]}
