"""The rows that fulfil conditions, on disk if the table is large: Arrow's filter copies what it leaves."""

from __future__ import annotations

import io

import pyarrow as pa

from compute.protocols import filters
from compute.protocols.protocol import Session
from compute.protocols.workspace import Data, Workspace

_NAME = "sum.rows"
_BATCH_ROWS = 1 << 16
_PART_OF_MEMORY = 4


def filtered(session: Session, table: pa.Table, conditions: filters.Conditions) -> pa.Table:
    """The rows that fulfil all conditions; a mapped file of the workspace if they may not fit the memory.

    Raises what `filters.apply` raises, and DataError or DiskFull.
    """
    if not conditions or table.nbytes <= session.memory_bytes // _PART_OF_MEMORY:
        return filters.apply(table, conditions)
    session.workspace.remove(_NAME)
    with pa.ipc.new_stream(_Appending(session.workspace), table.schema) as writer:
        for first in range(0, table.num_rows, _BATCH_ROWS):
            writer.write_table(filters.apply(table.slice(first, _BATCH_ROWS), conditions))
    return pa.ipc.open_stream(pa.py_buffer(session.workspace.read(_NAME))).read_all()


class _Appending(io.RawIOBase):
    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def writable(self) -> bool:
        return True

    def write(self, data: Data, /) -> int:  # type: ignore[override]
        self._workspace.append(_NAME, data)
        return len(data)
