"""The groups that Diffie-Hellman protocols work in, behind one small interface: curve25519, SM2, secp256k1.

Points of many keys are rows of a uint8 matrix, encoded as they travel: 32 bytes of u on curve25519 (RFC 7748;
masked points carry the parity of v in the top bit), 33 bytes 02/03 ‖ x on the short Weierstrass curves (SEC 1
section 2.3.3). Keys are hashed to the curve by RFC 9380 (Elligator 2; simplified SWU): nobody knows a
discrete logarithm between two hashed points, and on curve25519 no point tells curve from twist. `accel`
chooses processor or GPU for every batch.

The functions are importable by name and depend on their arguments alone: work for `protocol.Call`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from accel import curve25519, curve25519_oprf, weierstrass
from accel.errors import BadEncoding, InvalidPoint
from accel.randomness import draw, random_below
from compute.errors import ProtocolAbort
from compute.protocols.protocol import Rng

SCALAR_BYTES = 32

CurveName = Literal["curve25519", "sm2", "secp256k1"]
# n points or n messages: shape (n, width), C-contiguous.
Rows = npt.NDArray[np.uint8]


class Group(ABC):
    """A group of prime order in which decisional Diffie-Hellman is assumed to be hard."""

    name: CurveName
    point_bytes: int
    key_bytes: int
    suite: bytes

    @abstractmethod
    def random_scalar(self, rng: Rng) -> bytes:
        """A uniform secret scalar; it is never 0, so multiplying by it loses nothing."""

    @abstractmethod
    def scalar_from(self, seed: bytes) -> bytes:
        """The scalar of 48 uniform bytes (a derived key): as good as uniform."""

    @abstractmethod
    def hash_and_multiply(self, messages: Rows, dst: bytes, scalar: bytes) -> Rows:
        """Hash every row to the curve and multiply it by a secret scalar: what leaves the party."""

    @abstractmethod
    def multiply(self, points: Rows, scalar: bytes) -> Rows:
        """Multiply every point by a secret scalar; raises InvalidPoint or BadEncoding for a bad point."""

    # An oblivious function of items: masked by one party, multiplied by the other, unmasked by the first.

    @abstractmethod
    def new_masks(self, rng: Rng) -> bytes:
        """A fresh secret that masks the items of one run; unmasked once more it would give them away."""

    @abstractmethod
    def public_key(self, key: bytes) -> bytes:
        """What unmasking needs of the other party's scalar, ``key_bytes`` bytes."""

    @abstractmethod
    def mask(self, messages: Rows, dst: bytes, masks: bytes, first: int) -> Rows:
        """Hash items to the curve and mask them; row 0 is item number ``first`` of the run."""

    @abstractmethod
    def multiply_masked(self, points: Rows, key: bytes) -> Rows:
        """Multiply masked points by a secret scalar; raises as `multiply`."""

    @abstractmethod
    def unmask(self, points: Rows, masks: bytes, first: int, public: bytes) -> Rows:
        """What `hash_and_multiply` gives who knows the scalar; raises as `multiply`, for ``public`` too."""

    @abstractmethod
    def validate(self, points: Rows) -> None:
        """Raise InvalidPoint unless all are canonical points of the group but its neutral element."""


@dataclass(frozen=True)
class _Curve25519(Group):
    name: CurveName = "curve25519"
    point_bytes: int = curve25519.POINT_BYTES
    key_bytes: int = curve25519.POINT_BYTES
    suite: bytes = curve25519.SUITE

    def random_scalar(self, rng: Rng) -> bytes:
        return curve25519.random_scalar(rng)

    def scalar_from(self, seed: bytes) -> bytes:
        # Clamping takes 32 of the bytes: uniform as `accel.curve25519` argues.
        return curve25519.random_scalar(lambda length: seed[:length])

    def hash_and_multiply(self, messages: Rows, dst: bytes, scalar: bytes) -> Rows:
        return self._rows(curve25519.hash_and_multiply(_strings(messages), dst, scalar))

    def multiply(self, points: Rows, scalar: bytes) -> Rows:
        return self._rows(curve25519.scalar_mult_many(points.tobytes(), scalar))

    def new_masks(self, rng: Rng) -> bytes:
        """The seed of a mask for each item, which is added: see `accel.curve25519_oprf`."""
        return draw(rng, SCALAR_BYTES)

    def public_key(self, key: bytes) -> bytes:
        return curve25519_oprf.multiply_points(curve25519_oprf.BASE, key)

    def mask(self, messages: Rows, dst: bytes, masks: bytes, first: int) -> Rows:
        each = curve25519_oprf.stretched_masks(masks, first, len(messages))
        return self._rows(curve25519_oprf.hash_and_mask(_strings(messages), dst, each))

    def multiply_masked(self, points: Rows, key: bytes) -> Rows:
        return self._rows(curve25519_oprf.multiply_points(points.tobytes(), key))

    def unmask(self, points: Rows, masks: bytes, first: int, public: bytes) -> Rows:
        each = curve25519_oprf.stretched_masks(masks, first, len(points))
        return self._rows(curve25519_oprf.unmask(points.tobytes(), each, public))

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
    key_bytes: int = 0

    def random_scalar(self, rng: Rng) -> bytes:
        return self._encode(1 + random_below(self.curve.n - 1, rng))

    def scalar_from(self, seed: bytes) -> bytes:
        # 384 bits modulo a 256-bit order: the bias is below 2^-128 (RFC 9380 section 5).
        return self._encode(1 + int.from_bytes(seed, "big") % (self.curve.n - 1))

    def hash_and_multiply(self, messages: Rows, dst: bytes, scalar: bytes) -> Rows:
        return self._multiply(weierstrass.hash_to_curve(self.curve, _strings(messages), dst), scalar)

    def multiply(self, points: Rows, scalar: bytes) -> Rows:
        return self._multiply(weierstrass.decompress(self.curve, points), scalar)

    def new_masks(self, rng: Rng) -> bytes:
        """One scalar by which all items are multiplied, and its inverse."""
        scalar = self.random_scalar(rng)
        return scalar + self._encode(_inverted(int.from_bytes(scalar, "big"), self.curve.n, rng))

    def public_key(self, key: bytes) -> bytes:
        return b""

    def mask(self, messages: Rows, dst: bytes, masks: bytes, first: int) -> Rows:
        return self.hash_and_multiply(messages, dst, masks[:SCALAR_BYTES])

    def multiply_masked(self, points: Rows, key: bytes) -> Rows:
        return self.multiply(points, key)

    def unmask(self, points: Rows, masks: bytes, first: int, public: bytes) -> Rows:
        return self.multiply(points, masks[SCALAR_BYTES:])

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
    with received_from(peer):
        return GROUPS[curve].multiply(points, scalar)


def mask(curve: CurveName, messages: Rows, dst: bytes, masks: bytes, first: int) -> Rows:
    """A `Call`: messages from number ``first`` on, hashed to the curve and masked."""
    return GROUPS[curve].mask(messages, dst, masks, first)


def multiply_masked(curve: CurveName, points: Rows, key: bytes, peer: str) -> Rows:
    """A `Call`: masked points of a peer multiplied by a secret scalar; ProtocolAbort if one is invalid."""
    with received_from(peer):
        return GROUPS[curve].multiply_masked(points, key)


@contextmanager
def received_from(peer: str) -> Iterator[None]:
    """Turn what is wrong with a point of the peer into a ProtocolAbort that names it."""
    try:
        yield
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
