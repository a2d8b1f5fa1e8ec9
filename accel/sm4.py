"""The SM4 block cipher (GB/T 32907-2016) in ECB, CBC, CTR, GCM and CCM mode (GB/T 17964-2021, RFC 8998).

Use `gcm_seal` and `gcm_open` unless a format dictates otherwise: ECB, CBC and CTR do not authenticate.

    sealed = sm4.gcm_seal(key, nonce, b"plaintext", aad=b"bound to it")
    sm4.gcm_open(key, nonce, sealed, aad=b"bound to it")

Data may be bytes, bytearray, memoryview or a contiguous uint8 array. Functions return bytes; their siblings
`…_into` write to a buffer of the caller, which may be the input itself, and copy nothing. Large data runs on
vector kernels whose time does not depend on key or data; small data on OpenSSL, whose SM4 reads tables at
secret places, unless ``backend="cpu"`` asks for the kernels. Data that comes in pieces: `accel.sm4_streams`.
"""

from __future__ import annotations

import numpy as np

from accel import selftest
from accel.byte_rows import U8, Buffer, flat
from accel.errors import BadParameter, DecryptionFailed
from accel.fresh_bytes import filled
from accel.randomness import Rng, draw, system_rng
from accel.sm4_backends import (
    BLOCK_BYTES,
    CBC_DECRYPT,
    CBC_ENCRYPT,
    CTR,
    ECB,
    GCM_OPEN,
    GCM_SEAL,
    TAG_BYTES,
)
from accel.sm4_ccm import ccm_open, ccm_seal

__all__ = [
    "BLOCK_BYTES",
    "GCM_NONCE_BYTES",
    "GCM_TAG_BYTES",
    "KEY_BYTES",
    "cbc_decrypt",
    "cbc_encrypt",
    "ccm_open",
    "ccm_seal",
    "ctr",
    "ctr_into",
    "ecb_decrypt",
    "ecb_encrypt",
    "ecb_into",
    "gcm_open",
    "gcm_open_into",
    "gcm_seal",
    "gcm_seal_into",
    "generate_key",
]

Data = Buffer | U8

KEY_BYTES = 16
GCM_NONCE_BYTES = 12
GCM_TAG_BYTES = TAG_BYTES
MAX_BYTES = (1 << 31) - 1  # of one call: OpenSSL counts in C int


def generate_key(rng: Rng = system_rng) -> bytes:
    """A fresh secret key of 16 bytes."""
    return draw(rng, KEY_BYTES)


def gcm_seal(key: bytes, nonce: bytes, plaintext: Data, aad: Data = b"", *, backend: str = "auto") -> bytes:
    """Ciphertext followed by a 16-byte tag (RFC 8998 section 2.1).

    A nonce of 12 bytes must never meet the same key twice: repeating one gives away the authentication key.
    """
    size = len(flat(plaintext)) + GCM_TAG_BYTES
    return filled(size, lambda out: gcm_seal_into(key, nonce, plaintext, out, aad, backend=backend))


