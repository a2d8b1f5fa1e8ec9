"""A folder per running job for its workspace, under the node's home; gone when the job has ended."""

from __future__ import annotations

import re
import shutil
from collections.abc import Container
from pathlib import Path

from compute.errors import BadInput, DataError
from compute.protocols.directory import DirectoryWorkspace

_JOB = re.compile(r"0x[0-9a-f]{64}")


class JobFolders:
    """All workspaces of a node. Blocking and thread-safe: call from worker threads."""

    def __init__(self, folder: Path) -> None:
        """Make the folder (mode 0700) if it is not there; raises DataError if it cannot."""
        self._folder = Path(folder)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"the folder {folder} cannot be made: {error.strerror}") from error

    def open(self, job: str) -> DirectoryWorkspace:
        """The workspace of a job as its last process left it; raises DataError if it cannot be used."""
        return DirectoryWorkspace(self._path(job))

    def remove(self, job: str) -> None:
        """Delete a job's workspace. A step that is still running finds its files gone, and so its end."""
        shutil.rmtree(self._path(job), ignore_errors=True)

    def sweep(self, keep: Container[str]) -> None:
        """Delete what jobs left behind whose process was killed as they ended."""
        for path in self._folder.iterdir():
            if path.name not in keep and _JOB.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)

    def _path(self, job: str) -> Path:
        if not _JOB.fullmatch(job):
            raise BadInput("a workspace is named by a job id")
        return self._folder / job
