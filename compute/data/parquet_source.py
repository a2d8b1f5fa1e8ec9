"""Parquet files: their own types must be the declared ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from compute.data.columns import BadCell, ColumnConfig, conform
from compute.errors import DataError

_BATCH_ROWS = 1 << 16
# Of one column of a row group, read at a time.
_BUFFER_BYTES = 1 << 20


def batches(path: Path, columns: Sequence[ColumnConfig]) -> Iterator[pa.RecordBatch]:
    """The declared columns of the file, typed, row group by row group; pages are read as they are needed.

    Raises DataError naming file, row (from 1), column and reason.
    """
    schema = pa.schema([(column.name, column.arrow_type) for column in columns])
    try:
        with pq.ParquetFile(path, memory_map=False, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
            _check_names(path, columns, file.schema_arrow.names)
            rows = 0
            for batch in file.iter_batches(_BATCH_ROWS, columns=[column.name for column in columns]):
                yield typed_batch(path.name, batch, columns, schema, rows)
                rows += batch.num_rows
    except (pa.ArrowException, OSError, EOFError):
        # Arrow's own words may repeat bytes of the file: they must not reach a log.
        raise DataError(f"{path.name} is not a readable Parquet file", file=path.name) from None


def typed_batch(
    source: str, batch: pa.RecordBatch, columns: Sequence[ColumnConfig], schema: pa.Schema, first_row: int
) -> pa.RecordBatch:
    """A batch with the declared types; raises DataError naming ``source``, row, column and reason."""
    arrays = []
    for column in columns:
        try:
            arrays.append(conform(batch.column(column.name), column))
        except BadCell as bad:
            row = first_row + bad.row + 1 if bad.row >= 0 else None
            place = f", row {row}" if row else ""
            raise DataError(
                f"{source}{place}, column {column.name!r} {bad.reason}",
                file=source,
                row=row,
                column=column.name,
                reason=bad.reason,
            ) from None
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _check_names(path: Path, columns: Sequence[ColumnConfig], names: Sequence[str]) -> None:
    for column in columns:
        found = list(names).count(column.name)
        if found != 1:
            has = "no column" if not found else "more than one column"
            raise DataError(
                # The consumer of a job is told: not what columns there are that were not declared.
                f"{path.name} has {has} {column.name!r} among its {len(names)}",
                file=path.name,
                column=column.name,
            )
