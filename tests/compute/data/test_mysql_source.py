"""MySQL and MariaDB: the same types, the same refusals, a stable order, and nothing written."""

from __future__ import annotations

import os
import secrets
from urllib.parse import quote

import pyarrow as pa
import pymysql
import pytest

from compute.data import mysql_source
from compute.data.commitment import commit
from compute.errors import DataError
from tests.compute.data.sources import EVERY_TYPE, STORED, WRONG, declare

pytestmark = pytest.mark.mysql

DSN = "mysql://root@127.0.0.1:3306/test"
ID = {"name": "id", "type": "string"}


@pytest.fixture(scope="module")
def database():
    try:
        connection = pymysql.connect(
            host="127.0.0.1", user="root", database="test", connect_timeout=3, autocommit=True
        )
    except pymysql.OperationalError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no MySQL or MariaDB at 127.0.0.1:3306: {error}")
    with connection:
        yield connection.cursor()


@pytest.fixture
def schema(database):
    name = f"liutong_{secrets.token_hex(6)}"
    database.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    yield name
    database.execute(f"DROP DATABASE {name}")


@pytest.fixture
def source(tmp_path):
    (tmp_path / "dsn").write_text(DSN + "\n")

    def make(columns, **settings):
        return declare(tmp_path, columns, kind="mysql", dsn_file="dsn", **settings)

    return make


def test_every_type_is_read_as_declared(database, schema, source, tmp_path):
    database.execute(
        f"CREATE TABLE {schema}.t (s varchar(20), i smallint, n decimal(9, 3), b tinyint(1), d date,"
        " t datetime(6))"
    )
    database.execute(
        f"INSERT INTO {schema}.t VALUES ('b', -1, 1.5, 1, '2024-02-29', '2024-02-29 23:59:59.123456'),"
        "('流😀', 7, -2.25, 0, '1960-01-01', '1960-01-01 00:00'), (null, null, null, null, null, null)"
    )
    read = source(EVERY_TYPE, table=f"{schema}.t").read()
    (tmp_path / "t.csv").write_text(
        "s,i,n,b,d,t\n"
        "b,-1,1.5,true,2024-02-29,2024-02-29T23:59:59.123456Z\n"
        "流😀,7,-2.25,false,1960-01-01,1960-01-01T00:00:00Z\n"
        ",,,,,\n"
    )
    from_csv = declare(tmp_path, EVERY_TYPE, path="t.csv").read()
    assert read.equals(from_csv)
    assert commit(read, b"k" * 32) == commit(from_csv, b"k" * 32)


FITS = {
    "char": ("char(4)", "'ab'", "string", "ab"),
    "text": ("text", "'ab'", "string", "ab"),
    "text in Latin-1": ("text character set latin1", "'Müller'", "string", "Müller"),
    "enum": ("enum('x', 'ab')", "'ab'", "string", "ab"),
    "uuid in text": ("char(36)", "'0f8fad5b-d9cb-469f-a165-70867728950e'", "string", None),
    "tinyint": ("tinyint unsigned", "255", "integer", 255),
    "bigint": ("bigint", "-9223372036854775808", "integer", -(1 << 63)),
    "unsigned bigint": ("bigint unsigned", "9223372036854775807", "integer", (1 << 63) - 1),
    "year": ("year", "2026", "integer", 2026),
    "float is not rounded": ("float", "16777215", "number", 16777215.0),
    "float of a tenth": ("float", "0.1", "number", 0.10000000149011612),
    "double": ("double", "1.7976931348623157e308", "number", 1.7976931348623157e308),
    "small double": ("double", "0.1", "number", 0.1),
    "integer as number": ("int", "7", "number", 7.0),
    "decimal": ("decimal(30, 10)", "12345678901234567890.0123456789", "number", 12345678901234567890.0),
    "bit": ("bit(1)", "b'1'", "boolean", True),
}


@pytest.mark.parametrize(("sql_type", "value", "declared", "expected"), FITS.values(), ids=FITS.keys())
def test_what_fits_is_read_exactly(database, schema, source, sql_type, value, declared, expected):
    database.execute(f"CREATE TABLE {schema}.t (id {sql_type})")
    database.execute(f"INSERT INTO {schema}.t VALUES ({value})")
    read = source([{"name": "id", "type": declared}], table=f"{schema}.t").read()
    assert read["id"].to_pylist() == [value.strip("'") if expected is None else expected]


def test_a_timestamp_is_utc_wherever_the_server_is(database, schema, source):
    database.execute("SET SESSION time_zone = '+08:00'")
    try:
        database.execute(f"CREATE TABLE {schema}.t (id timestamp)")
        database.execute(f"INSERT INTO {schema}.t VALUES ('2024-01-01 08:00:00')")
    finally:
        database.execute("SET SESSION time_zone = '+00:00'")
    read = source([{"name": "id", "type": "timestamp"}], table=f"{schema}.t").read()
    assert [str(value) for value in read["id"].to_pylist()] == ["2024-01-01 00:00:00+00:00"]


