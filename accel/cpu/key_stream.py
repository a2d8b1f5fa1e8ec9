"""AES-256 in counter mode as a stretched seed: public matrices, and many random words from one seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

SEED_BYTES = 32
BLOCK_BYTES = 16

_ZEROS = bytes(1 << 18)  # stays in the cache, where the fresh zeros of a long stream would not


class KeyStream:
    """The key stream of a 32-byte seed from a counter block on: each call gives the next ``length`` bytes.

    One seed serves one purpose. No repr, since the seed may be secret.
    """

    def __init__(self, seed: bytes, block: int = 0) -> None:
        counter = block.to_bytes(BLOCK_BYTES, "big")
        self._encryptor = Cipher(algorithms.AES(seed), modes.CTR(counter)).encryptor()

    def __call__(self, length: int) -> npt.NDArray[np.uint8]:
        room = np.empty(length + BLOCK_BYTES - 1, dtype=np.uint8)  # the encryptor asks for it
        view = memoryview(room)  # type: ignore[arg-type]
        for start in range(0, length, len(_ZEROS)):
            self._encryptor.update_into(_ZEROS[: length - start], view[start:])
        return room[:length]
