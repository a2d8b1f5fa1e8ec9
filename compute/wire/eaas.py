"""What crosses between a consumer and a node's encryption service. Types only.

Binary values are standard base64 text. A Paillier plaintext is a decimal number as text ("-12.5"): documents
hold no floats. Each list holds up to the node's ``[eaas] max_items`` items and costs one unit per call.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from compute.wire.messages import Count, Document, Hex32

Algorithm = Literal["paillier", "sm2", "sm4"]
Base64 = Annotated[str, Meta(max_length=1_400_000, pattern=r"^[A-Za-z0-9+/]*={0,2}$(?!\n)")]
Decimal = Annotated[str, Meta(pattern=r"^-?[0-9]{1,30}(\.[0-9]{1,12})?$(?!\n)")]
Integer = Annotated[str, Meta(pattern=r"^-?[0-9]{1,18}$(?!\n)")]


class EaasKeyRequest(Document, frozen=True):
    """Make a key that lives in the node's sealed store, bound to this grant and consumer.

    ``bits`` counts for Paillier only (2048 to 4096).
    """

    algorithm: Algorithm
    bits: Literal[2048, 3072, 4096] = 3072


class EaasKey(Document, frozen=True):
    """A key by its random id. ``public`` is empty for SM4; a secret half never leaves the node."""

    key: Hex32
    algorithm: Algorithm
    public: Base64 = ""
    created_at: Count = 0


class EncryptCall(Document, frozen=True):
    """Paillier takes ``values``; SM2 and SM4 take ``plaintexts``."""

    key: Hex32
    values: tuple[Decimal, ...] = ()
    plaintexts: tuple[Base64, ...] = ()


class DecryptCall(Document, frozen=True):
    """Ciphertexts made under this key."""

    key: Hex32
    ciphertexts: tuple[Base64, ...]


class AddCall(Document, frozen=True):
    """Paillier: sums of ciphertexts, pair by pair."""

    key: Hex32
    left: tuple[Base64, ...]
    right: tuple[Base64, ...]


class MultiplyCall(Document, frozen=True):
    """Paillier: ciphertexts times plaintext whole numbers, pair by pair."""

    key: Hex32
    ciphertexts: tuple[Base64, ...]
    factors: tuple[Integer, ...]


class SignCall(Document, frozen=True):
    """SM2 with SM3: sign each message."""

    key: Hex32
    messages: tuple[Base64, ...]


class VerifyCall(Document, frozen=True):
    """SM2 with SM3: is each signature by this key over the message beside it?"""

    key: Hex32
    messages: tuple[Base64, ...]
    signatures: tuple[Base64, ...]


class EaasAnswer(Document, frozen=True):
    """The result of a call: the one list that the call produces is filled, ``calls_left`` always."""

    calls_left: Count
    ciphertexts: tuple[Base64, ...] = ()
    values: tuple[str, ...] = ()
    plaintexts: tuple[Base64, ...] = ()
    signatures: tuple[Base64, ...] = ()
    valid: tuple[bool, ...] = ()
