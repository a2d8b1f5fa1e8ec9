"""What a job leaves at the node itself: rows for the party's own eyes, as Parquet files.

Written to a temporary file, flushed and renamed, readable by the node's user only. Nothing here is ever
sent: results for the consumer travel sealed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from compute.errors import BadInput, DataError

_JOB = re.compile(r"0x[0-9a-f]{64}")
_ROLE = re.compile(r"[a-z][a-z0-9_]{0,31}")


class ResultStore:
    """A folder of results, ``<job>.<role>.parquet``. Safe for several threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder (mode 0700) if it is not there; raises DataError if it cannot."""
        self._folder = Path(folder)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"the folder {folder} cannot be made: {error.strerror}") from error

    def put(self, job: str, role: str, table: pa.Table) -> Path:
        """Store a result; on disk when this returns. Storing again replaces it: a repeated step is safe."""
        path = self._path(job, role)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{id(table):x}.tmp")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                pq.write_table(table, file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"the result of job {job} cannot be stored: {error}") from error
        finally:
            temporary.unlink(missing_ok=True)
        return path

    def get(self, job: str, role: str) -> pa.Table:
        """The stored rows; raises DataError if there are none or the file is damaged."""
        path = self._path(job, role)
        try:
            return pq.read_table(path, memory_map=False)
        except FileNotFoundError:
            raise DataError(f"no result of job {job} is stored for role {role}") from None
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"the stored result {path.name} is damaged") from error

    def _path(self, job: str, role: str) -> Path:
        # Names become parts of a path: nothing but these characters may.
        if not _JOB.fullmatch(job) or not _ROLE.fullmatch(role):
            raise BadInput("a result is named by a job id and a role")
        return self._folder / f"{job}.{role}.parquet"
