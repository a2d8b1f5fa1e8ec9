"""Strict DER for the two SM2 structures: one encoding per value, everything else refused.

Source: ITU-T X.690 section 10; GB/T 35276-2017 (signature: two INTEGERs; ciphertext: two INTEGERs and two
OCTET STRINGs).
"""

from __future__ import annotations

from accel.errors import BadEncoding

_SEQUENCE = 0x30
_INTEGER = 0x02
_OCTETS = 0x04


def encode(items: list[int | bytes]) -> bytes:
    """A SEQUENCE of non-negative INTEGERs and OCTET STRINGs."""
    body = b"".join(_integer(item) if isinstance(item, int) else _tagged(_OCTETS, item) for item in items)
    return _tagged(_SEQUENCE, body)


def decode(data: bytes, types: list[type]) -> list[int | bytes]:
    """The items of a SEQUENCE of exactly these types (int or bytes); raises BadEncoding."""
    tag, body, rest = _read(data)
    if tag != _SEQUENCE or rest:
        raise BadEncoding("not exactly one DER sequence")
    items: list[int | bytes] = []
    for expected in types:
        tag, content, body = _read(body)
        if tag != (_INTEGER if expected is int else _OCTETS):
            raise BadEncoding("a DER item has an unexpected type")
        items.append(_integer_value(content) if expected is int else content)
    if body:
        raise BadEncoding("a DER sequence has too many items")
    return items


def _integer(value: int) -> bytes:
    # One bit more than the value needs, so that the sign bit is clear.
    return _tagged(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _integer_value(content: bytes) -> int:
    if not content or content[0] & 0x80 or (len(content) > 1 and content[0] == 0 and content[1] < 0x80):
        raise BadEncoding("a DER integer is negative or not minimal")
    return int.from_bytes(content, "big")


def _tagged(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    encoded = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(encoded)]) + encoded + content


def _read(data: bytes) -> tuple[int, bytes, bytes]:
    """(tag, content, rest) of the first item."""
    if len(data) < 2:
        raise BadEncoding("DER data is truncated")
    length, start = data[1], 2
    if length >= 0x80:
        count = length & 0x7F
        start = 2 + count
        digits = data[2:start]
        if not 1 <= count <= 4 or len(digits) != count or digits[0] == 0:
            raise BadEncoding("a DER length is not canonical")
        length = int.from_bytes(digits, "big")
        if length < 0x80:
            raise BadEncoding("a DER length is not canonical")
    if len(data) < start + length:
        raise BadEncoding("DER data is truncated")
    return data[0], data[start : start + length], data[start + length :]
