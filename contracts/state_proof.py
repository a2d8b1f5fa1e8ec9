"""Verify eth_getProof answers without a chain: Merkle-Patricia walks (Yellow Paper appendix D, EIP-1186)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import rlp
from eth_utils.crypto import keccak

from contracts.errors import BadEvidence

_EMPTY_ROOT = keccak(rlp.encode(b""))
_MAX_NODES = 65  # 64 nibbles of a hashed key and the root
_MAX_NODE_BYTES = 1024  # a full branch has 532


@dataclass(frozen=True)
class Account:
    """What the state holds of an address; ``storage_root`` commits to its storage."""

    nonce: int
    balance: int
    storage_root: bytes
    code_hash: bytes


def account(state_root: bytes, address: bytes, nodes: Sequence[bytes], link: str) -> Account:
    """The account under a state root. ``link`` names this step in the BadEvidence it may raise."""
    value = walk(state_root, keccak(address), nodes, link)
    if value is None:
        raise BadEvidence(f"{link}: there is no such account in the block")
    parts = _decode(value, link)
    if not isinstance(parts, list) or len(parts) != 4 or not all(isinstance(p, bytes) for p in parts):
        raise BadEvidence(f"{link}: the account is malformed")
    nonce, balance, storage_root, code_hash = parts
    if len(storage_root) != 32 or len(code_hash) != 32:
        raise BadEvidence(f"{link}: the account is malformed")
    return Account(int.from_bytes(nonce, "big"), int.from_bytes(balance, "big"), storage_root, code_hash)


def slot(storage_root: bytes, index: int, nodes: Sequence[bytes], link: str) -> int:
    """The word in a storage slot; 0 if the nodes prove that it was never set. Raises BadEvidence."""
    value = walk(storage_root, keccak(index.to_bytes(32, "big")), nodes, link)
    if value is None:
        return 0
    word = _decode(value, link)
    if not isinstance(word, bytes) or len(word) > 32:
        raise BadEvidence(f"{link}: the storage word is malformed")
    return int.from_bytes(word, "big")


def walk(root: bytes, hashed_key: bytes, nodes: Sequence[bytes], link: str) -> bytes | None:
    """The value under a key, or None if its absence is proven. Raises BadEvidence, also for unused nodes."""
    if len(nodes) > _MAX_NODES or any(len(node) > _MAX_NODE_BYTES for node in nodes):
        raise BadEvidence(f"{link}: the proof is larger than any real one")
    if root == _EMPTY_ROOT and list(nodes) in ([], [rlp.encode(b"")]):
        return None
    path = hashed_key.hex()
    remaining = list(nodes)
    reference: Any = root
    while True:
        node = _resolve(reference, remaining, link)
        if node == b"":  # an empty place in a branch
            return _end(None, remaining, link)
        if not isinstance(node, list):
            raise BadEvidence(f"{link}: a proof node is malformed")
        if len(node) == 17:
            if not path:
                return _end(_bytes(node[16], link) or None, remaining, link)
            reference, path = node[int(path[0], 16)], path[1:]
            continue
        if len(node) != 2:
            raise BadEvidence(f"{link}: a proof node is malformed")
        prefix, is_leaf = _prefix(_bytes(node[0], link), link)
        if is_leaf:
            return _end(_bytes(node[1], link) if prefix == path else None, remaining, link)
        if not path.startswith(prefix):
            return _end(None, remaining, link)
        reference, path = node[1], path[len(prefix) :]


def _resolve(reference: Any, remaining: list[bytes], link: str) -> Any:
    """The node behind a reference: embedded in its parent if it is short, else the next one, by its hash."""
    if isinstance(reference, list) or reference == b"":
        return reference
    if len(reference) != 32:
        raise BadEvidence(f"{link}: a proof node refers to nothing")
    if not remaining:
        raise BadEvidence(f"{link}: the proof is too short")
    encoded = remaining.pop(0)
    if keccak(encoded) != reference:
        raise BadEvidence(f"{link}: a proof node does not hash to what its parent says")
    return _decode(encoded, link)


def _end(value: bytes | None, remaining: list[bytes], link: str) -> bytes | None:
    if remaining:
        raise BadEvidence(f"{link}: the proof has nodes that lead nowhere")
    return value


def _prefix(encoded: bytes, link: str) -> tuple[str, bool]:
    """Hex-prefix decoding: the nibbles, and whether they end at a leaf."""
    if not encoded or encoded[0] >> 4 > 3:
        raise BadEvidence(f"{link}: a proof node's path is malformed")
    flag, nibbles = encoded[0] >> 4, encoded.hex()
    return (nibbles[1:] if flag & 1 else nibbles[2:]), bool(flag & 2)


def _bytes(value: Any, link: str) -> bytes:
    if not isinstance(value, bytes):
        raise BadEvidence(f"{link}: a proof node is malformed")
    return value


def _decode(encoded: bytes, link: str) -> Any:
    try:
        return rlp.decode(encoded)
    except (rlp.exceptions.RLPException, RecursionError) as error:
        raise BadEvidence(f"{link}: a proof node is not RLP") from error
