"""SM2 keys and points: generation, validation and canonical bytes. `accel.sm2` is the facade.

Source: GB/T 32918.1-2016 sections 4.2 (conversion) and 6 (keys), GB/T 32918.5-2017 (curve).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from accel import weierstrass as ec
from accel.errors import BadEncoding, InvalidKey, InvalidPoint
from accel.randomness import Rng, random_below, system_rng
from accel.reference.weierstrass import is_on_curve, lift_x, points, rows_of_ints

FIELD_BYTES = 32

N, P = ec.SM2.n, ec.SM2.p


@dataclass(frozen=True)
class PublicKey:
    """A point of the curve other than infinity; since the cofactor is 1, that is all there is to check.

    Raises InvalidPoint if the coordinates are out of range or off the curve.
    """

    x: int
    y: int

    def __post_init__(self) -> None:
        if not is_on_curve(ec.SM2, self.x, self.y):
            raise InvalidPoint("the point is not on the SM2 curve")

    def to_bytes(self, *, compressed: bool = False) -> bytes:
        """04 ‖ x ‖ y, or 02/03 ‖ x by the parity of y."""
        x = self.x.to_bytes(FIELD_BYTES, "big")
        if compressed:
            return bytes([2 + self.y % 2]) + x
        return b"\x04" + x + self.y.to_bytes(FIELD_BYTES, "big")

    @classmethod
    def from_bytes(cls, data: bytes) -> PublicKey:
        """Decode either form; raises BadEncoding for its shape and InvalidPoint for its value."""
        kind = data[:1]
        if kind == b"\x04" and len(data) == 1 + 2 * FIELD_BYTES:
            return cls(int.from_bytes(data[1:33], "big"), int.from_bytes(data[33:], "big"))
        if kind in (b"\x02", b"\x03") and len(data) == 1 + FIELD_BYTES:
            x = int.from_bytes(data[1:], "big")
            point = lift_x(ec.SM2, x, kind[0] - 2) if x < P else None
            if point is None:
                raise InvalidPoint("the point is not on the SM2 curve")
            return cls(*point)
        raise BadEncoding("an SM2 point is 65 bytes that begin with 04, or 33 that begin with 02 or 03")


@dataclass(frozen=True, repr=False, eq=False)  # secret: keep it out of logs, and of early-exit comparisons
class PrivateKey:
    """The scalar d, from 1 to N - 2: with N - 1 signing would divide by zero. Raises InvalidKey."""

    d: int

    def __post_init__(self) -> None:
        if not isinstance(self.d, int) or not 1 <= self.d <= N - 2:
            raise InvalidKey("an SM2 private key is out of range")

    @cached_property
    def public(self) -> PublicKey:
        (point,) = points(ec.multiply_base(ec.SM2, rows_of_ints([self.d])))
        return PublicKey(*point)

    def to_bytes(self) -> bytes:
        """32 bytes big-endian, secret."""
        return self.d.to_bytes(FIELD_BYTES, "big")

    @classmethod
    def from_bytes(cls, data: bytes) -> PrivateKey:
        """Inverse of `to_bytes`; raises BadEncoding or InvalidKey."""
        if len(data) != FIELD_BYTES:
            raise BadEncoding("an SM2 private key has 32 bytes")
        return cls(int.from_bytes(data, "big"))

    def __reduce__(self) -> str:
        raise TypeError("a private key is stored by to_bytes in a key store, never pickled")


def generate(rng: Rng = system_rng) -> PrivateKey:
    """A fresh key pair."""
    return PrivateKey(1 + random_below(N - 2, rng))
