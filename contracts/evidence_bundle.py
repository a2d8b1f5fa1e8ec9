"""The evidence bundle as a document: what it holds, strictly typed. `contracts.evidence` fills and checks it.

All bytes are ``0x`` and lower-case hexadecimal, so that a bundle is plain JSON.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from contracts.eip712 import Batch, Grant, JobRequest, Line, Receipt
from contracts.errors import BadEvidence

Hex32 = Annotated[str, Meta(pattern=r"^0x[0-9a-f]{64}$")]
Address = Annotated[str, Meta(pattern=r"^0x[0-9a-fA-F]{40}$")]
Signature = Annotated[str, Meta(pattern=r"^0x[0-9a-f]{130}$")]
HexData = Annotated[str, Meta(pattern=r"^0x([0-9a-f]{2})*$", max_length=2050)]
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Nodes = Annotated[tuple[HexData, ...], Meta(max_length=65)]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Where(_Part, frozen=True):
    """On which chain, under which address book."""

    chain_id: Count
    address_book: Address
    party_registry: Address
    usage_ledger: Address


class Path(_Part, frozen=True):
    """From the receipt to the batch's root."""

    index: Count
    size: Count
    siblings: Annotated[tuple[Hex32, ...], Meta(max_length=64)]


class Order(_Part, frozen=True):
    """The consumer's signed request that the receipt answers."""

    request: dict[str, Any]
    signature: Signature
    key_index: Count


class AccountProof(_Part, frozen=True):
    """An account of the block's state, and slots of its storage by number (``0x`` + 64 digits)."""

    account: Nodes
    slots: Annotated[dict[Hex32, Nodes], Meta(max_length=16)]


class Bundle(_Part, frozen=True):
    """Everything that `contracts.evidence.verify` needs, and nothing that it takes on trust."""

    format: Literal["liutong.evidence/1"]
    where: Where
    receipt: dict[str, Any]
    signature: Signature
    key_index: Count
    detail: dict[str, Any]
    path: Path
    batch: dict[str, Any]
    batch_signature: Signature
    batch_key_index: Count
    grant: dict[str, Any] | None
    order: Order | None
    ledger_index: Count
    registry_index: Count
    ledger: AccountProof
    registry: AccountProof
    book: AccountProof
    header: dict[str, str]
    block_hash: Hex32


T = TypeVar("T", Receipt, Batch, Grant, Line)


def plain(value: Receipt | Batch | Grant | JobRequest | Line) -> dict[str, Any]:
    """A signed structure as JSON values."""
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def structure(kind: type[T], document: dict[str, Any], link: str) -> T:
    """The signed structure behind its JSON values; raises BadEvidence naming the field."""
    expected = [field.name for field in fields(kind)]
    if sorted(document) != sorted(expected):
        raise BadEvidence(f"{link}: the fields are {', '.join(expected)}")
    return kind(**{name: _value(kind, name, document[name], link) for name in expected})


def request(document: dict[str, Any]) -> JobRequest:
    """A job request behind its JSON values; raises BadEvidence."""
    link = "order"
    lines = document.get("lines")
    if not isinstance(lines, list | tuple) or len(lines) > 16 or not all(isinstance(x, dict) for x in lines):
        raise BadEvidence(f"{link}: lines is a list of at most 16 lines")
    expected = {field.name for field in fields(JobRequest)}
    if set(document) != expected:
        raise BadEvidence(f"{link}: the fields are {', '.join(sorted(expected))}")
    rest = {
        name: _value(JobRequest, name, value, link) for name, value in document.items() if name != "lines"
    }
    return JobRequest(**rest, lines=tuple(structure(Line, line, link) for line in lines))


def read(document: Any) -> Bundle:
    """Strictly typed from parsed JSON; raises BadEvidence naming what does not fit."""
    try:
        return msgspec.convert(document, type=Bundle, strict=True)
    except msgspec.ValidationError as error:
        raise BadEvidence(f"bundle: {error}") from error


def data(text: str) -> bytes:
    """The bytes behind 0x-hexadecimal that `read` has already matched."""
    return bytes.fromhex(text[2:])


def hexadecimal(value: bytes) -> str:
    """0x and lower-case digits."""
    return "0x" + value.hex()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return hexadecimal(value)
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def _value(kind: type[Any], name: str, value: Any, link: str) -> Any:
    """bytes fields from hexadecimal, the others as they are; ``struct_hash`` checks ranges."""
    wanted = kind.__annotations__[name]
    if wanted == "bytes":
        if not isinstance(value, str) or not value.startswith("0x"):
            raise BadEvidence(f"{link}: {name} is not 0x and hexadecimal")
        try:
            return bytes.fromhex(value[2:])
        except ValueError as error:
            raise BadEvidence(f"{link}: {name} is not 0x and hexadecimal") from error
    if wanted == "bool" and not isinstance(value, bool):
        raise BadEvidence(f"{link}: {name} is not a boolean")
    if wanted == "int" and (not isinstance(value, int) or isinstance(value, bool)):
        raise BadEvidence(f"{link}: {name} is not a whole number")
    return value
