"""Bytes of protocol messages: MessagePack with the message's tag, decoded strictly.

Protocol messages carry arrays of points and ciphertexts, so they are binary; signed documents are JSON
(`compute.wire.canonical`). Nothing here can run code: a message decodes to the one type that is asked for
or not at all. Source: MessagePack specification; msgspec's tagged structs.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from compute.errors import BadMessage

S = TypeVar("S", bound=msgspec.Struct)

# Map keys in the order of the type: equal messages give equal bytes, which vectors and transcripts need.
_ENCODER = msgspec.msgpack.Encoder(order="deterministic")


def encode(message: msgspec.Struct) -> bytes:
    """The bytes of a message: equal messages give equal bytes."""
    return _ENCODER.encode(message)


def decode(message_type: type[S], data: bytes) -> S:
    """The message in ``data``, which must be exactly one of ``message_type``.

    Raises BadMessage for another tag or none, an unknown, missing or repeated field, a value outside its
    `Meta` limits, trailing bytes, bytes that are not the one encoding of their message, or no MessagePack
    at all. The error names the field, never its value.
    """
    try:
        message = msgspec.msgpack.decode(data, type=message_type, strict=True)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        # msgspec names type and path of what does not fit; it does not repeat the peer's bytes.
        raise BadMessage(f"not a {message_type.__name__}: {error}") from error
    # msgspec lets a missing tag and a repeated key pass; the one canonical encoding does not.
    if encode(message) != data:
        raise BadMessage(f"not the canonical encoding of a {message_type.__name__}")
    return message
