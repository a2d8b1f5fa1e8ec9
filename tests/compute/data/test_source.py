"""A declared source: contradictions, unknown columns, paths, and Parquet's own types."""

from __future__ import annotations

import datetime
import decimal

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from compute.errors import DataError
from tests.compute.data.sources import COLUMNS, EVERY_TYPE, declare


@pytest.fixture
def parquet(tmp_path):
    def read(table, columns=COLUMNS, **options):
        pq.write_table(table, tmp_path / "t.parquet", **options)
        return declare(tmp_path, columns, kind="parquet", path="t.parquet").read()

    return read


@pytest.fixture
def csv(tmp_path):
    (tmp_path / "t.csv").write_text("id,age,radius\na,1,2\nb,2,3\n")
    return declare(tmp_path, path="t.csv")


def test_columns_come_as_asked_for(csv):
    assert csv.read(["radius", "id"]).column_names == ["radius", "id"]
    assert csv.read().column_names == ["id", "age", "radius"]


@pytest.mark.parametrize("columns", [["ghost"], ["id", "ghost"], [], ["id", "id"], [""]])
def test_an_unknown_repeated_or_absent_column_is_an_error(csv, columns):
    with pytest.raises(DataError):
        csv.read(columns)


def test_an_undeclared_column_cannot_be_read_even_if_the_file_has_it(tmp_path):
    (tmp_path / "t.csv").write_text("id,secret\na,1\n")
    source = declare(tmp_path, COLUMNS[:1], path="t.csv")
    with pytest.raises(DataError, match="no column 'secret'"):
        source.read(["secret"])


@pytest.mark.parametrize("path", ["missing.csv", ".", "*.csv", "t[1].csv", "https://example.org/t.csv"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_path_must_be_a_file_here(tmp_path, kind, path):
    (tmp_path / "t.csv").write_text("id\n")
    with pytest.raises(DataError):
        declare(tmp_path, kind=kind, path=path).read()


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "excel"},
        {"path": ""},
        {"table": "t"},
        {"dsn_file": "x"},
        {"columns": []},
        {"columns": [COLUMNS[0], COLUMNS[0]]},
        {"columns": [{"name": "id", "type": "text"}]},
        {"columns": [{"name": "id", "type": "string", "grade": "L9"}]},
        {"columns": [{"name": "", "type": "string"}]},
        {"columns": [{"name": "a\x00b", "type": "string"}]},
        {"columns": [{"name": "id", "type": "string", "typo": 1}]},
        {"keys": ["ghost"]},
        {"delimiter": "ab"},
        {"typo": 1},
        {"kind": "postgresql"},
        {"kind": "postgresql", "path": "", "dsn_file": "d"},
        {"kind": "postgresql", "path": "", "dsn_file": "d", "table": "t", "query": "SELECT 1"},
        {"kind": "postgresql", "path": "", "table": "t"},
        {"kind": "mysql"},
        {"kind": "mysql", "path": "", "dsn_file": "d"},
        {"kind": "mysql", "path": "", "dsn_file": "d", "table": "t", "query": "SELECT 1"},
    ],
    ids=str,
)
def test_a_declaration_that_contradicts_itself_is_refused(tmp_path, change):
    with pytest.raises(msgspec.ValidationError):
        declare(tmp_path, **({"columns": COLUMNS, "path": "t.csv", "keys": ["id"]} | change))


def test_parquet_types_become_the_declared_ones(parquet):
    moment = datetime.datetime(2024, 1, 1, 8, tzinfo=datetime.timezone(datetime.timedelta(hours=8)))
    table = pa.table(
        {
            "s": pa.array(["a", "", None]).dictionary_encode(),
            "i": pa.array([1, -2, None], pa.int16()),
            "n": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("-2.25")]),
            "b": pa.array([True, None, False]),
            "d": pa.array([datetime.date(2024, 2, 29), None, None]),
            "t": pa.array([moment, None, None], pa.timestamp("ms", "+08:00")),
        }
    )
    read = parquet(table, EVERY_TYPE)
    assert read.schema.types == [
        pa.string(),
        pa.int64(),
        pa.float64(),
        pa.bool_(),
        pa.date32(),
        pa.timestamp("us", "UTC"),
    ]
    assert read["s"].to_pylist() == ["a", None, None]
    assert read["i"].to_pylist() == [1, -2, None]
    assert read["n"].to_pylist() == [1.5, None, -2.25]
    assert read["t"][0].as_py() == datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)


