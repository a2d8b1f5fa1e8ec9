"""Canonical bytes of documents that are signed or hashed, and strict decoding of what others send.

Canonical form: JSON, UTF-8, keys sorted, no white space, no floats, absent optionals left out. It is the
subset of RFC 8785 without numbers beyond 2^53 and without floats, so other languages reproduce it easily.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, TypeVar

import msgspec

from compute.errors import BadInput
from compute.wire.nesting import MAX_DEPTH, TOO_DEEP, refuse_deep

T = TypeVar("T")

# One field of a document may hold a long list of columns, never a payload.
MAX_DOCUMENT_BYTES = 1 << 20
_MAX_SAFE_INTEGER = (1 << 53) - 1
_HEX32 = re.compile(r"0x[0-9a-f]{64}")


def encode(document: msgspec.Struct) -> bytes:
    """The canonical bytes of a document.

    Raises BadInput if it holds a float or an unsafe integer, or nests deeper than `MAX_DEPTH`.
    """
    try:
        plain = msgspec.to_builtins(document)
    except RecursionError:
        raise BadInput(TOO_DEEP) from None
    _refuse_inexact(plain, 0)
    return msgspec.json.encode(plain, order="sorted")


def digest(document: msgspec.Struct) -> bytes:
    """SHA-256 of the canonical bytes: what goes into signatures and on chain."""
    return hashlib.sha256(encode(document)).digest()


def decode(document_type: type[T], data: bytes) -> T:
    """Strictly decode JSON into a document type; raises BadInput naming the field that does not fit."""
    if len(data) > MAX_DOCUMENT_BYTES:
        raise BadInput(f"the document has {len(data)} bytes; at most {MAX_DOCUMENT_BYTES} are accepted")
    refuse_deep(data)
    try:
        return msgspec.json.decode(data, type=document_type, strict=True)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadInput(str(error)) from error
    except RecursionError:
        raise BadInput(TOO_DEEP) from None


def convert(document_type: type[T], value: Any) -> T:
    """Like `decode`, from already parsed builtins."""
    try:
        return msgspec.convert(value, type=document_type, strict=True)
    except msgspec.MsgspecError as error:
        raise BadInput(str(error)) from error
    except RecursionError:
        raise BadInput(TOO_DEEP) from None


def to_hex(value: bytes) -> str:
    """0x and lower-case hexadecimal: the one spelling of digests and ids in documents."""
    return "0x" + value.hex()


def from_hex(value: str) -> bytes:
    """The 32 bytes behind an id or digest; raises BadInput for any other spelling."""
    if not _HEX32.fullmatch(value):
        raise BadInput("an id or digest is 0x and 64 lower-case hexadecimal digits")
    return bytes.fromhex(value[2:])


def _refuse_inexact(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise BadInput(TOO_DEEP)
    if isinstance(value, float):
        raise BadInput("a signed document holds no floating-point number: write it as text")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _MAX_SAFE_INTEGER:
        raise BadInput("an integer beyond 2^53 - 1 must be written as text")
    if isinstance(value, dict):
        for item in value.values():
            _refuse_inexact(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_inexact(item, depth + 1)
