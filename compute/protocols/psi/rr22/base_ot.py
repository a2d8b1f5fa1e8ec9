"""Random oblivious transfers from Diffie-Hellman: what every other secret here is grown from.

The *sender* of a transfer ends with two random keys, the *receiver* with the one it chose; the sender does
not learn which, the receiver learns nothing of the other. This is the endemic transfer of Masny and Rindal
(CCS 2019, figure 8, with a Diffie-Hellman key agreement on secp256k1), which is secure against malicious
parties in the random oracle model: both points of the receiver hash into each other, so it knows the
discrete logarithm of at most one of the sums. *Endemic*: a party that deviates may choose its own keys,
never learn or choose the other's; that is all the protocols above need.

Two messages, which may cross: the receiver's two points per transfer, the sender's one. Every transfer has
scalars of its own, and every hash takes context, index and the whole exchange of that transfer in, without
which batches are insecure (McQuoid, Rosulek and Roy, "Batching base oblivious transfers", Asiacrypt 2021).

Points cross compressed (33 bytes) and are checked on arrival. Scalars meet constant-time kernels only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accel import sm3
from accel import weierstrass as ec
from accel.errors import BadEncoding, BadParameter, InvalidPoint
from accel.reference import weierstrass as affine
from compute.errors import ProtocolAbort

POINT_BYTES = 33
KEY_BYTES = 16
# Random bytes that `choose` and `answer` use up per transfer: 128 bits beyond the order hide its remainder.
CHOOSE_BYTES = 2 * 48
ANSWER_BYTES = 48

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]

_CURVE = ec.SECP256K1
_MASK = b"liutong/rr22/base-ot/mask/v1\0"
_KEY = b"liutong/rr22/base-ot/key/v1\0"


def choose(choices: U8, context: bytes, randomness: bytes) -> tuple[U8, U8]:
    """The receiver's message (n, 2, 33) and the scalars (n, 32) that it keeps, for choice bits (n,).

    ``randomness``: `CHOOSE_BYTES` per transfer.
    """
    count = len(choices)
    wide = _scalars(randomness, 2 * count)
    exponents, others = wide[:count], wide[count:]
    other = ec.multiply_base(_CURVE, others)
    packed = ec.compress(_CURVE, other)
    masks = _hash_points(packed, choices, context)
    # What is added here is public but for its order; see the module's text.
    chosen = _add(ec.multiply_base(_CURVE, exponents), _negate(masks))
    message = np.empty((count, 2, POINT_BYTES), np.uint8)
    rows = np.arange(count)
    message[rows, choices] = ec.compress(_CURVE, chosen)
    message[rows, 1 - choices] = packed
    return message, exponents


def answer(message: U8, context: bytes, randomness: bytes) -> tuple[U8, U64]:
    """The sender's message (n, 33) and its keys (n, 2, 2) for the receiver's ``message`` (n, 2, 33).

    ``randomness``: `ANSWER_BYTES` per transfer. Raises ProtocolAbort for anything that is no point.
    """
    count = len(message)
    points = _points(message.reshape(-1, POINT_BYTES)).reshape(count, 2, 64)
    scalars = _scalars(randomness, count)
    reply = ec.compress(_CURVE, ec.multiply_base(_CURVE, scalars))
    keys = np.empty((count, 2, 2), np.uint64)
    for side in (0, 1):
        sides = np.full(count, side, np.uint8)
        masks = _hash_points(np.ascontiguousarray(message[:, 1 - side]), sides, context)
        shared = ec.multiply(_CURVE, _add(np.ascontiguousarray(points[:, side]), masks), scalars)
        keys[:, side] = _keys(shared, sides, message, reply, context)
    return reply, keys


def finish(message: U8, reply: U8, choices: U8, exponents: U8, context: bytes) -> U64:
    """The receiver's keys (n, 2), from its own message and scalars and the sender's ``reply`` (n, 33).

    Raises ProtocolAbort for anything that is no point.
    """
    shared = ec.multiply(_CURVE, _points(reply), exponents)
    return _keys(shared, choices, message, reply, context)


def _scalars(randomness: bytes, count: int) -> U8:
    """``count`` scalars from 1 to the order less one, from 48 uniform bytes each."""
    if len(randomness) != 48 * count:
        raise BadParameter(f"{count} scalars need {48 * count} random bytes")
    numbers = (
        int.from_bytes(randomness[start : start + 48], "big") % (_CURVE.n - 1) + 1
        for start in range(0, 48 * count, 48)
    )
    return np.frombuffer(b"".join(number.to_bytes(32, "big") for number in numbers), np.uint8).reshape(-1, 32)


def _points(packed: U8) -> U8:
    try:
        return ec.decompress(_CURVE, np.ascontiguousarray(packed))
    except (InvalidPoint, BadEncoding) as error:
        raise ProtocolAbort("the peer sent an invalid group element in a base transfer") from error


def _hash_points(packed: U8, sides: U8, context: bytes) -> U8:
    """H_side(index, point): a point nobody knows the logarithm of; (n, 33) -> (n, 64)."""
    messages = [
        index.to_bytes(4, "big") + bytes([side]) + row.tobytes()
        for index, (side, row) in enumerate(zip(sides.tolist(), packed, strict=True))
    ]
    return ec.hash_to_curve(_CURVE, messages, _MASK + context)


def _negate(points: U8) -> U8:
    ys = (_CURVE.p - y for _, y in affine.points(points))
    flat = b"".join(y.to_bytes(32, "big") for y in ys)
    return np.concatenate([points[:, :32], np.frombuffer(flat, np.uint8).reshape(-1, 32)], axis=1)


def _add(left: U8, right: U8) -> U8:
    """Sums of points, row by row; a peer that makes one infinite is refused (others do with 2^-256)."""
    sums = [
        affine.add(_CURVE, one, other)
        for one, other in zip(affine.points(left), affine.points(right), strict=True)
    ]
    rows, infinite = affine.rows_of_points(sums)
    if infinite.any():
        raise ProtocolAbort("the peer sent a group element that cancels its mask")
    return rows


def _keys(shared: U8, sides: U8, message: U8, reply: U8, context: bytes) -> U64:
    """One key of 16 bytes per transfer, as (n, 2) words."""
    count = len(shared)
    index = np.arange(count, dtype=">u4").view(np.uint8).reshape(count, 4)
    rows = np.concatenate([index, sides.reshape(count, 1), shared, message.reshape(count, -1), reply], axis=1)
    digests = sm3.digest_many(rows, prefix=_KEY + context)
    return np.ascontiguousarray(digests[:, :KEY_BYTES]).view("<u8").astype(np.uint64)