def test_the_order_does_not_depend_on_how_rows_were_stored(database, schema, source):
    columns = [ID, {"name": "n", "type": "integer"}]
    roots = set()
    for table, values in STORED.items():
        # One column is a latin1 text that sorts without case: the order is by UTF-8 bytes all the same.
        database.execute(
            f"CREATE TABLE {schema}.{table} (id varchar(9) character set latin1, n int) ENGINE=InnoDB"
        )
        database.execute(f"INSERT INTO {schema}.{table} VALUES {values}")
        read = source(columns, table=f"{schema}.{table}").read()
        assert read["id"].to_pylist() == ["B", "b", "b", "ä"]
        assert read["n"].to_pylist() == [2, 0, 1, 3]
        roots.add(commit(read, b"k" * 32).root)
    assert len(roots) == 1


def test_long_texts_that_begin_alike_have_a_stable_order(database, schema, source):
    texts = [f"REPEAT('z', 3000), '{number}'" for number in range(7)]
    roots = set()
    for table, order in (("x", texts), ("y", texts[::-1])):
        database.execute(f"CREATE TABLE {schema}.{table} (id text)")
        for text in order:
            database.execute(f"INSERT INTO {schema}.{table} VALUES (CONCAT({text}))")
        roots.add(commit(source([ID], table=f"{schema}.{table}").read(), b"k" * 32).root)
    assert len(roots) == 1


def test_a_query_may_join_and_cast(database, schema, source):
    database.execute(f"CREATE TABLE {schema}.t (id int, n decimal(12, 0))")
    database.execute(f"INSERT INTO {schema}.t SELECT seq, seq FROM seq_1_to_70000")
    columns = [ID, {"name": "n", "type": "integer"}]
    query = f"SELECT CAST(id AS char) AS id, CAST(n AS signed) AS n FROM {schema}.t WHERE id > 10"
    made = source(columns, query=query)
    read = made.read(["n"])
    assert read.num_rows == 69_990
    assert read.column_names == ["n"]
    assert pa.Table.from_batches(made.batches(["n"])).equals(read)


def test_who_stops_early_leaves_no_open_transaction(database, schema, source):
    database.execute(f"CREATE TABLE {schema}.t (id int)")
    database.execute(f"INSERT INTO {schema}.t SELECT seq FROM seq_1_to_200000")
    batches = source([{"name": "id", "type": "integer"}], table=f"{schema}.t").batches()
    assert next(batches).num_rows < 200_000
    batches.close()
    # A transaction that still held the table would keep this waiting.
    database.execute("SET SESSION lock_wait_timeout = 5")
    database.execute(f"DROP TABLE {schema}.t")


def test_odd_names_are_names_and_not_sql(database, schema, source):
    database.execute(f"CREATE TABLE {schema}.`od``d; table` (`co``l; --` varchar(9))")
    database.execute(f"INSERT INTO {schema}.`od``d; table` VALUES ('x')")
    columns = [{"name": "co`l; --", "type": "string"}]
    assert source(columns, table=f"{schema}.od`d; table").read().num_rows == 1


def test_an_empty_table_is_an_empty_table(database, schema, source):
    database.execute(f"CREATE TABLE {schema}.t (id varchar(9))")
    read = source([ID], table=f"{schema}.t").read()
    assert (read.num_rows, read.schema.types) == (0, [pa.string()])


MISFITS = WRONG | {
    "decimal for an integer": ("decimal(9,0)", "1", "integer", "is newdecimal, but is declared as integer"),
    "bytes for text": ("varbinary(9)", "'1'", "string", "is binary, but is declared as string"),
    "a blob for text": ("blob", "'1'", "string", "is binary"),
    "a time of day": ("time", "'10:00'", "timestamp", "is time, but is declared as timestamp"),
    "two for a boolean": ("tinyint(1)", "2", "boolean", "true, false, 1 or 0"),
    "an integer above 63 bits": ("bigint unsigned", "9223372036854775808", "integer", "64 bits"),
    "an integer that a number cannot hold": ("bigint", "9007199254740993", "number", "exactly"),
    "NUL": ("text", "CONCAT('a', CHAR(0))", "string", "NUL"),
    "a long field": ("longtext", "repeat('z', 1048577)", "string", "longer"),
}


@pytest.mark.parametrize(("sql_type", "value", "declared", "reason"), MISFITS.values(), ids=MISFITS.keys())
def test_what_does_not_fit_is_told(database, schema, source, sql_type, value, declared, reason):
    database.execute(f"CREATE TABLE {schema}.t (id {sql_type})")
    database.execute(f"INSERT INTO {schema}.t VALUES ({value})")
    with pytest.raises(DataError, match=reason):
        source([{"name": "id", "type": declared}], table=f"{schema}.t").read()


