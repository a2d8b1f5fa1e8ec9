"""MySQL and MariaDB tables and queries as Arrow batches through PyMySQL.

The connection address lies in a file of its own (`dsn_file`): it may hold a password. What leaves this
machine goes through TLS: ``ssl_mode`` in the address is, as MySQL's own clients call it, ``verify_identity``
(the certificate must be the host's, of an authority that this system knows or of ``ssl_ca``), ``required``
(any certificate) or ``disabled``. Without it the first holds, and on the loopback whatever the server offers.

One read-only transaction with a consistent snapshot reads everything, with a statement timeout. Rows come
ordered by all declared columns (texts by byte value, missing values last), so that the same content always
gives the same commitment. The server sends texts; they are typed as strictly as those of a CSV file, after
the type of the database's own column was found to be the declared one.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import pyarrow as pa
import pymysql
from pymysql.constants import FIELD_TYPE
from pymysql.converters import encoders
from pymysql.cursors import SSCursor

from compute.data.columns import BadCell, ColumnConfig, ColumnType, conform, parse
from compute.errors import DataError

STATEMENT_TIMEOUT_S = 600
_CONNECT_TIMEOUT_S = 10
_PORT = 3306
_BATCH_ROWS = 1 << 16
_BATCH_BYTES = 32 << 20
# Few at a time: each may have fields of a MiB.
_FETCH_ROWS = 64
# Servers compare this much of a text when they sort (`max_sort_length`), some of them only this much.
_SORTED_BYTES = 1024

_INTEGERS = frozenset(
    {
        FIELD_TYPE.TINY,
        FIELD_TYPE.SHORT,
        FIELD_TYPE.INT24,
        FIELD_TYPE.LONG,
        FIELD_TYPE.LONGLONG,
        FIELD_TYPE.YEAR,
    }
)
_DECIMALS = frozenset({FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL})
_FLOATS = frozenset({FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE})
_TEXTS = frozenset(
    {
        FIELD_TYPE.VARCHAR,
        FIELD_TYPE.VAR_STRING,
        FIELD_TYPE.STRING,
        FIELD_TYPE.ENUM,
        FIELD_TYPE.TINY_BLOB,
        FIELD_TYPE.BLOB,
        FIELD_TYPE.MEDIUM_BLOB,
        FIELD_TYPE.LONG_BLOB,
    }
)
_SSL_MODES = ("verify_identity", "required", "disabled")
_REFUSED_TLS = 2026
_TYPE_NAMES = {code: name.lower() for name, code in vars(FIELD_TYPE).items() if isinstance(code, int)}


def batches(
    name: str, dsn_file: Path, relation: str, columns: Sequence[ColumnConfig]
) -> Generator[pa.RecordBatch]:
    """The declared columns of ``relation`` (a quoted table name or a bracketed query), typed.

    The server sorts, rows come as they are asked for: here one batch is held, there a transaction until the
    last. Raises DataError naming ``name``, row (from 1 in reading order), column and reason; never the dsn.
    """
    schema = pa.schema([(column.name, column.arrow_type) for column in columns])
    settings = _settings(dsn_file)
    try:
        with pymysql.connect(**settings) as connection:
            _restrict(connection)
            found = _found(connection, relation)
            query, types = _select(name, relation, columns, found)
            rows = 0
            for texts in _rows(connection, query):
                yield _typed(name, texts, columns, types, schema, rows)
                rows += len(texts)
    except (pymysql.MySQLError, pa.ArrowException, OSError, UnicodeError) as error:
        # The database's own words may repeat a value: they must not reach a log.
        raise DataError(f"{name}: {_what(error)}", file=name) from None


def quoted_table(identifier: str) -> str:
    """A table of SQL; ``database.table`` becomes two names."""
    return ".".join(quoted_name(part) for part in identifier.split("."))


def quoted_name(name: str) -> str:
    """One name of SQL."""
    return "`" + name.replace("`", "``") + "`"


@dataclass(frozen=True)
class _Field:
    """A column of the relation: the type it has on the wire, the bytes it may take, and of a text the
    character set, "binary" if it is none."""

    type_code: int
    max_bytes: int
    charset: str


def _restrict(connection: pymysql.Connection[SSCursor]) -> None:
    """One read-only snapshot, no statement longer than the timeout, times in UTC."""
    cursor = connection.cursor()
    cursor.execute("SELECT VERSION()")
    (version,) = cursor.fetchone() or (b"",)
    cursor.fetchall()
    # MariaDB counts seconds for every statement, MySQL milliseconds for those that read.
    if b"MariaDB" in version:
        cursor.execute(f"SET SESSION max_statement_time = {STATEMENT_TIMEOUT_S}")
    else:
        cursor.execute(f"SET SESSION max_execution_time = {STATEMENT_TIMEOUT_S * 1000}")
    # Who reads batches may compute between two of them.
    cursor.execute(f"SET SESSION net_write_timeout = {STATEMENT_TIMEOUT_S}")
    cursor.execute(f"SET SESSION max_sort_length = {_SORTED_BYTES}")
    cursor.execute("SET SESSION time_zone = '+00:00'")
    cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    cursor.close()


def _found(connection: pymysql.Connection[SSCursor], relation: str) -> dict[str, _Field]:
    cursor = connection.cursor()
    # S608: the operator's own relation, its names quoted.
    cursor.execute(f"SELECT * FROM {relation} AS source LIMIT 0")  # noqa: S608
    described: Sequence[Any] = cursor.description or ()
    cursor.fetchall()
    names = [item[0] for item in described]
    # One row of character sets even where the relation has none: an outer join fills it up.
    charsets = ", ".join(f"CHARSET(source.{quoted_name(item)})" for item in names)
    cursor.execute(
        f"SELECT {charsets} FROM (SELECT 1) AS one "  # noqa: S608
        f"LEFT JOIN (SELECT * FROM {relation} AS inner_source LIMIT 0) AS source ON TRUE"
    )
    (sets,) = cursor.fetchall()
    cursor.close()
    return {
        item[0]: _Field(item[1], item[3] or 0, (charset or b"binary").decode("ascii"))
        for item, charset in zip(described, sets, strict=True)
    }


def _select(
    name: str, relation: str, columns: Sequence[ColumnConfig], found: dict[str, _Field]
) -> tuple[str, list[ColumnType]]:
    """The query, and per column as what its text is parsed before it becomes the declared type."""
    expressions: list[str] = []
    types: list[ColumnType] = []
    order: list[str] = []
    ties: list[str] = []
    for column in columns:
        field = found.get(column.name)
        if field is None:
            # The consumer of a job is told: not what columns there are that were not declared.
            raise DataError(
                f"{name} has no column {column.name!r} among its {len(found)}", file=name, column=column.name
            )
        expression, parsed_as = _expression(name, column, field)
        expressions.append(f"{expression} AS {quoted_name(column.name)}")
        types.append(parsed_as)
        order.append(f"{expression} IS NULL")
        if column.type != "string":
            order.append(expression)
            continue
        content = f"CAST({expression} AS BINARY)"
        if field.max_bytes > _SORTED_BYTES:
            order.append(f"LEFT({content}, {_SORTED_BYTES})")
            # Texts that begin alike are told apart by a digest: their order is stable, if not by bytes.
            ties.append(f"SHA2({content}, 256)")
        else:
            order.append(content)
    return (
        f"SELECT {', '.join(expressions)} FROM {relation} AS source "  # noqa: S608
        f"ORDER BY {', '.join(order + ties)}"
    ), types


def _expression(name: str, column: ColumnConfig, field: _Field) -> tuple[str, ColumnType]:
    """The column as text that says its value exactly, and the type that text is parsed as."""
    plain, code = f"source.{quoted_name(column.name)}", field.type_code
    if column.type == "string" and code in _TEXTS and field.charset != "binary":
        return f"CONVERT({plain} USING utf8mb4)", "string"
    if column.type in ("integer", "number") and code in _INTEGERS:
        return plain, "integer"
    if column.type == "number" and code in _DECIMALS:
        return plain, "number"
    if column.type == "number" and code in _FLOATS:
        # A FLOAT is sent rounded to six digits; as a DOUBLE it is sent exactly.
        return f"({plain} + 0e0)", "number"
    if column.type == "boolean" and code == FIELD_TYPE.TINY:
        return plain, "boolean"
    if column.type == "boolean" and code == FIELD_TYPE.BIT:
        return f"({plain} + 0)", "boolean"
    if column.type == "date" and code in (FIELD_TYPE.DATE, FIELD_TYPE.NEWDATE):
        return plain, "date"
    if column.type == "timestamp" and code in (FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP):
        return plain, "timestamp"
    own = _TYPE_NAMES.get(code, "of an unknown type")
    if code in _TEXTS:
        own = "binary" if field.charset == "binary" else "text"
    raise DataError(
        f"{name}, column {column.name!r} is {own}, but is declared as {column.type}",
        file=name,
        column=column.name,
    )


_Row = tuple[bytes | None, ...]


def _rows(connection: pymysql.Connection[SSCursor], query: str) -> Iterator[list[_Row]]:
    """Rows as they were sent, some at a time: as many as a batch may hold in number and bytes."""
    cursor = connection.cursor()
    cursor.execute(query)
    try:
        rows: list[_Row] = []
        held_bytes = 0
        while fetched := cursor.fetchmany(_FETCH_ROWS):
            rows.extend(fetched)
            held_bytes += sum(len(cell) for row in fetched for cell in row if cell)
            if len(rows) >= _BATCH_ROWS or held_bytes >= _BATCH_BYTES:
                yield rows
                rows, held_bytes = [], 0
        if rows:
            yield rows
    except BaseException:
        # Closing the cursor would wait for all the rows that nobody wants any more.
        result = getattr(cursor, "_result", None)
        if result is not None:
            result.unbuffered_active = False
        raise
    finally:
        cursor.connection = None


def _typed(
    name: str,
    rows: list[_Row],
    columns: Sequence[ColumnConfig],
    types: Sequence[ColumnType],
    schema: pa.Schema,
    first_row: int,
) -> pa.RecordBatch:
    arrays = []
    for column, parsed_as, cells in zip(columns, types, zip(*rows, strict=True), strict=True):
        try:
            texts = _texts(cells)
            values = parse(texts, ColumnConfig(name=column.name, type=parsed_as, nullable=column.nullable))
            arrays.append(values if parsed_as == column.type else conform(values, column))
        except BadCell as bad:
            row = first_row + bad.row + 1 if bad.row >= 0 else None
            place = f", row {row}" if row else ""
            raise DataError(
                f"{name}{place}, column {column.name!r} {bad.reason}",
                file=name,
                row=row,
                column=column.name,
                reason=bad.reason,
            ) from None
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _texts(cells: tuple[bytes | None, ...]) -> pa.Array:
    try:
        return pa.array(cells, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        raise BadCell(-1, "holds text that is not UTF-8") from None


def _settings(path: Path) -> dict[str, Any]:
    """What `pymysql.connect` takes, from the address in a file; raises DataError that repeats none of it."""
    try:
        dsn = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the dsn_file {path} cannot be read", file=path.name) from error
    try:
        address = urlsplit(dsn)
        port = address.port or _PORT
        options = dict(parse_qsl(address.query, strict_parsing=True)) if address.query else {}
    except ValueError:
        raise _bad_address(path) from None
    if address.scheme not in ("mysql", "mariadb") or not address.hostname:
        raise _bad_address(path)
    if set(options) - {"ssl_ca", "ssl_mode"}:
        # Their names are not repeated: behind a question mark there may be the end of a password.
        raise DataError(
            f"the address in {path.name} has options that are not known; known are ssl_ca and ssl_mode",
            file=path.name,
        )
    return {
        "host": address.hostname,
        "port": port,
        "user": unquote(address.username or ""),
        # Texts would become Latin-1, and an error for all that is not.
        "password": unquote(address.password or "").encode(),
        "database": _database(address),
        "charset": "utf8mb4",
        "cursorclass": SSCursor,
        "connect_timeout": _CONNECT_TIMEOUT_S,
        # The server ends a long statement first, and says so.
        "read_timeout": STATEMENT_TIMEOUT_S + _CONNECT_TIMEOUT_S,
        "write_timeout": _CONNECT_TIMEOUT_S,
        "local_infile": False,
        # Cells stay the bytes that were sent: `compute.data.columns` types them.
        "use_unicode": False,
        "conv": dict(encoders),
        **_tls(path, address.hostname, options),
    }


def _tls(path: Path, host: str, options: Mapping[str, str]) -> dict[str, Any]:
    """What `pymysql.connect` takes for ``ssl_mode`` and ``ssl_ca``."""
    authorities = options.get("ssl_ca")
    if not options and _is_loopback(host):
        return {}
    mode = options.get("ssl_mode", "verify_identity")
    if mode not in _SSL_MODES or (authorities is not None and mode != "verify_identity"):
        raise DataError(
            f"the address in {path.name} has an ssl_mode that is none of {', '.join(_SSL_MODES)}, "
            "or an ssl_ca that its ssl_mode does not look at",
            file=path.name,
        )
    if mode == "disabled":
        return {"ssl_disabled": True}
    try:
        context = ssl.create_default_context(cafile=authorities)
    except OSError as error:
        raise DataError(f"the ssl_ca in {path.name} cannot be read", file=path.name) from error
    if mode == "required":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return {"ssl": context}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _database(address: SplitResult) -> str | None:
    return unquote(address.path.removeprefix("/")) or None


def _bad_address(path: Path) -> DataError:
    return DataError(f"the dsn_file {path.name} must hold a mysql:// address", file=path.name)


def _what(error: Exception) -> str:
    """A reason without the query's values, the address or the password."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else None
    too_long = f"the query took longer than {STATEMENT_TIMEOUT_S} s"
    known = {
        1044: "the database user may not read it",
        1045: "the database refuses the user or password",
        1049: "the database does not exist",
        1054: "a column does not exist",
        1060: "the query gives two columns the same name",
        1064: "the query is not valid SQL",
        1142: "the database user may not read it",
        1143: "the database user may not read it",
        1146: "the table does not exist",
        1698: "the database refuses the user or password",
        1792: "the query tries to write",
        1969: too_long,
        3024: too_long,
    }
    if code in known:
        return known[code]
    # A certificate that does not fit comes as a failure to connect, with its cause in the text alone.
    if code == _REFUSED_TLS or isinstance(getattr(error, "original_exception", None), ssl.SSLError):
        return (
            "the database offers no TLS, or no certificate that proves its identity: give ssl_ca, or choose "
            "ssl_mode=required or ssl_mode=disabled in the dsn_file"
        )
    if code is None or code in (2002, 2003, 2005, 2006, 2013):
        return "the database does not answer or refuses the connection: check the dsn_file"
    return f"the database refused the query (error {code})"
