"""Keys of both roles as points of curve25519 under secret scalars, and as tags once both scalars are in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from accel import curve25519
from accel.errors import BadEncoding, InvalidPoint
from compute.errors import ProtocolAbort
from compute.protocols.protocol import Part
from compute.protocols.stream import receive_array, split


def domain_separation(binding: bytes) -> bytes:
    """The hash-to-curve tag of one job: a group element of one job is worthless in another."""
    return b"LIUTONG-V1-STATS-" + curve25519.SUITE + b"-" + binding.hex().encode()


def blinding(items: Sequence[bytes], dst: bytes, scalar: bytes) -> Callable[[int, int], bytes]:
    """What `stream.send_array` asks for: items hashed to the curve and multiplied, block by block."""

    def blind(first: int, last: int) -> bytes:
        return curve25519.hash_and_multiply(items[first:last], dst, scalar)

    return blind


def receive_points(role: str, counts: Sequence[int], phase: str) -> Part[bytes]:
    """Receive curve25519 points, ``counts[i]`` for set i; raises ProtocolAbort unless each is valid.

    Within a set they must differ: honest roles remove repeats before blinding, which is injective.
    """
    points = yield from receive_array(role, sum(counts), curve25519.POINT_BYTES, phase)
    try:
        curve25519.validate(points)
    except (InvalidPoint, BadEncoding) as error:
        raise ProtocolAbort(f"{role} sent an invalid group element: {error.message}") from error
    elements = split(points, curve25519.POINT_BYTES)
    start = 0
    for count in counts:
        if len(set(elements[start : start + count])) != count:
            raise ProtocolAbort(f"{role} sent a group element twice")
        start += count
    return points


def tags(points: bytes, binding: bytes, width: int) -> list[bytes]:
    """Short digests of group elements, bound to the job; compared instead of the elements."""
    prefix = b"liutong/psi/tag/v1\0" + binding
    return [
        hashlib.sha256(prefix + point).digest()[:width] for point in split(points, curve25519.POINT_BYTES)
    ]
