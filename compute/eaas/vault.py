"""Keys of the encryption service: in their own sealed store, each bound to one grant and one consumer.

A key is found only under the grant it was made under and by the consumer it was made for; for anybody else
it does not exist. Secret halves leave the store for this process's memory only.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from accel import paillier, sm2, sm2_keys, sm4
from compute.eaas.encoding import to_text
from compute.errors import BadInput, ComputeError
from compute.keys.keystore import KeyStore
from compute.wire.canonical import to_hex
from compute.wire.eaas import Algorithm, EaasKey, EaasKeyRequest

_KIND = "eaas"
_CACHED_KEYS = 64

SecretKey = paillier.PrivateKey | sm2_keys.PrivateKey | bytes


class KeyUnknown(ComputeError):
    """There is no such key under this grant for this consumer."""

    code = "eaas.key_unknown"


class KeyLimit(ComputeError):
    """The grant has as many keys as the node keeps for one grant."""

    code = "eaas.key_limit"


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    algorithm: Algorithm
    consumer: str
    created_at: int
    secret: bytes


class OpenKey:
    """A key in use. Holds a secret: no repr of its own."""

    def __init__(self, key: str, entry: _Entry) -> None:
        self.key = key
        self.algorithm: Algorithm = entry.algorithm
        self.consumer = entry.consumer
        self.created_at = entry.created_at
        self.secret: SecretKey = _SECRETS[entry.algorithm](entry.secret)

    @property
    def public(self) -> bytes:
        """The public half as its scheme encodes it; empty for SM4."""
        return b"" if isinstance(self.secret, bytes) else self.secret.public.to_bytes()

    @property
    def document(self) -> EaasKey:
        """What the consumer sees."""
        return EaasKey(
            key=self.key,
            algorithm=self.algorithm,
            public=to_text(self.public),
            created_at=self.created_at,
        )


class Vault:
    """The sealed store of EaaS keys. Blocking and thread-safe."""

    def __init__(
        self, path: Path, secret: bytes, *, max_keys_per_grant: int, clock: Callable[[], float], cipher: Any
    ) -> None:
        """Opens the store, or creates it at first use; raises KeyStoreLocked."""
        if path.exists():
            self._store = KeyStore.open(path, secret)
        else:
            self._store = KeyStore.create(path, secret, cipher=cipher)
        self._max_keys_per_grant = max_keys_per_grant
        self._clock = clock
        self._lock = threading.Lock()
        self._cache: dict[str, OpenKey] = {}

    def create(self, grant: str, consumer: str, request: EaasKeyRequest) -> OpenKey:
        """A new key under a grant; raises KeyLimit. A Paillier key of 3072 bits takes a second or two."""
        self.require_room(grant)
        secret = _GENERATE[request.algorithm](request)
        key = to_hex(secrets.token_bytes(32))
        entry = _Entry(request.algorithm, consumer, int(self._clock()), secret)
        with self._lock:
            # Another call may have made the last one meanwhile.
            self.require_room(grant)
            self._store.put(_name(grant, key), msgspec.msgpack.encode(entry), _KIND)
        return OpenKey(key, entry)

    def require_room(self, grant: str) -> None:
        """Raise KeyLimit if the grant has all the keys it may have."""
        if self._count(grant) >= self._max_keys_per_grant:
            raise KeyLimit(f"this grant has {self._max_keys_per_grant} keys: use one of them")

    def find(self, grant: str, consumer: str, key: str) -> OpenKey:
        """A key of this grant and consumer; raises KeyUnknown."""
        name = _name(grant, key)
        found = self._cache.get(name)
        if found is None:
            try:
                data = self._store.get(name, _KIND)
            except BadInput:
                raise KeyUnknown("there is no such key: list the keys of this grant") from None
            found = OpenKey(key, msgspec.msgpack.decode(data, type=_Entry))
            with self._lock:
                if len(self._cache) >= _CACHED_KEYS:
                    self._cache.pop(next(iter(self._cache)))
                self._cache[name] = found
        if found.consumer != consumer:
            raise KeyUnknown("there is no such key: list the keys of this grant")
        return found

    def list(self, grant: str, consumer: str) -> list[EaasKey]:
        """All keys of a grant that this consumer made, oldest first."""
        prefix = _name(grant, "")
        names = [entry.name for entry in self._store.names() if entry.name.startswith(prefix)]
        found = [self.find(grant, consumer, name.removeprefix(prefix)) for name in names]
        return sorted((key.document for key in found), key=lambda key: (key.created_at, key.key))

    def _count(self, grant: str) -> int:
        prefix = _name(grant, "")
        return sum(entry.name.startswith(prefix) for entry in self._store.names())


def _name(grant: str, key: str) -> str:
    return f"eaas:{grant}:{key}"


_GENERATE: dict[Algorithm, Callable[[EaasKeyRequest], bytes]] = {
    "paillier": lambda request: paillier.generate(request.bits).to_bytes(),
    "sm2": lambda request: sm2.generate().to_bytes(),
    "sm4": lambda request: sm4.generate_key(),
}
_SECRETS: dict[Algorithm, Callable[[bytes], SecretKey]] = {
    "paillier": paillier.PrivateKey.from_bytes,
    "sm2": sm2_keys.PrivateKey.from_bytes,
    "sm4": bytes,
}
