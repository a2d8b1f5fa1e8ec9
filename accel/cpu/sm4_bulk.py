"""SM4 under one key over whole buffers, on the kernels of `accel.cpu.sm4`: ranges for threads, and the rest
of a message that fills no group. Time depends on lengths alone. Arrays are uint8, one-dimensional and
contiguous.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from accel.cpu import sm4 as kernels
from accel.cpu.ghash import Ghash
from accel.cpu.threads import each_range
from accel.reference.sm4 import CK, FK

U8 = npt.NDArray[np.uint8]

BLOCK = 16
TAG = 16
_GROUPS_A_RANGE = 64
_CHUNK = 1 << 21  # authenticated while it is still in the cache

_FK = np.array(FK, np.uint32)
_CK = np.array(CK, np.uint32)
_EXPAND, _ECB, _CTR, _CHAINED = (
    {lanes: make(lanes) for lanes in (8, 16)}
    for make in (kernels.expand_kernel, kernels.ecb_kernel, kernels.ctr_kernel, kernels.chained_kernel)
)


class Bulk:
    """The round keys of one secret key; ``lanes`` is 16 (AVX-512, GFNI) or 8 (AVX2, AES-NI)."""

    def __init__(self, lanes: int, key: bytes) -> None:
        self._lanes = lanes
        self._group = 64 * lanes
        words = np.frombuffer(key, ">u4").astype(np.uint32) ^ _FK
        self._keys = np.empty(32, np.uint32)
        _EXPAND[lanes](words.ctypes.data, _CK.ctypes.data, self._keys.ctypes.data)

    def ecb(self, source: U8, target: U8, *, decrypt: bool = False) -> None:
        """Whole blocks; ``target`` may be ``source``."""
        keys = self._keys[::-1].copy() if decrypt else self._keys
        kernel = _ECB[self._lanes]

        def work(start: int, stop: int) -> None:
            kernel(source.ctypes.data, target.ctypes.data, keys.ctypes.data, start, stop)

        done = self._each(len(source), work)
        if done < len(source):
            rest = self._scratch(source[done:])
            kernel(rest.ctypes.data, rest.ctypes.data, keys.ctypes.data, 0, 1)
            target[done:] = rest[: len(source) - done]

    def ctr(self, counter: int, source: U8, target: U8) -> None:
        """Any length; ``target`` may be ``source``; the counter has 128 bits and wraps."""
        kernel, keys = _CTR[self._lanes], self._keys
        high, low = _halves(counter)

        def work(start: int, stop: int) -> None:
            kernel(source.ctypes.data, target.ctypes.data, keys.ctypes.data, high, low, start, stop)

        done = self._each(len(source), work)
        if done < len(source):
            rest = self._scratch(source[done:])
            high, low = _halves(counter + done // BLOCK)
            kernel(rest.ctypes.data, rest.ctypes.data, keys.ctypes.data, high, low, 0, 1)
            target[done:] = rest[: len(source) - done]

    def cbc_decrypt(self, iv: bytes, source: U8, target: U8) -> None:
        """Whole blocks; ``target`` must not overlap ``source``, which is read again for the block after."""
        if not len(source):
            return
        keys = self._keys[::-1].copy()
        kernel = _CHAINED[self._lanes]

        def work(start: int, stop: int) -> None:
            at, to = source.ctypes.data + BLOCK, target.ctypes.data + BLOCK
            kernel(at, to, keys.ctypes.data, start, stop)

        done = BLOCK + self._each(len(source) - BLOCK, work)
        # What is left, with the block before it in front, and the first block behind the initial vector.
        for at, stop, before in ((0, BLOCK, _octets(iv)), (done, len(source), source[done - BLOCK : done])):
            rest = np.zeros(BLOCK + self._group, np.uint8)
            rest[:BLOCK] = before
            rest[BLOCK : BLOCK + stop - at] = source[at:stop]
            output = np.empty(self._group, np.uint8)
            kernel(rest.ctypes.data + BLOCK, output.ctypes.data, keys.ctypes.data, 0, 1)
            target[at:stop] = output[: stop - at]

    def _each(self, size: int, work: Callable[[int, int], None]) -> int:
        """Run the whole groups of a message; gives the number of bytes that they cover."""
        groups = size // self._group
        each_range(groups, _GROUPS_A_RANGE, work)
        return groups * self._group

    def _scratch(self, data: U8) -> U8:
        rest = np.zeros(self._group, np.uint8)
        rest[: len(data)] = data
        return rest


class Gcm:
    """GCM under one key and nonce (12 bytes) in pieces: one direction, `tag` at the end."""

    def __init__(self, lanes: int, key: bytes, nonce: bytes, aad: U8) -> None:
        self._bulk = Bulk(lanes, key)
        self._first = int.from_bytes(nonce + b"\0\0\0\1", "big")
        secrets = np.zeros(2 * BLOCK, np.uint8)
        secrets[BLOCK:] = _octets(self._first.to_bytes(BLOCK, "big"))
        self._bulk.ecb(secrets, secrets)
        self._mask = secrets[BLOCK:]
        self._hash = Ghash(secrets[:BLOCK].tobytes(), wide=lanes == 16)
        self._hash.update(aad)
        self._aad_bytes, self._bytes = len(aad), 0

    def seal(self, source: U8, target: U8) -> None:
        """Encrypt and authenticate the next piece; only the last one may end within a block."""
        for at in range(0, len(source), _CHUNK):
            piece = slice(at, at + _CHUNK)
            self._crypt(source[piece], target[piece])
            self._hash.update(target[piece])

    def absorb(self, ciphertext: U8) -> None:
        """Authenticate ciphertext that `release` will decrypt."""
        self._hash.update(ciphertext)
        self._bytes += len(ciphertext)

    def release(self, ciphertext: U8, target: U8) -> None:
        """Decrypt everything that was absorbed, after its tag was found right."""
        self._bulk.ctr(self._first + 1, ciphertext, target)

    def tag(self) -> bytes:
        bits = np.array([8 * self._aad_bytes, 8 * self._bytes], ">u8")
        self._hash.update(bits.view(np.uint8))
        return (_octets(self._hash.digest()) ^ self._mask).tobytes()

    def _crypt(self, source: U8, target: U8) -> None:
        self._bulk.ctr(self._first + 1 + self._bytes // BLOCK, source, target)
        self._bytes += len(source)


def gcm_seal(lanes: int, key: bytes, nonce: bytes, plaintext: U8, aad: U8, target: U8) -> None:
    """``target`` is 16 bytes longer than ``plaintext``, where it may begin too."""
    gcm = Gcm(lanes, key, nonce, aad)
    gcm.seal(plaintext, target[:-TAG])
    target[-TAG:] = _octets(gcm.tag())


def gcm_open(lanes: int, key: bytes, nonce: bytes, sealed: U8, aad: U8, target: U8) -> bool:
    """Whether the tag was right; ``target`` is written only then."""
    gcm = Gcm(lanes, key, nonce, aad)
    gcm.absorb(sealed[:-TAG])
    if not hmac.compare_digest(gcm.tag(), sealed[-TAG:].tobytes()):
        return False
    gcm.release(sealed[:-TAG], target)
    return True


def _octets(data: bytes) -> U8:
    return np.frombuffer(data, np.uint8)


def _halves(counter: int) -> tuple[np.uint64, np.uint64]:
    return np.uint64(counter >> 64 & 2**64 - 1), np.uint64(counter & 2**64 - 1)
