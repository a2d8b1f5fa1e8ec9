"""Join keys: one or several columns of a row as one byte string, the same on both sides of a join.

Two rows meet if their normalised texts are equal column by column. The encoding is injective (every part
carries its length), so ("ab", "c") never meets ("a", "bc").
"""

from __future__ import annotations

import datetime
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa
from msgspec import Meta

from compute.errors import BadInput
from compute.wire.messages import Name

MAX_PART_BYTES = 1 << 16

KeyColumns = Annotated[tuple[Name, ...], Meta(min_length=1, max_length=16)]


class Normalisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How texts are made comparable; Unicode is always brought to NFC (Unicode Annex 15).

    ``trim`` removes white space at both ends; ``case`` "fold" applies Unicode case folding.
    """

    trim: bool = True
    case: Literal["keep", "fold"] = "keep"

    def apply(self, text: str) -> str:
        """The normalised text."""
        text = unicodedata.normalize("NFC", text)
        if self.trim:
            text = text.strip()
        if self.case == "fold":
            text = unicodedata.normalize("NFC", text.casefold())
        return text


@dataclass(frozen=True, repr=False)  # holds identifiers: keep it out of logs
class Keys:
    """The distinct keys of a table in order of first appearance.

    ``rows[i]`` are the row numbers of ``encoded[i]``; ``repeated`` counts rows beyond the first of a key,
    ``without_key`` rows with a null or empty key part, which take no part.
    """

    encoded: tuple[bytes, ...]
    rows: tuple[tuple[int, ...], ...]
    repeated: int
    without_key: int

    def __len__(self) -> int:
        return len(self.encoded)


def keys_of(table: pa.Table, columns: Sequence[str], normalisation: Normalisation) -> Keys:
    """Encode the key of every row; raises BadInput naming column and row of a value that cannot be a key."""
    parts = [_texts(table, column, normalisation) for column in columns]
    found: dict[bytes, list[int]] = {}
    without_key = 0
    for row, texts in enumerate(zip(*parts, strict=True)):
        if any(not text for text in texts):
            without_key += 1
            continue
        found.setdefault(_encode(texts, columns, row), []).append(row)
    return Keys(
        encoded=tuple(found),
        rows=tuple(tuple(rows) for rows in found.values()),
        repeated=sum(len(rows) - 1 for rows in found.values()),
        without_key=without_key,
    )


def encode_key(texts: Sequence[str], normalisation: Normalisation) -> bytes:
    """The bytes of one key given as texts (a keyword); raises BadInput for an empty part."""
    normalised = tuple(normalisation.apply(text) for text in texts)
    if not normalised or not all(normalised):
        raise BadInput("a key part is empty")
    return _encode(normalised, ["keyword"] * len(normalised), 0)


def column(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column by name; raises BadInput naming it if the table does not have exactly one such column."""
    if table.column_names.count(name) != 1:
        raise BadInput(f"the table has no column {name!r}", column=name)
    return table.column(name)


def text_of(value: Any) -> str | None:
    """A value as the text it is compared by: keys, groups and labels; None stays None."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        # One instant, one text: an aware time is written in UTC, a naive one as it stands.
        return (value.astimezone(datetime.UTC) if value.tzinfo else value).isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    return str(value)


def _texts(table: pa.Table, name: str, normalisation: Normalisation) -> list[str | None]:
    values = column(table, name)
    if pa.types.is_floating(values.type) or pa.types.is_nested(values.type):
        raise BadInput(f"column {name!r} holds {values.type}: a key is text, integer, boolean or date")
    texts = (text_of(value) for value in values.to_pylist())
    return [None if text is None else normalisation.apply(text) for text in texts]


def _encode(texts: Sequence[str | None], columns: Sequence[str], row: int) -> bytes:
    encoded = bytearray()
    for name, text in zip(columns, texts, strict=True):
        try:
            part = (text or "").encode()
        except UnicodeEncodeError as error:
            raise _bad_key(name, row, "is not valid Unicode") from error
        if len(part) > MAX_PART_BYTES:
            raise _bad_key(name, row, f"is longer than {MAX_PART_BYTES} bytes")
        if b"\0" in part:
            raise _bad_key(name, row, "contains a NUL character")
        encoded += len(part).to_bytes(4, "big") + part
    return bytes(encoded)


def _bad_key(name: str, row: int, why: str) -> BadInput:
    return BadInput(f"row {row} of column {name!r} {why}", row=row, column=name)
