"""The prime-order group of curve25519 by u-coordinates, and hashing into it (RFC 9380, RFC 7748).

Points travel as 32 little-endian bytes each, concatenated: n points are 32 n bytes. u stands for a point
and its negative, which is enough for Diffie-Hellman: scalars commute, ``(u^a)^b == (u^b)^a``.

Scalars are clamped as in RFC 7748: k = 8 m with m uniform in [2^251, 2^252). Since u cannot tell k from -k,
these m meet every class {m, -m} modulo the group order once, up to a fraction below 2^-120: a clamped scalar
is a uniform one for u-coordinates. k is never 0 modulo the order, so multiplication is injective on the
group; and it is a multiple of the cofactor, so a low-order component added by a peer vanishes.
"""

from __future__ import annotations

from collections.abc import Sequence

from accel import selftest
from accel.cpu import curve25519 as _cpu
from accel.errors import BadEncoding, BadParameter, InvalidPoint
from accel.gpu import curve25519 as _gpu
from accel.randomness import Rng, draw, system_rng
from accel.reference import curve25519 as _reference
from accel.registry import Op

POINT_BYTES = 32
SCALAR_BYTES = 32
SUITE = b"curve25519_XMD:SHA-512_ELL2_RO_"

HASH_TO_CURVE: Op[[Sequence[bytes], bytes], bytes] = Op("curve25519.hash_to_curve")
HASH_TO_CURVE.backend("reference")(_reference.hash_to_curve)
HASH_TO_CURVE.backend("portable", needs="gmpy2")(_cpu.hash_to_curve)
HASH_TO_CURVE.backend("gpu", needs="cupy", min_batch=4096)(_gpu.hash_to_curve)

SCALAR_MULT: Op[[bytes, bytes], bytes] = Op("curve25519.scalar_mult")
SCALAR_MULT.backend("reference")(_reference.scalar_mult_many)
SCALAR_MULT.backend("portable", needs="cryptography")(_cpu.scalar_mult_many)
SCALAR_MULT.backend("gpu", needs="cupy", min_batch=4096)(_gpu.scalar_mult_many)


def random_scalar(rng: Rng = system_rng) -> bytes:
    """A fresh secret scalar: 32 clamped bytes. Keep it for one job only."""
    scalar = bytearray(draw(rng, SCALAR_BYTES))
    scalar[0] &= 248
    scalar[31] &= 127
    scalar[31] |= 64
    return bytes(scalar)


def hash_to_curve(messages: Sequence[bytes], dst: bytes, *, backend: str = "auto") -> bytes:
    """Hash every message to a point of the prime-order subgroup: 32 bytes of u-coordinate each, in order.

    Suite curve25519_XMD:SHA-512_ELL2_RO_ (RFC 9380 section 8.5), cofactor cleared: indifferentiable from a
    random oracle into the group, so nobody knows a discrete logarithm between two outputs, and no output
    tells curve from twist. ``dst`` is the domain separation tag, 1 byte or more; protocols bind it to the
    session. Equal messages give equal points: remove repeats first where their number is private.

    Raises BadParameter for an empty tag or a message that is not bytes. Timing depends on the messages in
    the portable backend; it is measured by nobody but the process that owns them.
    """
    selftest.ensure("curve25519")
    if not isinstance(dst, bytes) or not dst:
        raise BadParameter("the domain separation tag must be at least one byte")
    for index, message in enumerate(messages):
        if not isinstance(message, bytes):
            raise BadParameter(f"message {index} is not bytes", index=index)
    return HASH_TO_CURVE.select(backend, batch=len(messages))(messages, dst)


def scalar_mult_many(points: bytes, scalar: bytes, *, backend: str = "auto") -> bytes:
    """Multiply every point by one secret scalar (X25519); n points in, n points out, in order.

    Constant-time in the scalar with the ``cpu`` backend (OpenSSL); ``reference`` is for tests only.
    Validates every input point first, so points of a peer may be passed as they came.

    Raises BadEncoding for a length that is no multiple of 32, InvalidPoint with ``index``, BadParameter for
    a scalar that is not 32 clamped bytes (take it from `random_scalar`).
    """
    selftest.ensure("curve25519")
    if len(scalar) != SCALAR_BYTES or scalar[0] & 7 or scalar[31] >> 6 != 1:
        raise BadParameter("a scalar is 32 clamped bytes; use random_scalar")
    validate(points)
    return SCALAR_MULT.select(backend, batch=len(points) // POINT_BYTES)(points, scalar)


def validate(points: bytes) -> int:
    """Check points from a peer and return how many there are.

    Each must be canonically encoded (u < p), on the curve and not on its twist, and not of low order.

    A component of low order besides a prime-order one is not looked for: clamped scalars remove it.
    Raises BadEncoding for a length that is no multiple of 32 and InvalidPoint with ``index``.
    """
    if len(points) % POINT_BYTES:
        raise BadEncoding(f"points take 32 bytes each, {len(points)} bytes is no multiple of that")
    bad = _cpu.find_invalid(bytes(points))
    if bad is not None:
        index, reason = bad
        raise InvalidPoint(f"point {index} {reason}", index=index)
    return len(points) // POINT_BYTES


@selftest.known_answer("curve25519")
def _known_answer() -> None:
    document = selftest.vectors("curve25519")
    case = document["hash_to_curve"][1]
    expected = bytes.fromhex(case["P_x"])[::-1]
    for backend in HASH_TO_CURVE.available():
        got = hash_to_curve([case["msg"].encode()], document["dst"].encode(), backend=backend)
        selftest.expect(got == expected, f"hash_to_curve on {backend}")
    case = document["x25519"][0]
    for backend in SCALAR_MULT.available():
        scalar = bytes.fromhex(case["scalar"])
        got = SCALAR_MULT.select(backend, batch=1)(bytes.fromhex(case["u"]), scalar)
        selftest.expect(got.hex() == case["result"], f"scalar_mult on {backend}")
