"""Join keys: one or several columns of a row as one byte string, the same on both sides of a join.

Two rows meet if their normalised texts are equal column by column. The encoding is injective (every part
carries its length), so ("ab", "c") never meets ("a", "bc"). This is the plain specification, row by row;
`compute.protocols.keyset` does the same for whole tables at array speed.
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
from compute.protocols import forms as spellings
from compute.protocols.forms import FormName
from compute.wire.messages import Name

MAX_PART_BYTES = 1 << 16
_MOST_MARKS = 30

KeyColumns = Annotated[tuple[Name, ...], Meta(min_length=1, max_length=16)]


class Normalisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How key values are made comparable; part of the parameters, so it is signed and hashed with the job.

    Texts: brought to the Unicode normal form ``unicode`` (Unicode Annex 15), ``trim`` removes white space at
    both ends, ``case`` "fold" applies Unicode case folding. ``forms`` names one form per key column, in the
    order of the columns (none: all are texts); the others have one spelling of their own (see
    `compute.protocols.forms`), whatever the settings for texts. ``country_code`` belongs to national phone
    numbers. A value that does not fit its form takes no part, as a null does not.
    """

    trim: bool = True
    case: Literal["keep", "fold"] = "keep"
    unicode: Literal["nfc", "nfkc"] = "nfc"
    forms: Annotated[tuple[FormName, ...], Meta(max_length=16)] = ()
    country_code: Annotated[str, Meta(pattern="^[1-9][0-9]{0,2}$")] = spellings.CHINA

    def apply(self, text: str) -> str:
        """The normalised text."""
        form: Literal["NFC", "NFKC"] = "NFC" if self.unicode == "nfc" else "NFKC"
        text = unicodedata.normalize(form, text)
        if self.trim:
            text = text.strip()
        if self.case == "fold":
            text = unicodedata.normalize(form, text.casefold())
        return text

    def form(self, index: int) -> FormName:
        """The form of the key column of this number."""
        return self.forms[index] if self.forms else "text"

    def part(self, text: str, form: FormName) -> str | None:
        """The one spelling of a value in a form; empty if there is no value, None if it does not fit.

        What has more combining marks in a row than any writing fits no form, that of texts included.
        """
        if not _is_settled(text):
            return None
        if form == "text":
            return self.apply(text)
        text = unicodedata.normalize("NFKC", text)
        if not text.strip():
            return ""
        if form == "phone":
            return spellings.phone(text, self.country_code)
        if form == "email":
            return spellings.email(text, fold=self.case == "fold")
        return spellings.SIMPLE[form](text)

    def check(self, columns: int) -> None:
        """Raise ValueError unless every key column has its form."""
        if self.forms and len(self.forms) != columns:
            raise ValueError(f"normalise.forms: {len(self.forms)} forms for {columns} key columns")


def _is_settled(text: str) -> bool:
    """Whether a text has no more marks in a row than the Stream-Safe Text Format allows (Unicode Annex 15,
    section 13). Normal forms sort such a row, in Python in time quadratic in its length."""
    if len(text) <= _MOST_MARKS or text.isascii():
        return True
    row = 0
    for character in text:
        row = row + 1 if unicodedata.combining(character) else 0
        if row > _MOST_MARKS:
            return False
    return True


@dataclass(frozen=True, repr=False)  # holds identifiers: keep it out of logs
class Keys:
    """The distinct keys of a table in order of first appearance.

    ``rows[i]`` are the row numbers of ``encoded[i]``; ``repeated`` counts rows beyond the first of a key,
    ``without_key`` rows with a null or empty key part, ``unfit`` rows with a part that does not fit its form;
    both take no part.
    """

    encoded: tuple[bytes, ...]
    rows: tuple[tuple[int, ...], ...]
    repeated: int
    without_key: int
    unfit: int = 0

    def __len__(self) -> int:
        return len(self.encoded)


