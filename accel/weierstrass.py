"""Batch arithmetic on the curves SM2 and secp256k1, and hashing to them (RFC 9380).

    from accel import weierstrass as ec
    public = ec.multiply_base(ec.SM2, secrets)          # (n, 32) -> (n, 64)
    shared = ec.multiply(ec.SM2, points, secret)        # one secret for all points, or one each
    hashed = ec.hash_to_curve(ec.SM2, messages, b"app-v1-session")

Arrays are numpy uint8 matrices of big-endian rows: scalars and digests have 32 bytes, affine points x ‖ y 64,
compressed points 02/03 ‖ x 33. Both curves have prime order and cofactor 1: every point but infinity, which
has no row, generates the group. Empty batches give empty results.

Secret scalars: the vector paths `ifma` and `avx2` read every table entry and take no branch on a secret;
`portable` fixes the sequence of field operations only; `reference` may never meet a secret.
Curve sources: GB/T 32918.5-2017, SEC 2 version 2.0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from accel import selftest
from accel.byte_rows import below
from accel.cpu.hash_to_field import hash_to_field
from accel.errors import BadParameter, InvalidPoint
from accel.reference.sswu import SUITES
from accel.reference.weierstrass import SECP256K1, SM2, Curve, Flags, Rows
from accel.weierstrass_backends import (
    DECOMPRESS,
    MAP_TO_CURVE,
    MULTIPLY,
    MULTIPLY_ADD,
    MULTIPLY_BASE,
    ON_CURVE,
    SIGN_DIGESTS,
    VERIFY_DIGESTS,
)

__all__ = [
    "SECP256K1",
    "SM2",
    "Curve",
    "Flags",
    "Rows",
    "compress",
    "decompress",
    "hash_to_curve",
    "multiply",
    "multiply_add_public",
    "multiply_base",
    "sign_digests",
    "suite",
    "validate",
    "verify_digests",
]


def multiply_base(curve: Curve, scalars: Rows, *, backend: str = "auto") -> Rows:
    """k G for every secret scalar k; (n, 32) -> (n, 64).

    Raises BadParameter with ``index`` for a scalar that is not from 1 to the order less one.
    """
    scalars = _matrix(scalars, 32, "scalars")
    _check_scalars(curve, scalars)
    if not len(scalars):
        return _empty(64)
    return MULTIPLY_BASE.select(backend, batch=len(scalars))(curve, scalars)


def multiply(curve: Curve, points: Rows, scalars: Rows, *, backend: str = "auto") -> Rows:
    """k P for points and secret scalars, row by row; either may be a single vector that serves all rows.

    Validates the points, so those of a peer may be passed as they came. Raises InvalidPoint or BadParameter
    with ``index``.
    """
    points, scalars = _matrix(points, 64, "points", one=True), _matrix(scalars, 32, "scalars", one=True)
    batch = _common_length(points, scalars)
    validate(curve, points, backend=backend)
    _check_scalars(curve, scalars)
    if not batch:
        return _empty(64)
    return MULTIPLY.select(backend, batch=batch)(curve, points, scalars)


def multiply_add_public(
    curve: Curve, u1: Rows, points: Rows, u2: Rows, *, backend: str = "auto"
) -> tuple[Rows, Flags]:
    """u1 G + u2 P, row by row, and which sums are infinity (their rows are zeros).

    All arguments are public, timing may depend on them. Scalars may be 0; ``points`` may be a single vector.
    Raises InvalidPoint, or BadParameter for a scalar not below the order, with ``index``.
    """
    u1, u2 = _matrix(u1, 32, "u1"), _matrix(u2, 32, "u2")
    points = _matrix(points, 64, "points", one=True)
    if len(u1) != len(u2):
        raise BadParameter(f"{len(u1)} scalars u1 and {len(u2)} scalars u2")
    batch = _length_with(u1, points)
    validate(curve, points, backend=backend)
    for scalars in (u1, u2):
        _raise_first(~below(scalars, curve.n), "scalar", "is not below the order of the curve")
    if not batch:
        return _empty(64), np.zeros(0, np.bool_)
    return MULTIPLY_ADD.select(backend, batch=batch)(curve, u1, points, u2)


def validate(curve: Curve, points: Rows, *, backend: str = "auto") -> None:
    """Return if every row is a point of the curve with canonical coordinates; infinity has no such row.

    Raises InvalidPoint with the ``index`` of the first that is not. The points are public.
    """
    _check_curve(curve)
    points = _matrix(points, 64, "points", one=True)
    canonical = below(points[:, :32], curve.p) & below(points[:, 32:], curve.p)
    if len(points):
        canonical &= ON_CURVE.select(backend, batch=len(points))(curve, points)
    if not canonical.all():
        index = int(np.flatnonzero(~canonical)[0])
        raise InvalidPoint(f"point {index} is not on the curve {curve.name}", index=index)


def compress(curve: Curve, points: Rows, *, backend: str = "auto") -> Rows:
    """02 or 03 by the parity of y, and x (SEC 1 section 2.3.3); (n, 64) -> (n, 33). Raises InvalidPoint."""
    points = _matrix(points, 64, "points")
    validate(curve, points, backend=backend)
    return np.concatenate([np.uint8(2) + (points[:, 63:] & np.uint8(1)), points[:, :32]], axis=1)


def decompress(curve: Curve, compressed: Rows, *, backend: str = "auto") -> Rows:
    """Inverse of `compress`; (n, 33) -> (n, 64). The points are public.

    Raises InvalidPoint with ``index`` for another prefix, x not below the field's prime, or x of no point.
    """
    _check_curve(curve)
    compressed = _matrix(compressed, 33, "compressed points")
    if not len(compressed):
        return _empty(64)
    xs, parities = np.ascontiguousarray(compressed[:, 1:]), compressed[:, 0] & np.uint8(1)
    points, found = DECOMPRESS.select(backend, batch=len(xs))(curve, xs, parities)
    good = found & below(xs, curve.p) & (compressed[:, 0] >> 1 == 1)
    if not good.all():
        index = int(np.flatnonzero(~good)[0])
        raise InvalidPoint(f"compressed point {index} is not on the curve {curve.name}", index=index)
    return points


def suite(curve: Curve) -> bytes:
    """The name of the suite of `hash_to_curve`."""
    return SUITES[curve.name].identifier


def hash_to_curve(curve: Curve, messages: Sequence[bytes], dst: bytes, *, backend: str = "auto") -> Rows:
    """Hash every message to a point nobody knows the discrete logarithm of; (n, 64).

    secp256k1: suite secp256k1_XMD:SHA-256_SSWU_RO_ of RFC 9380 section 8.7. SM2: SM2_XMD:SM3_SSWU_RO_, which
    no standard registers: built as RFC 9380 prescribes for new suites (see `accel.reference.sswu`).
    ``dst`` is the domain separation tag, 1 byte or more, bound to application and session. Equal messages
    give equal points. Timing depends on the messages: only the process that owns them may measure it.
    Raises BadParameter for an empty tag or, with ``index``, a message that is not bytes.
    """
    if not isinstance(dst, bytes) or not dst:
        raise BadParameter("the domain separation tag must be at least one byte")
    for index, message in enumerate(messages):
        if not isinstance(message, bytes):
            raise BadParameter(f"message {index} is not bytes", index=index)
    _check_curve(curve)
    selftest.ensure("weierstrass")
    if not len(messages):
        return _empty(64)
    elements = hash_to_field(curve, messages, dst)
    points, infinite = MAP_TO_CURVE.select(backend, batch=len(messages))(curve, elements)
    _raise_first(infinite, "message", "hashed to the point at infinity")
    return points


def sign_digests(d: Rows, digests: Rows, nonces: Rows, *, backend: str = "auto") -> tuple[Rows, Flags]:
    """SM2 signatures r ‖ s on digests (GB/T 32918.2-2016 section 6.1), and which nonces served.

    ``d``: 32 bytes, secret, from 1 to the order less two. ``nonces``: one fresh, secret, uniform scalar each;
    two signatures with one nonce give away d. Where the flag is unset (chance 2^-255) the row is zeros and
    the digest needs another nonce. Raises BadParameter, with ``index`` for a nonce out of range.
    """
    if not isinstance(d, np.ndarray) or d.shape != (32,):
        raise BadParameter("an SM2 private key is one vector of 32 bytes")
    key = _matrix(d, 32, "private keys", one=True)
    if not below(key, SM2.n - 1, nonzero=True).all():
        raise BadParameter("the SM2 private key is out of range")
    digests, nonces = _matrix(digests, 32, "digests"), _matrix(nonces, 32, "nonces")
    if len(digests) != len(nonces):
        raise BadParameter(f"{len(digests)} digests and {len(nonces)} nonces")
    _check_scalars(SM2, nonces)
    if not len(digests):
        return _empty(64), np.zeros(0, np.bool_)
    return SIGN_DIGESTS.select(backend, batch=len(digests))(key[0], digests, nonces)


def verify_digests(points: Rows, digests: Rows, signatures: Rows, *, backend: str = "auto") -> Flags:
    """Which SM2 signatures r ‖ s on digests are right (GB/T 32918.2-2016 section 7.1); everything is public.

    ``points``: one public key each, or a single vector for all. A signature out of range is merely wrong.
    Raises InvalidPoint with ``index`` for a public key off the curve.
    """
    points = _matrix(points, 64, "points", one=True)
    digests, signatures = _matrix(digests, 32, "digests"), _matrix(signatures, 64, "signatures")
    if len(digests) != len(signatures):
        raise BadParameter(f"{len(digests)} digests and {len(signatures)} signatures")
    batch = _length_with(digests, points)
    validate(SM2, points, backend=backend)
    if not batch:
        return np.zeros(0, np.bool_)
    return VERIFY_DIGESTS.select(backend, batch=batch)(points, digests, signatures)


def _matrix(rows: Rows, width: int, what: str, *, one: bool = False) -> Rows:
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8:
        raise BadParameter(f"{what} come in a numpy array of uint8")
    if one and rows.shape == (width,):
        rows = rows.reshape(1, width)
    if rows.ndim != 2 or rows.shape[1] != width:
        raise BadParameter(f"{what} form a matrix of {width} columns, not the shape {rows.shape}")
    return np.ascontiguousarray(rows)


def _common_length(*matrices: Rows) -> int:
    """The batch size; a matrix of one row serves any."""
    lengths = {len(rows) for rows in matrices}
    if len(lengths - {1}) > 1:
        raise BadParameter(f"batches of different lengths: {', '.join(map(str, sorted(lengths)))}")
    return 0 if 0 in lengths else max(lengths)


def _length_with(rows: Rows, points: Rows) -> int:
    """The batch size where a single point serves all rows, but no single row serves all points."""
    if len(points) not in (1, len(rows)):
        raise BadParameter(f"{len(points)} points for a batch of {len(rows)}")
    return len(rows)


def _check_scalars(curve: Curve, scalars: Rows) -> None:
    _check_curve(curve)
    _raise_first(
        ~below(scalars, curve.n, nonzero=True), "scalar", "is not from 1 to the order of the curve less one"
    )


def _raise_first(wrong: Flags, what: str, why: str) -> None:
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        raise BadParameter(f"{what} {index} {why}", index=index)


def _check_curve(curve: Curve) -> None:
    if curve not in (SM2, SECP256K1):
        raise BadParameter("the curve is SM2 or SECP256K1")


def _empty(width: int) -> Rows:
    return np.zeros((0, width), np.uint8)


@selftest.known_answer("weierstrass")
def _known_answer() -> None:
    document = selftest.vectors("weierstrass")
    for case in document["hash_to_curve"][:2]:
        curve = {SM2.name: SM2, SECP256K1.name: SECP256K1}[case["curve"]]
        got = hash_to_curve(curve, [case["message"].encode()], document["dst"][curve.name].encode())
        selftest.expect(got.tobytes().hex() == case["point"], "weierstrass.hash_to_curve")
