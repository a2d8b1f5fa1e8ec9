"""The typed structures that parties sign (EIP-712), in one place for Solidity and Python.

Each dataclass mirrors a struct of ``contracts/src/interfaces/ILiutongTypes.sol`` field for field; a test
compares both type hashes. ``bytes32`` values are 32-byte ``bytes``, addresses are checksummed ``str``,
integers are ``int`` within their Solidity width. Source: EIP-712 (final, 2023), EIP-2 (low s).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum, IntFlag
from typing import Any, ClassVar

from coincurve import PrivateKey, PublicKey
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from contracts.errors import BadSignature, BadStruct

_SECP256K1_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
_DOMAIN_TYPE = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"


class Outcome(IntEnum):
    """How a node's part in a job ended. Values are on chain: never reuse one."""

    COMPLETED = 1
    REFUSED = 2
    FAILED = 3
    CANCELLED = 4
    EXPIRED = 5


class Operation(IntFlag):
    """What a grant allows, as the bit mask stored on chain. Values are on chain: never reuse one."""

    PSI = 1
    STATS = 2
    PIR = 4
    FL = 8
    EAAS = 16


class Role(IntFlag):
    """What a party is, as the bit mask stored on chain."""

    PROVIDER = 1
    CONSUMER = 2
    REGULATOR = 4
    OPERATOR = 8


class DatasetKind(IntEnum):
    """A table that protocols read, or a service (EaaS) that is granted and metered like one."""

    TABLE = 1
    SERVICE = 2


@dataclass(frozen=True)
class Domain:
    """The EIP-712 domain: a signature for one chain and contract is worthless on another."""

    chain_id: int
    verifying_contract: str

    def separator(self) -> bytes:
        return keccak(
            keccak(_DOMAIN_TYPE)
            + keccak(b"Liutong")
            + keccak(b"1")
            + self.chain_id.to_bytes(32, "big")
            + _word("address", self.verifying_contract)
        )


@dataclass(frozen=True)
class NodeKey:
    """A party takes a signing key into use; signed by the new key, and by the old one on rotation.

    ``box_key`` is the X25519 public key that results and channels are sealed to, ``he_key_digest`` the
    SHA-256 of the node's public homomorphic key (zero if it has none).
    """

    TYPE: ClassVar[str] = "NodeKey(bytes32 party,address key,bytes32 boxKey,bytes32 heKeyDigest,uint64 index)"
    party: bytes
    key: str
    box_key: bytes
    he_key_digest: bytes
    index: int


@dataclass(frozen=True)
class DatasetVersion:
    """A provider's node registers a version of a dataset; versions count from 1 without gaps."""

    TYPE: ClassVar[str] = (
        "DatasetVersion(bytes32 dataset,bytes32 provider,uint32 version,uint8 kind,"
        "bytes32 commitment,bytes32 schemaHash)"
    )
    dataset: bytes
    provider: bytes
    version: int
    kind: int
    commitment: bytes
    schema_hash: bytes


@dataclass(frozen=True)
class Grant:
    """A right to use one dataset, signed by the provider's node. Its struct hash is the grant's id.

    ``terms_hash`` is the SHA-256 of the canonical ``GrantTerms`` document, which carries a salt.
    """

    TYPE: ClassVar[str] = (
        "Grant(bytes32 provider,bytes32 consumer,bytes32 dataset,bytes32 termsHash,uint32 operations,"
        "uint64 quota,uint64 epsilonMicro,uint64 notBefore,uint64 expiry)"
    )
    provider: bytes
    consumer: bytes
    dataset: bytes
    terms_hash: bytes
    operations: int
    quota: int
    epsilon_micro: int
    not_before: int
    expiry: int


@dataclass(frozen=True)
class Revocation:
    """A provider's node ends a grant before its expiry."""

    TYPE: ClassVar[str] = "Revocation(bytes32 grant)"
    grant: bytes


@dataclass(frozen=True)
class Line:
    """What a job may use of one grant at most."""

    TYPE: ClassVar[str] = "Line(bytes32 grant,uint64 units,uint64 epsilonMicro)"
    grant: bytes
    units: int
    epsilon_micro: int


@dataclass(frozen=True)
class JobRequest:
    """A consumer's signed order of one job over one or more grants. Its struct hash is the job's id."""

    TYPE: ClassVar[str] = (
        "JobRequest(bytes32 consumer,bytes32 specHash,bytes32 nonce,uint64 deadline,Line[] lines)"
        "Line(bytes32 grant,uint64 units,uint64 epsilonMicro)"
    )
    consumer: bytes
    spec_hash: bytes
    nonce: bytes
    deadline: int
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Receipt:
    """One node's account of one job under one grant. Its struct hash is the receipt's digest.

    ``sequence`` counts from 1 per node and ``previous`` is the digest before it (zero for the first).
    ``settles`` says that the receipt closes the reservation (job, grant); a refusal of a request that
    holds no reservation, or of one that another receipt settles, has ``settles=False`` and zero units.
    ``detail`` is the SHA-256 of the canonical ``ReceiptDetail`` document.
    """

    TYPE: ClassVar[str] = (
        "Receipt(bytes32 node,uint64 sequence,bytes32 previous,bytes32 job,bytes32 grant,bytes32 specHash,"
        "bytes32 commitment,bytes32 transcript,uint64 units,uint64 epsilonMicro,uint8 outcome,bool settles,"
        "uint64 issuedAt,bytes32 detail)"
    )
    node: bytes
    sequence: int
    previous: bytes
    job: bytes
    grant: bytes
    spec_hash: bytes
    commitment: bytes
    transcript: bytes
    units: int
    epsilon_micro: int
    outcome: int
    settles: bool
    issued_at: int
    detail: bytes


