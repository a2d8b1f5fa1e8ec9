"""A commitment stands for exactly one table under one salt key, whatever the table came from."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import struct

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compute.data.commitment import commit, matches
from compute.errors import DataError
from tests.compute.data.sources import EVERY_TYPE, declare

KEY = b"k" * 32
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
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "s": st.none() | st.text("aé流\u0301 '\"", min_size=1, max_size=6),
            "i": st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
            "n": st.none() | st.floats(allow_nan=False, allow_infinity=False),
            "b": st.none() | st.booleans(),
            "d": st.none() | st.dates(datetime.date(1600, 1, 1)),
            "t": st.none() | st.datetimes(timezones=st.just(datetime.UTC)),
        }
    ),
    max_size=5,
)


def table(rows):
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def canonical(rows):
    """Rows with the two equal zeros made one."""
    return [row | {"n": row["n"] + 0.0 if row["n"] is not None else None} for row in rows]


@given(ROWS, ROWS)
@settings(max_examples=150)
def test_roots_are_equal_exactly_if_tables_are(one, other):
    equal = canonical(one) == canonical(other)
    assert (commit(table(one), KEY).root == commit(table(other), KEY).root) is equal


@given(ROWS)
@settings(max_examples=50)
def test_chunking_does_not_matter(rows):
    whole = table(rows)
    cut = pa.concat_tables([whole.slice(0, len(rows) // 2), whole.slice(len(rows) // 2)])
    assert commit(cut, KEY) == commit(whole, KEY)
    assert commit(whole, KEY).row_count == len(rows)


BASE = [{"s": "ab", "i": 1, "n": 1.5, "b": True, "d": datetime.date(2024, 1, 1), "t": None}] * 2


@pytest.mark.parametrize(
    "change",
    [
        {"s": "ac"},
        {"s": "abc"},
        {"s": None},
        {"i": 2},
        {"i": None},
        {"i": 0},
        {"n": 1.5000000000000002},
        {"n": None},
        {"n": 0.0},
        {"b": False},
        {"b": None},
        {"d": datetime.date(2024, 1, 2)},
        {"t": datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)},
    ],
    ids=str,
)
def test_any_changed_cell_changes_the_root(change):
    changed = [BASE[0], BASE[1] | change]
    assert commit(table(changed), KEY).root != commit(table(BASE), KEY).root
    assert not matches(table(changed), KEY, commit(table(BASE), KEY).root)


def test_missing_is_not_zero_nor_empty():
    roots = {commit(table([{"i": value}]), KEY).root for value in (None, 0)}
    roots |= {commit(table([{"n": value}]), KEY).root for value in (None, 0.0)}
    roots |= {commit(table([{"b": value}]), KEY).root for value in (None, False)}
    assert len(roots) == 4  # the three rows of nothing but None are one


def test_texts_do_not_run_into_each_other():
    schema = pa.schema([("a", pa.string()), ("b", pa.string())])
    pairs = [("ab", "c"), ("a", "bc"), ("abc", None), (None, "abc")]
    roots = {commit(pa.Table.from_pylist([{"a": a, "b": b}], schema=schema), KEY).root for a, b in pairs}
    assert len(roots) == len(pairs)


def test_order_count_names_types_and_key_matter():
    one, two = {"s": "a"}, {"s": "b"}
    roots = [
        commit(table([one, two]), KEY).root,
        commit(table([two, one]), KEY).root,
        commit(table([one]), KEY).root,
        commit(table([one, one]), KEY).root,
        commit(table([]), KEY).root,
        commit(table([one, two]), b"l" * 32).root,
        commit(table([one, two]).rename_columns(list("xinbdt")), KEY).root,
        commit(table([one, two]).select(list("isnbdt")), KEY).root,
    ]
    assert len(set(roots)) == len(roots)


def test_equal_rows_have_different_leaves():
    """Each row has its own salt: the root of equal rows is not that of a repeated leaf."""
    from compute.data import commitment

    leaves = list(commitment._leaves(table([{"s": "a"}] * 5).to_batches()[0], KEY, 0))
    assert len(set(leaves)) == 5


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7, 8, 9, 13])
def test_the_root_is_what_the_docstring_says(count):
    """Computed anew from the definition: RFC 6962's recursion, one text column."""
    values = [f"row {number}" for number in range(count)]

    def leaf(index, value):
        salt = hmac.digest(KEY, b"liutong/commitment/salt/v1\x00" + struct.pack(">Q", index), "sha256")
        row = b"\x01" + struct.pack(">q", len(value)) + value.encode()
        return hashlib.sha256(b"\x00" + salt + row).digest()

    def tree(leaves):
        if not leaves:
            return hashlib.sha256(b"").digest()
        if len(leaves) == 1:
            return leaves[0]
        split = 1
        while split * 2 < len(leaves):
            split *= 2
        return hashlib.sha256(b"\x01" + tree(leaves[:split]) + tree(leaves[split:])).digest()

    root = tree([leaf(index, value) for index, value in enumerate(values)])
    columns = struct.pack(">I", 1) + b"s" + struct.pack(">I", 6) + b"string"
    expected = hashlib.sha256(
        b"liutong/commitment/dataset/v1\x00" + columns + struct.pack(">IQ", 1, count) + root
    ).digest()
    assert commit(pa.table({"s": pa.array(values, pa.string())}), KEY).root == expected


def test_the_same_table_as_csv_and_parquet_has_one_commitment(tmp_path):
    (tmp_path / "t.csv").write_text(
        "s,i,n,b,d,t\n"
        "a,1,1.5,true,2024-01-01,2024-01-01T00:00:00Z\n"
        ",,,,,\n"
        "b,-1,-0,0,1960-01-01,1960-01-01 01:00\n"
    )
    from_csv = declare(tmp_path, EVERY_TYPE, path="t.csv").read()
    pq.write_table(from_csv, tmp_path / "t.parquet")
    from_parquet = declare(tmp_path, EVERY_TYPE, kind="parquet", path="t.parquet").read()
    assert commit(from_csv, KEY) == commit(from_parquet, KEY)


def test_a_swapped_file_is_noticed(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("s\nalice\nbob\n")
    source = declare(tmp_path, EVERY_TYPE[:1], path="t.csv")
    root = commit(source.read(), KEY).root
    assert matches(source.read(), KEY, root)
    path.write_text("s\nalice\nrob\n")
    assert not matches(source.read(), KEY, root)


@pytest.mark.parametrize("key", [b"", b"k" * 31, b"k" * 33])
def test_a_salt_key_has_32_bytes(key):
    with pytest.raises(DataError):
        commit(table([]), key)


def test_an_unknown_type_is_refused():
    with pytest.raises(DataError, match="list"):
        commit(pa.table({"x": [[1]]}), KEY)
