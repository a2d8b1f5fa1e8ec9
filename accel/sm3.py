"""The SM3 hash function (GB/T 32905-2016), HMAC and the key derivation of GB/T 32918.4-2016.

    sm3.digest(b"abc")                        # 32 bytes
    sm3.digest_many([b"abc", b"defg"])        # uint8, shape (2, 32)

One message at a time runs on OpenSSL through `cryptography`, whose build may lack SM3: then
BackendUnavailable, never another hash. Batches run one message per vector lane. SM3 has neither tables nor
branches, so time depends on lengths alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from accel import selftest
from accel.byte_rows import U8, Buffer, ByteRows, ByteStrings, flat, matrix, octets
from accel.errors import BackendUnavailable, BadParameter
from accel.gpu import sm3 as _gpu
from accel.reference import sm3 as _reference
from accel.registry import Op

DIGEST_BYTES = 32
BLOCK_BYTES = 64
_JOINED_BYTES = 48  # whole words of 8 bytes that padding and length leave of a block


class Hasher:
    """A running SM3 digest: `update` any number of times, then read `digest`."""

    def __init__(self, data: Buffer = b"") -> None:
        try:
            self._context = hashes.Hash(hashes.SM3())
        except UnsupportedAlgorithm as error:
            raise BackendUnavailable("OpenSSL on this machine was built without SM3") from error
        self._context.update(data)

    def update(self, data: Buffer) -> None:
        self._context.update(data)

    def digest(self) -> bytes:
        """The digest of everything so far; more may follow."""
        return self._context.copy().finalize()


def new(data: Buffer = b"") -> Hasher:
    """A `Hasher`, for data that comes in pieces."""
    selftest.ensure("sm3")
    return Hasher(data)


def digest(data: Buffer, *, backend: str = "auto") -> bytes:
    """The 32-byte SM3 digest."""
    selftest.ensure("sm3")
    return DIGEST.select(backend, batch=1)(data if isinstance(data, bytes) else flat(data).data)


def hmac(key: Buffer, data: Buffer) -> bytes:
    """HMAC-SM3 (RFC 2104 with a block of 64 bytes), 32 bytes. Compare it with `hmac.compare_digest`."""
    selftest.ensure("sm3")
    return _openssl_hmac(octets(key), data if isinstance(data, bytes) else flat(data).data)


def kdf(secret: bytes, length: int) -> bytes:
    """``length`` bytes SM3(secret ‖ 1) ‖ SM3(secret ‖ 2) ‖ … (GB/T 32918.4-2016, section 5.4.3)."""
    selftest.ensure("sm3")
    _check_derived(length)
    prefix = hashes.Hash(hashes.SM3())
    prefix.update(secret)
    blocks = []
    for counter in range(1, -(-length // DIGEST_BYTES) + 1):
        context = prefix.copy()
        context.update(counter.to_bytes(4, "big"))
        blocks.append(context.finalize())
    return b"".join(blocks)[:length]


def digest_many(messages: ByteStrings, *, prefix: bytes | U8 = b"", backend: str = "auto") -> U8:
    """SM3 of every message, uint8 of shape (n, 32), in order.

    ``messages`` is a sequence of byte strings of any lengths, or a uint8 matrix whose rows are messages.
    ``prefix`` goes before each of them: one for all, or row i of a matrix before message i. Messages of about
    one length make the best use of the lanes. Raises BadParameter (``index``) for what is no byte string.
    """
    return digest_rows(ByteRows.of(messages, prefix=prefix), backend=backend)


def digest_rows(rows: ByteRows, *, backend: str = "auto") -> U8:
    """`digest_many` of strings that are collected already."""
    selftest.ensure("sm3")
    return DIGEST_MANY.select(backend, batch=len(rows))(rows)


def digest_joined(parts: Sequence[U8], *, backend: str = "auto") -> U8:
    """The digests (n, 32) of short messages: row i of each of the parts (n, width), one after the other.

    There are as many messages as the last part has rows; a part of one row goes into each. Widths are
    multiples of 8, 48 at most in all. Constant-time as `digest_many` is, and faster: nothing is copied
    together. Raises BadParameter for other parts.
    """
    rows = [matrix(part, "parts") for part in parts]
    count = len(rows[-1]) if rows else 0
    width = sum(part.shape[1] for part in rows)
    if not rows or any(len(part) not in (1, count) for part in rows):
        raise BadParameter("parts have one row each, or equally many")
    if width > _JOINED_BYTES or any(part.shape[1] % 8 for part in rows):
        raise BadParameter(f"parts are multiples of 8 bytes wide, {_JOINED_BYTES} at most together")
    return DIGEST_JOINED.select(backend, batch=count)([np.ascontiguousarray(part) for part in rows], count)


def hmac_many(keys: Buffer | ByteStrings, messages: ByteStrings, *, backend: str = "auto") -> U8:
    """HMAC-SM3 of every message, uint8 of shape (n, 32): under one key, or message i under key i.

    Keys may have any length; those above 64 bytes are hashed first (RFC 2104).
    """
    selftest.ensure("sm3")
    rows = ByteRows.of(messages)
    one = isinstance(keys, Buffer)
    blocks = _key_blocks([octets(keys)] if isinstance(keys, Buffer) else keys)
    if len(blocks) != len(rows) and not one:
        raise BadParameter(f"{len(blocks)} keys for {len(rows)} messages")
    return HMAC_MANY.select(backend, batch=len(rows))(blocks, rows)


def kdf_many(secrets: ByteStrings, length: int, *, backend: str = "auto") -> U8:
    """`kdf` of every secret: uint8 of shape (n, ``length``)."""
    _check_derived(length)
    count = -(-length // DIGEST_BYTES)
    blocks = kdf_blocks(secrets, np.full(len(secrets), count, np.int64), backend=backend)
    return blocks.reshape(len(secrets), count * DIGEST_BYTES)[:, :length]


def kdf_blocks(secrets: ByteStrings, counts: npt.NDArray[np.int64], *, backend: str = "auto") -> U8:
    """The first ``counts[i]`` blocks of `kdf` of secret i one after the other: uint8 (sum, 32)."""
    selftest.ensure("sm3")
    total = int(counts.sum())
    counters = np.arange(1, total + 1) - np.repeat(np.cumsum(counts) - counts, counts)
    tails = counters.astype(">u4").view(np.uint8).reshape(total, 4)
    owners = np.repeat(np.arange(len(secrets)), counts)
    if isinstance(secrets, np.ndarray):
        return digest_many(tails, prefix=secrets[owners], backend=backend)
    rows = ByteRows.of(secrets).take(owners).wrapped(np.empty((total, 0), np.uint8), tails)
    return digest_rows(rows, backend=backend)


def _check_derived(length: int) -> None:
    if not 0 <= length < DIGEST_BYTES * (2**32 - 1):
        raise BadParameter("the length of a derived key is out of range")


def _key_blocks(keys: ByteStrings) -> U8:
    """Keys as rows of 64 bytes, zeros behind the shorter ones (RFC 2104 section 2)."""
    if isinstance(keys, np.ndarray) and keys.ndim == 2 and keys.shape[1] > BLOCK_BYTES:
        keys = digest_many(keys)
    if isinstance(keys, np.ndarray):
        rows = ByteRows.of(keys)
        blocks = np.zeros((len(rows), BLOCK_BYTES), np.uint8)
        blocks[:, : keys.shape[1]] = rows.data.reshape(keys.shape)
        return blocks
    short = [digest(key) if len(key) > BLOCK_BYTES else key for key in map(octets, keys)]
    return np.frombuffer(b"".join(key.ljust(BLOCK_BYTES, b"\0") for key in short), np.uint8).reshape(
        -1, BLOCK_BYTES
    )


# -- backends

DIGEST: Op[[Buffer], bytes] = Op("sm3.digest", sample=lambda batch: (bytes(batch),))
DIGEST_MANY: Op[[ByteRows], U8] = Op("sm3.digest_many", sample=lambda batch: (_sample_rows(batch),))
DIGEST_JOINED: Op[[list[U8], int], U8] = Op(
    "sm3.digest_joined",
    sample=lambda batch: ([np.zeros((1, 16), np.uint8), np.zeros((batch, 32), np.uint8)], batch),
)
HMAC_MANY: Op[[U8, ByteRows], U8] = Op(
    "sm3.hmac_many", sample=lambda batch: (np.zeros((1, BLOCK_BYTES), np.uint8), _sample_rows(batch))
)


def _sample_rows(batch: int) -> ByteRows:
    return ByteRows.of(np.arange(BLOCK_BYTES * batch).astype(np.uint8).reshape(batch, BLOCK_BYTES))


def _openssl_hmac(key: bytes, data: Buffer) -> bytes:
    try:
        context = HMAC(key, hashes.SM3())
    except UnsupportedAlgorithm as error:
        raise BackendUnavailable("OpenSSL on this machine was built without SM3") from error
    context.update(data)
    return context.finalize()


@DIGEST.backend("reference")
def _reference_digest(data: Buffer) -> bytes:
    return _reference.digest(bytes(data))


@DIGEST.backend("portable", needs="cryptography")
def _openssl(data: Buffer) -> bytes:
    return Hasher(data).digest()


def _stack(digests: list[bytes]) -> U8:
    return np.frombuffer(bytearray(b"".join(digests)), np.uint8).reshape(len(digests), DIGEST_BYTES)


@DIGEST_MANY.backend("reference")
def _reference_many(messages: ByteRows) -> U8:
    return _stack([_reference.digest(message) for message in messages])


@DIGEST_MANY.backend("portable", needs="cryptography")
def _openssl_many(messages: ByteRows) -> U8:
    return _stack([_openssl(message) for message in messages])


@DIGEST_MANY.backend("avx2", needs="numba", min_batch=4)
def _avx2_many(messages: ByteRows) -> U8:
    from accel.cpu import sm3 as kernels

    return kernels.digest_many(8, messages)


@DIGEST_MANY.backend("ifma", needs="numba", min_batch=4)
def _avx512_many(messages: ByteRows) -> U8:
    from accel.cpu import sm3 as kernels

    return kernels.digest_many(16, messages)


def _joined(parts: list[U8], count: int) -> ByteRows:
    return ByteRows.of(
        np.concatenate([np.broadcast_to(part, (count, part.shape[1])) for part in parts], axis=1)
    )


@DIGEST_JOINED.backend("reference")
def _reference_joined(parts: list[U8], count: int) -> U8:
    return _reference_many(_joined(parts, count))


@DIGEST_JOINED.backend("portable", needs="cryptography")
def _openssl_joined(parts: list[U8], count: int) -> U8:
    return _openssl_many(_joined(parts, count))


@DIGEST_JOINED.backend("avx2", needs="numba", min_batch=4)
def _avx2_joined(parts: list[U8], count: int) -> U8:
    from accel.cpu import sm3 as kernels

    return kernels.digest_joined(8, parts, count)


@DIGEST_JOINED.backend("ifma", needs="numba", min_batch=4)
def _avx512_joined(parts: list[U8], count: int) -> U8:
    from accel.cpu import sm3 as kernels

    return kernels.digest_joined(16, parts, count)


def _keyed(keys: U8, messages: ByteRows) -> list[tuple[bytes, bytes]]:
    """Each message with its key."""
    owners = [row.tobytes() for row in keys] * (len(messages) if len(keys) == 1 else 1)
    return list(zip(owners, messages, strict=False))


@HMAC_MANY.backend("reference")
def _reference_hmac_many(keys: U8, messages: ByteRows) -> U8:
    return _stack([_reference.hmac(key, message) for key, message in _keyed(keys, messages)])


@HMAC_MANY.backend("portable", needs="cryptography")
def _openssl_hmac_many(keys: U8, messages: ByteRows) -> U8:
    return _stack([_openssl_hmac(key, message) for key, message in _keyed(keys, messages)])


@HMAC_MANY.backend("avx2", needs="numba", min_batch=4)
def _avx2_hmac_many(keys: U8, messages: ByteRows) -> U8:
    from accel.cpu import sm3 as kernels

    return kernels.hmac_many(8, keys, messages)


@HMAC_MANY.backend("ifma", needs="numba", min_batch=4)
def _avx512_hmac_many(keys: U8, messages: ByteRows) -> U8:
    from accel.cpu import sm3 as kernels

    return kernels.hmac_many(16, keys, messages)


# Below, the copies to the GPU and back take longer than the processor's lanes.
DIGEST_MANY.backend("gpu", needs="cupy", min_batch=65536)(_gpu.digest_many)
HMAC_MANY.backend("gpu", needs="cupy", min_batch=65536)(_gpu.hmac_many)


@DIGEST_MANY.known_answer
def _known_digests(run: Callable[[ByteRows], U8]) -> None:
    cases = selftest.vectors("sm3")["digest"] * 9
    rows = ByteRows.of([bytes.fromhex(case["message"]) for case in cases])
    got = run(rows)
    selftest.expect(got.tobytes().hex() == "".join(case["digest"] for case in cases), "sm3.digest_many")


@DIGEST_JOINED.known_answer
def _known_joined(run: Callable[[list[U8], int], U8]) -> None:
    octets = np.arange(21 * 24).astype(np.uint8).reshape(21, 24)
    parts = [octets[:1, :16].copy(), octets[:, :8].copy(), octets]
    wanted = _reference_many(_joined(parts, 21))
    selftest.expect(np.array_equal(run(parts, 21), wanted), "sm3.digest_joined")


@HMAC_MANY.known_answer
def _known_authenticators(run: Callable[[U8, ByteRows], U8]) -> None:
    cases = selftest.vectors("sm3")["hmac"]
    for case in cases:
        key = _key_blocks([bytes.fromhex(case["key"])])
        got = run(key, ByteRows.of([bytes.fromhex(case["message"])] * 2))
        selftest.expect(got.tobytes().hex() == 2 * case["hmac"], "sm3.hmac_many")


@selftest.known_answer("sm3")
def _known_answer() -> None:
    for case in selftest.vectors("sm3")["digest"]:
        for backend in DIGEST.available():
            got = DIGEST.select(backend, batch=1)(bytes.fromhex(case["message"]))
            selftest.expect(got.hex() == case["digest"], f"sm3.digest on {backend}")
