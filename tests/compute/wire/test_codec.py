"""Protocol messages keep their value, and nothing but the expected type decodes."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from compute.errors import BadMessage
from compute.wire import codec


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="t"):
    pass


class Points(Message, tag="test.points"):
    points: Annotated[bytes, Meta(max_length=64)]
    count: Annotated[int, Meta(ge=0)]


class Other(Message, tag="test.other"):
    points: bytes
    count: int


class Loose(Message, tag="test.loose"):
    value: Any


@given(st.binary(max_size=64), st.integers(0, (1 << 63) - 1))
def test_a_message_survives_the_wire(points, count):
    message = Points(points, count)
    assert codec.decode(Points, codec.encode(message)) == message


@given(st.binary(max_size=200))
def test_garbage_is_a_bad_message_and_nothing_else(data):
    with pytest.raises(BadMessage):
        codec.decode(Points, b"\xc1" + data)
    with contextlib.suppress(BadMessage):
        codec.decode(Points, data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (codec.encode(Other(b"", 1)), "another message's tag"),
        (codec.encode(Points(b"", 1)) + b"\x00", "trailing bytes"),
        (codec.encode(Points(b"x" * 64, 1))[:-3], "cut short"),
        (msgspec.msgpack.encode({"points": b"", "count": 1}), "no tag"),
        (msgspec.msgpack.encode({"t": "test.points", "points": b""}), "a field missing"),
        (msgspec.msgpack.encode({"t": "test.points", "points": b"", "count": 1, "x": 1}), "a field too many"),
        (msgspec.msgpack.encode({"t": "test.points", "points": b"y" * 65, "count": 1}), "above its limit"),
        (msgspec.msgpack.encode({"t": "test.points", "points": b"", "count": -1}), "below its limit"),
        (msgspec.msgpack.encode({"t": "test.points", "points": b"", "count": "1"}), "text for a number"),
        (msgspec.msgpack.encode({"t": "test.points", "points": b"", "count": 1.0}), "a float for a count"),
        (b"\x84" + codec.encode(Points(b"", 1))[1:] + b"\xa5count\x02", "a field twice"),
        (codec.encode(Points(b"", 1)).replace(b"\x01", b"\xcc\x01"), "a longer spelling of 1"),
        (b"", "nothing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_refused(data, why):
    with pytest.raises(BadMessage):
        codec.decode(Points, data)


def test_nesting_without_end_is_refused():
    bomb = msgspec.msgpack.encode({"t": "test.loose", "value": None})[:-1] + b"\x91" * 200_000 + b"\xc0"
    with pytest.raises(BadMessage):
        codec.decode(Loose, bomb)


def test_the_error_does_not_repeat_what_the_peer_sent():
    secret = "s3cret-patient-id"
    with pytest.raises(BadMessage) as caught:
        codec.decode(Points, msgspec.msgpack.encode({"t": "test.points", "points": b"", "count": secret}))
    assert secret not in str(caught.value)