def test_a_zero_date_is_no_date(database, schema, source):
    database.execute("SET SESSION sql_mode = ''")
    database.execute(f"CREATE TABLE {schema}.t (id date)")
    database.execute(f"INSERT INTO {schema}.t VALUES ('2024-01-01'), ('0000-00-00')")
    with pytest.raises(DataError, match="row 1, column 'id' is not a date"):
        source([{"name": "id", "type": "date"}], table=f"{schema}.t").read()


def test_missing_tables_and_columns_are_told(database, schema, source):
    with pytest.raises(DataError, match="does not exist"):
        source([ID], table=f"{schema}.ghost").read()
    database.execute(f"CREATE TABLE {schema}.t (other text)")
    with pytest.raises(DataError, match=r"no column 'id' among its 1$"):
        source([ID], table=f"{schema}.t").read()


@pytest.mark.parametrize(
    "query",
    [
        "SELECT",
        "SELECT 'x' AS id) AS a; DROP DATABASE test; -- ",
        "DELETE FROM mysql.user RETURNING 'x' AS id",
        "SELECT 'x' AS id INTO OUTFILE '/tmp/liutong-written'",
    ],
)
def test_a_query_that_is_none_is_refused(database, source, query):
    with pytest.raises(DataError, match=r"not valid SQL|refused"):
        source([ID], query=query).read()
    assert not os.path.exists("/tmp/liutong-written")


def test_a_query_cannot_write(database, schema, source):
    database.execute(f"CREATE TABLE {schema}.t (id int) ENGINE=InnoDB")
    database.execute(
        f"CREATE FUNCTION {schema}.f() RETURNS varchar(9) MODIFIES SQL DATA "
        f"BEGIN INSERT INTO {schema}.t VALUES (1); RETURN 'x'; END"
    )
    with pytest.raises(DataError, match="tries to write"):
        source([ID], query=f"SELECT {schema}.f() AS id").read()
    database.execute(f"SELECT COUNT(*) FROM {schema}.t")
    assert database.fetchone() == (0,)


def test_a_statement_that_takes_too_long_ends(database, source, monkeypatch):
    monkeypatch.setattr(mysql_source, "STATEMENT_TIMEOUT_S", 1)
    with pytest.raises(DataError, match="took longer than 1 s"):
        # No sleep: that is interrupted and answers as if it had ended.
        source([ID], query="SELECT 'x' AS id FROM seq_1_to_100000000 WHERE SHA2(seq, 512) = 'no'").read()


def test_a_value_is_never_in_the_error(database, schema, source):
    database.execute(f"CREATE TABLE {schema}.t (id text)")
    database.execute(f"INSERT INTO {schema}.t VALUES ('Jane Roe')")
    with pytest.raises(DataError) as caught:
        source([ID], query=f"SELECT EXTRACTVALUE(id, CONCAT('//', id, '[')) AS id FROM {schema}.t").read()
    assert "Jane" not in str(caught.value) + str(caught.value.detail)
    assert caught.value.__suppress_context__


def test_a_password_may_hold_any_letter(database, schema, source, tmp_path):
    user = f"liutong_{secrets.token_hex(4)}"
    database.execute(f"CREATE TABLE {schema}.t (id text)")
    database.execute(f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY 'é密码'")
    try:
        database.execute(f"GRANT SELECT ON {schema}.t TO {user}@'127.0.0.1'")
        made = source([ID], table=f"{schema}.t")
        (tmp_path / "dsn").write_text(f"mysql://{user}:{quote('é密码')}@127.0.0.1:3306/{schema}")
        assert made.read().num_rows == 0
    finally:
        database.execute(f"DROP USER {user}@'127.0.0.1'")


ADDRESSES = {
    "nobody listens": ("mysql://someone:hunter2@127.0.0.1:1/test", "dsn_file"),
    "a wrong password": ("mysql://liutong-nobody:hunter2@127.0.0.1:3306/test", "user or password"),
    "another database": ("postgresql://someone:hunter2@127.0.0.1/test", "mysql://"),
    "an option that is a password": ("mysql://someone:80?hunter2=1@127.0.0.1/test", "known are ssl_ca"),
    "no name of a host": ("mysql://someone:hunter2@..com/test", "dsn_file"),
    "an option": ("mysql://someone:hunter2@127.0.0.1/test?local_infile=1", "known are ssl_ca"),
    "a port": ("mysql://someone:hunter2@127.0.0.1:x/test", "mysql://"),
    "nothing": ("", "mysql://"),
}


@pytest.mark.parametrize(("address", "reason"), ADDRESSES.values(), ids=ADDRESSES.keys())
def test_a_database_that_is_not_there_is_told_without_its_address(
    database, tmp_path, source, address, reason
):
    made = source([ID], table="t")
    (tmp_path / "dsn").write_text(address)
    with pytest.raises(DataError, match=reason) as caught:
        made.read()
    assert "hunter2" not in str(caught.value) + str(caught.value.detail)
    (tmp_path / "dsn").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        made.read()
