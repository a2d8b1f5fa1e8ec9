"""CSV: what fits is typed, what does not is told with line and reason and without the value."""

from __future__ import annotations

import csv
import datetime
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compute.errors import DataError
from tests.compute.data.sources import EVERY_TYPE, declare

HEADER = b"id,age,radius\n"


@pytest.fixture
def read(tmp_path):
    def read_content(content, columns=None, **settings):
        (tmp_path / "patients.csv").write_bytes(content)
        arguments = {} if columns is None else {"columns": columns}
        return declare(tmp_path, path="patients.csv", **arguments, **settings).read()

    return read_content


def test_every_type_is_read_as_declared(read):
    content = (
        "s,i,n,b,d,t\n"
        '"a ""quoted"", one",-7,1.5e3,TRUE,2024-02-29,2024-02-29T23:59:59.123456Z\n'
        ",,,,,\n"
        "流通,9223372036854775807,-.5,0,1969-12-31,1969-12-31 00:00\n"
    ).encode()
    utc = datetime.UTC
    assert read(content, EVERY_TYPE).to_pylist() == [
        {
            "s": 'a "quoted", one',
            "i": -7,
            "n": 1500.0,
            "b": True,
            "d": datetime.date(2024, 2, 29),
            "t": datetime.datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=utc),
        },
        dict.fromkeys("sinbdt"),
        {
            "s": "流通",
            "i": (1 << 63) - 1,
            "n": -0.5,
            "b": False,
            "d": datetime.date(1969, 12, 31),
            "t": datetime.datetime(1969, 12, 31, tzinfo=utc),
        },
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + HEADER + b"a,1,2.5\nb,2,3\n",
        (HEADER + b"a,1,2.5\nb,2,3\n").replace(b"\n", b"\r\n"),
        HEADER + b"a,1,2.5\nb,2,3",
        HEADER + b'"a","1","2.5"\n\nb,2,3\n',
        b"radius,other,age,id\n2.5,x,1,a\n3,y,2,b\n",
    ],
    ids=["byte order mark", "CRLF", "no last line end", "quoted, blank line", "other order, more columns"],
)
def test_spellings_of_the_same_table(read, content):
    assert read(content).to_pydict() == {"id": ["a", "b"], "age": [1, 2], "radius": [2.5, 3.0]}


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters(read, delimiter):
    content = (HEADER + b"a,1,2.5\n").replace(b",", delimiter.encode())
    assert read(content, delimiter=delimiter).num_rows == 1


def test_a_header_without_rows_is_an_empty_table(read):
    assert read(HEADER).num_rows == 0


def test_odd_column_names_are_names_and_not_sql(read):
    columns = [{"name": "it's \"odd\", isn't it", "type": "string"}, {"name": "类型", "type": "integer"}]
    content = '"it\'s ""odd"", isn\'t it",类型\nx,1\n'.encode()
    assert read(content, columns).column_names == [column["name"] for column in columns]


def test_rows_keep_their_order_over_many_batches(read):
    rows = 150_000
    table = read(HEADER + b"".join(b"p%d,%d,0\n" % (number, number) for number in range(rows)))
    assert table["age"].to_pylist() == list(range(rows))


MALFORMED = {
    "a field missing": (HEADER + b"a,1,2\nb,3\n", 3, "2 fields"),
    "a field too many": (HEADER + b"a,1,2\nb,3,4,5\n", 3, "4 fields"),
    "after a field of three lines": (HEADER + b'"a\nb\nc",1,2\nb,3\n', 5, "2 fields"),
    "after blank lines": (HEADER + b"\n\nb,3\n", 4, "2 fields"),
    "a quote that does not end": (HEADER + b'a,1,2\nb,1,"2\n', 3, "quoted field"),
    "text after a closing quote": (HEADER + b'"a"b,1,2\n', 2, "quoted field"),
    "not UTF-8": (HEADER + b"a,1,2\n\xff\xfe,1,2\n", 3, "UTF-8"),
    "Latin-1": (HEADER + "Müller,1,2\n".encode("latin-1"), 2, "UTF-8"),
    "a field of ten million characters": (HEADER + b"a,1,2\n" + b"z" * 10_000_000 + b",1,2\n", 3, "longer"),
    "such a field, quoted": (HEADER + b'"' + b"z" * 10_000_000 + b'",1,2\n', 2, "longer"),
    "a field above one MiB": (HEADER + b"a,1,2\n" + b"z" * ((1 << 20) + 1) + b",1,2\n", 3, "longer"),
    "an id with NUL": (HEADER + b"a,1,2\nb\x00c,1,2\n", 3, "NUL"),
    "an empty id": (HEADER + b"a,1,2\n,1,2\n", 3, "nullable"),
    "an empty number": (HEADER + b"a,1,\n", 2, "nullable"),
    "text for an integer": (HEADER + b"a,1,2\nb,old,2\n", 3, "not an integer"),
    "a fraction for an integer": (HEADER + b"a,1.5,2\n", 2, "not an integer"),
    "an integer with a space": (HEADER + b"a, 1,2\n", 2, "not an integer"),
    "an integer above 64 bits": (HEADER + b"a,9223372036854775808,2\n", 2, "64 bits"),
    "an integer far above": (HEADER + b"a,1,2\nb," + b"9" * 400 + b",2\n", 3, "64 bits"),
    "Arabic digits": (HEADER + "a,٣,2\n".encode(), 2, "not an integer"),
    "text for a number": (HEADER + b"a,1,wide\n", 2, "not a decimal"),
    "a decimal comma": (HEADER + b'a,1,"2,5"\n', 2, "not a decimal"),
    "a hexadecimal number": (HEADER + b"a,1,0x10\n", 2, "not a decimal"),
    "NaN": (HEADER + b"a,1,2\nb,1,NaN\n", 3, "NaN"),
    "infinity": (HEADER + b"a,1,-Infinity\n", 2, "NaN or infinite"),
    "inf": (HEADER + b"a,1,inf\n", 2, "NaN or infinite"),
    "a number that overflows": (HEADER + b"a,1,1e999\n", 2, "NaN or infinite"),
    "misfit after a field of two lines": (HEADER + b'"a\nb",1,2\n\nb,x,2\n', 5, "not an integer"),
}