def gcm_seal_into(
    key: bytes, nonce: bytes, plaintext: Data, output: Data, aad: Data = b"", *, backend: str = "auto"
) -> None:
    """`gcm_seal` into a writable buffer 16 bytes longer than ``plaintext``; both may begin at one place."""
    selftest.ensure("sm4")
    check_key(key)
    check("nonce", nonce, GCM_NONCE_BYTES)
    source, bound_to = _sized(plaintext), _sized(aad)
    target = _target(output, source, len(source) + GCM_TAG_BYTES)
    GCM_SEAL.select(backend, batch=len(source) // BLOCK_BYTES)(key, nonce, source, bound_to, target)


def gcm_open(key: bytes, nonce: bytes, sealed: Data, aad: Data = b"", *, backend: str = "auto") -> bytes:
    """The plaintext, only if tag, nonce and ``aad`` are right; raises DecryptionFailed otherwise."""
    size = max(0, len(flat(sealed)) - GCM_TAG_BYTES)
    return filled(size, lambda out: gcm_open_into(key, nonce, sealed, out, aad, backend=backend))


def gcm_open_into(
    key: bytes, nonce: bytes, sealed: Data, output: Data, aad: Data = b"", *, backend: str = "auto"
) -> None:
    """`gcm_open` into a writable buffer 16 bytes shorter than ``sealed``, untouched if decryption fails."""
    selftest.ensure("sm4")
    check_key(key)
    check("nonce", nonce, GCM_NONCE_BYTES)
    source, bound_to = _sized(sealed), _sized(aad)
    if len(source) < GCM_TAG_BYTES:
        raise DecryptionFailed("the ciphertext does not authenticate")
    target = _target(output, source, len(source) - GCM_TAG_BYTES)
    opened = GCM_OPEN.select(backend, batch=len(source) // BLOCK_BYTES)
    if not opened(key, nonce, source, bound_to, target):
        raise DecryptionFailed("the ciphertext does not authenticate")


def ctr(key: bytes, counter: bytes, data: Data, *, backend: str = "auto") -> bytes:
    """Encrypt or decrypt: the key stream from a 16-byte initial counter. Never use a counter block twice."""
    return filled(len(flat(data)), lambda out: ctr_into(key, counter, data, out, backend=backend))


def ctr_into(key: bytes, counter: bytes, data: Data, output: Data, *, backend: str = "auto") -> None:
    """`ctr` into a writable buffer of the same length, which may be ``data`` itself."""
    selftest.ensure("sm4")
    check_key(key)
    check("counter", counter, BLOCK_BYTES)
    source = _sized(data)
    target = _target(output, source, len(source))
    CTR.select(backend, batch=len(source) // BLOCK_BYTES)(key, counter, source, target)


def cbc_encrypt(key: bytes, iv: bytes, plaintext: Data, *, backend: str = "auto") -> bytes:
    """CBC with PKCS#7 padding; the 16-byte ``iv`` must be unpredictable.

    Every block waits for the one before: this mode has no vector kernel.
    """
    selftest.ensure("sm4")
    check_key(key)
    check("iv", iv, BLOCK_BYTES)
    source = _sized(plaintext)
    padding = BLOCK_BYTES - len(source) % BLOCK_BYTES
    padded = np.full(len(source) + padding, padding, np.uint8)
    padded[: len(source)] = source
    CBC_ENCRYPT.select(backend, batch=len(padded) // BLOCK_BYTES)(key, iv, padded, padded)
    return padded.tobytes()


def cbc_decrypt(key: bytes, iv: bytes, ciphertext: Data, *, backend: str = "auto") -> bytes:
    """Undo `cbc_encrypt`; raises DecryptionFailed for bad length or padding.

    Whether padding was right is an oracle: never tell the sender of a ciphertext that this failed.
    """
    selftest.ensure("sm4")
    check_key(key)
    check("iv", iv, BLOCK_BYTES)
    source = _sized(ciphertext)
    if not len(source) or len(source) % BLOCK_BYTES:
        raise DecryptionFailed("the ciphertext does not decrypt")
    padded = np.empty(len(source), np.uint8)
    CBC_DECRYPT.select(backend, batch=len(source) // BLOCK_BYTES)(key, iv, source, padded)
    return padded[: len(padded) - padding_bytes(padded[-BLOCK_BYTES:])].tobytes()


def padding_bytes(block: U8) -> int:
    """The length of the PKCS#7 padding in the last block; raises DecryptionFailed if there is none.

    All sixteen bytes are looked at, whatever the padding, so that time does not tell how much was right.
    """
    count = int(block[-1])
    in_padding = np.arange(BLOCK_BYTES, 0, -1) <= count
    wrong = int(((block != count) & in_padding).sum()) + (count < 1) + (count > BLOCK_BYTES)
    if wrong:
        raise DecryptionFailed("the ciphertext does not decrypt")
    return count


def ecb_encrypt(key: bytes, blocks: Data, *, backend: str = "auto") -> bytes:
    """Every 16-byte block on its own: equal blocks show. For formats and tests that need it."""
    return filled(len(flat(blocks)), lambda out: ecb_into(key, blocks, out, backend=backend))


def ecb_decrypt(key: bytes, blocks: Data, *, backend: str = "auto") -> bytes:
    """Undo `ecb_encrypt`."""
    return filled(len(flat(blocks)), lambda out: ecb_into(key, blocks, out, decrypt=True, backend=backend))


def ecb_into(key: bytes, blocks: Data, output: Data, *, decrypt: bool = False, backend: str = "auto") -> None:
    """`ecb_encrypt` or `ecb_decrypt` into a writable buffer of that length, which may be ``blocks``."""
    selftest.ensure("sm4")
    check_key(key)
    source = _sized(blocks)
    if len(source) % BLOCK_BYTES:
        raise BadParameter("ECB takes whole blocks of 16 bytes")
    target = _target(output, source, len(source))
    ECB.select(backend, batch=len(source) // BLOCK_BYTES)(key, source, target, decrypt)


def check_key(key: bytes) -> None:
    """Raise BadParameter for anything but 16 bytes."""
    check("key", key, KEY_BYTES)


def check(name: str, value: bytes, length: int) -> None:
    """Raise BadParameter for anything but ``length`` bytes."""
    if not isinstance(value, bytes | bytearray) or len(value) != length:
        raise BadParameter(f"the {name} of SM4 is {length} bytes here")


def _sized(data: Data) -> U8:
    source = flat(data)
    if len(source) > MAX_BYTES:
        raise BadParameter(f"at most {MAX_BYTES} bytes in one call: split the data")
    return source


def _target(output: Data, source: U8, length: int) -> U8:
    """The output as an array; raises BadParameter if it cannot hold the result or overlaps badly."""
    target = flat(output)
    if len(target) != length or not target.flags.writeable:
        raise BadParameter(f"the output is a writable buffer of {length} bytes")
    if np.may_share_memory(source, target) and source.ctypes.data != target.ctypes.data:
        raise BadParameter("input and output overlap without beginning at one place")
    return target


@selftest.known_answer("sm4")
def _known_answer() -> None:
    case = selftest.vectors("sm4")["block"][0]
    got = ecb_encrypt(bytes.fromhex(case["key"]), bytes.fromhex(case["plaintext"]))
    selftest.expect(got.hex() == case["ciphertext"], "sm4 block")
    for name, seal in (("gcm", gcm_seal), ("ccm", ccm_seal)):
        case = selftest.vectors("sm4")[name][0]
        key, nonce, plaintext, aad = (bytes.fromhex(case[n]) for n in ("key", "nonce", "plaintext", "aad"))
        got = seal(key, nonce, plaintext, aad)
        selftest.expect(got.hex() == case["ciphertext"] + case["tag"], f"sm4-{name}")
