"""Tables as files: they come back exactly, harm no spreadsheet, and are whole or not there."""

from __future__ import annotations

import csv
import datetime
import decimal
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compute.data import table_file
from compute.errors import BadInput, DataError
from tests.compute.data.sources import EVERY_TYPE, declare

SCHEMA = pa.schema(
    [
        ("s", pa.string()),
        ("i", pa.int64()),
        ("n", pa.float64()),
        ("b", pa.bool_()),
        ("d", pa.date32()),
        ("t", pa.timestamp("us", "UTC")),
    ]
)
UTC = datetime.UTC
MOMENTS = st.datetimes(datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
# Surrogates are no text; NUL is none in any source.
TEXTS = st.text(
    st.one_of(st.sampled_from("=+-@'\t\r\n,\";＝ a"), st.characters(exclude_categories=["Cs"])), max_size=8
)
ROWS = st.fixed_dictionaries(
    {
        "s": st.none() | TEXTS,
        "i": st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
        "n": st.none() | st.floats(allow_nan=False),
        "b": st.none() | st.booleans(),
        "d": st.none() | st.dates(),
        "t": st.none() | MOMENTS,
    }
)


def written(folder, table, **options):
    path = Path(folder) / "t.csv"
    assert table_file.write(path, "csv", table.schema, table.to_batches(max_chunksize=3), **options) == len(
        table
    )
    return path


@given(st.lists(ROWS, max_size=8), st.booleans())
@settings(max_examples=150, deadline=None)
def test_csv_comes_back_exactly(rows, exact):
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    with tempfile.TemporaryDirectory() as folder:
        back = table_file.read_csv(written(folder, table, exact=exact), SCHEMA, exact=exact)
    assert back.schema == SCHEMA
    for name in "sibdt":
        assert back[name].to_pylist() == table[name].to_pylist()
    # 0.0 equals -0.0: compare the bytes of floats.
    signs = [
        [None if value is None else (value, math.copysign(1, value)) for value in t["n"].to_pylist()]
        for t in (table, back)
    ]
    assert signs[0] == signs[1]


@given(st.lists(st.none() | TEXTS, max_size=8))
@settings(max_examples=50, deadline=None)
def test_one_column_comes_back_exactly(texts):
    table = pa.table({"=s": pa.array(texts, pa.string())})
    with tempfile.TemporaryDirectory() as folder:
        assert table_file.read_csv(written(folder, table), table.schema).equals(table)


@given(st.lists(TEXTS, min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_no_cell_of_text_begins_as_a_formula(texts):
    table = pa.table({"=cmd|' /C calc'!A0": texts})
    with tempfile.TemporaryDirectory() as folder, written(folder, table).open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert len(cells) == len(texts) + 1
    assert not any(cell.startswith(tuple("=+-@\t\r\n＝＋－＠")) for cell in cells)


def test_numbers_keep_their_minus_sign(tmp_path):
    assert written(tmp_path, pa.table({"n": [-1]})).read_text() == '"n"\n-1\n'


def test_an_exact_csv_is_a_source(tmp_path):
    rows = [
        {
            "s": "=1",
            "i": -7,
            "n": 0.1,
            "b": True,
            "d": datetime.date(2024, 2, 29),
            "t": datetime.datetime(2024, 2, 29, 1, 2, 3, 4, UTC),
        },
        dict.fromkeys("sinbdt"),
    ]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    path = written(tmp_path, table, exact=True)
    assert declare(tmp_path, EVERY_TYPE, path=path.name).read().equals(table)


@pytest.mark.parametrize(
    "values",
    [pa.array([b"x"]), pa.array([["x"]]), pa.array([{"a": 1}]), pa.array([datetime.time(1)])],
    ids=lambda array: str(array.type),
)
def test_what_csv_cannot_hold_is_refused_before_a_file_is_made(tmp_path, values):
    table = pa.table({"x": values})
    with pytest.raises(DataError, match="cannot be written as CSV"):
        written(tmp_path, table)
    assert list(tmp_path.iterdir()) == []


def test_decimals_are_written_as_they_are(tmp_path):
    path = written(tmp_path, pa.table({"x": [decimal.Decimal("-1.50")]}))
    assert path.read_text() == '"x"\n-1.50\n'


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(BadInput, match="xlsx"):
        table_file.write(tmp_path / "t", "xlsx", SCHEMA, [])


@pytest.mark.parametrize("table_format", ["csv", "parquet"])
def test_batches_that_fail_leave_the_old_file_and_nothing_else(tmp_path, table_format):
    path = tmp_path / "t"
    path.write_text("old")
    batch = pa.table({"i": range(10_000)}).to_batches()[0]

    def failing():
        yield batch
        raise DataError("the source broke")

    with pytest.raises(DataError, match="the source broke"):
        table_file.write(path, table_format, batch.schema, failing())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


FULL = """
import resource, sys
from pathlib import Path
import pyarrow as pa
from compute.data import table_file
from compute.errors import DiskFull

batch = pa.record_batch({"s": [str(hash(str(n))) for n in range(20_000)]})
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    table_file.write(Path(sys.argv[1]), sys.argv[2], batch.schema, [batch] * 5)
except DiskFull as error:
    print(error)
"""


@pytest.mark.parametrize("table_format", ["csv", "parquet"])
def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path, table_format):
    path = tmp_path / "t"
    path.write_text("old")
    # A limit on the size of files stands in for the disk: the write fails in the same place and way.
    ended = subprocess.run(
        [sys.executable, "-c", FULL, str(path), table_format], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "t cannot be written: the disk is full\n"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DataError, match="cannot be written: No such file"):
        written(tmp_path / "ghost", pa.table({"i": [1]}))


def test_what_is_no_plain_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "pipe", tmp_path / "folder", tmp_path / "a\0b", Path()):
        with pytest.raises(DataError, match="cannot be written"):
            table_file.write(path, "csv", SCHEMA, [])
    assert (tmp_path / "pipe").is_fifo()
    assert len(list(tmp_path.iterdir())) == 2


def test_files_are_private(tmp_path):
    assert written(tmp_path, pa.table({"i": [1]})).stat().st_mode & 0o777 == 0o600


def test_batches_of_a_parquet_file_come_in_the_order_asked_for(tmp_path):
    table = pa.table({"a": range(100_000), "b": ["x"] * 100_000, "c": [0.5] * 100_000})
    pq.write_table(table, tmp_path / "t", row_group_size=30_000)
    schema, batches = table_file.batches_of(tmp_path / "t", ["c", "a"])
    assert pa.Table.from_batches(batches, schema=schema).equals(table.select(["c", "a"]))
    for wrong in (["ghost"], [], ["a", "a"]):
        with pytest.raises(BadInput):
            table_file.batches_of(tmp_path / "t", wrong)


@pytest.mark.parametrize("content", ['"x"\n1\n', '"i"\nJane\n', '"i","j"\n1,2\n', ""])
def test_another_csv_is_refused_without_its_values(tmp_path, content):
    (tmp_path / "t").write_text(content)
    with pytest.raises(DataError) as caught:
        table_file.read_csv(tmp_path / "t", pa.schema([("i", pa.int64())]))
    assert "Jane" not in str(caught.value)
