"""The header of a block from JSON-RPC fields, and its hash.

Source: Yellow Paper §4.3; EIP-1559, 4895, 4844, 4788, 7685 for the fields that later forks append.
"""

from __future__ import annotations

from typing import Any

import rlp
from eth_utils.crypto import keccak

from contracts.errors import BadChainData, BadEvidence

# In RLP order. Kinds: byte strings of a fixed length, b"" of any length, or quantities.
_FIELDS: tuple[tuple[str, int | None], ...] = (
    ("parentHash", 32),
    ("sha3Uncles", 32),
    ("miner", 20),
    ("stateRoot", 32),
    ("transactionsRoot", 32),
    ("receiptsRoot", 32),
    ("logsBloom", 256),
    ("difficulty", None),
    ("number", None),
    ("gasLimit", None),
    ("gasUsed", None),
    ("timestamp", None),
    ("extraData", 0),
    ("mixHash", 32),
    ("nonce", 8),
    # Added by later forks, always in this order and never with a gap.
    ("baseFeePerGas", None),
    ("withdrawalsRoot", 32),
    ("blobGasUsed", None),
    ("excessBlobGas", None),
    ("parentBeaconBlockRoot", 32),
    ("requestsHash", 32),
)
_ALWAYS = 15
_MAX_EXTRA_DATA = 4096  # proof-of-authority chains keep validator lists there


def fields_of(raw_block: dict[str, Any]) -> dict[str, str]:
    """The header out of an eth_getBlockBy… answer; raises BadChainData if it does not hash to its hash."""
    header = {name: raw_block[name] for name, _ in _FIELDS if raw_block.get(name) is not None}
    try:
        matches = header_hash(header) == bytes.fromhex(raw_block["hash"].removeprefix("0x"))
    except (BadEvidence, KeyError, AttributeError, ValueError) as error:
        raise BadChainData("the endpoint's block header cannot be encoded") from error
    if not matches:
        raise BadChainData("the chain's block hash is not the hash of its header: evidence cannot rest on it")
    return header


def header_hash(header: dict[str, str]) -> bytes:
    """keccak256 of the RLP of a header; raises BadEvidence for a missing or malformed field."""
    known = {name for name, _ in _FIELDS}
    unknown = sorted(set(header) - known)
    if unknown:
        raise BadEvidence(f"header: unknown field {unknown[0]}")
    values: list[bytes] = []
    ended = False
    for position, (name, size) in enumerate(_FIELDS):
        if name not in header:
            if position < _ALWAYS:
                raise BadEvidence(f"header: {name} is missing")
            ended = True
            continue
        if ended:
            raise BadEvidence(f"header: {name} without the field before it")
        values.append(_value(name, header[name], size))
    return keccak(rlp.encode(values))


def quantity(header: dict[str, str], name: str) -> int:
    """A numeric field; raises BadEvidence."""
    return int.from_bytes(_value(name, header.get(name, ""), None), "big")


def _value(name: str, text: Any, size: int | None) -> bytes:
    if not isinstance(text, str) or not text.startswith("0x"):
        raise BadEvidence(f"header: {name} is not hexadecimal")
    digits = text[2:]
    try:
        if size is None:
            number = int(digits, 16) if digits else 0
            if number >> 256:
                raise BadEvidence(f"header: {name} is too large")
            return number.to_bytes((number.bit_length() + 7) // 8, "big")
        data = bytes.fromhex(digits)
    except ValueError as error:
        raise BadEvidence(f"header: {name} is not hexadecimal") from error
    if (size and len(data) != size) or (size == 0 and len(data) > _MAX_EXTRA_DATA):
        raise BadEvidence(f"header: {name} has a wrong length")
    return data
