"""What passed between the roles of a job, as one digest that goes into the receipts.

Two ends of a channel see the same messages but not in the same order: both may send at once. So each
direction of each channel has a chain of its own, and digests are taken over the chains in an order that
does not depend on who looks:

    chain(a→b)   c₀ = SHA-256("…chain" ‖ binding ‖ a ‖ b),  cᵢ = SHA-256(cᵢ₋₁ ‖ len(mᵢ) ‖ mᵢ)
    pair {a,b}   SHA-256("…pair" ‖ chain, count of a→b ‖ chain, count of b→a), a < b
    job at r     SHA-256("…job" ‖ the pairs of r, sorted by their role names)

In a job of two roles both ends get the same job digest. With three or more each node's job digest covers
its own channels only; then two receipts are compared by the pair digests (`peer_digest`) that the nodes
keep, which are equal at both ends of every channel.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

_CHAIN = b"liutong/transcript/chain/v1\x00"
_PAIR = b"liutong/transcript/pair/v1\x00"
_JOB = b"liutong/transcript/job/v1\x00"


class Transcript:
    """One node's running record of one job. Holds digests only, never messages.

    ``role`` is our own role; ``binding`` ties the record to the job (`Session.binding`). Not thread-safe:
    the runner feeds it from one task.
    """

    def __init__(self, role: str, binding: bytes) -> None:
        self.role = role
        self._binding = binding
        self._chains: dict[tuple[str, str], tuple[bytes, int]] = {}

    def sent(self, peer: str, message: bytes) -> None:
        """Record a message that we gave to the channel of ``peer``."""
        self.absorb(self.role, peer, message)

    def received(self, peer: str, message: bytes) -> None:
        """Record a message that the channel of ``peer`` gave us."""
        self.absorb(peer, self.role, message)

    def absorb(self, sender: str, receiver: str, message: bytes) -> None:
        """Record one message of one direction; `sent` and `received` are the usual doors."""
        link, count = self._chain(sender, receiver)
        header = struct.pack(">32sQ", link, len(message))
        self._chains[sender, receiver] = (hashlib.sha256(header + message).digest(), count + 1)

    def peer_digest(self, peer: str) -> bytes:
        """The 32-byte digest of everything that passed between us and ``peer``; equal at both ends."""
        first, second = sorted((self.role, peer))
        parts = [self._chain(first, second), self._chain(second, first)]
        return hashlib.sha256(
            _PAIR + b"".join(struct.pack(">32sQ", link, count) for link, count in parts)
        ).digest()

    def peers(self) -> tuple[str, ...]:
        """The roles we exchanged at least one message with, sorted."""
        return tuple(sorted({role for pair in self._chains for role in pair} - {self.role}))

    def digest(self) -> bytes:
        """The 32 bytes for our receipt, over all our channels. A job without messages has one too."""
        pairs = sorted((min(self.role, peer), max(self.role, peer), peer) for peer in self.peers())
        digest = hashlib.sha256(_JOB + _prefixed(self._binding))
        for first, second, peer in pairs:
            digest.update(_prefixed(first.encode()) + _prefixed(second.encode()) + self.peer_digest(peer))
        return digest.digest()

    def chains(self) -> tuple[tuple[str, str, bytes, int], ...]:
        """The record itself, to be kept over a restart: sender, receiver, link, count; sorted."""
        return tuple((*pair, *self._chains[pair]) for pair in sorted(self._chains))

    def restore(self, chains: Iterable[tuple[str, str, bytes, int]]) -> None:
        """Go on from what `chains` gave for the same role and binding; what was recorded is dropped."""
        self._chains = {(sender, receiver): (link, count) for sender, receiver, link, count in chains}

    def _chain(self, sender: str, receiver: str) -> tuple[bytes, int]:
        seed = _CHAIN + _prefixed(self._binding) + _prefixed(sender.encode()) + _prefixed(receiver.encode())
        return self._chains.get((sender, receiver)) or (hashlib.sha256(seed).digest(), 0)


def _prefixed(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value
