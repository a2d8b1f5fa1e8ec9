"""PostgreSQL: the same types, the same refusals, a stable order, and nothing written."""

from __future__ import annotations

import os
import secrets

import psycopg
import pytest

from compute.data.commitment import commit
from compute.errors import DataError
from tests.compute.data.sources import EVERY_TYPE, STORED, WRONG, declare

pytestmark = pytest.mark.postgres

DSN = "postgresql://postgres@127.0.0.1:5432/test"
ID = {"name": "id", "type": "string"}


@pytest.fixture(scope="module")
def database():
    try:
        connection = psycopg.connect(DSN, connect_timeout=3, autocommit=True)
    except psycopg.OperationalError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no PostgreSQL at 127.0.0.1:5432: {error}")
    with connection:
        yield connection


@pytest.fixture
def schema(database):
    name = f"liutong_{secrets.token_hex(6)}"
    database.execute(f"CREATE SCHEMA {name}")
    yield name
    database.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
def source(tmp_path):
    (tmp_path / "dsn").write_text(DSN + "\n")

    def make(columns, **settings):
        return declare(tmp_path, columns, kind="postgresql", dsn_file="dsn", **settings)

    return make


def test_every_type_is_read_as_declared(database, schema, source, tmp_path):
    database.execute(
        f"CREATE TABLE {schema}.t (s varchar(20), i smallint, n numeric, b boolean, d date, t timestamptz)"
    )
    database.execute(
        f"INSERT INTO {schema}.t VALUES ('b', -1, 1.5, true, '2024-02-29', '2024-02-29 08:00+08'),"
        "('a', 7, -2.25, false, '1960-01-01', '1960-01-01 00:00Z'), (null, null, null, null, null, null)"
    )
    read = source(EVERY_TYPE, table=f"{schema}.t").read()
    (tmp_path / "t.csv").write_text(
        "s,i,n,b,d,t\n"
        "a,7,-2.25,false,1960-01-01,1960-01-01T00:00:00Z\n"
        "b,-1,1.5,true,2024-02-29,2024-02-29T00:00:00Z\n"
        ",,,,,\n"
    )
    from_csv = declare(tmp_path, EVERY_TYPE, path="t.csv").read()
    assert read.equals(from_csv)
    assert commit(read, b"k" * 32) == commit(from_csv, b"k" * 32)


def test_the_order_does_not_depend_on_how_rows_were_stored(database, schema, source):
    columns = [ID, {"name": "n", "type": "integer"}]
    roots = set()
    for table, values in STORED.items():
        database.execute(f"CREATE TABLE {schema}.{table} (id text, n int)")
        database.execute(f"INSERT INTO {schema}.{table} VALUES {values}")
        read = source(columns, table=f"{schema}.{table}").read()
        assert read["id"].to_pylist() == ["B", "b", "b", "ä"]
        roots.add(commit(read, b"k" * 32).root)
    assert len(roots) == 1


def test_a_query_may_join_and_cast(database, schema, source):
    database.execute(f"CREATE TABLE {schema}.t (id int, n numeric)")
    database.execute(f"INSERT INTO {schema}.t SELECT i, i FROM generate_series(1, 70000) AS i")
    columns = [ID, {"name": "n", "type": "integer"}]
    read = source(columns, query=f"SELECT id::text, n::bigint FROM {schema}.t WHERE id > 10").read(["n"])
    assert read.num_rows == 69_990
    assert read.column_names == ["n"]


def test_odd_names_are_names_and_not_sql(database, schema, source):
    database.execute(f"""CREATE TABLE {schema}."od""d; table" ("co""l; --" uuid)""")
    database.execute(f"""INSERT INTO {schema}."od""d; table" VALUES (gen_random_uuid())""")
    columns = [{"name": 'co"l; --', "type": "string"}]
    assert source(columns, table=f'{schema}.od"d; table').read().num_rows == 1


MISFITS = WRONG | {
    "numeric for an integer": ("numeric", "1", "integer", "is numeric, but is declared as integer"),
    "json for text": ("jsonb", "'{}'", "string", "is jsonb"),
    "NaN": ("float8", "'NaN'", "number", "NaN"),
    "numeric NaN": ("numeric", "'NaN'", "number", "NaN"),
    "infinity": ("float4", "'-Infinity'", "number", "NaN or infinite"),
    "a long field": ("text", "repeat('z', 1048577)", "string", "longer"),
}


@pytest.mark.parametrize(("sql_type", "value", "declared", "reason"), MISFITS.values(), ids=MISFITS.keys())
def test_what_does_not_fit_is_told(database, schema, source, sql_type, value, declared, reason):
    database.execute(f"CREATE TABLE {schema}.t (id {sql_type})")
    database.execute(f"INSERT INTO {schema}.t VALUES ({value})")
    with pytest.raises(DataError, match=reason):
        source([{"name": "id", "type": declared}], table=f"{schema}.t").read()


def test_an_infinite_date_is_an_error_and_no_crash(database, schema, source):
    database.execute(f"CREATE TABLE {schema}.t (id timestamp)")
    database.execute(f"INSERT INTO {schema}.t VALUES ('infinity')")
    try:
        table = source([{"name": "id", "type": "timestamp"}], table=f"{schema}.t").read()
    except DataError:
        return
    assert table.num_rows == 1


def test_missing_tables_and_columns_are_told(database, schema, source):
    with pytest.raises(DataError, match="does not exist"):
        source([ID], table=f"{schema}.ghost").read()
    database.execute(f"CREATE TABLE {schema}.t (other text)")
    with pytest.raises(DataError, match=r"no column 'id' among its 1$"):
        source([ID], table=f"{schema}.t").read()


@pytest.mark.parametrize(
    "query",
    ["SELECT", "SELECT 1 AS id); DROP SCHEMA public; --", "DELETE FROM pg_class RETURNING 'x' AS id"],
)
def test_a_query_that_is_none_is_refused(database, source, query):
    with pytest.raises(DataError):
        source([ID], query=query).read()


def test_a_query_cannot_write(database, schema, source):
    database.execute(f"CREATE SEQUENCE {schema}.s")
    with pytest.raises(DataError, match="tries to write"):
        source([ID], query=f"SELECT nextval('{schema}.s')::text AS id").read()
    assert database.execute(f"SELECT is_called FROM {schema}.s").fetchone() == (False,)


def test_a_database_that_is_not_there_is_told_without_its_address(tmp_path, source):
    made = source([ID], table="t")
    (tmp_path / "dsn").write_text("postgresql://someone:hunter2@127.0.0.1:1/test")
    with pytest.raises(DataError, match="dsn_file") as caught:
        made.read()
    assert "hunter2" not in str(caught.value) + str(caught.value.detail)
    (tmp_path / "dsn").write_text("host=127.0.0.1")
    with pytest.raises(DataError, match="postgresql://"):
        made.read()
    (tmp_path / "dsn").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        made.read()
