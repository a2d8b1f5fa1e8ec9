"""Paillier on the GPU: encryption fused with its fixed-base power, CRT decryption that stays on the device.

Signatures and results are those of `accel.paillier_backends`: ciphertexts in Montgomery form modulo n^2,
exponents as rows of big-endian bytes, the same ciphertext for the same exponent.

The table of h^n stays on the device; it is public. It is read in full for every digit of the secret
exponent: whoever shares the GPU, and its caches, sees addresses that depend on nothing. Keys, residues and
whatever is computed from them are cleared from device memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.gpu import memory
from accel.gpu.field import Field, Keep, Shape, best_window, digits_of
from accel.gpu.launch import launch
from accel.gpu.modular import FIXED_BASE_WINDOW
from accel.gpu.pairs import PairField, Splitter, upload_pair_table
from accel.gpu.wide import Garner, Reducer
from accel.limbs import LimbArray
from accel.modulus import Modulus
from accel.reference import paillier as reference

ByteRows = npt.NDArray[np.uint8]

_CACHED_TABLES = 4


class Encryptor:
    """What every piece of a batch under one key needs on the device. Elements are pairs (see `pairs`)."""

    def __init__(self, n: int, exponent_bytes: int, keep: Keep) -> None:
        self.square = Modulus(n * n)
        self.whole = Shape.of(self.square.bits)
        self.field = PairField(Modulus(n), keep)
        self.splitter = Splitter(self.field, self.whole, keep)
        self.exponent_bits = 8 * exponent_bytes
        self.table = _table(n, exponent_bytes)
        # (1 + m n) R = R_0 + (R_1 + m R_0) n for R = R_0 + R_1 n.
        high, low = divmod(self.square.one, n)
        numbers = self.field.numbers
        self._low, self._high = numbers.number(low, keep), numbers.number(high, keep)
        self._low_radix = numbers.number(low * numbers.radix % n, keep)

    def digits(self, exponents: ByteRows, keep: Keep) -> Any:
        """Digits of the exponents on the device."""
        digits = digits_of(exponents, self.exponent_bits, FIXED_BASE_WINDOW)
        there = keep(memory.upload(digits, secret=True))
        digits.fill(0)
        return there

    def encode(self, residues: Any, count: int, keep: Keep) -> Any:
        """(1 + m n) R mod n^2 for tiles of residues m."""
        numbers = self.field.numbers
        high = numbers.multiply(residues, self._low_radix, count, keep, shared=True)
        kernel = numbers.shape.kernel("add_number", "wide.cuh")
        launch(kernel, count, high, self._high, numbers.modulus, np.uint64(count))
        return self.field.pair_up(self._low, high, count, keep, shared=True)

    def randomized(self, elements: Any, digits: Any, count: int, keep: Keep) -> Any:
        """Elements times h^(n r), as numbers below n^2 in the form that they are in."""
        pairs = self.field.fixed_base(
            self.table, FIXED_BASE_WINDOW, digits, elements, count, keep, last_each=True
        )
        return self.splitter.join(pairs, count, keep)

    @property
    def bytes_each(self) -> int:
        """Device memory per ciphertext: residues and results as limbs and as tiles, and the digits."""
        return 10 * self.whole.number_bytes + self.exponent_bits // FIXED_BASE_WINDOW + 1


class Decryptor:
    """One half of a key on the device: L_p(c^(p-1) mod p^2) h_p mod p (Paillier 1999, section 7).

    c^(p-1) is 1 modulo p, so as a pair it is (1, L_p): the division is done before it is asked for.
    """

    def __init__(self, prime: int, other: int, square: Modulus, words: int, keep: Keep) -> None:
        m = Modulus(prime * prime)
        self.field = PairField(Modulus(prime), keep)
        self.prime = self.field.numbers
        # Ciphertexts come in Montgomery form modulo n^2: the reduction takes R away.
        self._reducer = Reducer(Field(m, keep), words, keep, scale=pow(square.one, -1, m.value))
        self._splitter = Splitter(self.field, Shape.of(m.bits), keep)
        self.window = best_window(prime.bit_length())
        rows = np.frombuffer((prime - 1).to_bytes(-(-prime.bit_length() // 8), "big"), np.uint8)
        digits = digits_of(rows.reshape(1, -1), prime.bit_length(), self.window)
        self._digits = keep(memory.upload(np.ascontiguousarray(digits[::-1]), secret=True))
        self._form = self.field.number(self.field.radix**2 % m.value, keep)
        self._plain = self.field.number(1, keep)
        # L_p((n + 1)^(p-1))^-1 = (-q)^-1 modulo p, because (n + 1)^(p-1) = 1 + (p - 1) n modulo p^2.
        factor = pow(-other, -1, prime) * self.prime.radix % prime
        self._factor = self.prime.number(factor, keep)

    def residues(self, ciphertexts: Any, count: int, keep: Keep) -> Any:
        """Plaintexts modulo the prime, plain tiles of the prime's shape."""
        field = self.field
        c = self._splitter.split(self._reducer.plain(ciphertexts, count, keep), count, keep)
        c = field.multiply(c, self._form, count, keep, shared=True)
        y = field.power(c, self._digits, self.window, count, keep, each=False)
        y = field.multiply(y, self._plain, count, keep, shared=True)
        quotient = field.second(y, count, keep)
        return self.prime.multiply(quotient, self._factor, count, keep, shared=True)

    def scratch_bytes(self, count: int) -> int:
        return self.field.power_scratch_bytes(self.window, count)


