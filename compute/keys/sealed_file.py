"""The format of a sealed file: one secret body under a passphrase or key file.

JSON with the parameters in clear and the body as base64. The key comes from scrypt (RFC 7914), the body is
under AES-256-GCM or SM4-GCM (GB/T 32907, RFC 8998; chosen when the file is made), and every parameter is
authenticated with it. Parameters are bounded before any work is done, so a hostile file cannot ask for
memory or time; weak ones are refused too, so nobody can hand us a store that is cheap to search.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import Meta

from compute.errors import KeyStoreLocked

CipherName = Literal["aes-256-gcm", "sm4-gcm"]

MAX_FILE_BYTES = 64 << 20
# 64 MiB and about 0.2 s per attempt.
DEFAULT_N = 1 << 16
_MIN_N, _MAX_N, _R, _MAX_P = 1 << 15, 1 << 20, 8, 4
_KEY_BYTES = {"aes-256-gcm": 32, "sm4-gcm": 16}
_TAG_BYTES = 16

_Text = Annotated[str, Meta(max_length=4 * MAX_FILE_BYTES // 3 + 8)]


class _Kdf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Literal["scrypt"]
    n: Annotated[int, Meta(ge=_MIN_N, le=_MAX_N)]
    r: Annotated[int, Meta(ge=_R, le=_R)]
    p: Annotated[int, Meta(ge=1, le=_MAX_P)]
    salt: Annotated[str, Meta(min_length=64, max_length=64)]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["liutong-sealed"]
    version: Literal[1]
    cipher: CipherName
    kdf: _Kdf
    nonce: Annotated[str, Meta(min_length=24, max_length=24)]
    body: _Text


@dataclass(frozen=True, repr=False)
class FileKey:
    """The key of one sealed file and how it came about. Secret: no repr."""

    cipher: CipherName
    kdf: _Kdf
    key: bytes


def new_key(secret: bytes, cipher: CipherName, n: int = DEFAULT_N) -> FileKey:
    """A key under a fresh salt; raises KeyStoreLocked for an unknown cipher, weak n or empty secret."""
    if cipher not in _KEY_BYTES or n & (n - 1) or not _MIN_N <= n <= _MAX_N:
        raise KeyStoreLocked(f"a store needs aes-256-gcm or sm4-gcm and n a power of two from {_MIN_N}")
    kdf = _Kdf("scrypt", n, _R, 1, os.urandom(32).hex())
    return FileKey(cipher, kdf, _derive(secret, cipher, kdf))


def seal(key: FileKey, plaintext: bytes) -> bytes:
    """The file's bytes, under a fresh random nonce: a file is rewritten far less than 2^32 times."""
    nonce = os.urandom(12)
    sealed = _encrypt(key, nonce, plaintext, _header(key.cipher, key.kdf))
    body = base64.b64encode(sealed).decode()
    return msgspec.json.format(
        msgspec.json.encode(_File("liutong-sealed", 1, key.cipher, key.kdf, nonce.hex(), body)), indent=2
    )


def unseal(secret: bytes, data: bytes) -> tuple[FileKey, bytes]:
    """The key and the plaintext behind a file's bytes; raises KeyStoreLocked, the same for every cause."""
    file = _parse(data)
    key = FileKey(file.cipher, file.kdf, _derive(secret, file.cipher, file.kdf))
    return key, _open(key, file)


def unseal_again(key: FileKey, data: bytes) -> bytes:
    """Like `unseal` with a key already derived; raises KeyStoreLocked if the file is under another key."""
    file = _parse(data)
    if file.kdf != key.kdf or file.cipher != key.cipher:
        raise locked()
    return _open(key, file)


def locked() -> KeyStoreLocked:
    """The one error for a wrong secret and a damaged file."""
    return KeyStoreLocked(
        "the key store does not open: wrong passphrase or key file, or the file is damaged; "
        "try the right secret or restore a backup"
    )


def _parse(data: bytes) -> _File:
    if len(data) > MAX_FILE_BYTES:
        raise locked()
    try:
        file = msgspec.json.decode(data, type=_File, strict=True)
    except (msgspec.MsgspecError, RecursionError):
        raise locked() from None
    if file.kdf.n & (file.kdf.n - 1):
        raise locked()
    return file


def _open(key: FileKey, file: _File) -> bytes:
    try:
        sealed = base64.b64decode(file.body, validate=True)
        nonce = bytes.fromhex(file.nonce)
        if len(nonce) != 12 or len(sealed) < _TAG_BYTES:
            raise locked()
        return _decrypt(key, nonce, sealed, _header(key.cipher, key.kdf))
    except (InvalidTag, ValueError):
        raise locked() from None


def _derive(secret: bytes, cipher: CipherName, kdf: _Kdf) -> bytes:
    if not secret:
        raise locked()
    try:
        salt = bytes.fromhex(kdf.salt)
    except ValueError:
        raise locked() from None
    if len(salt) != 32:
        raise locked()
    return Scrypt(salt=salt, length=_KEY_BYTES[cipher], n=kdf.n, r=kdf.r, p=kdf.p).derive(secret)


def _header(cipher: CipherName, kdf: _Kdf) -> bytes:
    return f"liutong-sealed/1/{cipher}/{kdf.name}/{kdf.n}/{kdf.r}/{kdf.p}/{kdf.salt}".encode()


def _encrypt(key: FileKey, nonce: bytes, plaintext: bytes, header: bytes) -> bytes:
    if key.cipher == "aes-256-gcm":
        return AESGCM(key.key).encrypt(nonce, plaintext, header)
    encryptor = Cipher(algorithms.SM4(key.key), modes.GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(header)
    return encryptor.update(plaintext) + encryptor.finalize() + encryptor.tag


def _decrypt(key: FileKey, nonce: bytes, sealed: bytes, header: bytes) -> bytes:
    if key.cipher == "aes-256-gcm":
        return AESGCM(key.key).decrypt(nonce, sealed, header)
    tag = sealed[-_TAG_BYTES:]
    decryptor = Cipher(algorithms.SM4(key.key), modes.GCM(nonce, tag)).decryptor()
    decryptor.authenticate_additional_data(header)
    return decryptor.update(sealed[:-_TAG_BYTES]) + decryptor.finalize()
