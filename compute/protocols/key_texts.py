"""One key column as normalised texts in rows of bytes: the fast half of `compute.protocols.keyset`.

Texts of ASCII alone are trimmed, folded and fitted to their form in arrays; whatever else a column holds goes
through `Normalisation.part` one by one, so that both ways have the same results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from accel import text_rows
from accel.byte_rows import ByteRows
from compute.errors import BadInput
from compute.protocols import forms
from compute.protocols.identifiers import Normalisation, bad_key, in_microseconds, text_of

UNFIT = 4
"""A value does not fit its form; beside the flags of `accel.text_rows`."""

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, repr=False)  # holds identifiers
class Texts:
    """Text i as row i, empty if there is none; ``flags`` as of `accel.text_rows`, and `UNFIT`."""

    rows: ByteRows
    flags: npt.NDArray[np.uint8]


def texts_of(
    values: pa.ChunkedArray, name: str, normalisation: Normalisation, index: int, first: int
) -> Texts:
    """The spellings to compare of key column number ``index``, whose first row here is row ``first``."""
    raw = raw_texts(values)
    form = normalisation.form(index)
    fold = form == "text" and normalisation.case == "fold"
    rows, flags = text_rows.trimmed(raw, trim=form != "text" or normalisation.trim)
    if fold:
        rows = text_rows.lowered(rows)
    slow = flags & text_rows.OTHER != 0
    if form != "text":
        # Without a value there is nothing to fit.
        full = rows.lengths > 0
        fast = FAST[form](rows, normalisation) if form in FAST else np.zeros(len(rows), np.bool_)
        slow |= full & ~fast
        if form == "phone":
            rows = _prefixed(rows, fast, b"+" + forms.CHINA.encode())
    return _repaired(raw, Texts(rows, flags), np.flatnonzero(slow), normalisation, index, name, first)


def raw_texts(values: pa.ChunkedArray) -> ByteRows:
    """The values of a column as texts (`identifiers.text_of`), a null as the empty one."""
    text = _as_text(values)
    data, starts, lengths = [], [], []
    base = 0
    for chunk in text.chunks:
        count = len(chunk)
        _, offsets_buffer, data_buffer = chunk.buffers()
        offsets = np.frombuffer(offsets_buffer, np.int64)[chunk.offset : chunk.offset + count + 1]
        length = np.diff(offsets)
        if chunk.null_count:
            length[~chunk.is_valid().to_numpy(zero_copy_only=False)] = 0
        low, high = (int(offsets[0]), int(offsets[-1])) if count else (0, 0)
        octets = np.frombuffer(data_buffer, np.uint8)[low:high] if high > low else np.empty(0, np.uint8)
        data.append(octets)
        starts.append(offsets[:-1] + (base - low))
        lengths.append(length)
        base += len(octets)
    if len(data) == 1:
        return ByteRows(data[0], starts[0], lengths[0])
    none = np.empty(0, np.int64)
    return ByteRows(
        np.concatenate([np.empty(0, np.uint8), *data]),
        np.concatenate([none, *starts]),
        np.concatenate([none, *lengths]),
    )


def _as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column as large_string: in Arrow where its texts are Python's, else value by distinct value."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _as_text(values.cast(kind.value_type))
    as_they_are = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if as_they_are or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return values.cast(pa.large_string())
    try:
        values = in_microseconds(values)
        distinct = pc.unique(values)
        texts = pa.array([text_of(value) for value in distinct.to_pylist()], pa.large_string())
    except (ValueError, OverflowError) as error:  # times beyond years 1 to 9999, or finer than microseconds
        raise BadInput(f"a column of {kind} holds values beyond what can be written as a text") from error
    return pa.chunked_array([texts.take(pc.index_in(values.combine_chunks(), distinct))], pa.large_string())


def _repaired(
    raw: ByteRows,
    texts: Texts,
    slow: Numbers,
    normalisation: Normalisation,
    index: int,
    name: str,
    first: int,
) -> Texts:
    """The same with rows ``slow`` made anew from their raw texts, one by one."""
    if not len(slow):
        return texts
    form = normalisation.form(index)
    parts: list[bytes] = []
    flags = texts.flags.copy()
    for row, text in zip(slow.tolist(), raw.take(slow), strict=True):
        try:
            part = normalisation.part(text.decode(), form)
        except UnicodeDecodeError as error:
            raise bad_key(name, first + row, "is not valid Unicode") from error
        # A fitted text has no NUL, an unfit one is not looked at.
        flags[row] = UNFIT if part is None else flags[row] & text_rows.NUL
        parts.append(b"" if part is None else part.encode())
    new = ByteRows.of(parts)
    starts, lengths = texts.rows.starts.copy(), texts.rows.lengths.copy()
    starts[slow] = new.starts + len(texts.rows.data)
    lengths[slow] = new.lengths
    return Texts(ByteRows(np.concatenate([texts.rows.data, new.data]), starts, lengths), flags)


# -- forms: which trimmed ASCII texts are their own spelling already, or nearly


def _digits(rows: ByteRows, normalisation: Normalisation) -> Mask:
    # Each byte knows whether it is no digit; a running count tells it of whole rows.
    wrong = np.concatenate([np.zeros(1, np.int64), np.cumsum((rows.data - 48) > 9)])
    plain: Mask = (wrong[rows.starts + rows.lengths] == wrong[rows.starts]) & (rows.lengths > 0)
    return plain


def _integer(rows: ByteRows, normalisation: Normalisation) -> Mask:
    plain = _digits(rows, normalisation)
    heads = rows.data[np.where(plain, rows.starts, 0)] if len(rows.data) else np.zeros(len(rows), np.uint8)
    own: Mask = plain & ((heads != ord("0")) | (rows.lengths == 1))
    return own


def _chinese_mobile(rows: ByteRows, normalisation: Normalisation) -> Mask:
    """11 digits, 1 and then 3 to 9, if numbers without a country code are Chinese."""
    fits = np.zeros(len(rows), np.bool_)
    if normalisation.country_code != forms.CHINA:
        return fits
    candidates, digits = _of_length(rows, 11)
    good = (digits <= 9).all(axis=1) & (digits[:, 0] == 1) & (digits[:, 1] >= 3)
    fits[candidates[good]] = True
    return fits


def _resident(rows: ByteRows, normalisation: Normalisation) -> Mask:
    """18 characters, a day that every month has, and the right check character."""
    fits = np.zeros(len(rows), np.bool_)
    candidates, digits = _of_length(rows, 18)
    body = digits[:, :17].astype(np.int64)
    check = np.frombuffer(forms.CHECKS.encode(), np.uint8)[body @ np.array(forms.WEIGHTS) % 11] - 48
    month, day = body[:, 10] * 10 + body[:, 11], body[:, 12] * 10 + body[:, 13]
    good = (body <= 9).all(axis=1) & (body[:, 0] > 0) & (digits[:, 17] == check)
    # Days from the 29th on depend on month and year: the plain way knows.
    good &= (month >= 1) & (month <= 12) & (day >= 1) & (day <= 28) & body[:, 6:10].any(axis=1)
    fits[candidates[good]] = True
    return fits


FAST: Mapping[str, Callable[[ByteRows, Normalisation], Mask]] = {
    "digits": _digits,
    "integer": _integer,
    "phone": _chinese_mobile,
    "cn_id": _resident,
}


def _of_length(rows: ByteRows, length: int) -> tuple[Numbers, npt.NDArray[np.uint8]]:
    """The rows of that length, and their bytes less 48 (so a digit is its value): (k, length)."""
    candidates = np.flatnonzero(rows.lengths == length)
    if not len(candidates):
        return candidates, np.empty((0, length), np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(rows.data, length)
    return candidates, windows[rows.starts[candidates]] - np.uint8(48)


def _prefixed(rows: ByteRows, which: Mask, prefix: bytes) -> ByteRows:
    """The rows with a prefix before those of ``which``."""
    chosen = np.flatnonzero(which)
    if not len(chosen):
        return rows
    ahead = np.broadcast_to(np.frombuffer(prefix, np.uint8), (len(chosen), len(prefix)))
    new = rows.take(chosen).wrapped(ahead, np.empty((len(chosen), 0), np.uint8))
    starts, lengths = rows.starts.copy(), rows.lengths.copy()
    starts[chosen] = new.starts + len(rows.data)
    lengths[chosen] = new.lengths
    return ByteRows(np.concatenate([rows.data, new.data]), starts, lengths)
