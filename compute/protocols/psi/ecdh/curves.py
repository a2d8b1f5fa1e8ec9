"""The groups that Diffie-Hellman protocols work in, behind one small interface: curve25519, SM2, secp256k1.

Points of many keys are rows of a uint8 matrix, encoded as they travel: 32 bytes of u on curve25519 (RFC
7748), 33 bytes 02/03 ‖ x on the short Weierstrass curves (SEC 1 section 2.3.3). Keys are hashed to the
curve by RFC 9380 (Elligator 2; simplified SWU): nobody knows a discrete logarithm between two hashed
points, and on curve25519 no point tells curve from twist. `accel` chooses processor or GPU for every batch.

The functions are importable by name and depend on their arguments alone: work for `protocol.Call`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from accel import curve25519, weierstrass
from accel.errors import BadEncoding, InvalidPoint
from accel.randomness import random_below
from compute.errors import ProtocolAbort
from compute.protocols.protocol import Rng

SCALAR_BYTES = 32

CurveName = Literal["curve25519", "sm2", "secp256k1"]
# n points or n messages: shape (n, width), C-contiguous.
Rows = npt.NDArray[np.uint8]

# Prime order of the subgroup of curve25519 (RFC 7748 section 4.1).
_ORDER_25519 = 2**252 + 27742317777372353535851937790883648493


class Group(ABC):
    """A group of prime order in which decisional Diffie-Hellman is assumed to be hard."""

    name: CurveName
    point_bytes: int
    suite: bytes

    @abstractmethod
    def random_scalar(self, rng: Rng) -> bytes:
        """A uniform secret scalar; it is never 0, so multiplying by it loses nothing."""

    @abstractmethod
    def scalar_from(self, seed: bytes) -> bytes:
        """The scalar of 48 uniform bytes (a derived key): as good as uniform."""

    @abstractmethod
    def inverse(self, scalar: bytes, rng: Rng) -> bytes:
        """The scalar that undoes ``scalar``. ``rng`` blinds the inversion: its time depends on its input."""

    @abstractmethod
    def hash_and_multiply(self, messages: Rows, dst: bytes, scalar: bytes) -> Rows:
        """Hash every row to the curve and multiply it by a secret scalar: what leaves the party."""

    @abstractmethod
    def multiply(self, points: Rows, scalar: bytes) -> Rows:
        """Multiply every point by a secret scalar; raises InvalidPoint or BadEncoding for a bad point."""

    @abstractmethod
    def validate(self, points: Rows) -> None:
        """Raise InvalidPoint unless all are canonical points of the group but its neutral element."""


@dataclass(frozen=True)
class _Curve25519(Group):
    name: CurveName = "curve25519"
    point_bytes: int = curve25519.POINT_BYTES
    suite: bytes = curve25519.SUITE

    def random_scalar(self, rng: Rng) -> bytes:
        return curve25519.random_scalar(rng)

    def scalar_from(self, seed: bytes) -> bytes:
        # Clamping takes 32 of the bytes: uniform as `accel.curve25519` argues.
        return curve25519.random_scalar(lambda length: seed[:length])

    def inverse(self, scalar: bytes, rng: Rng) -> bytes:
        """A clamped scalar again: 8 m with m from 2^251 to 2^252 and 8 m · scalar = ±1 modulo the order.

        u-coordinates do not tell a point from its negative, so either sign will do, and of m and order − m
        one lies in that range, up to a fraction below 2^-120 of all scalars.
        """
        m = _inverted(8 * int.from_bytes(scalar, "little"), _ORDER_25519, rng)
        m = max(m, _ORDER_25519 - m)
        if m >= 1 << 252:
            raise ProtocolAbort("the secret scalar has no clamped inverse: run the job again")
        return (8 * m).to_bytes(SCALAR_BYTES, "little")

    def hash_and_multiply(self, messages: Rows, dst: bytes, scalar: bytes) -> Rows:
        return self._rows(curve25519.hash_and_multiply(_strings(messages), dst, scalar))

    def multiply(self, points: Rows, scalar: bytes) -> Rows:
        return self._rows(curve25519.scalar_mult_many(points.tobytes(), scalar))

    def validate(self, points: Rows) -> None:
        curve25519.validate(points.tobytes())

    def _rows(self, points: bytes) -> Rows:
        return np.frombuffer(points, np.uint8).reshape(-1, self.point_bytes)


@dataclass(frozen=True)
class _ShortWeierstrass(Group):
    name: CurveName
    suite: bytes
    curve: weierstrass.Curve
    point_bytes: int = 33

    def random_scalar(self, rng: Rng) -> bytes:
        return self._encode(1 + random_below(self.curve.n - 1, rng))

    def scalar_from(self, seed: bytes) -> bytes:
        # 384 bits modulo a 256-bit order: the bias is below 2^-128 (RFC 9380 section 5).
        return self._encode(1 + int.from_bytes(seed, "big") % (self.curve.n - 1))

    def inverse(self, scalar: bytes, rng: Rng) -> bytes:
        return self._encode(_inverted(int.from_bytes(scalar, "big"), self.curve.n, rng))

    def hash_and_multiply(self, messages: Rows, dst: bytes, scalar: bytes) -> Rows:
        return self._multiply(weierstrass.hash_to_curve(self.curve, _strings(messages), dst), scalar)

    def multiply(self, points: Rows, scalar: bytes) -> Rows:
        return self._multiply(weierstrass.decompress(self.curve, points), scalar)

    def validate(self, points: Rows) -> None:
        weierstrass.decompress(self.curve, points)

    def _multiply(self, points: Rows, scalar: bytes) -> Rows:
        products = weierstrass.multiply(self.curve, points, np.frombuffer(scalar, np.uint8))
        return weierstrass.compress(self.curve, products)

    @staticmethod
    def _encode(number: int) -> bytes:
        return number.to_bytes(SCALAR_BYTES, "big")


GROUPS: Mapping[str, Group] = {
    group.name: group
    for group in (
        _Curve25519(),
        _ShortWeierstrass("sm2", weierstrass.suite(weierstrass.SM2), weierstrass.SM2),
        _ShortWeierstrass("secp256k1", weierstrass.suite(weierstrass.SECP256K1), weierstrass.SECP256K1),
    )
}


def blind(curve: CurveName, messages: Rows, dst: bytes, scalar: bytes) -> Rows:
    """A `Call`: messages hashed to the curve and masked by a secret scalar; (n, any) -> (n, point_bytes)."""
    return GROUPS[curve].hash_and_multiply(messages, dst, scalar)


def multiply_received(curve: CurveName, points: Rows, scalar: bytes, peer: str) -> Rows:
    """A `Call`: the points of a peer, checked and multiplied by a secret scalar.

    Raises ProtocolAbort naming the peer unless each is canonical, on the curve and not of small order.
    """
    try:
        return GROUPS[curve].multiply(points, scalar)
    except (InvalidPoint, BadEncoding) as error:
        raise ProtocolAbort(f"{peer} sent an invalid group element: {error.message}") from error


def require_distinct(points: Rows, peer: str) -> None:
    """Raise ProtocolAbort if a point occurs twice: honest peers mask distinct items, which is injective."""
    if len(points) < 2:
        return
    words = np.ascontiguousarray(points[:, 8:16]).view(np.uint64).ravel()
    order = np.argsort(words)
    equal = np.flatnonzero(words[order[1:]] == words[order[:-1]])
    # Eight bytes meet by chance now and then: what counts is the whole point.
    suspects = np.union1d(order[equal], order[equal + 1])
    if len(suspects) and len(np.unique(points[suspects], axis=0)) != len(suspects):
        raise ProtocolAbort(f"{peer} sent a group element twice")


def _inverted(number: int, order: int, rng: Rng) -> int:
    mask = 1 + random_below(order - 1, rng)
    return mask * pow(number * mask, -1, order) % order


def _strings(rows: Rows) -> list[bytes]:
    data, width = rows.tobytes(), rows.shape[1]
    return [data[at : at + width] for at in range(0, len(data), width)]
