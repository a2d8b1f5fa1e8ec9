"""Storage of a job and of a party, behind two small interfaces; here in memory, on disk at a node.

A workspace belongs to one job: buckets that do not fit the memory, and what outlives a cut. A cache belongs
to a party and outlives jobs: what was made once per dataset version (encoded databases, hints, tag sets).
Both stay at home: nothing in them is ever sent. Names are plain words with dots and dashes, no paths.
"""

from __future__ import annotations

from typing import Protocol

from compute.errors import DataError

Data = bytes | bytearray | memoryview


class Workspace(Protocol):
    """Named byte strings of one job. Raises DataError if the disk is full or a file is damaged."""

    def write(self, name: str, data: Data) -> None:
        """Keep all of ``data`` under a name, or nothing; on disk when this returns. Replaces."""

    def append(self, name: str, data: Data) -> None:
        """Add to what lies under a name. Not safe against a cut: for spills that are made again."""

    def read(self, name: str) -> memoryview:
        """What lies under a name, not copied where it can be mapped; raises DataError if nothing does."""

    def remove(self, name: str) -> None:
        """Forget a name; nothing happens if it is not there."""

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""


class Cache(Protocol):
    """Named byte strings of one party, that may be forgotten at any time and are then made again."""

    def get(self, name: str) -> memoryview | None:
        """What lies under a name, not copied where it can be mapped; None if it is not (any more) there."""

    def put(self, name: str, data: Data) -> None:
        """Keep data under a name. Names hold a digest of all that the data depend on."""


class MemoryWorkspace:
    """A workspace that ends with the process: tests, and roles that a consumer runs."""

    def __init__(self) -> None:
        self._data: dict[str, bytearray] = {}

    def write(self, name: str, data: Data) -> None:
        """See `Workspace.write`."""
        self._data[name] = bytearray(data)

    def append(self, name: str, data: Data) -> None:
        """See `Workspace.append`."""
        # A new array: a view of the old one may be in somebody's hands.
        self._data[name] = self._data.get(name, bytearray()) + bytes(data)

    def read(self, name: str) -> memoryview:
        """See `Workspace.read`."""
        if name not in self._data:
            raise DataError(f"there is no {name} in this job's workspace")
        return memoryview(self._data[name]).toreadonly()

    def remove(self, name: str) -> None:
        """See `Workspace.remove`."""
        self._data.pop(name, None)

    def names(self) -> tuple[str, ...]:
        """See `Workspace.names`."""
        return tuple(sorted(self._data))


class MemoryCache:
    """A cache that ends with the process."""

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}

    def get(self, name: str) -> memoryview | None:
        """See `Cache.get`."""
        found = self._data.get(name)
        return None if found is None else memoryview(found)

    def put(self, name: str, data: Data) -> None:
        """See `Cache.put`."""
        self._data[name] = bytes(data)