GOOD = {"id": ["a", "b"], "age": [1, 2], "radius": [1.0, 2.0]}
WRONG = {
    "text for an integer": ({"age": ["1", "2"]}, "'age' is string", None),
    "a number for an integer": ({"age": [1.0, 2.0]}, "'age' is double", None),
    "an integer for text": ({"id": [1, 2]}, "'id' is int64", None),
    "bytes for text": ({"id": [b"a", b"b"]}, "'id' is binary", None),
    "a list for text": ({"id": [["a"], ["b"]]}, "'id' is list", None),
    "a missing id": ({"id": ["a", None]}, "nullable", 2),
    "an empty id": ({"id": ["a", ""]}, "nullable", 2),
    "NUL in an id": ({"id": ["a", "b\x00"]}, "NUL", 2),
    "a long field": ({"id": ["a", "b" * ((1 << 20) + 1)]}, "longer", 2),
    "NaN": ({"radius": [1.0, float("nan")]}, "NaN", 2),
    "infinity": ({"radius": [float("-inf"), 1.0]}, "NaN or infinite", 1),
    "an integer that a number cannot hold": ({"radius": [1, (1 << 53) + 1]}, "exactly", 2),
    "an unsigned integer above 63 bits": (
        {"age": pa.array([1, 1 << 63], pa.uint64())},
        "exactly",
        2,
    ),
}


@pytest.mark.parametrize(("change", "reason", "row"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_parquet_value_is_told_with_row_and_reason(parquet, change, reason, row):
    with pytest.raises(DataError, match=reason) as caught:
        parquet(pa.table(GOOD | change))
    assert caught.value.detail["row"] == row


def test_a_row_number_counts_over_batches(parquet):
    rows = 100_000
    table = pa.table({"id": ["x"] * rows, "age": [1] * rows, "radius": [1.0] * (rows - 1) + [float("nan")]})
    with pytest.raises(DataError, match=f"row {rows},"):
        parquet(table)


def test_a_finer_timestamp_is_not_rounded(parquet):
    table = pa.table({"t": pa.array([1], pa.timestamp("ns"))})
    with pytest.raises(DataError, match="exactly"):
        parquet(table, [{"name": "t", "type": "timestamp"}])


def test_a_missing_parquet_column_is_named(parquet):
    with pytest.raises(DataError, match="no column 'radius'"):
        parquet(pa.table({"id": ["a"], "age": [1]}))


@pytest.mark.parametrize("keep", [0, 4, 100, -1, -20])
def test_a_truncated_parquet_file_is_refused(tmp_path, keep):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(GOOD), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="not a readable Parquet file"):
        declare(tmp_path, kind="parquet", path="t.parquet").read()


def test_any_damage_to_a_parquet_file_is_a_data_error_or_a_value_of_the_right_type(tmp_path):
    """Parquet pages carry no mandatory checksum: what still reads is the commitment's business."""
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(GOOD), path)
    good = path.read_bytes()
    for position in range(0, len(good), 7):
        damaged = bytearray(good)
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        try:
            table = declare(tmp_path, kind="parquet", path="t.parquet").read()
        except DataError:
            continue
        assert table.schema.types == [pa.string(), pa.int64(), pa.float64()]


MANY = 150_001


def _many(kind, folder, rows=MANY):
    numbers = pa.array(range(rows))
    table = pa.table({"id": numbers.cast(pa.string()), "age": numbers, "radius": numbers.cast(pa.float64())})
    if kind == "csv":
        pyarrow.csv.write_csv(table, folder / "t")
    else:
        pq.write_table(table, folder / "t", row_group_size=40_000)
    return table, declare(folder, kind=kind, path="t")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("columns", [None, ["radius", "id"]])
def test_batches_are_what_a_read_gives_in_the_same_order(tmp_path, kind, columns):
    table, source = _many(kind, tmp_path)
    batches = list(source.batches(columns))
    assert len(batches) > 1
    assert max(batch.num_rows for batch in batches) <= 1 << 16
    assert {batch.schema for batch in batches} == {source.schema(columns)}
    expected = table.select(columns or table.column_names)
    assert pa.Table.from_batches(batches).equals(expected)
    assert source.read(columns).equals(expected)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_batches_of_a_long_file_are_not_all_held(tmp_path, kind):
    table, source = _many(kind, tmp_path, 6 * MANY)
    whole = table.nbytes
    del table
    before = pa.total_allocated_bytes()
    most = 0
    for batch in source.batches():
        most = max(most, pa.total_allocated_bytes() - before)
        del batch
    assert most < whole / 3


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_wrong_value_is_told_when_its_batch_is_reached(tmp_path, kind):
    table, source = _many(kind, tmp_path)
    bad = table.set_column(0, "id", pa.array([*table["id"].to_pylist()[:-1], "a\x00"]))
    if kind == "csv":
        pyarrow.csv.write_csv(bad, tmp_path / "t")
    else:
        pq.write_table(bad, tmp_path / "t")
    batches = source.batches()
    assert next(batches).num_rows > 0
    with pytest.raises(DataError, match=f"{MANY + 1 if kind == 'csv' else MANY}, column 'id'.* NUL"):
        list(batches)


def test_batches_of_an_unknown_column_are_refused_before_the_first(csv):
    with pytest.raises(DataError, match="ghost"):
        csv.batches(["ghost"])


def test_who_stops_early_may_replace_the_file(tmp_path):
    _, source = _many("csv", tmp_path)
    batches = source.batches()
    next(batches)
    batches.close()
    (tmp_path / "t").write_text("id,age,radius\na,1,2\n")
    assert source.read().num_rows == 1