def encrypt(n: int, residues: Sequence[int], exponents: ByteRows) -> LimbArray:
    """(1 + m n) h^(n r) in Montgomery form modulo n^2."""
    with memory.secrets_in() as keep, memory.translated():
        key = Encryptor(n, exponents.shape[1], keep)
        modulus = Modulus(n)
        plain = modulus.array(list(residues))
        output = np.empty((key.square.limbs, len(residues)), np.uint64)

        def start(first: int, last: int) -> memory.Finish:
            with memory.secrets_in() as keep:
                count = last - first
                tiles = key.field.numbers.shape.tiles(plain.limbs[:, first:last], keep)
                digits = key.digits(exponents[first:last], keep)
                c = key.randomized(key.encode(tiles, count, keep), digits, count, keep)
                return key.whole.deliver(c, output[:, first:last], keep)

        memory.in_pieces(len(residues), key.bytes_each, start)
        memory.clear(plain.limbs)
    return LimbArray(output)


def rerandomize(n: int, ciphertexts: LimbArray, exponents: ByteRows) -> LimbArray:
    """c h^(n r) in Montgomery form modulo n^2."""
    with memory.secrets_in() as keep, memory.translated():
        key = Encryptor(n, exponents.shape[1], keep)
        output = np.empty((key.square.limbs, len(ciphertexts)), np.uint64)

        def start(first: int, last: int) -> memory.Finish:
            with memory.secrets_in() as keep:
                count = last - first
                tiles = key.whole.tiles(ciphertexts.limbs[:, first:last], keep)
                digits = key.digits(exponents[first:last], keep)
                c = key.randomized(key.splitter.split(tiles, count, keep), digits, count, keep)
                return key.whole.deliver(c, output[:, first:last], keep)

        memory.in_pieces(len(ciphertexts), key.bytes_each, start)
    return LimbArray(output)


def decrypt(p: int, q: int, ciphertexts: LimbArray) -> list[int]:
    """Residues modulo p q."""
    n, square = Modulus(p * q), Modulus((p * q) ** 2)
    output = np.empty((n.limbs, len(ciphertexts)), np.uint64)
    with memory.secrets_in() as keep, memory.translated():
        garner = Garner(Modulus(p), Modulus(q), n, keep)
        wide = Shape.of(square.bits)
        by_p = Decryptor(p, q, square, wide.words, keep)
        by_q = Decryptor(q, p, square, wide.words, keep)

        def start(first: int, last: int) -> memory.Finish:
            with memory.secrets_in() as keep:
                count = last - first
                tiles = wide.tiles(ciphertexts.limbs[:, first:last], keep)
                m_p, m_q = by_p.residues(tiles, count, keep), by_q.residues(tiles, count, keep)
                return garner.shape.deliver(
                    garner.combine(m_p, m_q, count, keep), output[:, first:last], keep
                )

        count = len(ciphertexts)
        fixed = (by_p.scratch_bytes(count) + by_q.scratch_bytes(count)) * memory.PIECES_IN_FLIGHT
        memory.in_pieces(count, 10 * wide.number_bytes, start, fixed=fixed)
        plain = LimbArray(output).to_ints()
        memory.clear(output)
    return plain


@lru_cache(maxsize=_CACHED_TABLES)
def _table(n: int, exponent_bytes: int) -> Any:
    """Powers of h^n for exponents of so many bytes."""
    base = pow(reference.base(n), n, n * n)
    return upload_pair_table(base, 8 * exponent_bytes, Modulus(n), FIXED_BASE_WINDOW)
