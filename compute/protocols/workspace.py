"""Storage of a job and of a party, behind two small interfaces; here in memory, `directory` has them on disk.

A workspace belongs to one job: buckets that do not fit the memory, and what outlives a cut. A cache belongs
to a party and outlives jobs: what was made once per dataset version (encoded databases, hints, tag sets).
Both stay at home: nothing in them is ever sent. Names are plain words with dots and dashes, no paths; those
that begin with ``run.`` belong to the runner.
"""

from __future__ import annotations

import re
from typing import Protocol

from compute.errors import DataError

Data = bytes | bytearray | memoryview
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,149}")
# Names of the runner's own: no mark holds them and no rewinding touches them.
RUNNER = "run."


class Workspace(Protocol):
    """Named byte strings of one job. Raises DataError if the disk is full or a file is damaged."""

    def write(self, name: str, data: Data) -> None:
        """Keep all of ``data`` under a name, or nothing; on disk when this returns. Replaces."""

    def append(self, name: str, data: Data) -> None:
        """Add to what lies under a name. Until `settle` it may be half there after a cut."""

    def read(self, name: str) -> memoryview:
        """What lies under a name, not copied where it can be mapped; raises DataError if nothing does."""

    def remove(self, name: str) -> None:
        """Forget a name; nothing happens if it is not there."""

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""

    def settle(self, mark: int) -> None:
        """Note all as it is now under a mark, each one higher than the last; the one before stays noted too.

        The runner does so at a checkpoint. What a role replaces or removes afterwards is kept aside as long
        as a mark needs it, so a role may remove a bucket as soon as it is done with it.
        """

    def rewind(self, mark: int) -> None:
        """Put all back as it was at one of the two noted marks (0: nothing was there); later ones go.

        The runner does so before a role starts. Raises DataError for a mark that is not noted.
        """


class Cache(Protocol):
    """Named byte strings of one party, that may be forgotten at any time and are then made again."""

    def get(self, name: str) -> memoryview | None:
        """What lies under a name, not copied where it can be mapped; None if it is not (any more) there."""

    def put(self, name: str, data: Data) -> None:
        """Keep data under a name. Names hold a digest of all that the data depend on."""

    def remove(self, name: str) -> None:
        """Forget a name; views that `get` gave stay valid. Nothing happens if it is not there."""


def checked_name(name: str) -> str:
    """The name; raises DataError if it could be anything but a file in its folder."""
    if not _NAME.fullmatch(name):
        raise DataError(f"{name!r} names nothing in a workspace or cache: letters, digits, dots, dashes")
    return name


class MemoryWorkspace:
    """A workspace that ends with the process: tests, and roles that a consumer runs."""

    def __init__(self) -> None:
        # Contents are replaced, never changed: views and marks share them.
        self._data: dict[str, bytes | bytearray] = {}
        self._marks: dict[int, dict[str, bytes | bytearray]] = {0: {}}

    def write(self, name: str, data: Data) -> None:
        """See `Workspace.write`."""
        self._data[checked_name(name)] = bytes(data)

    def append(self, name: str, data: Data) -> None:
        """See `Workspace.append`."""
        self._data[checked_name(name)] = bytearray().join((self._data.get(name, b""), bytes(data)))

    def read(self, name: str) -> memoryview:
        """See `Workspace.read`."""
        if checked_name(name) not in self._data:
            raise DataError(f"there is no {name} in this job's workspace")
        return memoryview(self._data[name]).toreadonly()

    def remove(self, name: str) -> None:
        """See `Workspace.remove`."""
        self._data.pop(checked_name(name), None)

    def names(self) -> tuple[str, ...]:
        """See `Workspace.names`."""
        return tuple(sorted(self._data))

    def settle(self, mark: int) -> None:
        """See `Workspace.settle`."""
        last = max(self._marks)
        if mark <= last:
            raise DataError(f"mark {mark} does not follow {last}")
        self._marks = {last: self._marks[last], mark: _of_role(self._data)}

    def rewind(self, mark: int) -> None:
        """See `Workspace.rewind`."""
        noted = {} if mark == 0 else self._marks.get(mark)
        if noted is None:
            raise DataError(f"the job's workspace does not know mark {mark}")
        own = {name: data for name, data in self._data.items() if name.startswith(RUNNER)}
        self._data = {**own, **noted}
        self._marks = {mark: noted}


def _of_role(data: dict[str, bytes | bytearray]) -> dict[str, bytes | bytearray]:
    return {name: value for name, value in data.items() if not name.startswith(RUNNER)}


class MemoryCache:
    """A cache that ends with the process."""

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}

    def get(self, name: str) -> memoryview | None:
        """See `Cache.get`."""
        found = self._data.get(checked_name(name))
        return None if found is None else memoryview(found)

    def put(self, name: str, data: Data) -> None:
        """See `Cache.put`."""
        self._data[checked_name(name)] = bytes(data)

    def remove(self, name: str) -> None:
        """See `Cache.remove`."""
        self._data.pop(checked_name(name), None)
