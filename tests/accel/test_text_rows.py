"""Backends agree with Python's own strip and with the definition of the joined encoding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import text_rows
from accel.byte_rows import ByteRows
from accel.errors import BadParameter

BACKENDS = text_rows.TRIM.available()
texts = st.lists(st.text(alphabet="aZ \t\x1c\x1f\0é张\u3000", max_size=9), max_size=40)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(deadline=None)
@given(texts)
def test_trimmed_is_strip_for_ascii_and_nothing_for_the_rest(backend, given_texts):
    rows = ByteRows.of([text.encode() for text in given_texts])
    found, flags = text_rows.trimmed(rows, backend=backend)
    for text, row, flag in zip(given_texts, found, flags, strict=True):
        assert row.decode() == (text.strip() if text.isascii() else text)
        assert bool(flag & text_rows.OTHER) is not text.isascii()
        assert bool(flag & text_rows.NUL) is ("\0" in text)
    same, again = text_rows.trimmed(rows, trim=False, backend=backend)
    assert list(same) == list(rows)
    assert (flags == again).all()


def test_white_space_of_ascii_is_that_of_python():
    assert bytes(code for code in range(128) if chr(code).isspace()) == text_rows.WHITE


@pytest.mark.parametrize("backend", BACKENDS)
@settings(deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=3)), max_size=30))
def test_joined_is_lengths_and_texts(backend, pairs):
    parts = [ByteRows.of([pair[i] for pair in pairs]) for i in range(2)]
    expected = [b"".join(len(part).to_bytes(4, "big") + part for part in pair) for pair in pairs]
    assert list(text_rows.joined(parts, backend=backend)) == expected


def test_many_rows_over_threads():
    rows = ByteRows.of([b" %d " % i for i in range(50_000)])
    found, flags = text_rows.trimmed(rows)
    assert list(found) == [b"%d" % i for i in range(50_000)]
    assert not flags.any()
    assert list(text_rows.joined([found]))[49_999] == b"\0\0\0\x0549999"


def test_lowered_changes_capitals_of_ascii_alone():
    text = bytes(range(256))
    assert list(text_rows.lowered(ByteRows.of([text]))) == [text.lower()]


@pytest.mark.parametrize(
    ("start", "length"), [(-1, 1), (0, 5), (4, 1), (0, -1)], ids=["before", "too long", "beyond", "negative"]
)
def test_rows_that_leave_their_data_are_refused(start, length):
    rows = ByteRows(np.zeros(4, np.uint8), np.array([start]), np.array([length]))
    with pytest.raises(BadParameter):
        text_rows.trimmed(rows)
    with pytest.raises(BadParameter):
        text_rows.joined([rows])


def test_parts_have_equally_many_rows():
    with pytest.raises(BadParameter):
        text_rows.joined([])
    with pytest.raises(BadParameter):
        text_rows.joined([ByteRows.of([b"a"]), ByteRows.of([b"a", b"b"])])
