"""A consumer's key file: signing key, box key and party id in one sealed store.

The same file serves any party without a node (a regulator signs its freezes with it). What the portal and the
chain learn of it is the enrolment: public keys, and a proof that the signing key is held.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from compute.keys import sealing
from compute.keys.keystore import KeyStore
from compute.keys.signer import NodeSigner, new_signing_key
from compute.wire.canonical import to_hex
from compute.wire.messages import Enrolment
from compute.wire.structs import ZERO32
from contracts import eip712

_PARTY, _SIGNING, _BOX = "party", "signing", "box"
_ID_KIND, _SIGNING_KIND, _BOX_KIND = "party-id", "secp256k1", "x25519"


@dataclass(frozen=True, repr=False)  # holds private keys: keep it out of logs
class Identity:
    """An open key file. ``party`` is the party id as text."""

    party: str
    signer: NodeSigner
    box_private: bytes

    @classmethod
    def create(cls, path: Path, secret: bytes) -> Identity:
        """A new party with fresh keys; raises BadInput if the file exists."""
        store = KeyStore.create(path, secret)
        store.put(_PARTY, secrets.token_bytes(32), _ID_KIND)
        store.put(_SIGNING, new_signing_key(), _SIGNING_KIND)
        store.put(_BOX, sealing.new_box_key()[0], _BOX_KIND)
        return cls._of(store)

    @classmethod
    def open(cls, path: Path, secret: bytes) -> Identity:
        """An existing key file; raises KeyStoreLocked, without saying why, unless it opens."""
        return cls._of(KeyStore.open(path, secret))

    @classmethod
    def _of(cls, store: KeyStore) -> Identity:
        return cls(
            party=to_hex(store.get(_PARTY, _ID_KIND)),
            signer=NodeSigner(store.get(_SIGNING, _SIGNING_KIND)),
            box_private=store.get(_BOX, _BOX_KIND),
        )

    @property
    def box_public(self) -> bytes:
        """The X25519 key that results are sealed to."""
        return sealing.box_public(self.box_private)

    def enrolment(self, name: str, domain: eip712.Domain) -> Enrolment:
        """What the operator needs to put this party on chain; ``domain`` is PartyRegistry's."""
        key = eip712.NodeKey(
            party=bytes.fromhex(self.party[2:]),
            key=self.signer.address,
            box_key=self.box_public,
            he_key_digest=ZERO32,
            index=0,
        )
        return Enrolment(
            party=self.party,
            name=name,
            address=self.signer.address,
            box_key=to_hex(self.box_public),
            he_key_digest=to_hex(ZERO32),
            signature=to_hex(self.signer.sign(domain, key)),
        )
