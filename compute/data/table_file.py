"""Tables as Parquet or CSV files, batch by batch: all of a file is there, or nothing of it.

A file is written under another name, flushed and renamed, readable by its owner only. CSV is made so that it
comes back exactly and harms nobody who opens it in a spreadsheet:

    missing value → nothing · empty text → "" · texts in quotes, quotes doubled, lines end in "\\n"
    numbers in the fewest digits that give the same number
    dates 2026-05-31 · times 2026-05-31 12:30:00.000000Z

A spreadsheet runs a cell that begins with one of ``= + - @``, a tab or a line end as a formula, whatever
stands around it (CWE-1236, OWASP "CSV Injection"). Such a text, and one that begins with an apostrophe, gets
an apostrophe in front, which `read_csv` takes away again; ``exact=True`` leaves it out, for files that only
programs read. Names of columns are texts too.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from compute.disk import NO_ROOM
from compute.errors import BadInput, DataError, DiskFull

TableFormat = Literal["csv", "parquet"]

# Also in the full-width forms that some spreadsheets take for the same.
_FORMULA = "^[=+\\-@\\t\\r\\n'＝＋－＠]"
_BATCH_ROWS = 1 << 16


def write(
    path: Path,
    table_format: TableFormat,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    *,
    exact: bool = False,
) -> int:
    """Write batches of this schema to ``path`` and replace what is there; returns the number of rows.

    On disk when this returns; if it raises, ``path`` is as it was. Raises DiskFull, DataError for any other
    trouble with the file or a column of a type that CSV cannot hold, and whatever ``batches`` raises.
    """
    encode = _encoder(table_format, schema, exact)
    rows = 0
    with replacing(path) as file, encode(file) as put:
        for batch in batches:
            put(batch)
            rows += batch.num_rows
    return rows


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that becomes ``path`` if the block ends well, and is gone if not; raises DiskFull, DataError."""
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        is_file = True
    except (OSError, ValueError):
        is_file = False
    # Renaming onto a device or pipe takes it away from everybody who uses it.
    if not is_file or not path.name:
        raise DataError(f"{path.name} cannot be written: it is there and no plain file", file=path.name)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise DiskFull(f"{path.name} cannot be written: the disk is full", file=path.name) from error
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "its values do not fit"
        raise DataError(f"{path.name} cannot be written: {reason}", file=path.name) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_csv(path: Path, schema: pa.Schema, *, exact: bool = False) -> pa.Table:
    """What `write` wrote as CSV: the same values. Raises DataError if the file is not of this schema."""
    names = schema.names if exact else [_harmless(name) for name in schema.names]
    types = dict(zip(names, (field.type for field in schema), strict=True))
    options = pa.csv.ConvertOptions(
        column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""]
    )
    # In a table of one column a missing value is an empty line.
    parse = pa.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
    try:
        table = pa.csv.read_csv(path, parse_options=parse, convert_options=options)
        if table.column_names != names:
            raise DataError(f"{path.name} does not have the columns that were asked for", file=path.name)
        if not exact:
            table = pa.table([_unguarded(column) for column in table.columns], schema=schema)
    except (OSError, pa.ArrowException):
        # Arrow's words repeat cells.
        raise DataError(f"{path.name} is not a CSV file of this table", file=path.name) from None
    return table.cast(schema)


def batches_of(
    path: Path, columns: Sequence[str] | None = None
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Schema and batches of a Parquet file, of the named columns in the order asked for (default: all).

    Raises DataError if the file is damaged, BadInput for a column that it does not have.
    """
    try:
        schema = pq.read_schema(path)
    except FileNotFoundError:
        raise DataError(f"there is no {path.name}", file=path.name) from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path.name} is damaged", file=path.name) from error
    names = list(schema.names if columns is None else columns)
    for name in names:
        if name not in schema.names:
            known = ", ".join(map(repr, schema.names))
            raise BadInput(f"there is no column {name!r}; there are {known}", column=name)
    if not names or len(set(names)) != len(names):
        raise BadInput("name at least one column, and each once")
    wanted = pa.schema([schema.field(name) for name in names])
    return wanted, _batches(path, names)


def _batches(path: Path, names: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path, memory_map=False, buffer_size=1 << 20, pre_buffer=False) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=names):
                # A file gives columns in its own order.
                yield batch.select(names)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path.name} is damaged", file=path.name) from error


_Put = Callable[[pa.RecordBatch], None]


def _encoder(
    table_format: TableFormat, schema: pa.Schema, exact: bool
) -> Callable[[IO[bytes]], contextlib.AbstractContextManager[_Put]]:
    if table_format == "parquet":
        return lambda file: _parquet(file, schema)
    if table_format != "csv":
        raise BadInput(f"a table is written as csv or parquet, not as {table_format!r}")
    for field in schema:
        if not _csv_can_hold(field.type):
            raise DataError(f"a column of type {field.type} cannot be written as CSV", column=field.name)
    return lambda file: _csv(file, schema, exact)


@contextlib.contextmanager
def _parquet(file: IO[bytes], schema: pa.Schema) -> Iterator[_Put]:
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        yield writer.write_batch


@contextlib.contextmanager
def _csv(file: IO[bytes], schema: pa.Schema, exact: bool) -> Iterator[_Put]:
    if not exact:
        schema = pa.schema([pa.field(_harmless(field.name), field.type) for field in schema])

    def put(batch: pa.RecordBatch) -> None:
        columns = batch.columns if exact else [_guarded(column) for column in batch.columns]
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))

    with pa.csv.CSVWriter(file, schema) as writer:
        yield put


def _csv_can_hold(arrow_type: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_string(arrow_type)
        or types.is_large_string(arrow_type)
        or types.is_integer(arrow_type)
        or types.is_floating(arrow_type)
        or types.is_boolean(arrow_type)
        or types.is_decimal(arrow_type)
        or types.is_date(arrow_type)
        or types.is_timestamp(arrow_type)
    )


def _is_text(arrow_type: pa.DataType) -> bool:
    return bool(pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type))


def _guarded(values: pa.Array) -> pa.Array:
    """Texts that a spreadsheet would run get an apostrophe in front."""
    if not _is_text(values.type):
        return values
    return pc.replace_substring_regex(values, pattern=f"({_FORMULA})", replacement="'\\1", max_replacements=1)


def _unguarded(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if not _is_text(values.type):
        return values
    return pc.replace_substring_regex(values, pattern="^'", replacement="", max_replacements=1)


def _harmless(name: str) -> str:
    guarded: str = _guarded(pa.array([name], pa.string()))[0].as_py()
    return guarded


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
