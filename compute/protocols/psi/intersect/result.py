"""From the rows that were found to a role's result, for its own store and sealed for the consumer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Meta

from compute.errors import BadInput
from compute.protocols import payload
from compute.protocols.identifiers import column
from compute.protocols.psi import labels
from compute.protocols.psi.choice import Choice
from compute.protocols.psi.engine import Found
from compute.protocols.psi.intersect.params import Params
from compute.protocols.psi.labels import LabelColumn
from compute.protocols.sets import MAX_ELEMENTS

# Longest JSON of a value: of a text, each byte escaped; of a double, sign, 17 digits, point and exponent.
_JSON_BYTES = {"integer": 20, "number": 25, "boolean": 5}
_TAKEN_AT_ONCE = 1 << 18  # rows


class Matches(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an outputting role seals for the consumer; columns and rows only if they are to be delivered.

    ``count`` is the number of keys that both sides have. ``padding`` makes the result of a left join, or
    a count alone, as long as it could be, so that its length does not tell the number of matches.
    """

    count: Annotated[int, Meta(ge=0)]
    columns: tuple[str, ...] = ()
    rows: list[list[Any]] = []
    protocol: str = ""
    reason: str = ""
    padding: str = ""


def label_names(params: Params, me: str, peer: str) -> tuple[str, ...]:
    """Names of the peer's label columns in our result; raises BadInput if they are names of ours as well."""
    names = tuple(f"{peer}.{name}" for name in getattr(params.label_columns, peer))
    for name in own_names(params, me):
        if name in names:
            raise BadInput(f"a column of {me} is called {name!r}, as a label of {peer} would be", column=name)
    return names


def own_names(params: Params, me: str) -> tuple[str, ...]:
    """Our columns in our result."""
    return tuple(dict.fromkeys(getattr(params.keys, me) + getattr(params.output_columns, me)))


def result_rows(
    table: pa.Table, found: Found, params: Params, me: str, peer: str, given: Sequence[LabelColumn]
) -> pa.Table:
    """Matching rows in the order of their keys' digests; for a left join every row, in the table's order."""
    own = pa.table({name: column(table, name) for name in own_names(params, me)})
    packed = found.labels
    if params.join == "left":
        packed = np.zeros((table.num_rows, found.labels.shape[1]), np.uint8)
        packed[found.rows] = found.labels
    else:
        own = taken(own, found.rows)
    for name, values in zip(label_names(params, me, peer), labels.unpacked(packed, given, peer), strict=True):
        own = own.append_column(name, values)
    return own


def taken(table: pa.Table, rows: npt.NDArray[np.int64]) -> pa.Table:
    """Rows by number, in this order. `pa.Table.take` would first copy all chunks of a mapped table."""
    batches = table.to_batches()
    starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
    blocks = [table.schema.empty_table()]
    for first in range(0, len(rows), _TAKEN_AT_ONCE):
        block = rows[first : first + _TAKEN_AT_ONCE]
        order = np.argsort(block, kind="stable")
        cuts = np.searchsorted(block[order], starts)
        parts = [
            batch.take(pa.array(block[order[cut:end]] - start))
            for batch, start, cut, end in zip(batches, starts, cuts, cuts[1:], strict=False)
            if end > cut
        ]
        back = pa.array(np.argsort(order, kind="stable"))
        blocks.append(pa.Table.from_batches(parts).combine_chunks().take(back))
    return pa.concat_tables(blocks)


def sealed(
    found: Found, rows: pa.Table, params: Params, choice: Choice, given: Sequence[LabelColumn]
) -> bytes:
    """The payload for the consumer."""
    told = Matches(found.keys, protocol=choice.name, reason=choice.reason)
    if params.deliver_to_consumer:
        told = msgspec.structs.replace(told, columns=tuple(rows.column_names), rows=payload.plain_rows(rows))
    encoded = payload.encode(told)
    if params.join == "inner" and params.deliver_to_consumer:
        return encoded
    longest = _longest(told, len(given), [_json_bytes(item) for item in given])
    return payload.encode(msgspec.structs.replace(told, padding=" " * (longest - len(encoded))))


def _longest(told: Matches, given: int, sizes: Sequence[int]) -> int:
    """Length of the payload if every row had the longest labels and the count the most digits."""
    without = [[*row[: len(row) - given], *[None] * given] for row in told.rows]
    shortest = payload.encode(msgspec.structs.replace(told, count=MAX_ELEMENTS, rows=without))
    return len(shortest) + len(told.rows) * sum(max(0, size - len("null")) for size in sizes)


def _json_bytes(item: LabelColumn) -> int:
    return 2 + 6 * item.size if item.kind == "text" else _JSON_BYTES[item.kind]
