"""SM4 over data that comes in pieces of any length: `update` as often as there is data, then `finalize`,
once.

    sealing = GcmEncryptor(key, nonce, aad=b"bound to it")
    ciphertext = sealing.update(first) + sealing.update(second)
    last, tag = sealing.finalize()

After `finalize` an object refuses to go on. What is said in `accel.sm4` about nonces, counters and initial
vectors holds here too.
"""

from __future__ import annotations

import numpy as np

from accel import selftest, sm4
from accel.byte_rows import U8, Buffer, flat
from accel.errors import BadParameter, DecryptionFailed
from accel.sm4_backends import BLOCK_BYTES, CBC_DECRYPT, CBC_ENCRYPT, CTR, GCM_STREAM

Data = Buffer | U8

_MAX_GCM_BYTES = (1 << 36) - 32  # SP 800-38D section 5.2.1.1: beyond it the counter would meet the nonce


class _Pieces:
    """Cuts a stream into whole blocks; what is left waits for more."""

    def __init__(self) -> None:
        self._left = b""
        self._open = True

    def _whole(self, data: Data, keep: int = 0) -> U8:
        """All whole blocks there are, of which the last ``keep`` bytes at least stay back."""
        self._check_open()
        joined = np.concatenate([np.frombuffer(self._left, np.uint8), flat(data)])
        size = max(0, len(joined) - keep) // BLOCK_BYTES * BLOCK_BYTES
        self._left = joined[size:].tobytes()
        return joined[:size]

    def _close(self) -> bytes:
        """What is left over, at the end."""
        self._check_open()
        self._open = False
        left, self._left = self._left, b""
        return left

    def _check_open(self) -> None:
        if not self._open:
            raise BadParameter("this stream is finished")


