"""`EncryptedArray`: a one-dimensional array of Paillier ciphertexts under one key that computes like numbers.

Every array carries what its plaintexts may at most be (``bound``) and their fixed-point scale. An operation
that could leave the plaintext space is refused before it is done. The array also knows whether it has been
rerandomized since it was computed; `to_bytes` refuses one that has not, because a receiver who knows the
inputs could otherwise tell how it was made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import gmpy2

from accel.encoding import MAX_SCALE_BITS, check_scale
from accel.errors import (
    BadEncoding,
    BadParameter,
    InvalidCiphertext,
    NotRerandomized,
    PlaintextOverflow,
    WrongKey,
)
from accel.paillier_backends import RERANDOMIZE
from accel.paillier_keys import PublicKey
from accel.randomness import Rng, system_rng

_MAGIC = b"LTPA\x01"
_FIXED_HEADER = len(_MAGIC) + 2 + 4 + 32 + 2


@dataclass(frozen=True, eq=False, repr=False)
class EncryptedArray:
    """Ciphertexts under ``key`` whose plaintexts p mean p / 2^scale_bits with abs(p) <= bound.

    Make one with `accel.paillier.encrypt_ints`, `from_ciphertexts` or `from_bytes`; the latter two validate.
    """

    key: PublicKey
    values: tuple[gmpy2.mpz, ...]
    bound: int
    scale_bits: int = 0
    rerandomized: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.bound <= self.key.max_plaintext:
            raise PlaintextOverflow("a result could leave the plaintext space: use smaller bounds")
        check_scale(self.scale_bits)

    @classmethod
    def from_ciphertexts(
        cls, key: PublicKey, ciphertexts: Sequence[int], *, bound: int, scale_bits: int = 0
    ) -> EncryptedArray:
        """Take ciphertexts from elsewhere (such as `phe`), checking that each is a unit modulo n^2.

        Raises InvalidCiphertext with ``index``. ``bound`` is the sender's promise: it cannot be seen.
        """
        values = tuple(gmpy2.mpz(c) for c in ciphertexts)
        square = key.n_squared
        product = gmpy2.mpz(1)
        for index, value in enumerate(values):
            if not 0 < value < square:
                raise InvalidCiphertext(f"ciphertext {index} is out of range", index=index)
            product = product * value % key.n
        # One gcd for all; only a failure is worth the search for its index.
        if gmpy2.gcd(product, key.n) != 1:
            index = next(i for i, value in enumerate(values) if gmpy2.gcd(value, key.n) != 1)
            raise InvalidCiphertext(f"ciphertext {index} is not coprime to the modulus", index=index)
        return cls(key, values, bound, scale_bits)

    def __repr__(self) -> str:
        state = "rerandomized" if self.rerandomized else "not rerandomized"
        return f"<EncryptedArray of {len(self)} under {self.key!r}, {state}>"

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[EncryptedArray]:
        return (self[index : index + 1] for index in range(len(self)))

    @overload
    def __getitem__(self, index: slice) -> EncryptedArray: ...
    @overload
    def __getitem__(self, index: int) -> EncryptedArray: ...
    def __getitem__(self, index: slice | int) -> EncryptedArray:
        """A slice, or the array of one element at an index."""
        if isinstance(index, int):
            return self._like((self.values[index],), self.bound, rerandomized=self.rerandomized)
        return self._like(self.values[index], self.bound, rerandomized=self.rerandomized)

    def take(self, indices: Sequence[int]) -> EncryptedArray:
        """The elements at the indices, in that order; repeats allowed."""
        if any(not 0 <= index < len(self) for index in indices):
            raise BadParameter("an index is out of range")
        return self._like(tuple(self.values[index] for index in indices), self.bound)

    def __add__(self, other: EncryptedArray | Sequence[int]) -> EncryptedArray:
        """Element by element: with an array under the same key and scale, or plain integers at our scale."""
        if isinstance(other, EncryptedArray):
            self._check_matches(other)
            square = self.key.n_squared
            values = tuple(a * b % square for a, b in zip(self.values, other.values, strict=True))
            return self._like(values, self.bound + other.bound)
        return self._add_plain(other)

    def __neg__(self) -> EncryptedArray:
        return self * -1

    def __sub__(self, other: EncryptedArray | Sequence[int]) -> EncryptedArray:
        return self + (-other if isinstance(other, EncryptedArray) else [-value for value in other])

    def __mul__(self, factors: int | Sequence[int]) -> EncryptedArray:
        """Multiply by one plain integer, or by one per element. The scale stays ours.

        Timing depends on the factors. Raises PlaintextOverflow if the product could be too large.
        """
        each = [factors] * len(self) if isinstance(factors, int) else list(factors)
        _check_integers(each, len(self))
        square = self.key.n_squared
        values = tuple(gmpy2.powmod(c, k, square) for c, k in zip(self.values, each, strict=True))
        return self._like(values, self.bound * _largest(each))

    def with_scale(self, scale_bits: int) -> EncryptedArray:
        """The same ciphertexts read at another scale: after multiplying by factors encoded at a scale."""
        return EncryptedArray(self.key, self.values, self.bound, scale_bits, self.rerandomized)

    def sum(self) -> EncryptedArray:
        """One element: the sum of all; an encryption of 0 for an empty array."""
        return self.group_sum([0] * len(self), 1)

    def dot(self, weights: Sequence[int]) -> EncryptedArray:
        """One element: the sum of element times weight."""
        _check_integers(weights, len(self))
        products = self * weights
        bound = self.bound * sum(abs(weight) for weight in weights)
        return self._like(products.sum().values, bound)

    def group_sum(self, groups: Sequence[int], count: int) -> EncryptedArray:
        """``count`` elements: element g is the sum of all elements whose entry in ``groups`` is g."""
        if len(groups) != len(self) or any(not 0 <= group < count for group in groups):
            raise BadParameter("there must be one group index from 0 to count - 1 for every element")
        square = self.key.n_squared
        sums = [gmpy2.mpz(1)] * count
        sizes = [0] * count
        for group, value in zip(groups, self.values, strict=True):
            sums[group] = sums[group] * value % square
            sizes[group] += 1
        return self._like(tuple(sums), self.bound * max(sizes, default=0))

    def rerandomize(self, rng: Rng = system_rng) -> EncryptedArray:
        """The same plaintexts under fresh randomness: do it before a result crosses to another party."""
        values = RERANDOMIZE.select("auto", batch=len(self))(self.key.n, self.values, rng)
        return self._like(tuple(gmpy2.mpz(value) for value in values), self.bound, rerandomized=True)

    def ciphertexts(self) -> list[int]:
        """The ciphertexts as integers, for interoperation; not checked for rerandomization."""
        return [int(value) for value in self.values]

    def to_bytes(self) -> bytes:
        """Canonical and versioned; raises NotRerandomized unless the array is fresh.

        Magic "LTPA" 1, scale (2 bytes), count (4), key fingerprint (32), bound with 2-byte length, then every
        ciphertext big-endian at the fixed width of the key.
        """
        if not self.rerandomized:
            raise NotRerandomized("call rerandomize() before a computed array leaves the process")
        bound = self.bound.to_bytes((self.bound.bit_length() + 7) // 8, "big")
        width = self.key.ciphertext_bytes
        header = (
            _MAGIC
            + self.scale_bits.to_bytes(2, "big")
            + len(self).to_bytes(4, "big")
            + self.key.fingerprint
            + len(bound).to_bytes(2, "big")
            + bound
        )
        return header + b"".join(int(value).to_bytes(width, "big") for value in self.values)

    @classmethod
    def from_bytes(cls, key: PublicKey, data: bytes) -> EncryptedArray:
        """Strictly decode and validate what a peer sent under ``key``.

        Raises BadEncoding, WrongKey, InvalidCiphertext, PlaintextOverflow. The result counts as not
        rerandomized: passing it on unchanged would show where it came from.
        """
        if len(data) < _FIXED_HEADER or not data.startswith(_MAGIC):
            raise BadEncoding("not an encrypted array of this version")
        position = len(_MAGIC)
        scale_bits = int.from_bytes(data[position : position + 2], "big")
        count = int.from_bytes(data[position + 2 : position + 6], "big")
        if data[position + 6 : position + 38] != key.fingerprint:
            raise WrongKey("the array is encrypted under another key")
        bound_length = int.from_bytes(data[position + 38 : position + 40], "big")
        body = _FIXED_HEADER + bound_length
        if len(data) != body + count * key.ciphertext_bytes:
            raise BadEncoding("an encrypted array has the wrong length")
        bound = data[_FIXED_HEADER:body]
        if bound_length and bound[0] == 0:
            raise BadEncoding("the bound of an encrypted array is not canonical")
        if scale_bits > MAX_SCALE_BITS:
            raise BadEncoding("the scale of an encrypted array is out of range")
        width = key.ciphertext_bytes
        numbers = [int.from_bytes(data[at : at + width], "big") for at in range(body, len(data), width)]
        return cls.from_ciphertexts(key, numbers, bound=int.from_bytes(bound, "big"), scale_bits=scale_bits)

    def _like(
        self, values: tuple[gmpy2.mpz, ...], bound: int, *, rerandomized: bool = False
    ) -> EncryptedArray:
        return EncryptedArray(self.key, values, bound, self.scale_bits, rerandomized)

    def _add_plain(self, plain: Sequence[int]) -> EncryptedArray:
        _check_integers(plain, len(self))
        bound = self.bound + _largest(plain)
        if bound > self.key.max_plaintext:
            raise PlaintextOverflow("a sum could leave the plaintext space")
        n, square = self.key.n, self.key.n_squared
        values = tuple(c * (1 + n * (m % n)) % square for c, m in zip(self.values, plain, strict=True))
        return self._like(values, bound)

    def _check_matches(self, other: EncryptedArray) -> None:
        if other.key.n != self.key.n:
            raise WrongKey("the two arrays are encrypted under different keys")
        if other.scale_bits != self.scale_bits:
            raise BadParameter(f"the scales differ: {self.scale_bits} and {other.scale_bits} bits")
        if len(other) != len(self):
            raise BadParameter(f"the lengths differ: {len(self)} and {len(other)}")


def concatenate(arrays: Sequence[EncryptedArray]) -> EncryptedArray:
    """One array after the other; raises WrongKey or BadParameter if keys or scales differ."""
    if not arrays:
        raise BadParameter("nothing to concatenate")
    first = arrays[0]
    for other in arrays:
        if other.key.n != first.key.n:
            raise WrongKey("the arrays are encrypted under different keys")
        if other.scale_bits != first.scale_bits:
            raise BadParameter("the scales of the arrays differ")
    return EncryptedArray(
        first.key,
        tuple(value for array in arrays for value in array.values),
        max(array.bound for array in arrays),
        first.scale_bits,
        all(array.rerandomized for array in arrays),
    )


def _check_integers(values: Sequence[int], length: int) -> None:
    if len(values) != length:
        raise BadParameter(f"{length} plain integers are needed, not {len(values)}")
    for index, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int):
            raise BadParameter(f"plain value {index} is not an int: encode it first", index=index)


def _largest(values: Sequence[int]) -> int:
    return max((abs(value) for value in values), default=0)