@dataclass(frozen=True)
class Batch:
    """A node anchors consecutive receipts under one Merkle root (leaves: ``merkle.leaf(digest)``)."""

    TYPE: ClassVar[str] = "Batch(bytes32 node,uint64 firstSequence,uint32 count,bytes32 root)"
    node: bytes
    first_sequence: int
    count: int
    root: bytes


@dataclass(frozen=True)
class Action:
    """An act of a party on itself or its dataset that needs no further field: freeze, unfreeze, close."""

    TYPE: ClassVar[str] = "Action(bytes32 party,bytes32 subject,uint8 verb,uint64 nonce)"
    party: bytes
    subject: bytes
    verb: int
    nonce: int


Struct = NodeKey | DatasetVersion | Grant | Revocation | Line | JobRequest | Receipt | Batch | Action


def struct_hash(value: Struct) -> bytes:
    """EIP-712 ``hashStruct``; raises BadStruct if a field does not fit its Solidity type."""
    words = [keccak(value.TYPE.encode())]
    for solidity_type, field in zip(_member_types(value.TYPE), fields(value), strict=True):
        words.append(_word(solidity_type, getattr(value, field.name)))
    return keccak(b"".join(words))


def digest(domain: Domain, value: Struct) -> bytes:
    """The 32 bytes that are signed: ``keccak(0x1901 ‖ domain separator ‖ hashStruct)``."""
    return keccak(b"\x19\x01" + domain.separator() + struct_hash(value))


def sign(domain: Domain, value: Struct, private_key: bytes) -> bytes:
    """A 65-byte signature r ‖ s ‖ v with v in {27, 28} and low s; RFC 6979 nonce (libsecp256k1)."""
    return sign_digest(digest(domain, value), private_key)


def recover(domain: Domain, value: Struct, signature: bytes) -> str:
    """The checksummed address that signed; raises BadSignature for anything malformed or malleable."""
    return recover_digest(digest(domain, value), signature)


def sign_digest(message_digest: bytes, private_key: bytes) -> bytes:
    """Sign 32 bytes; only for digests that this package computed itself (`digest`, `statement.digest`)."""
    signature = PrivateKey(private_key).sign_recoverable(message_digest, hasher=None)
    return signature[:64] + bytes([27 + signature[64]])


def recover_digest(message_digest: bytes, signature: bytes) -> str:
    """Like `recover`, for a digest that this package computed itself."""
    if len(signature) != 65 or signature[64] not in (27, 28):
        raise BadSignature("a signature has 65 bytes and ends in 27 or 28")
    if int.from_bytes(signature[32:64], "big") > _SECP256K1_HALF_ORDER:
        raise BadSignature("the signature's s is in the upper half of the group order (EIP-2)")
    compact = signature[:64] + bytes([signature[64] - 27])
    try:
        key = PublicKey.from_signature_and_message(compact, message_digest, hasher=None)
    except Exception as error:  # coincurve raises bare Exception or ValueError by version
        raise BadSignature("no public key matches this signature") from error
    return address_of(key.format(compressed=False))


def address_of(public_key: bytes) -> str:
    """The checksummed address of an uncompressed (65-byte) secp256k1 public key."""
    return to_checksum_address(keccak(public_key[1:])[-20:])


def _member_types(type_string: str) -> list[str]:
    members = type_string[type_string.index("(") + 1 : type_string.index(")")]
    return [member.rsplit(" ", 1)[0] for member in members.split(",")]


def _word(solidity_type: str, value: Any) -> bytes:
    if solidity_type == "Line[]":
        return keccak(b"".join(struct_hash(line) for line in value))
    if solidity_type == "bytes32":
        if not isinstance(value, bytes) or len(value) != 32:
            raise BadStruct("a bytes32 field needs 32 bytes")
        return value
    if solidity_type == "address":
        if not isinstance(value, str) or len(value) != 42 or not value.startswith("0x"):
            raise BadStruct("an address is 0x and 40 hexadecimal digits")
        try:
            return bytes(12) + bytes.fromhex(value[2:])
        except ValueError as error:
            raise BadStruct("an address is 0x and 40 hexadecimal digits") from error
    if solidity_type == "bool":
        if not isinstance(value, bool):
            raise BadStruct("a bool field needs a bool")
        return int(value).to_bytes(32, "big")
    bits = int(solidity_type.removeprefix("uint"))
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << bits:
        raise BadStruct(f"{value!r} does not fit {solidity_type}")
    return int(value).to_bytes(32, "big")
