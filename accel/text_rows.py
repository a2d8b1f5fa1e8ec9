"""Many texts at once, as rows of bytes: white space trimmed, and several texts joined to one byte string.

Texts that are not ASCII are told apart, not worked on: what is white space or a capital beyond ASCII is for
Unicode tables to say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from accel import selftest
from accel.byte_rows import U8, ByteRows
from accel.errors import BadParameter
from accel.registry import Op

OTHER = 1
"""A text has bytes beyond ASCII."""
NUL = 2
"""A text has a zero byte."""

WHITE = b"\t\n\v\f\r\x1c\x1d\x1e\x1f "
"""What `str.strip` removes of ASCII."""

Flags = npt.NDArray[np.uint8]


def trimmed(rows: ByteRows, *, trim: bool = True, backend: str = "auto") -> tuple[ByteRows, Flags]:
    """ASCII texts without white space at both ends, and flags per text: `OTHER`, `NUL` or both.

    Texts with `OTHER` are left as they are; with ``trim`` false all are. Data is shared, not copied.
    """
    _check(rows)
    starts, lengths, flags = TRIM.select(backend, batch=len(rows))(rows, trim)
    return ByteRows(rows.data, starts, lengths), flags


def lowered(rows: ByteRows) -> ByteRows:
    """The same texts with the capitals of ASCII in lower case; other bytes stay."""
    return ByteRows(_LOWER[rows.data], rows.starts, rows.lengths)


def joined(parts: Sequence[ByteRows], *, backend: str = "auto") -> ByteRows:
    """Row i of all parts one after the other, each behind its length in 4 bytes, big-endian: injective.

    Raises BadParameter unless all parts have equally many rows, and there is one at least.
    """
    if len({len(part) for part in parts}) != 1:
        raise BadParameter("rows are joined of one or several parts with equally many rows")
    for part in parts:
        _check(part)
        if (part.lengths >> 32).any():
            raise BadParameter("a text is longer than 4 bytes can say")
    lengths = np.add.reduce([part.lengths for part in parts]) + 4 * len(parts)
    starts = np.cumsum(lengths) - lengths
    data = np.empty(int(lengths.sum()), np.uint8)
    run = JOIN.select(backend, batch=len(lengths))
    at = starts
    for part in parts:
        run(part, at, data)
        at = at + (part.lengths + 4)
    return ByteRows(data, starts, lengths)


def _check(rows: ByteRows) -> None:
    """Kernels read and write where these numbers say."""
    if not len(rows):
        return
    if rows.lengths.min() < 0 or rows.starts.min() < 0:
        raise BadParameter("a text begins or ends before the data")
    if (rows.starts + rows.lengths).max() > len(rows.data):
        raise BadParameter("a text ends beyond the data")


_LOWER = np.arange(256, dtype=np.uint8)
_LOWER[ord("A") : ord("Z") + 1] += 32

# -- backends

Trimmed = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Flags]
TRIM: Op[[ByteRows, bool], Trimmed] = Op("text.trim", sample=lambda batch: (_sample(batch), True))
JOIN: Op[[ByteRows, npt.NDArray[np.int64], U8], None] = Op(
    "text.join", sample=lambda batch: (_sample(batch), np.arange(batch) * 8, np.empty(8 * batch, np.uint8))
)


def _sample(batch: int) -> ByteRows:
    return ByteRows.of([b" ab "] * batch)


@TRIM.backend("reference")
def _reference_trim(rows: ByteRows, trim: bool) -> Trimmed:
    starts, lengths, flags = rows.starts.copy(), rows.lengths.copy(), np.zeros(len(rows), np.uint8)
    for index, text in enumerate(rows):
        flags[index] = OTHER * (not text.isascii()) + NUL * (b"\0" in text)
        if trim and text.isascii():
            starts[index] += len(text) - len(text.lstrip(WHITE))
            lengths[index] = len(text.strip(WHITE))
    return starts, lengths, flags


@TRIM.backend("portable", needs="numba")
def _compiled_trim(rows: ByteRows, trim: bool) -> Trimmed:
    from accel.cpu import text_rows as kernels

    return kernels.trim(rows, trim, WHITE)


@JOIN.backend("reference")
def _reference_join(part: ByteRows, at: npt.NDArray[np.int64], data: U8) -> None:
    for start, text in zip(at.tolist(), part, strict=True):
        encoded = len(text).to_bytes(4, "big") + text
        data[start : start + len(encoded)] = np.frombuffer(encoded, np.uint8)


@JOIN.backend("portable", needs="numba")
def _compiled_join(part: ByteRows, at: npt.NDArray[np.int64], data: U8) -> None:
    from accel.cpu import text_rows as kernels

    kernels.join(part, at, data)


@TRIM.known_answer
def _known_trim(run: Callable[[ByteRows, bool], Trimmed]) -> None:
    rows = ByteRows.of([b"", b" \t ", b" a b\x1f", b"\0", " ä".encode(), b"x"])
    starts, lengths, flags = run(rows, True)
    found = list(ByteRows(rows.data, starts, lengths))
    selftest.expect(found == [b"", b"", b"a b", b"\0", " ä".encode(), b"x"], "text.trim")
    selftest.expect(flags.tolist() == [0, 0, 0, NUL, OTHER, 0], "text.trim")


@JOIN.known_answer
def _known_join(run: Callable[[ByteRows, npt.NDArray[np.int64], U8], None]) -> None:
    data = np.zeros(12, np.uint8)
    run(ByteRows.of([b"", b"abc"]), np.array([0, 5]), data)
    selftest.expect(data.tobytes() == b"\0\0\0\0\0\0\0\0\x03abc", "text.join")
