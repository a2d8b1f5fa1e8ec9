"""The SM4 block cipher (GB/T 32907-2016) in ECB, CBC, CTR and GCM mode (GB/T 17964, RFC 8998).

Use `gcm_seal` and `gcm_open` unless a format dictates otherwise: the other modes do not authenticate. Runs on
OpenSSL through `cryptography`, whose build may lack SM4: then BackendUnavailable, never another cipher.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from accel import selftest
from accel.errors import BackendUnavailable, BadParameter, DecryptionFailed
from accel.randomness import Rng, draw, system_rng

M = TypeVar("M", bound=modes.Mode)
C = TypeVar("C", bound=CipherContext)

KEY_BYTES = 16
BLOCK_BYTES = 16
GCM_NONCE_BYTES = 12
GCM_TAG_BYTES = 16
MAX_BYTES = (1 << 31) - 1  # of one call: OpenSSL counts in C int


def generate_key(rng: Rng = system_rng) -> bytes:
    """A fresh secret key of 16 bytes."""
    return draw(rng, KEY_BYTES)


def gcm_seal(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes = b"") -> bytes:
    """Ciphertext followed by a 16-byte tag (RFC 8998 section 2.1).

    A nonce of 12 bytes must never meet the same key twice: repeating one gives away the authentication key.
    """
    selftest.ensure("sm4")
    _check("nonce", nonce, GCM_NONCE_BYTES)
    _check_size(plaintext, aad)
    encryptor = _start(_cipher(key, modes.GCM(nonce)).encryptor)
    encryptor.authenticate_additional_data(aad)
    return encryptor.update(plaintext) + encryptor.finalize() + encryptor.tag


def gcm_open(key: bytes, nonce: bytes, sealed: bytes, aad: bytes = b"") -> bytes:
    """The plaintext, only if tag, nonce and ``aad`` are right; raises DecryptionFailed otherwise."""
    selftest.ensure("sm4")
    _check("nonce", nonce, GCM_NONCE_BYTES)
    _check_size(sealed, aad)
    if len(sealed) < GCM_TAG_BYTES:
        raise DecryptionFailed("the ciphertext does not authenticate")
    body, tag = sealed[:-GCM_TAG_BYTES], sealed[-GCM_TAG_BYTES:]
    decryptor = _start(_cipher(key, modes.GCM(nonce, tag)).decryptor)
    decryptor.authenticate_additional_data(aad)
    try:
        return decryptor.update(body) + decryptor.finalize()
    except InvalidTag:
        raise DecryptionFailed("the ciphertext does not authenticate") from None


def ctr(key: bytes, counter: bytes, data: bytes) -> bytes:
    """Encrypt or decrypt: the key stream from a 16-byte initial counter. Never use a counter block twice."""
    selftest.ensure("sm4")
    _check("counter", counter, BLOCK_BYTES)
    return _run(_cipher(key, modes.CTR(counter)).encryptor, data)


def cbc_encrypt(key: bytes, iv: bytes, plaintext: bytes) -> bytes:
    """CBC with PKCS#7 padding; the 16-byte ``iv`` must be unpredictable."""
    selftest.ensure("sm4")
    _check("iv", iv, BLOCK_BYTES)
    padder = PKCS7(8 * BLOCK_BYTES).padder()
    return _run(_cipher(key, modes.CBC(iv)).encryptor, padder.update(plaintext) + padder.finalize())


def cbc_decrypt(key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    """Undo `cbc_encrypt`; raises DecryptionFailed for bad length or padding.

    Whether padding was right is an oracle: never tell the sender of a ciphertext that this failed.
    """
    selftest.ensure("sm4")
    _check("iv", iv, BLOCK_BYTES)
    if not ciphertext or len(ciphertext) % BLOCK_BYTES:
        raise DecryptionFailed("the ciphertext does not decrypt")
    padded = _run(_cipher(key, modes.CBC(iv)).decryptor, ciphertext)
    unpadder = PKCS7(8 * BLOCK_BYTES).unpadder()
    try:
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        raise DecryptionFailed("the ciphertext does not decrypt") from None


def ecb_encrypt(key: bytes, blocks: bytes) -> bytes:
    """Every 16-byte block on its own: equal blocks show. For formats and tests that need it."""
    selftest.ensure("sm4")
    _check_blocks(blocks)
    return _run(_cipher(key, modes.ECB()).encryptor, blocks)  # noqa: S305  # its docstring warns


def ecb_decrypt(key: bytes, blocks: bytes) -> bytes:
    """Undo `ecb_encrypt`."""
    selftest.ensure("sm4")
    _check_blocks(blocks)
    return _run(_cipher(key, modes.ECB()).decryptor, blocks)  # noqa: S305


def _cipher(key: bytes, mode: M) -> Cipher[M]:
    _check("key", key, KEY_BYTES)
    return Cipher(algorithms.SM4(key), mode)


def _start(make: Callable[[], C]) -> C:
    """Begin an encryption or decryption; OpenSSL says only here whether it can."""
    try:
        return make()
    except UnsupportedAlgorithm as error:
        raise BackendUnavailable("OpenSSL on this machine was built without SM4") from error


def _run(make: Callable[[], CipherContext], data: bytes) -> bytes:
    _check_size(data)
    context = _start(make)
    return context.update(data) + context.finalize()


def _check(name: str, value: bytes, length: int) -> None:
    if len(value) != length:
        raise BadParameter(f"the {name} of SM4 has {length} bytes here, not {len(value)}")


def _check_size(*values: bytes) -> None:
    if any(len(value) > MAX_BYTES for value in values):
        raise BadParameter(f"at most {MAX_BYTES} bytes in one call: split the data")


def _check_blocks(blocks: bytes) -> None:
    if len(blocks) % BLOCK_BYTES:
        raise BadParameter("ECB takes whole blocks of 16 bytes")


@selftest.known_answer("sm4")
def _known_answer() -> None:
    document = selftest.vectors("sm4")
    case = document["block"][0]
    got = ecb_encrypt(bytes.fromhex(case["key"]), bytes.fromhex(case["plaintext"]))
    selftest.expect(got.hex() == case["ciphertext"], "sm4 block")
    case = document["gcm"][0]
    key, nonce, aad = (bytes.fromhex(case[name]) for name in ("key", "nonce", "aad"))
    got = gcm_seal(key, nonce, bytes.fromhex(case["plaintext"]), aad)
    selftest.expect(got.hex() == case["ciphertext"] + case["tag"], "sm4-gcm")
