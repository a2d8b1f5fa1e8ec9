"""CSV files: RFC 4180, UTF-8 with or without a byte order mark, one header line.

DuckDB splits the file, all cells as text; `compute.data.columns` types them strictly. When something does
not fit, Python's csv module walks the file once more to tell the physical line: DuckDB counts records, and
its messages repeat the offending line, which would put personal data into logs.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from compute.data.columns import MAX_FIELD_BYTES, BadCell, ColumnConfig, parse
from compute.errors import DataError

BATCH_ROWS = 1 << 16
# One record may hold several fields of the longest kind.
_MAX_RECORD_BYTES = 8 << 20
# DuckDB holds a few of these at a time; it must be longer than a record.
_BUFFER_BYTES = 2 * _MAX_RECORD_BYTES
_MAX_HEADER_BYTES = 1 << 20
_RECORD = re.compile(r"CSV Error on Line: (\d+)")
_WIDTH = re.compile(r"Expected Number of Columns: (\d+) Found: (\d+)")


def batches(path: Path, delimiter: str, columns: Sequence[ColumnConfig]) -> Iterator[pa.RecordBatch]:
    """The declared columns of the file, typed, in its order; about 100 MiB are held, whatever its size.

    Raises DataError naming file, line, column and reason.
    """
    header = _header(path, delimiter)
    for column in columns:
        if column.name not in header:
            raise DataError(
                # A file without a header shows its first row here: do not repeat it.
                f"{path.name}, line 1: the header has no column {column.name!r} among its {len(header)}",
                file=path.name,
                line=1,
                column=column.name,
            )
    rows = 0
    schema = pa.schema([(column.name, column.arrow_type) for column in columns])
    try:
        for texts in _texts(path, delimiter, header, columns):
            yield _typed(path, delimiter, header, columns, schema, texts, rows)
            rows += texts.num_rows
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        # What goes wrong while batches are drawn comes through Arrow, with DuckDB's words in it.
        raise _malformed(path, delimiter, header, str(error)) from None


def _typed(
    path: Path,
    delimiter: str,
    header: Sequence[str],
    columns: Sequence[ColumnConfig],
    schema: pa.Schema,
    texts: pa.RecordBatch,
    first_row: int,
) -> pa.RecordBatch:
    arrays = []
    for index, column in enumerate(columns):
        try:
            arrays.append(parse(texts.column(index), column))
        except BadCell as bad:
            line = _line_of_row(path, delimiter, len(header), first_row + bad.row)
            raise DataError(
                f"{path.name}, line {line}, column {column.name!r}: the value {bad.reason}",
                file=path.name,
                line=line,
                column=column.name,
                reason=bad.reason,
            ) from None
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _header(path: Path, delimiter: str) -> list[str]:
    try:
        with path.open("rb") as file:
            start = file.read(_MAX_HEADER_BYTES)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", file=path.name) from error
    if not start:
        raise DataError(f"{path.name} is empty: it needs a header line and rows", file=path.name)
    # The rest of the file is DuckDB's to check; a character may be cut at the end of what was read.
    text = start.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
    try:
        header = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    except csv.Error:
        raise DataError(f"{path.name}, line 1: no readable header", file=path.name, line=1) from None
    if any("\ufffd" in name for name in header):
        raise DataError(f"{path.name}, line 1: the header is not UTF-8", file=path.name, line=1)
    if not header or not all(header):
        raise DataError(f"{path.name}, line 1: a column has no name", file=path.name, line=1)
    seen: dict[str, int] = {}
    for position, name in enumerate(header, 1):
        first = seen.setdefault(name, position)
        if first != position:
            raise DataError(
                f"{path.name}, line 1: columns {first} and {position} have the same name",
                file=path.name,
                line=1,
            )
    return header


def _texts(
    path: Path, delimiter: str, header: Sequence[str], columns: Sequence[ColumnConfig]
) -> Iterator[pa.RecordBatch]:
    names = ", ".join(f"{_literal(name)}: 'VARCHAR'" for name in header)
    wanted = ", ".join('"' + column.name.replace('"', '""') + '"' for column in columns)
    # Identifiers are quoted; the path is a parameter.
    query = f"""
        SELECT {wanted} FROM read_csv(
            $path, columns = {{{names}}}, header = true, auto_detect = false, compression = 'none',
            delim = {_literal(delimiter)}, quote = '"', escape = '"', comment = '', nullstr = '',
            strict_mode = true, null_padding = false, max_line_size = {_MAX_RECORD_BYTES},
            buffer_size = {_BUFFER_BYTES}
        )
    """  # noqa: S608
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET autoinstall_known_extensions = false")
        connection.execute("SET autoload_known_extensions = false")
        relation = connection.sql(query, params={"path": str(path)})
        yield from relation.to_arrow_reader(BATCH_ROWS)


def _malformed(path: Path, delimiter: str, header: Sequence[str], message: str) -> DataError:
    """DuckDB's complaint with the physical line and without the line's content."""
    width = _WIDTH.search(message)
    if "Maximum line size of" in message:
        reason = f"the line is longer than {_MAX_RECORD_BYTES} bytes; a field may have {MAX_FIELD_BYTES}"
    elif width:
        reason = f"the line has {width[2]} fields where the header has {width[1]}"
    elif "unterminated quote" in message:
        reason = "a quoted field does not end, or something follows its closing quote"
    elif "Invalid unicode" in message:
        reason = "the text is not UTF-8"
    elif "Out of Memory" in message:
        reason = "there is not enough memory to read it"
    else:
        reason = "the file is not separated text after RFC 4180, or its line ends are mixed"
    found = _RECORD.search(message)
    line = _line_of_record(path, delimiter, int(found[1])) if found else None
    place = f", line {line}" if line else ""
    return DataError(f"{path.name}{place}: {reason}", file=path.name, line=line, reason=reason)


def _records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """First physical line and fields of every record, the header and blank lines included."""
    csv.field_size_limit(_MAX_RECORD_BYTES)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        line = 1
        try:
            for fields in reader:
                yield line, fields
                line = reader.line_num + 1
        except csv.Error:
            # A field beyond the limit: the record begins here.
            yield line, [""]


def _line_of_record(path: Path, delimiter: str, record: int) -> int:
    """The physical line where a record begins; records count from 1 with the header."""
    lines = (line for line, _ in _records(path, delimiter))
    return next(itertools.islice(lines, record - 1, None), 1)


def _line_of_row(path: Path, delimiter: str, width: int, row: int) -> int:
    """The physical line where a data row begins; rows count from 0.

    A blank line is a row in a file of one column, and none in a wider one.
    """
    lines = (line for line, fields in _records(path, delimiter) if fields or width == 1)
    return next(itertools.islice(lines, row + 1, None), 1)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
