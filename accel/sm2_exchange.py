"""SM2 key exchange with key confirmation (GB/T 32918.3-2016): three messages, one session key.

    initiator = Initiator(alice, b"Alice", bob.public, b"Bob", key_bytes=16)
    responder = Responder(bob, b"Bob", alice.public, b"Alice", key_bytes=16)
    first = initiator.start()                        # R_A
    second = responder.respond(first)                # R_B ‖ S_B
    key, third = initiator.finish(second)            # S_A
    assert responder.confirm(third) == key

Each object serves one exchange, in this order, and forgets its ephemeral key with it. Both parties know the
key only if each has the private key to the public key that the other expects, and both have the same
identities in mind; otherwise confirmation fails, without a reason. Section 6.1 makes confirmation optional;
here it is not.

| symbol | meaning |
|---|---|
| r, R | ephemeral key and its point |
| x̄ | 2^127 + the low 127 bits of x |
| t | d + x̄ r modulo the order |
| U | t (P' + x̄' R') with the other party's P', R': the shared point |
"""

from __future__ import annotations

import hmac

import numpy as np

from accel import selftest, sm3
from accel import weierstrass as ec
from accel.errors import BadEncoding, BadParameter, InvalidPoint, KeyConfirmationFailed
from accel.randomness import Rng, system_rng
from accel.reference.sm2 import N
from accel.reference.weierstrass import add
from accel.sm2_keys import PrivateKey, PublicKey
from accel.sm2_scalars import random_scalars
from accel.sm2_signature import DEFAULT_ID, identity_digest

POINT_BYTES = 65
CONFIRMATION_BYTES = 32
_LOW = (1 << 127) - 1  # w = ceil(ceil(log2 n) / 2) - 1 = 127
_MAX_KEY_BYTES = 1 << 16


class _Party:
    """What both roles have; ``order`` puts what belongs to the initiator first."""

    def __init__(
        self,
        private: PrivateKey,
        identity: bytes,
        peer: PublicKey,
        peer_identity: bytes,
        *,
        key_bytes: int,
        rng: Rng = system_rng,
    ) -> None:
        selftest.ensure("sm2")
        if not 1 <= key_bytes <= _MAX_KEY_BYTES:
            raise BadParameter(f"a session key has 1 to {_MAX_KEY_BYTES} bytes")
        self._private, self._peer, self._key_bytes, self._rng = private, peer, key_bytes, rng
        self._z = identity_digest(private.public, identity)
        self._peer_z = identity_digest(peer, peer_identity)
        self._ephemeral: int | None = None
        self._expects = "start"

    def _step(self, now: str, then: str) -> None:
        if self._expects != now:
            raise BadParameter(f"this exchange expects {self._expects!r} now, not {now!r}")
        self._expects = then

    def _draw(self) -> bytes:
        """A fresh ephemeral key; gives the bytes of its point."""
        scalar = random_scalars(1, self._rng)
        self._ephemeral = int.from_bytes(scalar.tobytes(), "big")
        return b"\x04" + ec.multiply_base(ec.SM2, scalar).tobytes()

    def _shared(self, mine: bytes, theirs: PublicKey) -> bytes:
        """x ‖ y of U. Raises InvalidPoint if the peer's points cancel out, which honest ones never do."""
        if self._ephemeral is None:
            raise BadParameter("there is no ephemeral key")
        t = (self._private.d + _reduced(_x(mine)) * self._ephemeral) % N
        self._ephemeral = None
        factor = _row(_reduced(theirs.x))
        scaled = ec.multiply(ec.SM2, _point(theirs)[None], factor).tobytes()
        # Points of the peer are public: their sum may take the time it likes.
        summand = (int.from_bytes(scaled[:32], "big"), int.from_bytes(scaled[32:], "big"))
        total = add(ec.SM2, (self._peer.x, self._peer.y), summand)
        if total is None or t == 0:
            raise InvalidPoint("the key exchange came to the point at infinity")
        return ec.multiply(ec.SM2, _point(PublicKey(*total))[None], _row(t)).tobytes()


class Initiator(_Party):
    """User A. Arguments: own key and identity, the peer's, and the length of the session key in bytes."""

    def start(self) -> bytes:
        """R_A, 65 bytes, for the responder."""
        self._step("start", "finish")
        self._mine = self._draw()
        return self._mine

    def finish(self, message: bytes) -> tuple[bytes, bytes]:
        """From R_B ‖ S_B: the session key, secret, and S_A of 32 bytes for the responder.

        Raises BadEncoding, InvalidPoint, or KeyConfirmationFailed if the responder has another key in mind.
        """
        self._step("finish", "nothing")
        if len(message) != POINT_BYTES + CONFIRMATION_BYTES:
            raise BadEncoding("the answer of a key exchange has 97 bytes")
        theirs, confirmation = message[:POINT_BYTES], message[POINT_BYTES:]
        shared = self._shared(self._mine, _decode(theirs))
        inner = sm3.digest(shared[:32] + self._z + self._peer_z + self._mine[1:] + theirs[1:])
        _check(_confirmation(2, shared, inner), confirmation)
        key = sm3.kdf(shared + self._z + self._peer_z, self._key_bytes)
        return key, _confirmation(3, shared, inner)


class Responder(_Party):
    """User B. Arguments as for `Initiator`."""

    def respond(self, message: bytes) -> bytes:
        """From R_A: R_B ‖ S_B, 97 bytes, for the initiator. Raises BadEncoding or InvalidPoint."""
        self._step("start", "confirm")
        theirs = _decode(message)
        mine = self._draw()
        shared = self._shared(mine, theirs)
        inner = sm3.digest(shared[:32] + self._peer_z + self._z + message[1:] + mine[1:])
        self._key = sm3.kdf(shared + self._peer_z + self._z, self._key_bytes)
        self._expected = _confirmation(3, shared, inner)
        return mine + _confirmation(2, shared, inner)

    def confirm(self, message: bytes) -> bytes:
        """From S_A: the session key, secret. Raises KeyConfirmationFailed."""
        self._step("confirm", "nothing")
        _check(self._expected, message)
        return self._key


def _confirmation(role: int, shared: bytes, inner: bytes) -> bytes:
    return sm3.digest(bytes([role]) + shared[32:] + inner)


def _check(expected: bytes, got: bytes) -> None:
    if not hmac.compare_digest(expected, got):
        raise KeyConfirmationFailed("the parties of the key exchange do not have the same key")


def _decode(data: bytes) -> PublicKey:
    if len(data) != POINT_BYTES:
        raise BadEncoding("a point of a key exchange has 65 bytes")
    return PublicKey.from_bytes(data)


def _reduced(x: int) -> int:
    return (x & _LOW) | (_LOW + 1)


def _x(point: bytes) -> int:
    return int.from_bytes(point[1:33], "big")


def _row(scalar: int) -> ec.Rows:
    return np.frombuffer(scalar.to_bytes(32, "big"), np.uint8)[None]


def _point(key: PublicKey) -> ec.Rows:
    return np.frombuffer(key.to_bytes()[1:], np.uint8)


__all__ = ["CONFIRMATION_BYTES", "DEFAULT_ID", "POINT_BYTES", "Initiator", "Responder"]
