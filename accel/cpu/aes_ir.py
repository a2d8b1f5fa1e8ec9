"""AES-128 by the processor's instructions: one block a vector (AES-NI) or four (VAES)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from accel.cpu.ir import I32, I64, call
from accel.cpu.lane_memory import aligned
from accel.reference.aes import round_keys

U64 = npt.NDArray[np.uint64]

BLOCK = 16
ROUNDS = 10
PARTS = {"avx2": 1, "ifma": 4}  # blocks a vector
INSTRUCTIONS = {"avx2": "aes", "ifma": "vaes"}


class Emitter:
    """Words on vectors of ``parts`` blocks. Addresses are 64-bit integers; memory needs no alignment."""

    def __init__(self, builder: Any, parts: int) -> None:
        self.builder, self.parts = builder, parts
        self.vector = ir.VectorType(I64, 2 * parts)
        self.bytes = BLOCK * parts

    def load(self, address: Any, vectors: int = 0) -> Any:
        value = self.builder.load(self._at(address, vectors))
        value.align = 8
        return value

    def store(self, address: Any, value: Any, vectors: int = 0) -> None:
        self.builder.store(value, self._at(address, vectors)).align = 8

    def encrypt(self, keys: Any, states: list[Any]) -> list[Any]:
        """All states under the keys at an address; chains side by side hide the latency of a round."""
        suffix = ".512" if self.parts == 4 else ""
        key = self.load(keys)
        states = [self.builder.xor(state, key) for state in states]
        for i in range(1, ROUNDS + 1):
            name = "llvm.x86.aesni.aesenc" + ("last" if i == ROUNDS else "") + suffix
            key = self.load(keys, i)
            states = [call(self.builder, name, self.vector, state, key) for state in states]
        return states

    def interleave(self, left: Any, right: Any) -> tuple[Any, Any]:
        """Blocks l0 r0 l1 r1 … of two vectors."""
        if self.parts == 1:
            return left, right
        pairs = [part + side * self.parts for part in range(self.parts) for side in (0, 1)]
        words = [2 * block + word for block in pairs for word in (0, 1)]
        low, high = words[: 2 * self.parts], words[2 * self.parts :]
        return self.shuffle(left, right, low), self.shuffle(left, right, high)

    def separate(self, first: Any, last: Any) -> tuple[Any, Any]:
        """The even and the odd blocks of two vectors: `interleave` backwards."""
        if self.parts == 1:
            return first, last
        blocks = [[2 * part + side for part in range(self.parts)] for side in (0, 1)]
        even, odd = ([2 * block + word for block in side for word in (0, 1)] for side in blocks)
        return self.shuffle(first, last, even), self.shuffle(first, last, odd)

    def shuffle(self, x: Any, y: Any, words: list[int]) -> Any:
        return self.builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(words)), words))

    def _at(self, address: Any, vectors: int) -> Any:
        address = self.builder.add(address, I64(self.bytes * vectors))
        return self.builder.inttoptr(address, self.vector.as_pointer())


def keys_for(key: bytes, parts: int) -> U64:
    """The round keys in order, each repeated in all parts of a vector."""
    schedule = np.frombuffer(b"".join(round_keys(key)), np.uint64)
    keys = aligned(2 * parts * (ROUNDS + 1))
    keys.reshape(ROUNDS + 1, parts, 2)[...] = schedule.reshape(ROUNDS + 1, 1, 2)
    return keys
