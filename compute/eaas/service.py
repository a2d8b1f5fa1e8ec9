"""Encryption as a service: what a node does with a consumer's key, call by call.

The node holds the keys, so it can read whatever is encrypted under them: EaaS is custody of keys for a
consumer that trusts this provider with them, and nobody else's data is touched. It decrypts only what was
encrypted under a key of the same grant and consumer. Each accepted call is charged before it is performed;
a call that is malformed or names an unknown key is refused before it costs anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from accel import paillier, sm2, sm2_keys, sm4
from accel.errors import AccelError
from compute.eaas.encoding import from_text, from_units, to_text, to_units
from compute.eaas.vault import OpenKey, Vault
from compute.errors import BadInput, ComputeError
from compute.wire.canonical import from_hex
from compute.wire.eaas import (
    AddCall,
    Algorithm,
    DecryptCall,
    EaasAnswer,
    EncryptCall,
    MultiplyCall,
    SignCall,
    VerifyCall,
)

# A decimal of the API has at most 30 digits before the point; factors have at most 18.
_BOUND = 10**42
_NONCE_BYTES = 12
# Uses up one call of the session and gives what is left; raises if there is none.
Charge = Callable[[], int]
Call = EncryptCall | DecryptCall | AddCall | MultiplyCall | SignCall | VerifyCall

CALLS: dict[str, type[Call]] = {
    "encrypt": EncryptCall,
    "decrypt": DecryptCall,
    "add": AddCall,
    "multiply": MultiplyCall,
    "sign": SignCall,
    "verify": VerifyCall,
}


class CallFailed(ComputeError):
    """An item cannot be processed under this key: the call was charged, nothing is given out.

    Never says why a decryption failed.
    """

    code = "eaas.call_failed"


class Eaas:
    """The service on a vault. Blocking and thread-safe: call from worker threads."""

    def __init__(self, vault: Vault, *, max_items: int) -> None:
        self.vault = vault
        self._max_items = max_items

    def perform(self, grant: str, consumer: str, call: Call, charge: Charge) -> EaasAnswer:
        """One call. Raises BadInput or KeyUnknown (free), what ``charge`` raises, CallFailed (charged)."""
        key = self.vault.find(grant, consumer, call.key)
        work = self._prepare(key, call)
        left = charge()
        try:
            answer = work()
        except AccelError as error:
            raise CallFailed(
                "an item cannot be processed under this key", code=error.code, calls_left=left
            ) from error
        return EaasAnswer(calls_left=left, **answer)

    def _prepare(self, key: OpenKey, call: Call) -> Callable[[], dict[str, Any]]:
        """Decode and check everything about a call that costs no secret operation."""
        if isinstance(call, EncryptCall):
            return self._encrypt(key, call)
        if isinstance(call, DecryptCall):
            items = self._items(call.ciphertexts)
            return lambda: _DECRYPT[key.algorithm](key, items)
        if isinstance(call, AddCall):
            private = _paillier(key)
            left, right = self._items(call.left), self._items(call.right)
            _same_length(left, right)
            return lambda: _fresh(_arrays(private, left) + _arrays(private, right))
        if isinstance(call, MultiplyCall):
            private = _paillier(key)
            items, factors = self._items(call.ciphertexts), [int(factor) for factor in call.factors]
            _same_length(items, factors)
            return lambda: _fresh(_arrays(private, items) * factors)
        if isinstance(call, SignCall):
            signing, messages = _sm2(key), self._items(call.messages)
            return lambda: {
                "signatures": tuple(to_text(s.tobytes()) for s in sm2.sign_many(signing, messages))
            }
        signer, messages = _sm2(key), self._items(call.messages)
        signatures = self._items(call.signatures)
        _same_length(messages, signatures)
        return lambda: {"valid": tuple(sm2.verify_many(signer.public, messages, signatures).tolist())}

    def _encrypt(self, key: OpenKey, call: EncryptCall) -> Callable[[], dict[str, Any]]:
        if key.algorithm == "paillier":
            private = _paillier(key)
            self._count(call.values)
            if call.plaintexts:
                raise BadInput("a Paillier key encrypts values, not plaintexts")
            units = [to_units(value) for value in call.values]
            return lambda: _texts(paillier.encrypt_ints(private.public, units, bound=_BOUND))
        if call.values:
            raise BadInput("this key encrypts plaintexts, not values")
        items = self._items(call.plaintexts)
        return lambda: {"ciphertexts": tuple(map(to_text, _seal(key, items)))}

    def _items(self, texts: Sequence[str]) -> list[bytes]:
        self._count(texts)
        return [from_text(text, index) for index, text in enumerate(texts)]

    def _count(self, items: Sequence[str]) -> None:
        if not 0 < len(items) <= self._max_items:
            raise BadInput(f"a call holds 1 to {self._max_items} items, not {len(items)}")


def _paillier(key: OpenKey) -> paillier.PrivateKey:
    if not isinstance(key.secret, paillier.PrivateKey):
        raise BadInput(f"this operation needs a Paillier key; this one is {key.algorithm}")
    return key.secret


def _sm2(key: OpenKey) -> sm2_keys.PrivateKey:
    if not isinstance(key.secret, sm2_keys.PrivateKey):
        raise BadInput(f"this operation needs an SM2 key; this one is {key.algorithm}")
    return key.secret


def _same_length(one: Sequence[object], other: Sequence[object]) -> None:
    if len(one) != len(other):
        raise BadInput(f"the two lists must be of one length: {len(one)} and {len(other)}")


def _arrays(private: paillier.PrivateKey, items: Sequence[bytes]) -> paillier.EncryptedArray:
    arrays = [paillier.EncryptedArray.from_bytes(private.public, item) for item in items]
    for index, array in enumerate(arrays):
        if array.size != 1:
            raise CallFailed(f"ciphertext {index} does not hold one value", index=index)
    return paillier.concatenate([array.reshape(1) for array in arrays])


def _fresh(array: paillier.EncryptedArray) -> dict[str, Any]:
    return _texts(array.rerandomize())


def _texts(array: paillier.EncryptedArray) -> dict[str, Any]:
    return {"ciphertexts": tuple(to_text(item.to_bytes()) for item in array)}


def _seal(key: OpenKey, items: Sequence[bytes]) -> list[bytes]:
    if isinstance(key.secret, sm2_keys.PrivateKey):
        return sm2.encrypt_many(key.secret.public, items)
    secret, bound_to = _sm4(key), from_hex(key.key)
    nonces = [os.urandom(_NONCE_BYTES) for _ in items]
    return [n + sm4.gcm_seal(secret, n, item, bound_to) for n, item in zip(nonces, items, strict=True)]


def _sm4(key: OpenKey) -> bytes:
    if not isinstance(key.secret, bytes):
        raise BadInput(f"this operation needs an SM4 key; this one is {key.algorithm}")
    return key.secret


def _decrypt_paillier(key: OpenKey, items: Sequence[bytes]) -> dict[str, Any]:
    private = _paillier(key)
    return {"values": tuple(from_units(v) for v in paillier.decrypt_ints(private, _arrays(private, items)))}


def _decrypt_sm2(key: OpenKey, items: Sequence[bytes]) -> dict[str, Any]:
    private = _sm2(key)
    return {"plaintexts": tuple(map(to_text, sm2.decrypt_many(private, items)))}


def _decrypt_sm4(key: OpenKey, items: Sequence[bytes]) -> dict[str, Any]:
    secret, bound_to = _sm4(key), from_hex(key.key)
    opened = (sm4.gcm_open(secret, item[:_NONCE_BYTES], item[_NONCE_BYTES:], bound_to) for item in items)
    return {"plaintexts": tuple(to_text(item) for item in opened)}


_DECRYPT: dict[Algorithm, Callable[[OpenKey, Sequence[bytes]], dict[str, Any]]] = {
    "paillier": _decrypt_paillier,
    "sm2": _decrypt_sm2,
    "sm4": _decrypt_sm4,
}
