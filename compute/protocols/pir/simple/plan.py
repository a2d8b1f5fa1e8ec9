"""Where records lie in the byte matrix: rows and columns chosen by what they cost, the same on both sides.

A record is a *cell*: its sealed bytes and its key bytes. Cells lie in *slots*; a slot of a keyed layout is
read together with two others (`fuse`), a slot of a direct one is a row number. Two ways to shape the matrix:

- ``stack`` cells stand on top of each other in a column: fewer columns (shorter queries), a longer hint.
  Which of them a record is in (its *bucket*) is public knowledge about the record, not about the query.
- ``split`` columns hold one cell, piece by piece, and are read by as many queries: a shorter hint for long
  records, more and longer queries.

The hint has 4 KiB for a byte of column, a query 4 bytes a column.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from accel import lwe
from compute.errors import BadInput
from compute.protocols.pir.simple import fuse

HINT_ROW_BYTES = 4 * lwe.LWE_DIMENSION
MAX_COLUMNS = 1 << 20  # a byte an entry (p = 256) needs no more
MAX_RECORDS = 1 << 30
MAX_STACK = 1 << 14
MAX_SPLIT = 1 << 10
MAX_ROWS = 1 << 16
# What a hint should not exceed if there is a layout that keeps to it; and beyond this none is used.
HINT_GOAL_BYTES = 20_000_000
# One download of a hint serves so many lookups, as far as a layout is chosen for: a base stays for long, what
# changed since then is another in every version.
LOOKUPS_PER_BASE = 16
LOOKUPS_PER_CHANGE = 4
# A column costs the client 4 bytes of query and 4 KiB of A to expand, which takes as long as these bytes
# take on a line of 100 Mbit/s; a batch shares the expansion.
_COLUMN_BYTES = 4 + 16


@dataclass(frozen=True)
class Layout:
    """The shape of one segment of a database; every number is public.

    ``records`` cells of ``data_bytes`` and ``key_bytes``, found by keyword (``keyed``) or by row number.
    """

    records: int
    data_bytes: int
    key_bytes: int
    keyed: bool
    stack: int
    split: int

    @property
    def filter(self) -> fuse.Shape:
        """The shape of one bucket's keyword map."""
        return fuse.shape(fuse.bucket_capacity(self.records, self.stack))

    @property
    def slots(self) -> int:
        """Slots of one bucket."""
        return self.filter.slots if self.keyed else -(-self.records // self.stack)

    @property
    def columns(self) -> int:
        """Columns of the matrix."""
        return self.split * self.slots

    @property
    def data_rows(self) -> int:
        """Rows of the matrix that hold sealed bytes."""
        return self.stack * -(-self.data_bytes // self.split)

    @property
    def key_rows(self) -> int:
        """Rows of the matrix that hold key bytes."""
        return self.stack * -(-self.key_bytes // self.split)

    @property
    def rows(self) -> int:
        """All rows."""
        return self.data_rows + self.key_rows

    @property
    def hint_bytes(self) -> int:
        """What a client downloads once."""
        return self.rows * HINT_ROW_BYTES

    @property
    def lookup_bytes(self) -> int:
        """What one lookup takes, up and down."""
        return 4 * self.split * (self.columns + self.rows)

    @property
    def matrix_bytes(self) -> int:
        """What the server reads for a batch of queries."""
        return self.rows * self.columns

    def valid(self) -> bool:
        """Whether the parameters of the encryption allow this layout, and nothing in it is absurd."""
        return (
            1 <= self.records <= MAX_RECORDS
            and 1 <= self.stack <= min(MAX_STACK, self.records)
            and 1 <= self.split <= min(MAX_SPLIT, max(1, self.data_bytes))
            and 1 in (self.stack, self.split)
            and self.columns <= MAX_COLUMNS
            and self.rows <= MAX_ROWS
        )

    def cost(self, lookups: int) -> float:
        """Bytes on the line for a lookup and its share of the hint, with the client's work as bytes."""
        share = self.hint_bytes / lookups
        return share + self.split * (_COLUMN_BYTES * self.columns + 4 * self.rows)


def plan(
    records: int, data_bytes: int, key_bytes: int = 16, *, keyed: bool = True, lookups: int = LOOKUPS_PER_BASE
) -> Layout:
    """The cheapest layout with a hint of at most 20 MB; if there is none, the one with the shortest hint.

    ``lookups`` is how many share a download of the hint.

    Raises BadInput if so many records of this size do not fit any (2^20 columns of 2^16 bytes).
    """
    fitting = [
        layout for layout in _candidates(records, data_bytes, key_bytes, keyed=keyed) if layout.valid()
    ]
    if not fitting:
        raise BadInput(
            f"{records} records of {data_bytes + key_bytes} bytes do not fit a database of "
            f"{MAX_COLUMNS} columns and {MAX_ROWS} rows: choose fewer columns, or divide the table"
        )
    # Ties go to the shorter hint, then to the layout that was tried first: a choice without chance.
    return min(
        fitting, key=lambda layout: (max(layout.hint_bytes - HINT_GOAL_BYTES, 0), layout.cost(lookups))
    )


def _candidates(records: int, data_bytes: int, key_bytes: int, *, keyed: bool) -> Iterator[Layout]:
    for stack in _steps(min(MAX_STACK, records)):
        yield Layout(records, data_bytes, key_bytes, keyed, stack, 1)
    # Pieces of a few bytes would only waste the last one.
    for split in _steps(min(MAX_SPLIT, data_bytes // 16)):
        yield Layout(records, data_bytes, key_bytes, keyed, 1, split)


def _steps(most: int) -> Iterator[int]:
    """1, 2, 3, … in steps of about one eighth."""
    value = 1
    while value <= most:
        yield value
        value = max(value + 1, math.floor(value * 9 / 8))
