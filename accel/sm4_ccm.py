"""CCM over SM4 (RFC 8998 section 2.2, RFC 3610): CTR and a CBC-MAC, for formats that want no GHASH.

The MAC takes one block after the other, so that CCM runs at OpenSSL's speed of a single block chain; its SM4
reads tables at secret places. Prefer GCM.
"""

from __future__ import annotations

import hmac

import numpy as np

from accel import selftest
from accel.byte_rows import U8, Buffer, flat
from accel.errors import BadParameter, DecryptionFailed
from accel.reference.sm4 import ccm_blocks
from accel.sm4_backends import BLOCK_BYTES, CBC_ENCRYPT, CTR

_MAX_AAD_BYTES = (1 << 32) - 1
_CHUNK = 1 << 16


def ccm_seal(
    key: bytes,
    nonce: bytes,
    plaintext: Buffer | U8,
    aad: Buffer | U8 = b"",
    *,
    tag_bytes: int = 16,
    backend: str = "auto",
) -> bytes:
    """Ciphertext followed by a tag of ``tag_bytes`` (4, 6, … 16; RFC 8998 uses 16).

    A nonce of 7 to 13 bytes (RFC 8998: 12) must never meet the same key twice. The longer the nonce, the
    shorter the message: 15 bytes less the nonce hold its length. Raises BadParameter for what does not fit.
    """
    selftest.ensure("sm4")
    source, bound_to = flat(plaintext), flat(aad)
    _check(key, nonce, len(source), len(bound_to), tag_bytes)
    output = np.empty(len(source) + tag_bytes, np.uint8)
    first = _first_counter(nonce)
    _crypt(key, first + 1, source, output[: len(source)], backend)
    output[len(source) :] = _tag(key, nonce, source, bound_to, tag_bytes, backend)
    return output.tobytes()


def ccm_open(
    key: bytes,
    nonce: bytes,
    sealed: Buffer | U8,
    aad: Buffer | U8 = b"",
    *,
    tag_bytes: int = 16,
    backend: str = "auto",
) -> bytes:
    """The plaintext, only if tag, nonce and ``aad`` are right; raises DecryptionFailed otherwise."""
    selftest.ensure("sm4")
    source, bound_to = flat(sealed), flat(aad)
    _check(key, nonce, max(0, len(source) - tag_bytes), len(bound_to), tag_bytes)
    if len(source) < tag_bytes:
        raise DecryptionFailed("the ciphertext does not authenticate")
    plaintext = np.empty(len(source) - tag_bytes, np.uint8)
    _crypt(key, _first_counter(nonce) + 1, source[: len(plaintext)], plaintext, backend)
    expected = _tag(key, nonce, plaintext, bound_to, tag_bytes, backend)
    if not hmac.compare_digest(expected.tobytes(), source[len(plaintext) :].tobytes()):
        raise DecryptionFailed("the ciphertext does not authenticate")
    return plaintext.tobytes()


def _check(key: bytes, nonce: bytes, length: int, aad_bytes: int, tag_bytes: int) -> None:
    if not isinstance(key, bytes | bytearray) or len(key) != BLOCK_BYTES:
        raise BadParameter("the key of SM4 is 16 bytes")
    if not isinstance(nonce, bytes | bytearray) or not 7 <= len(nonce) <= 13:
        raise BadParameter("the nonce of CCM is 7 to 13 bytes")
    if tag_bytes not in range(4, 17, 2):
        raise BadParameter("the tag of CCM is 4, 6, 8, 10, 12, 14 or 16 bytes")
    if length >= 1 << min(31, 8 * (15 - len(nonce))) or aad_bytes > _MAX_AAD_BYTES:
        raise BadParameter(f"data is too long for CCM with a nonce of {len(nonce)} bytes")


def _first_counter(nonce: bytes) -> int:
    return int.from_bytes(bytes([14 - len(nonce)]) + nonce + bytes(15 - len(nonce)), "big")


def _crypt(key: bytes, counter: int, source: U8, target: U8, backend: str) -> None:
    run = CTR.select(backend, batch=len(source) // BLOCK_BYTES)
    run(key, counter.to_bytes(BLOCK_BYTES, "big"), source, target)


def _tag(key: bytes, nonce: bytes, plaintext: U8, aad: U8, tag_bytes: int, backend: str) -> U8:
    """The CBC-MAC, cut and encrypted with the first counter."""
    chain = CBC_ENCRYPT.select("reference" if backend == "reference" else "auto", batch=1)
    header = ccm_blocks(nonce, b"", aad.tobytes(), tag_bytes)
    # The header was made for an empty message: put the length in, RFC 3610 section 2.2.
    length = len(plaintext).to_bytes(15 - len(nonce), "big")
    head = np.frombuffer(header[: 1 + len(nonce)] + length + header[BLOCK_BYTES:], np.uint8)
    last = bytes(BLOCK_BYTES)
    for data in (head, plaintext):
        for at in range(0, len(data), _CHUNK):
            piece = np.zeros(-(-min(_CHUNK, len(data) - at) // BLOCK_BYTES) * BLOCK_BYTES, np.uint8)
            piece[: len(data) - at] = data[at : at + _CHUNK]
            chain(key, last, piece, piece)
            last = piece[-BLOCK_BYTES:].tobytes()
    tag = np.empty(tag_bytes, np.uint8)
    _crypt(key, _first_counter(nonce), np.frombuffer(last, np.uint8)[:tag_bytes], tag, backend)
    return tag