def keys_of(table: pa.Table, columns: Sequence[str], normalisation: Normalisation) -> Keys:
    """Encode the key of every row; raises BadInput naming column and row of a value that cannot be a key."""
    check_forms(normalisation, columns)
    parts = [_texts(table, name, normalisation, index) for index, name in enumerate(columns)]
    found: dict[bytes, list[int]] = {}
    without_key = unfit = 0
    for row, texts in enumerate(zip(*parts, strict=True)):
        if "" in texts:
            without_key += 1
        elif None in texts:
            unfit += 1
        else:
            found.setdefault(_encode(texts, columns, row), []).append(row)
    return Keys(
        encoded=tuple(found),
        rows=tuple(tuple(rows) for rows in found.values()),
        repeated=sum(len(rows) - 1 for rows in found.values()),
        without_key=without_key,
        unfit=unfit,
    )


def encode_key(texts: Sequence[str], normalisation: Normalisation) -> bytes:
    """The bytes of one key given as texts (a keyword).

    Raises BadInput for an empty part, and for one that does not fit its form.
    """
    check_forms(normalisation, texts)
    try:
        parts = tuple(normalisation.part(text, normalisation.form(i)) for i, text in enumerate(texts))
    except UnicodeEncodeError as error:
        raise BadInput("a key part is not valid Unicode") from error
    for index, part in enumerate(parts):
        if part is None:
            raise BadInput(f"part {index + 1} of a key does not fit the form {normalisation.form(index)}")
    if not parts or not all(parts):
        raise BadInput("a key part is empty")
    return _encode(parts, ["keyword"] * len(parts), 0)


def check_forms(normalisation: Normalisation, columns: Sequence[str]) -> None:
    """Raise BadInput unless there is a form per key column, or none at all."""
    try:
        normalisation.check(len(columns))
    except ValueError as error:
        raise BadInput(str(error)) from error


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


def require_key_type(name: str, kind: pa.DataType) -> None:
    """Raise BadInput if a column of this type cannot be a key: its values have no one spelling."""
    if pa.types.is_floating(kind) or pa.types.is_nested(kind):
        raise BadInput(f"column {name!r} holds {kind}: a key is text, integer, boolean or date")


def bad_key(name: str, row: int, why: str) -> BadInput:
    """The error for a value that cannot be a key."""
    return BadInput(f"row {row} of column {name!r} {why}", row=row, column=name)


def in_microseconds(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times in nanoseconds as microseconds; raises ValueError if that would lose something.

    Python has no finer times, and where pandas is installed Arrow would hand out its own instead.
    """
    kind = values.type
    if not pa.types.is_timestamp(kind) or kind.unit != "ns":
        return values
    return values.cast(pa.timestamp("us", kind.tz))


def _texts(table: pa.Table, name: str, normalisation: Normalisation, index: int) -> list[str | None]:
    """Per row the spelling to compare; empty for a null, None for what does not fit."""
    values = column(table, name)
    require_key_type(name, values.type)
    form = normalisation.form(index)
    found: list[str | None] = []
    try:
        for value in in_microseconds(values):
            text = text_of(value.as_py())
            found.append("" if text is None else normalisation.part(text, form))
    except UnicodeDecodeError as error:
        raise bad_key(name, len(found), "is not valid Unicode") from error
    except (ValueError, OverflowError) as error:  # times beyond years 1 to 9999, or finer than microseconds
        raise bad_key(name, len(found), "is beyond what can be written as a text") from error
    return found


def _encode(texts: Sequence[str | None], columns: Sequence[str], row: int) -> bytes:
    encoded = bytearray()
    for name, text in zip(columns, texts, strict=True):
        try:
            part = (text or "").encode()
        except UnicodeEncodeError as error:
            raise bad_key(name, row, "is not valid Unicode") from error
        if len(part) > MAX_PART_BYTES:
            raise bad_key(name, row, f"is longer than {MAX_PART_BYTES} bytes")
        if b"\0" in part:
            raise bad_key(name, row, "contains a NUL character")
        encoded += len(part).to_bytes(4, "big") + part
    return bytes(encoded)