class CtrStream(_Pieces):
    """`accel.sm4.ctr`, in either direction. Every `update` gives as many bytes as it takes."""

    def __init__(self, key: bytes, counter: bytes, *, backend: str = "auto") -> None:
        super().__init__()
        selftest.ensure("sm4")
        sm4.check_key(key)
        sm4.check("counter", counter, BLOCK_BYTES)
        self._key, self._backend = bytes(key), backend
        self._counter = int.from_bytes(counter, "big")
        self._used = 0  # bytes of the block at the counter

    def update(self, data: Data) -> bytes:
        self._check_open()
        source = flat(data)
        # A block that was begun is computed again: its first bytes are thrown away.
        padded = np.zeros(self._used + len(source), np.uint8)
        padded[self._used :] = source
        run = CTR.select(self._backend, batch=len(padded) // BLOCK_BYTES)
        run(self._key, self._counter.to_bytes(BLOCK_BYTES, "big"), padded, padded)
        blocks, used = divmod(len(padded), BLOCK_BYTES)
        self._counter = (self._counter + blocks) % (1 << 8 * BLOCK_BYTES)
        output = padded[self._used :].tobytes()
        self._used = used
        return output

    def finalize(self) -> bytes:
        """Nothing is left over: empty."""
        return self._close()


class CbcEncryptor(_Pieces):
    """`accel.sm4.cbc_encrypt`: the last block, with its padding, comes from `finalize`."""

    def __init__(self, key: bytes, iv: bytes, *, backend: str = "auto") -> None:
        super().__init__()
        selftest.ensure("sm4")
        sm4.check_key(key)
        sm4.check("iv", iv, BLOCK_BYTES)
        self._key, self._before, self._backend = bytes(key), bytes(iv), backend

    def update(self, data: Data) -> bytes:
        return self._chain(self._whole(data))

    def finalize(self) -> bytes:
        left = self._close()
        padding = BLOCK_BYTES - len(left)
        return self._chain(np.frombuffer(bytearray(left + bytes([padding]) * padding), np.uint8))

    def _chain(self, blocks: U8) -> bytes:
        if not len(blocks):
            return b""
        CBC_ENCRYPT.select(self._backend, batch=len(blocks))(self._key, self._before, blocks, blocks)
        self._before = blocks[-BLOCK_BYTES:].tobytes()
        return blocks.tobytes()


class CbcDecryptor(_Pieces):
    """`accel.sm4.cbc_decrypt`: the last block comes from `finalize`, which raises DecryptionFailed."""

    def __init__(self, key: bytes, iv: bytes, *, backend: str = "auto") -> None:
        super().__init__()
        selftest.ensure("sm4")
        sm4.check_key(key)
        sm4.check("iv", iv, BLOCK_BYTES)
        self._key, self._before, self._backend = bytes(key), bytes(iv), backend

    def update(self, data: Data) -> bytes:
        # One byte stays back at least, so that the last block, with the padding, is still here at the end.
        return self._chain(self._whole(data, keep=1)).tobytes()

    def finalize(self) -> bytes:
        left = self._close()
        if len(left) != BLOCK_BYTES:
            raise DecryptionFailed("the ciphertext does not decrypt")
        block = self._chain(np.frombuffer(left, np.uint8))
        return block[: BLOCK_BYTES - sm4.padding_bytes(block)].tobytes()

    def _chain(self, blocks: U8) -> U8:
        output = np.empty(len(blocks), np.uint8)
        if len(blocks):
            run = CBC_DECRYPT.select(self._backend, batch=len(blocks) // BLOCK_BYTES)
            run(self._key, self._before, blocks, output)
            self._before = blocks[-BLOCK_BYTES:].tobytes()
        return output


class GcmEncryptor(_Pieces):
    """`accel.sm4.gcm_seal`: `finalize` gives the last bytes and the tag."""

    def __init__(self, key: bytes, nonce: bytes, aad: Data = b"", *, backend: str = "auto") -> None:
        super().__init__()
        selftest.ensure("sm4")
        sm4.check_key(key)
        sm4.check("nonce", nonce, sm4.GCM_NONCE_BYTES)
        self._gcm = GCM_STREAM.select(backend, batch=1)(key, nonce, flat(aad))
        self._bytes = 0

    def update(self, data: Data) -> bytes:
        return self._seal(self._whole(data))

    def finalize(self) -> tuple[bytes, bytes]:
        last = self._seal(np.frombuffer(bytearray(self._close()), np.uint8))
        return last, self._gcm.tag()

    def _seal(self, piece: U8) -> bytes:
        self._bytes += len(piece)
        if self._bytes > _MAX_GCM_BYTES:
            raise BadParameter("one nonce serves at most 2^36 - 32 bytes")
        if len(piece):
            self._gcm.seal(piece, piece)
        return piece.tobytes()


class GcmDecryptor(_Pieces):
    """`accel.sm4.gcm_open`: nothing of the plaintext leaves before the tag is checked, so all of it is kept.

    `finalize` takes the tag and gives the whole plaintext, or raises DecryptionFailed. Who cannot keep a
    message seals it in parts, each with its own nonce and its number in the additional data.
    """

    def __init__(self, key: bytes, nonce: bytes, aad: Data = b"", *, backend: str = "auto") -> None:
        super().__init__()
        sm4.check_key(key)
        sm4.check("nonce", nonce, sm4.GCM_NONCE_BYTES)
        self._key, self._nonce, self._backend = bytes(key), bytes(nonce), backend
        self._aad = flat(aad).tobytes()
        self._kept = bytearray()

    def update(self, data: Data) -> None:
        self._check_open()
        self._kept += flat(data).data

    def finalize(self, tag: bytes) -> bytes:
        self._close()
        if len(tag) != sm4.GCM_TAG_BYTES:
            raise DecryptionFailed("the ciphertext does not authenticate")
        sealed, self._kept = self._kept + tag, bytearray()
        return sm4.gcm_open(self._key, self._nonce, sealed, self._aad, backend=self._backend)
