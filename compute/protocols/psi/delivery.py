"""From the rows that were found to what is delivered: the table for a role's store, the payload for the
consumer, and the payloads opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Meta

from compute.errors import BadMessage
from compute.protocols import payload
from compute.protocols.sets import MAX_ELEMENTS

_TAKEN_AT_ONCE = 1 << 18  # rows


class Matches(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an outputting role seals for the consumer; columns and rows only if they are to be delivered.

    ``count`` is the number of keys that all sides have. ``padding`` makes the result of a left join, or
    a count alone, as long as it could be, so that its length does not tell the number of matches.
    """

    count: Annotated[int, Meta(ge=0)]
    columns: tuple[str, ...] = ()
    rows: Sequence[Sequence[Any]] = ()
    protocol: str = ""
    reason: str = ""
    padding: str = ""


def padded(told: Matches, longest: int) -> bytes:
    """The payload, filled up to ``longest`` bytes."""
    missing = longest - len(payload.encode(told))
    return payload.encode(msgspec.structs.replace(told, padding=" " * missing))


def longest_count(told: Matches) -> int:
    """Length of the payload if the count had the most digits."""
    return len(payload.encode(msgspec.structs.replace(told, count=MAX_ELEMENTS)))


def opened(
    payloads: Mapping[str, bytes], output_to: Sequence[str], *, deliver: bool
) -> tuple[Matches, dict[str, Any]]:
    """What the outputting roles agree on, and the columns and rows of each, if they were to be delivered.

    Raises BadMessage for a payload that is missing or malformed, and if the roles say different things.
    """
    results = {role: payload.decode(Matches, payloads, role) for role in output_to}
    if len({(result.count, result.protocol, result.reason) for result in results.values()}) != 1:
        raise BadMessage("the roles report different intersections")
    tables: dict[str, Any] = {}
    for role, result in results.items() if deliver else ():
        if any(len(row) != len(result.columns) for row in result.rows):
            raise BadMessage(f"the result of {role} has rows of another length than its columns")
        tables[role] = {"columns": list(result.columns), "rows": result.rows}
    return results[output_to[0]], tables


def taken(table: pa.Table, rows: npt.NDArray[np.int64]) -> pa.Table:
    """Rows by number, in this order. `pa.Table.take` would first copy all chunks of a mapped table."""
    batches = table.to_batches()
    starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
    blocks = [table.schema.empty_table()]
    for first in range(0, len(rows), _TAKEN_AT_ONCE):
        block = rows[first : first + _TAKEN_AT_ONCE]
        owners = np.searchsorted(starts, block, side="right") - 1
        # Small numbers are sorted without comparing any.
        order = np.argsort(owners.astype(np.uint16) if len(batches) < 1 << 16 else owners, kind="stable")
        cuts = np.searchsorted(owners[order], np.arange(len(starts)))
        parts = [
            batch.take(pa.array(block[order[cut:end]] - start))
            for batch, start, cut, end in zip(batches, starts, cuts, cuts[1:], strict=False)
            if end > cut
        ]
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        blocks.append(pa.Table.from_batches(parts).combine_chunks().take(pa.array(back)))
    return pa.concat_tables(blocks)
