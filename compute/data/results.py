"""What a job leaves at the node itself: rows for the party's own eyes, as Parquet files.

Written under another name, flushed and renamed, readable by the node's user only (`compute.data.table_file`).
Nothing here is ever sent: results for the consumer travel sealed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from compute.data import table_file
from compute.data.table_file import TableFormat
from compute.disk import typed
from compute.errors import BadInput, DataError

_JOB = re.compile(r"0x[0-9a-f]{64}")
_ROLE = re.compile(r"[a-z][a-z0-9_]{0,31}")
_FILE = re.compile(rf"({_JOB.pattern})\.({_ROLE.pattern})\.parquet")
# As `table_file.replacing` names what it has not finished.
_UNFINISHED = re.compile(rf"\.{_FILE.pattern}\.[0-9a-f]{{16}}\.tmp")


@dataclass(frozen=True)
class StoredResult:
    """One file of the store. ``rows`` is None and ``columns`` empty if it is damaged; ``stored_at`` is in
    seconds since 1970."""

    job: str
    role: str
    rows: int | None
    columns: tuple[str, ...]
    size_bytes: int
    stored_at: int


class ResultStore:
    """A folder of results, ``<job>.<role>.parquet``. Safe for several threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder (mode 0700) if it is not there; raises DataError if it cannot."""
        self._folder = Path(folder)
        with typed(f"the folder {folder} cannot be made"):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def sweep(self) -> None:
        """Remove what a killed writer left half written. For the one process that writes, before it does.

        Raises DataError if it cannot.
        """
        with typed("the folder of results cannot be swept"):
            for path in self._folder.iterdir():
                if _UNFINISHED.fullmatch(path.name):
                    path.unlink(missing_ok=True)

    def put(self, job: str, role: str, table: pa.Table) -> Path:
        """Store a result; on disk when this returns. Storing again replaces it: a repeated step is safe.

        Raises DiskFull, or DataError for other trouble; what was stored before is then still there.
        """
        return self.write(job, role, table.schema, table.to_batches())

    def write(self, job: str, role: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Path:
        """As `put`, for a result that comes in batches and may be larger than the memory."""
        path = self._path(job, role)
        table_file.write(path, "parquet", schema, batches)
        return path

    def get(self, job: str, role: str) -> pa.Table:
        """The stored rows; raises DataError if there are none or the file is damaged."""
        schema, batches = table_file.batches_of(self._stored(job, role))
        return pa.Table.from_batches(batches, schema=schema)

    def stored(self) -> list[StoredResult]:
        """All results, the newest first."""
        found = []
        for path in self._folder.iterdir():
            named = _FILE.fullmatch(path.name)
            if not named:
                continue
            rows: int | None = None
            columns: tuple[str, ...] = ()
            try:
                status = path.stat()
                with pq.ParquetFile(path) as file:
                    rows, columns = file.metadata.num_rows, tuple(file.schema_arrow.names)
            except FileNotFoundError:
                continue  # taken away this very moment
            except (OSError, pa.ArrowException):
                pass
            found.append(
                StoredResult(named[1], named[2], rows, columns, status.st_size, int(status.st_mtime))
            )
        return sorted(found, key=lambda item: (-item.stored_at, item.job, item.role))

    def export(
        self,
        job: str,
        role: str,
        out: Path,
        *,
        table_format: TableFormat,
        columns: Sequence[str] | None = None,
        exact: bool = False,
    ) -> int:
        """Write a stored result to ``out``, which it replaces, with these columns in this order.

        Returns the number of rows; ``exact`` as in `compute.data.table_file`. Raises DataError if there is no
        such result or ``out`` cannot be written, DiskFull, BadInput for a column that it does not have.
        """
        schema, batches = table_file.batches_of(self._stored(job, role), columns)
        return table_file.write(out, table_format, schema, batches, exact=exact)

    def _stored(self, job: str, role: str) -> Path:
        path = self._path(job, role)
        if not path.exists():
            raise DataError(f"no result of job {job} is stored for role {role}")
        return path

    def _path(self, job: str, role: str) -> Path:
        # Names become parts of a path: nothing but these characters may.
        if not _JOB.fullmatch(job) or not _ROLE.fullmatch(role):
            raise BadInput("a result is named by a job id and a role")
        return self._folder / f"{job}.{role}.parquet"
