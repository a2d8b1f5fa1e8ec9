"""An odd modulus with the constants that Montgomery arithmetic needs (Montgomery, Math. Comp. 44, 1985)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from typing import TypeVar, cast

import numpy as np

from accel.errors import BadParameter
from accel.limbs import LIMB_BITS, LIMB_MASK, U64, LimbArray, limb_count

T = TypeVar("T")

MIN_BITS = 256
MAX_BITS = 16384  # ciphertexts of the largest Paillier keys; kernels are tuned for 6144


class Modulus:
    """An odd modulus m of 256 to 16384 bits; x is held as x R mod m with R = 2^(52 limbs) on every backend.

    Two spare bits make R > 4 m: kernels may leave values below 2 m between products (Walter 1999). The limb
    count is even, as kernels that square need it.
    A modulus may be a secret (the square of a prime): there is no ``repr`` of its value.
    Raises BadParameter if it is even, not an integer or outside the range.
    """

    def __init__(self, value: int) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise BadParameter("a modulus is a positive integer")
        if not MIN_BITS <= value.bit_length() <= MAX_BITS:
            raise BadParameter(
                f"a modulus has {MIN_BITS} to {MAX_BITS} bits, this one has {value.bit_length()}"
            )
        if value % 2 == 0:
            raise BadParameter("a modulus must be odd")
        self.value = value
        self.bits = value.bit_length()
        self._prepared: dict[str, object] = {}
        self._lock = threading.Lock()
        self.limbs = limb_count(self.bits + 2) + 1 & ~1

    def __repr__(self) -> str:
        return f"<Modulus of {self.bits} bits>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Modulus) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)

    @cached_property
    def one(self) -> int:
        """R mod m: the Montgomery form of 1."""
        return (1 << LIMB_BITS * self.limbs) % self.value

    @cached_property
    def radix_squared(self) -> int:
        """R^2 mod m: the Montgomery product with it takes a residue into Montgomery form."""
        return self.one * self.one % self.value

    @cached_property
    def radix_inverse(self) -> int:
        """R^-1 mod m."""
        return pow(self.one, -1, self.value)

    @cached_property
    def negative_inverse(self) -> int:
        """-m^-1 mod 2^52: the multiple of m that clears a limb t is t times this."""
        return -pow(self.value, -1, 1 << LIMB_BITS) & LIMB_MASK

    @cached_property
    def limb_values(self) -> U64:
        """The limbs of m, little end first, uint64 of shape (limbs,)."""
        return np.ascontiguousarray(self.array([self.value]).limbs[:, 0])

    def to_montgomery(self, value: int) -> int:
        """x R mod m of one integer."""
        return value * self.one % self.value

    def from_montgomery(self, value: int) -> int:
        """x of one x R mod m."""
        return value * self.radix_inverse % self.value

    def array(self, values: list[int]) -> LimbArray:
        """Integers below R as a limb matrix of this modulus' limb count."""
        return LimbArray.from_ints(values, self.limbs)

    def prepared(self, backend: str, build: Callable[[], T]) -> T:
        """What a backend derives from m, built once and kept as long as this object."""
        with self._lock:
            if backend not in self._prepared:
                self._prepared[backend] = build()
            return cast(T, self._prepared[backend])
