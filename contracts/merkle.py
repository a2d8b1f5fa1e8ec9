"""Merkle trees over digests: keccak256, shaped and verified as in RFC 9162 sections 2.1.1 to 2.1.3.

Leaves are tagged 0x00 and nodes 0x01. A path is checked against index and size, so a proof for one position
cannot be read as a proof for another. ``MerkleRoot.sol`` computes the same root on chain.
"""

from __future__ import annotations

from collections.abc import Sequence

from eth_utils.crypto import keccak

from contracts.errors import BadEvidence, BadStruct


def leaf(digest: bytes) -> bytes:
    """The leaf of a 32-byte digest."""
    return keccak(b"\x00" + digest)


def node(left: bytes, right: bytes) -> bytes:
    """The node over two subtrees."""
    return keccak(b"\x01" + left + right)


def root(digests: Sequence[bytes]) -> bytes:
    """The root over at least one digest; raises BadStruct for none or a wrong length."""
    level = _leaves(digests)
    while len(level) > 1:
        level = _next(level)
    return level[0]


def path(digests: Sequence[bytes], index: int) -> list[bytes]:
    """The sibling hashes from leaf ``index`` up to the root; raises BadStruct."""
    level = _leaves(digests)
    if not 0 <= index < len(level):
        raise BadStruct(f"there is no leaf {index} among {len(level)}")
    siblings = []
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):  # an odd last node moves up without one
            siblings.append(level[sibling])
        level = _next(level)
        index //= 2
    return siblings


def verify(digest: bytes, index: int, size: int, siblings: Sequence[bytes], expected_root: bytes) -> None:
    """Check that ``digest`` is leaf ``index`` of ``size`` under a root; raises BadEvidence if it is not."""
    if not 0 <= index < size:
        raise BadEvidence(f"path: it speaks of leaf {index} of {size}")
    remaining = list(siblings)
    current, position, last = leaf(digest), index, size - 1
    while last > 0:
        if position != last or position % 2 == 1:
            if not remaining:
                raise BadEvidence("path: it is too short")
            sibling = remaining.pop(0)
            current = node(sibling, current) if position % 2 == 1 else node(current, sibling)
        position //= 2
        last //= 2
    if remaining:
        raise BadEvidence("path: it is too long")
    if current != expected_root:
        raise BadEvidence("path: it does not lead to the batch's root")


def _leaves(digests: Sequence[bytes]) -> list[bytes]:
    if not digests:
        raise BadStruct("a Merkle tree has at least one leaf")
    if any(len(digest) != 32 for digest in digests):
        raise BadStruct("a Merkle leaf is a 32-byte digest")
    return [leaf(digest) for digest in digests]


def _next(level: list[bytes]) -> list[bytes]:
    paired = [node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return paired if len(level) % 2 == 0 else [*paired, level[-1]]