@pytest.mark.parametrize(("content", "line", "reason"), MALFORMED.values(), ids=MALFORMED.keys())
def test_what_does_not_fit_is_told_with_line_and_reason(read, content, line, reason):
    with pytest.raises(DataError, match=reason) as caught:
        read(content)
    assert caught.value.detail["line"] == line
    assert f"patients.csv, line {line}" in caught.value.message
    assert len(caught.value.message) < 300


def test_the_line_is_right_far_into_the_file(read):
    rows = b"".join(b"p%d,%d,0\n" % (number, number) for number in range(100_000))
    with pytest.raises(DataError, match="line 100002,"):
        read(HEADER + rows + b"b,x,0\n" + rows)


@pytest.mark.parametrize("bad", [b"Jane Roe,secret-diagnosis,1\n", b"Jane Roe,secret-diagnosis\n"])
def test_the_error_never_repeats_a_value(read, bad):
    with pytest.raises(DataError) as caught:
        read(HEADER + bad)
    assert "Jane" not in caught.value.message + str(caught.value.detail)
    assert "secret" not in caught.value.message + str(caught.value.detail)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("b", b"yes"),
        ("b", b"2"),
        ("d", b"2023-02-29"),
        ("d", b"2024-2-9"),
        ("d", b"29/02/2024"),
        ("d", b"2024-02-29T00:00:00Z"),
        ("t", b"2024-02-29"),
        ("t", b"2024-02-29T25:00:00Z"),
        ("t", b"2024-02-29T12:00:00+08:00"),
        ("t", b"2024-02-29T12:00:00.1234567Z"),
        ("t", b"1709208000"),
    ],
)
def test_dates_times_and_booleans_are_strict(read, column, value):
    names = [declared["name"] for declared in EVERY_TYPE]
    cells = [value if name == column else b"" for name in names]
    with pytest.raises(DataError, match=f"line 2, column '{column}'"):
        read(",".join(names).encode() + b"\n" + b",".join(cells) + b"\n", EVERY_TYPE)


HEADERS = {
    "an empty file": (b"", "is empty"),
    "a byte order mark alone": (b"\xef\xbb\xbf", "line 1"),
    "a blank first line": (b"\n" + HEADER, "line 1"),
    "a column missing": (b"id,age\n", "no column 'radius'"),
    "another delimiter": (HEADER.replace(b",", b";"), "no column 'id'"),
    "a column twice": (b"id,age,radius,age\n", "columns 2 and 4 have the same name"),
    "a column without a name": (b"id,,radius\n", "no name"),
    "not UTF-8": (b"id,\xff\xfe,age,radius\n", "line 1: the header is not UTF-8"),
    "not a text file": (b"PAR1" + bytes(range(256)), "line 1"),
    "rows without a header": (b"Jane Roe,42,1\n", "no column 'id' among its 3"),
    "a header without end": (b"x" * 2_000_000, "no column 'id'"),
}


@pytest.mark.parametrize(("content", "reason"), HEADERS.values(), ids=HEADERS.keys())
def test_a_bad_header_is_told(read, content, reason):
    with pytest.raises(DataError, match=reason) as caught:
        read(content)
    assert caught.value.detail.get("line") == (1 if content else None)
    assert len(caught.value.message) < 300


def test_a_blank_line_is_a_missing_value_where_there_is_one_column(read):
    column = [{"name": "id", "type": "string"}]
    with pytest.raises(DataError, match="line 3"):
        read(b"id\na\n\nb\n", column)
    nullable = [column[0] | {"nullable": True}]
    assert read(b"id\na\n\nb\n", nullable)["id"].to_pylist() == ["a", None, "b"]


CELLS = st.text("aé流,;\"'\n\r\t \\#", max_size=6)


@given(
    st.lists(st.tuples(CELLS, CELLS), max_size=8),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.sampled_from([",", ";", "\t"]),
)
@settings(max_examples=100, deadline=None)
def test_whatever_pythons_csv_writes_comes_back(rows, line_end, quoting, delimiter):
    # Python leaves a lone carriage return bare where lines end in "\n": that file is ambiguous.
    assume(quoting == csv.QUOTE_ALL or not any("\r" in cell for row in rows for cell in row))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=line_end, quoting=quoting, delimiter=delimiter)
    writer.writerows([("a", "b"), *rows])
    columns = [{"name": name, "type": "string", "nullable": True} for name in "ab"]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "t.csv").write_bytes(out.getvalue().encode())
        table = declare(Path(folder), columns, path="t.csv", delimiter=delimiter).read()
    assert list(zip(*table.to_pydict().values(), strict=True)) == [(a or None, b or None) for a, b in rows]
