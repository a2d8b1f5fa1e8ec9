"""What runs SM4: the specification, OpenSSL, and the vector kernels. `accel.sm4` is the facade.

Operations write to an output array, so that large data is not copied; ``batch`` counts blocks of 16 bytes.
The vector kernels are constant-time; OpenSSL's portable SM4 reads tables at secret places.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

import numpy as np
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import (
    AEADEncryptionContext,
    Cipher,
    CipherContext,
    algorithms,
    modes,
)

from accel import selftest
from accel.byte_rows import U8
from accel.errors import BackendUnavailable
from accel.gpu import sm4 as _gpu
from accel.reference import sm4 as _reference
from accel.registry import Op

BLOCK_BYTES = 16
TAG_BYTES = 16
_WORTH_IT = 64  # blocks: below, OpenSSL is done before the kernel has its scratch
_WORTH_POWERS = 256  # the same for GCM, which has the powers of its key to make first
_IFMA = "gfni vpclmulqdq"
_AVX2 = "aes pclmul"

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=modes.Mode)
C = TypeVar("C", bound=CipherContext)


class GcmStream(Protocol):
    """GCM encryption in pieces: whole blocks except for the last piece, then the tag."""

    def seal(self, source: U8, target: U8, /) -> None: ...

    def tag(self) -> bytes: ...


_KEY = bytes(range(BLOCK_BYTES))


def _blocks(batch: int) -> U8:
    return np.arange(BLOCK_BYTES * batch).astype(np.uint8)


# (key, blocks, output, decrypt)
ECB: Op[[bytes, U8, U8, bool], None] = Op(
    "sm4.ecb", sample=lambda batch: (_KEY, _blocks(batch), _blocks(batch), False)
)
# (key, counter, data, output)
CTR: Op[[bytes, bytes, U8, U8], None] = Op(
    "sm4.ctr", sample=lambda batch: (_KEY, _KEY, _blocks(batch), _blocks(batch))
)
# (key, iv, blocks, output); the last block of the output is the MAC of CBC-MAC
CBC_ENCRYPT: Op[[bytes, bytes, U8, U8], None] = Op(
    "sm4.cbc_encrypt", sample=lambda batch: (_KEY, _KEY, _blocks(batch), _blocks(batch))
)
# (key, iv, blocks, output)
CBC_DECRYPT: Op[[bytes, bytes, U8, U8], None] = Op(
    "sm4.cbc_decrypt", sample=lambda batch: (_KEY, _KEY, _blocks(batch), _blocks(batch))
)
# (key, nonce, plaintext, aad, output of 16 bytes more)
GCM_SEAL: Op[[bytes, bytes, U8, U8, U8], None] = Op(
    "sm4.gcm_seal", sample=lambda batch: (_KEY, _KEY[:12], _blocks(batch), _blocks(1), _blocks(batch + 1))
)
# (key, nonce, sealed, aad, output of 16 bytes less): was the tag right? The output is written only then.
GCM_OPEN: Op[[bytes, bytes, U8, U8, U8], bool] = Op(
    "sm4.gcm_open", sample=lambda batch: (_KEY, _KEY[:12], _blocks(batch + 1), _blocks(1), _blocks(batch))
)
# (key, nonce, aad)
GCM_STREAM: Op[[bytes, bytes, U8], GcmStream] = Op(
    "sm4.gcm_stream", sample=lambda batch: (_KEY, _KEY[:12], _blocks(batch))
)


# -- the specification


@ECB.backend("reference")
def _reference_ecb(key: bytes, blocks: U8, output: U8, decrypt: bool) -> None:
    _put(output, _reference.ecb(key, blocks.tobytes(), decrypt))


@CTR.backend("reference")
def _reference_ctr(key: bytes, counter: bytes, data: U8, output: U8) -> None:
    _put(output, _reference.ctr(key, counter, data.tobytes()))


@CBC_ENCRYPT.backend("reference")
def _reference_cbc_encrypt(key: bytes, iv: bytes, blocks: U8, output: U8) -> None:
    _put(output, _reference.cbc_encrypt(key, iv, blocks.tobytes()))


@CBC_DECRYPT.backend("reference")
def _reference_cbc_decrypt(key: bytes, iv: bytes, blocks: U8, output: U8) -> None:
    _put(output, _reference.cbc_decrypt(key, iv, blocks.tobytes()))


@GCM_SEAL.backend("reference")
def _reference_gcm_seal(key: bytes, nonce: bytes, plaintext: U8, aad: U8, output: U8) -> None:
    _put(output, _reference.gcm_seal(key, nonce, plaintext.tobytes(), aad.tobytes()))


@GCM_OPEN.backend("reference")
def _reference_gcm_open(key: bytes, nonce: bytes, sealed: U8, aad: U8, output: U8) -> bool:
    plaintext = _reference.gcm_open(key, nonce, sealed.tobytes(), aad.tobytes())
    if plaintext is not None:
        _put(output, plaintext)
    return plaintext is not None


# -- OpenSSL


@ECB.backend("portable", needs="cryptography")
def _openssl_ecb(key: bytes, blocks: U8, output: U8, decrypt: bool) -> None:
    cipher = Cipher(algorithms.SM4(key), modes.ECB())  # noqa: S305  # formats and tests need it
    _put(output, _start(cipher.decryptor if decrypt else cipher.encryptor).update(blocks.data))


@CTR.backend("portable", needs="cryptography")
def _openssl_ctr(key: bytes, counter: bytes, data: U8, output: U8) -> None:
    _put(output, _start(_cipher(key, modes.CTR(counter)).encryptor).update(data.data))


@CBC_ENCRYPT.backend("portable", needs="cryptography")
def _openssl_cbc_encrypt(key: bytes, iv: bytes, blocks: U8, output: U8) -> None:
    _put(output, _start(_cipher(key, modes.CBC(iv)).encryptor).update(blocks.data))


@CBC_DECRYPT.backend("portable", needs="cryptography")
def _openssl_cbc_decrypt(key: bytes, iv: bytes, blocks: U8, output: U8) -> None:
    _put(output, _start(_cipher(key, modes.CBC(iv)).decryptor).update(blocks.data))


@GCM_STREAM.backend("portable", needs="cryptography")
class _OpensslGcm:
    def __init__(self, key: bytes, nonce: bytes, aad: U8) -> None:
        self._context: AEADEncryptionContext = _start(_cipher(key, modes.GCM(nonce)).encryptor)
        self._context.authenticate_additional_data(aad.data)

    def seal(self, source: U8, target: U8, /) -> None:
        _put(target, self._context.update(source.data))

    def tag(self) -> bytes:
        self._context.finalize()
        return self._context.tag


@GCM_SEAL.backend("portable", needs="cryptography")
def _openssl_gcm_seal(key: bytes, nonce: bytes, plaintext: U8, aad: U8, output: U8) -> None:
    stream = _OpensslGcm(key, nonce, aad)
    stream.seal(plaintext, output[:-TAG_BYTES])
    _put(output[-TAG_BYTES:], stream.tag())


@GCM_OPEN.backend("portable", needs="cryptography")
def _openssl_gcm_open(key: bytes, nonce: bytes, sealed: U8, aad: U8, output: U8) -> bool:
    context = _start(_cipher(key, modes.GCM(nonce, sealed[-TAG_BYTES:].tobytes())).decryptor)
    context.authenticate_additional_data(aad.data)
    try:
        plaintext = context.update(sealed[:-TAG_BYTES].data) + context.finalize()
    except InvalidTag:
        return False
    _put(output, plaintext)
    return True


def _put(output: U8, data: bytes) -> None:
    output[:] = np.frombuffer(data, np.uint8)


def _cipher(key: bytes, mode: M) -> Cipher[M]:
    return Cipher(algorithms.SM4(key), mode)


def _start(make: Callable[[], C]) -> C:
    """Begin an encryption or decryption; OpenSSL says only here whether it can."""
    try:
        return make()
    except UnsupportedAlgorithm as error:
        raise BackendUnavailable("OpenSSL on this machine was built without SM4") from error


# -- vector kernels


def _register(name: str, lanes: int, instructions: str) -> None:
    """The kernels as a backend; numba is imported when one of them is first called."""

    def here(op: Op[P, T], min_batch: int = _WORTH_IT) -> Callable[[Callable[P, T]], Callable[P, T]]:
        return op.backend(name, needs="numba", instructions=instructions, min_batch=min_batch)

    @here(ECB)
    def ecb(key: bytes, blocks: U8, output: U8, decrypt: bool) -> None:
        from accel.cpu.sm4_bulk import Bulk

        Bulk(lanes, key).ecb(blocks, output, decrypt=decrypt)

    @here(CTR)
    def ctr(key: bytes, counter: bytes, data: U8, output: U8) -> None:
        from accel.cpu.sm4_bulk import Bulk

        Bulk(lanes, key).ctr(int.from_bytes(counter, "big"), data, output)

    @here(CBC_DECRYPT)
    def cbc_decrypt(key: bytes, iv: bytes, blocks: U8, output: U8) -> None:
        from accel.cpu.sm4_bulk import Bulk

        Bulk(lanes, key).cbc_decrypt(iv, blocks, output)

    @here(GCM_SEAL, _WORTH_POWERS)
    def gcm_seal(key: bytes, nonce: bytes, plaintext: U8, aad: U8, output: U8) -> None:
        from accel.cpu import sm4_bulk

        sm4_bulk.gcm_seal(lanes, key, nonce, plaintext, aad, output)

    @here(GCM_OPEN, _WORTH_POWERS)
    def gcm_open(key: bytes, nonce: bytes, sealed: U8, aad: U8, output: U8) -> bool:
        from accel.cpu import sm4_bulk

        return sm4_bulk.gcm_open(lanes, key, nonce, sealed, aad, output)

    @here(GCM_STREAM, 1)
    def gcm_stream(key: bytes, nonce: bytes, aad: U8) -> GcmStream:
        from accel.cpu import sm4_bulk

        return sm4_bulk.Gcm(lanes, key, nonce, aad)


_register("avx2", 8, _AVX2)
_register("ifma", 16, _IFMA)


# -- the GPU: worth it where the copies there and back do not decide, from 16 MiB on

ECB.backend("gpu", needs="cupy", min_batch=1 << 20)(_gpu.ecb)
CTR.backend("gpu", needs="cupy", min_batch=1 << 20)(_gpu.ctr)
CBC_DECRYPT.backend("gpu", needs="cupy", min_batch=1 << 20)(_gpu.cbc_decrypt)


# -- known answers


def _case(name: str, *fields: str) -> tuple[bytes, ...]:
    case = selftest.vectors("sm4")[name][0]
    return tuple(bytes.fromhex(case[field]) for field in fields)


def _octets(data: bytes) -> U8:
    return np.frombuffer(data, np.uint8)


@ECB.known_answer
def _known_block(run: Callable[[bytes, U8, U8, bool], None]) -> None:
    key, plaintext, ciphertext = _case("block", "key", "plaintext", "ciphertext")
    output = np.empty(80 * BLOCK_BYTES, np.uint8)
    run(key, _octets(80 * plaintext), output, False)
    selftest.expect(output.tobytes() == 80 * ciphertext, "sm4 block")
    run(key, output, output, True)
    selftest.expect(output.tobytes() == 80 * plaintext, "sm4 block, decrypted")


@CTR.known_answer
def _known_stream(run: Callable[[bytes, bytes, U8, U8], None]) -> None:
    # GCM's key stream is that of CTR; the first lines of the ciphertext of RFC 8998.
    key, nonce, plaintext, ciphertext = _case("gcm", "key", "nonce", "plaintext", "ciphertext")
    output = np.empty(len(plaintext), np.uint8)
    run(key, nonce + b"\0\0\0\2", _octets(plaintext), output)
    selftest.expect(output.tobytes() == ciphertext, "sm4.ctr")


@CBC_DECRYPT.known_answer
def _known_chain(run: Callable[[bytes, bytes, U8, U8], None]) -> None:
    key, plaintext, ciphertext = _case("block", "key", "plaintext", "ciphertext")
    output = np.empty(2 * BLOCK_BYTES, np.uint8)
    run(key, bytes(BLOCK_BYTES), _octets(2 * ciphertext), output)
    second = (_octets(plaintext) ^ _octets(ciphertext)).tobytes()
    selftest.expect(output.tobytes() == plaintext + second, "sm4.cbc_decrypt")


@GCM_SEAL.known_answer
def _known_seal(run: Callable[[bytes, bytes, U8, U8, U8], None]) -> None:
    key, nonce, plaintext, aad, expected, tag = _gcm_case()
    output = np.empty(len(plaintext) + TAG_BYTES, np.uint8)
    run(key, nonce, _octets(plaintext), _octets(aad), output)
    selftest.expect(output.tobytes() == expected + tag, "sm4.gcm_seal")


@GCM_OPEN.known_answer
def _known_open(run: Callable[[bytes, bytes, U8, U8, U8], bool]) -> None:
    key, nonce, plaintext, aad, ciphertext, tag = _gcm_case()
    output = np.empty(len(plaintext), np.uint8)
    right = run(key, nonce, _octets(ciphertext + tag), _octets(aad), output)
    selftest.expect(right and output.tobytes() == plaintext, "sm4.gcm_open")
    wrong = run(key, nonce, _octets(ciphertext + bytes(TAG_BYTES)), _octets(aad), output)
    selftest.expect(not wrong, "sm4.gcm_open of a wrong tag")


@GCM_STREAM.known_answer
def _known_pieces(start: Callable[[bytes, bytes, U8], GcmStream]) -> None:
    key, nonce, plaintext, aad, expected, tag = _gcm_case()
    output = np.empty(len(plaintext), np.uint8)
    stream = start(key, nonce, _octets(aad))
    for piece in (slice(0, BLOCK_BYTES), slice(BLOCK_BYTES, None)):
        stream.seal(_octets(plaintext)[piece], output[piece])
    selftest.expect(output.tobytes() == expected and stream.tag() == tag, "sm4.gcm_stream")


def _gcm_case() -> tuple[bytes, ...]:
    return _case("gcm", "key", "nonce", "plaintext", "aad", "ciphertext", "tag")
