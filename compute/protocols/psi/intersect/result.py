"""From the rows that were found to a role's result, for its own store and sealed for the consumer."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pyarrow as pa

from compute.errors import BadInput
from compute.protocols import payload
from compute.protocols.identifiers import column
from compute.protocols.psi import labels
from compute.protocols.psi.choice import Choice
from compute.protocols.psi.delivery import Matches, longest_count, padded, taken
from compute.protocols.psi.engine import Found
from compute.protocols.psi.intersect.params import Params
from compute.protocols.psi.labels import LabelColumn

# Longest JSON of a value: of a text, each byte escaped; of a double, sign, 17 digits, point and exponent.
_JSON_BYTES = {"integer": 20, "number": 25, "boolean": 5}


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


def sealed(
    found: Found, rows: pa.Table, params: Params, choice: Choice, given: Sequence[LabelColumn]
) -> bytes:
    """The payload for the consumer."""
    told = Matches(found.keys, protocol=choice.name, reason=choice.reason)
    if params.deliver_to_consumer:
        told = msgspec.structs.replace(told, columns=tuple(rows.column_names), rows=payload.plain_rows(rows))
    if params.join == "inner" and params.deliver_to_consumer:
        return payload.encode(told)
    return padded(told, _longest(told, len(given), [_json_bytes(item) for item in given]))


def _longest(told: Matches, given: int, sizes: Sequence[int]) -> int:
    """Length of the payload if every row had the longest labels and the count the most digits."""
    without = [[*row[: len(row) - given], *[None] * given] for row in told.rows]
    shortest = longest_count(msgspec.structs.replace(told, rows=without))
    return shortest + len(told.rows) * sum(max(0, size - len("null")) for size in sizes)


def _json_bytes(item: LabelColumn) -> int:
    return 2 + 6 * item.size if item.kind == "text" else _JSON_BYTES[item.kind]
