"""The prime-order group of curve25519 by u-coordinates, and hashing into it (RFC 9380, RFC 7748).

Points travel as 32 little-endian bytes each, concatenated: n points are 32 n bytes. u stands for a point
and its negative, which is enough for Diffie-Hellman: scalars commute, ``(u^a)^b == (u^b)^a``.

Scalars are clamped as in RFC 7748: k = 8 m with m uniform in [2^251, 2^252). Since u cannot tell k from -k,
these m meet every class {m, -m} modulo the group order once, up to a fraction below 2^-120: a clamped scalar
is a uniform one for u-coordinates. k is never 0 modulo the order, so multiplication is injective on the
group; and it is a multiple of the cofactor, so a low-order component added by a peer vanishes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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

Invalid = tuple[int, str] | None

_SAMPLE_SCALAR = b"\x08" + bytes(30) + b"\x40"
_SAMPLE_TAG = b"LIUTONG-SAMPLE-" + SUITE


def _sample_messages(batch: int) -> list[bytes]:
    return [number.to_bytes(16, "big") for number in range(batch)]


def _sample_points(batch: int) -> bytes:
    return (b"\x09" + bytes(31)) * batch  # the base point


HASH_TO_CURVE: Op[[Sequence[bytes], bytes], bytes] = Op(
    "curve25519.hash_to_curve", sample=lambda batch: (_sample_messages(batch), _SAMPLE_TAG)
)
SCALAR_MULT: Op[[bytes, bytes], bytes] = Op(
    "curve25519.scalar_mult", sample=lambda batch: (_sample_points(batch), _SAMPLE_SCALAR)
)
HASH_AND_MULTIPLY: Op[[Sequence[bytes], bytes, bytes], bytes] = Op(
    "curve25519.hash_and_multiply",
    sample=lambda batch: (_sample_messages(batch), _SAMPLE_TAG, _SAMPLE_SCALAR),
)
FIND_INVALID: Op[[bytes], Invalid] = Op(
    "curve25519.find_invalid", sample=lambda batch: (_sample_points(batch),)
)


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
    check_messages(messages, dst)
    return HASH_TO_CURVE.select(backend, batch=len(messages))(messages, dst)


def scalar_mult_many(points: bytes, scalar: bytes, *, backend: str = "auto") -> bytes:
    """Multiply every point by one secret scalar (X25519); n points in, n points out, in order.

    Constant-time in the scalar but with ``reference``, which is for tests only. Validates every input point
    first, so points of a peer may be passed as they came.

    Raises BadEncoding for a length that is no multiple of 32, InvalidPoint with ``index``, BadParameter for
    a scalar that is not 32 clamped bytes (take it from `random_scalar`).
    """
    check_scalar(scalar)
    count = validate(points)
    return SCALAR_MULT.select(backend, batch=count)(points, scalar)


def hash_and_multiply(
    messages: Sequence[bytes], dst: bytes, scalar: bytes, *, backend: str = "auto"
) -> bytes:
    """``scalar_mult_many(hash_to_curve(messages, dst), scalar)`` in one go, which saves time.

    Raises what these raise; hashed points need no validation. Messages and scalar are protected as there.
    """
    check_messages(messages, dst)
    check_scalar(scalar)
    return HASH_AND_MULTIPLY.select(backend, batch=len(messages))(messages, dst, scalar)


def validate(points: bytes) -> int:
    """Check points from a peer and return how many there are.

    Each must be canonically encoded (u < p), on the curve and not on its twist, and not of low order.

    A component of low order besides a prime-order one is not looked for: clamped scalars remove it.
    Raises BadEncoding for a length that is no multiple of 32, InvalidPoint with ``index``, and BadParameter
    for what is not bytes: a buffer that others can write to might change after it was checked.
    """
    if not isinstance(points, bytes):
        raise BadParameter("points come as bytes")
    if len(points) % POINT_BYTES:
        raise BadEncoding(f"points take 32 bytes each, {len(points)} bytes is no multiple of that")
    count = len(points) // POINT_BYTES
    bad = FIND_INVALID.select("auto", batch=count)(points)
    if bad is not None:
        index, reason = bad
        raise InvalidPoint(f"point {index} {reason}", index=index)
    return count


def check_messages(messages: Sequence[bytes], dst: bytes) -> None:
    """Raise BadParameter for an empty tag or a message that is not bytes."""
    if not isinstance(dst, bytes) or not dst:
        raise BadParameter("the domain separation tag must be at least one byte")
    # The types first, all at once: a loop over a million messages takes longer than hashing them.
    if set(map(type, messages)) <= {bytes}:
        return
    for index, message in enumerate(messages):
        if not isinstance(message, bytes):
            raise BadParameter(f"message {index} is not bytes", index=index)


def check_scalar(scalar: bytes) -> None:
    """Raise BadParameter unless these are 32 clamped bytes."""
    if not isinstance(scalar, bytes) or len(scalar) != SCALAR_BYTES or scalar[0] & 7 or scalar[31] >> 6 != 1:
        raise BadParameter("a scalar is 32 clamped bytes; use random_scalar")


# -- backends

HASH_TO_CURVE.backend("reference")(_reference.hash_to_curve)
HASH_TO_CURVE.backend("portable", needs="gmpy2")(_cpu.hash_to_curve)
HASH_TO_CURVE.backend("gpu", needs="cupy", min_batch=4096)(_gpu.hash_to_curve)

SCALAR_MULT.backend("reference")(_reference.scalar_mult_many)
SCALAR_MULT.backend("portable", needs="cryptography")(_cpu.scalar_mult_many)
SCALAR_MULT.backend("gpu", needs="cupy", min_batch=4096)(_gpu.scalar_mult_many)

HASH_AND_MULTIPLY.backend("reference")(_reference.hash_and_multiply)
HASH_AND_MULTIPLY.backend("portable", needs="gmpy2 cryptography")(_cpu.hash_and_multiply)
HASH_AND_MULTIPLY.backend("gpu", needs="cupy", min_batch=4096)(_gpu.hash_and_multiply)

FIND_INVALID.backend("reference")(_reference.find_invalid)
FIND_INVALID.backend("portable", needs="gmpy2")(_cpu.find_invalid)
FIND_INVALID.backend("gpu", needs="cupy", min_batch=4096)(_gpu.find_invalid)


def _register_vectors(level: str) -> None:
    """The kernels of one CPU level; numba is imported when one is first called.

    One vector takes as long as the portable backend for three points.
    """

    @HASH_TO_CURVE.backend(level, needs="numba", min_batch=4)
    def hash_to_curve(messages: Sequence[bytes], dst: bytes) -> bytes:
        from accel.cpu import curve25519_vector

        return curve25519_vector.hash_to_curve(level, messages, dst)

    @SCALAR_MULT.backend(level, needs="numba", min_batch=4)
    def scalar_mult_many(points: bytes, scalar: bytes) -> bytes:
        from accel.cpu import curve25519_vector

        return curve25519_vector.scalar_mult_many(level, points, scalar)

    @HASH_AND_MULTIPLY.backend(level, needs="numba", min_batch=4)
    def hash_and_multiply(messages: Sequence[bytes], dst: bytes, scalar: bytes) -> bytes:
        from accel.cpu import curve25519_vector

        return curve25519_vector.hash_and_multiply(level, messages, dst, scalar)

    @FIND_INVALID.backend(level, needs="numba", min_batch=4)
    def find_invalid(points: bytes) -> Invalid:
        from accel.cpu import curve25519_check

        return curve25519_check.find_invalid(level, points)


_register_vectors("avx2")
_register_vectors("ifma")


# -- known answers


@HASH_TO_CURVE.known_answer
def _known_hash(run: Callable[[Sequence[bytes], bytes], bytes]) -> None:
    document = selftest.vectors("curve25519")
    cases = document["hash_to_curve"]
    got = run([case["msg"].encode() for case in cases], document["dst"].encode())
    expected = b"".join(bytes.fromhex(case["P_x"])[::-1] for case in cases)
    selftest.expect(got == expected, "curve25519.hash_to_curve")


@SCALAR_MULT.known_answer
def _known_product(run: Callable[[bytes, bytes], bytes]) -> None:
    for case in selftest.vectors("curve25519")["x25519"]:
        got = run(bytes.fromhex(case["u"]), bytes.fromhex(case["scalar"]))
        selftest.expect(got.hex() == case["result"], "curve25519.scalar_mult")


@HASH_AND_MULTIPLY.known_answer
def _known_hash_and_product(run: Callable[[Sequence[bytes], bytes, bytes], bytes]) -> None:
    document = selftest.vectors("curve25519")
    case = document["hash_and_multiply"][0]
    got = run([case["msg"].encode()], document["dst"].encode(), bytes.fromhex(case["scalar"]))
    selftest.expect(got.hex() == case["result"], "curve25519.hash_and_multiply")


@FIND_INVALID.known_answer
def _known_invalid(run: Callable[[bytes], Invalid]) -> None:
    document = selftest.vectors("curve25519")
    good = b"".join(bytes.fromhex(case["P_x"])[::-1] for case in document["hash_to_curve"])
    selftest.expect(run(good) is None, "curve25519.find_invalid refuses valid points")
    for case in document["invalid"]:
        found = run(good + bytes.fromhex(case["u"]) + good)
        at = len(good) // POINT_BYTES
        selftest.expect(found is not None and found[0] == at, "curve25519.find_invalid accepts a bad point")
