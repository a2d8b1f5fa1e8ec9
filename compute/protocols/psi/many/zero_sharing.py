"""Shares that cancel: every pair of parties has a key, a party's share of x is the sum of PRF(key, x) over
its keys.

Each pair's term is in two shares, so over all parties the shares of one x sum to zero (XOR); without the
share of some party that is not colluding, those of the others are random. Keys come from an ephemeral
X25519 agreement per job, bound to the job and both roles. Source: Kolesnikov, Matania, Pinkas, Rosulek,
Trieu, "Practical Multi-Party Private Set Intersection from Symmetric-Key Techniques", CCS 2017
(unconditional zero-sharing).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from accel import sm3
from compute.errors import ProtocolAbort
from compute.protocols.psi.oprf import Items

KEY_BYTES = 32

Words = npt.NDArray[np.uint64]


class PairKeys:
    """What this party agrees on with each other one. The names of the roles are part of every key."""

    def __init__(self, role: str, binding: bytes, seed: bytes) -> None:
        """``seed``: 32 fresh secret bytes."""
        self._role = role
        self._binding = binding
        self._private = X25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()

    def with_peer(self, peer: str, public: bytes, purpose: bytes) -> bytes:
        """32 bytes that this party and ``peer`` share; raises ProtocolAbort for a public key of low order."""
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError as error:
            raise ProtocolAbort(f"{peer} sent no public key") from error
        first, second = sorted(((self._role, self.public), (peer, public)))
        pair = first[0].encode() + first[1] + second[0].encode() + second[1]
        info = b"liutong/psi/many/v1 " + purpose + b" " + pair
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=self._binding, info=info).derive(shared)


def share(keys: Iterable[bytes], items: Items, words: int) -> Words:
    """This party's share of every item, (n, words); ``keys`` are those with all other parties."""
    total = np.zeros((len(items), words), np.uint64)
    for key in keys:
        # Key and item have fixed lengths, so the keyed hash is a pseudorandom function (random oracle).
        total ^= as_words(sm3.digest_many(items, prefix=key), words)
    return total


def as_words(rows: Items, words: int) -> Words:
    """The first 8 · words bytes of every row."""
    return np.ascontiguousarray(rows[:, : 8 * words]).view("<u8").astype(np.uint64, copy=False)
