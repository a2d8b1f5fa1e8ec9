"""PostgreSQL tables and queries as Arrow batches through ADBC.

The connection string lies in a file of its own (`dsn_file`): it may hold a password. One read-only,
repeatable-read transaction reads everything, with a statement timeout. Rows come ordered by all declared
columns (texts by byte value), so that the same content always gives the same commitment.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as postgresql
import pyarrow as pa

from compute.data.columns import ColumnConfig
from compute.data.parquet_source import typed_batch
from compute.errors import DataError

STATEMENT_TIMEOUT_S = 600
_CONNECT_TIMEOUT_S = 10


def batches(
    name: str, dsn_file: Path, relation: str, columns: Sequence[ColumnConfig]
) -> Generator[pa.RecordBatch]:
    """The declared columns of ``relation`` (a quoted table name or a bracketed query), typed.

    The server sorts, rows come as they are asked for: here one batch is held, there a transaction until the
    last. Raises DataError naming ``name``, row (from 1 in reading order), column and reason; never the dsn.
    """
    schema = pa.schema([(column.name, column.arrow_type) for column in columns])
    dsn = _dsn(dsn_file)
    try:
        with postgresql.connect(dsn) as connection, connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_S * 1000}")
            cursor.execute(_probe(relation))
            query = _select(name, relation, columns, cursor.fetch_arrow_table().schema)
            cursor.execute(query)
            rows = 0
            for batch in cursor.fetch_record_batch():
                yield typed_batch(name, batch, columns, schema, rows)
                rows += batch.num_rows
    except (adbc_driver_manager.Error, pa.ArrowException, OSError) as error:
        # The database's own words may repeat a value: they must not reach a log.
        raise DataError(f"{name}: {_what(error)}", file=name) from None


def quoted_table(identifier: str) -> str:
    """A table of SQL; ``schema.table`` becomes two names."""
    return ".".join(quoted_name(part) for part in identifier.split("."))


def quoted_name(name: str) -> str:
    """One name of SQL."""
    return '"' + name.replace('"', '""') + '"'


def _probe(relation: str) -> str:
    return f"SELECT * FROM {relation} AS source LIMIT 0"  # noqa: S608 - the operator's own relation, quoted


def _select(name: str, relation: str, columns: Sequence[ColumnConfig], found: pa.Schema) -> str:
    expressions, order = [], []
    for column in columns:
        if column.name not in found.names:
            raise DataError(
                # The consumer of a job is told: not what columns there are that were not declared.
                f"{name} has no column {column.name!r} among its {len(found.names)}",
                file=name,
                column=column.name,
            )
        expression = _expression(name, column, found.field(column.name))
        expressions.append(f"{expression} AS {quoted_name(column.name)}")
        order.append(expression + (' COLLATE "C"' if column.type == "string" else ""))
    return (
        f"SELECT {', '.join(expressions)} FROM {relation} AS source "  # noqa: S608 - as above
        f"ORDER BY {', '.join(order)}"
    )


def _expression(name: str, column: ColumnConfig, field: pa.Field) -> str:
    """The column, cast where Arrow knows its type only as opaque text and the meaning is plain."""
    postgres_type = (field.metadata or {}).get(b"POSTGRESQL:type", b"").decode()
    plain = quoted_name(column.name)
    if column.type == "string" and postgres_type in ("text", "varchar", "bpchar", "name", "uuid"):
        return f"{plain}::text"
    if column.type == "number" and postgres_type == "numeric":
        return f"{plain}::double precision"
    if column.type == "string" or postgres_type == "numeric":
        raise DataError(
            f"{name}, column {column.name!r} is {postgres_type}, but is declared as {column.type}",
            file=name,
            column=column.name,
        )
    return plain


def _dsn(path: Path) -> str:
    try:
        dsn = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the dsn_file {path} cannot be read", file=path.name) from error
    if not dsn.startswith(("postgresql://", "postgres://")):
        raise DataError(f"the dsn_file {path.name} must hold a postgresql:// address", file=path.name)
    if "connect_timeout=" not in dsn:
        dsn += ("&" if "?" in dsn else "?") + f"connect_timeout={_CONNECT_TIMEOUT_S}"
    return dsn


def _what(error: Exception) -> str:
    """A reason without the query's values, the address or the password."""
    state = getattr(error, "sqlstate", None)
    # While rows stream, Arrow wraps the error and only its words are left.
    for words, code in (("read-only transaction", "25006"), ("statement timeout", "57014")):
        if state is None and words in str(error):
            state = code
    known = {
        "42P01": "the table does not exist",
        "42703": "a column does not exist",
        "42501": "the database user may not read it",
        "42601": "the query is not valid SQL",
        "57014": f"the query took longer than {STATEMENT_TIMEOUT_S} s",
        "28P01": "the database refuses the user or password",
        "25006": "the query tries to write",
    }
    if state in known:
        return known[state]
    if "Failed to connect" in str(error):
        return "the database does not answer or refuses the connection: check the dsn_file"
    return f"the database refused the query (SQLSTATE {state or 'unknown'})"
