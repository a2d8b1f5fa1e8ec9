"""Hashing to SM2 and secp256k1 by the simplified SWU map (RFC 9380), in plain integers.

| symbol | meaning | source |
|---|---|---|
| Z | a non-square of the field | secp256k1: section 8.7; SM2: see below |
| A', B' | the curve y^2 = x^3 + A' x + B' that the map reaches | section 6.6.2 |
| k_i | coefficients of the 3-isogeny from there to secp256k1, lowest degree first | appendix E.1 |

secp256k1 has A = 0, for which the map does not exist: RFC 9380 maps to a 3-isogenous curve and back.
No standard registers a suite for SM2. The one here follows the suite for P-256 (section 8.2) in every choice,
with SM3 for SHA-256: XMD, L = 48, k = 128, h_eff = 1, and Z = -9 as the procedure of appendix H.2 finds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from accel.reference import sm3
from accel.reference.weierstrass import (
    SECP256K1,
    SM2,
    Curve,
    Flags,
    Point,
    Rows,
    add,
    ints,
    rows_of_points,
)

FIELD_BYTES = 48  # L = ceil((256 + 128) / 8): the bias of a reduced element is below 2^-128
BLOCK_BYTES = 64  # of SHA-256 and of SM3

HashFunction = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Suite:
    """``isogeny``: coefficients of x_num, x_den, y_num, y_den, or nothing where the map reaches the curve."""

    identifier: bytes
    z: int
    a: int
    b: int
    isogeny: tuple[tuple[int, ...], ...] = ()


_ISOGENY = (
    (
        0x8E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38DAAAAA8C7,
        0x07D3D4C80BC321D5B9F315CEA7FD44C5D595D2FC0BF63B92DFFF1044F17C6581,
        0x534C328D23F234E6E2A413DECA25CAECE4506144037C40314ECBD0B53D9DD262,
        0x8E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38DAAAAA88C,
    ),
    (
        0xD35771193D94918A9CA34CCBB7B640DD86CD409542F8487D9FE6B745781EB49B,
        0xEDADC6F64383DC1DF7C4B2D51B54225406D36B641F5E41BBC52A56612A8C6D14,
        1,
    ),
    (
        0x4BDA12F684BDA12F684BDA12F684BDA12F684BDA12F684BDA12F684B8E38E23C,
        0xC75E0C32D5CB7C0FA9D0A54B12A0A6D5647AB046D686DA6FDFFC90FC201D71A3,
        0x29A6194691F91A73715209EF6512E576722830A201BE2018A765E85A9ECEE931,
        0x2F684BDA12F684BDA12F684BDA12F684BDA12F684BDA12F684BDA12F38E38D84,
    ),
    (
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFF93B,
        0x7A06534BB8BDB49FD5E9E6632722C2989467C1BFC8E8D978DFB425D2685C2573,
        0x6484AA716545CA2CF3A70C3FA8FE337E0A3D21162F0D6299A7BF8192BFD2A76F,
        1,
    ),
)

SUITES = {
    SM2.name: Suite(b"SM2_XMD:SM3_SSWU_RO_", -9 % SM2.p, SM2.a, SM2.b),
    SECP256K1.name: Suite(
        b"secp256k1_XMD:SHA-256_SSWU_RO_",
        -11 % SECP256K1.p,
        0x3F8731ABDD661ADCA08A5558F0F5D272E953D363CB6F0E5D405447C01A444533,
        1771,
        _ISOGENY,
    ),
}
HASHES: dict[str, HashFunction] = {
    SM2.name: sm3.digest,
    SECP256K1.name: lambda data: hashlib.sha256(data).digest(),
}


def expand_message_xmd(message: bytes, dst: bytes, length: int, hashed: HashFunction) -> bytes:
    """Section 5.3.1; tags of more than 255 bytes after section 5.3.3."""
    if len(dst) > 255:
        dst = hashed(b"H2C-OVERSIZE-DST-" + dst)
    suffix = dst + bytes([len(dst)])
    first = hashed(bytes(BLOCK_BYTES) + message + length.to_bytes(2, "big") + b"\0" + suffix)
    block = hashed(first + b"\x01" + suffix)
    output = block
    counter = 2
    while len(output) < length:
        mixed = bytes(a ^ b for a, b in zip(first, block, strict=True))
        block = hashed(mixed + bytes([counter]) + suffix)
        output += block
        counter += 1
    return output[:length]


def hash_to_field(curve: Curve, message: bytes, dst: bytes) -> tuple[int, int]:
    """Two field elements (section 5.2)."""
    uniform = expand_message_xmd(message, dst, 2 * FIELD_BYTES, HASHES[curve.name])
    u0, u1 = uniform[:FIELD_BYTES], uniform[FIELD_BYTES:]
    return int.from_bytes(u0, "big") % curve.p, int.from_bytes(u1, "big") % curve.p


def map_element(curve: Curve, u: int) -> Point | None:
    """map_to_curve: simplified SWU (section 6.6.2), then the isogeny if there is one (section 6.6.3)."""
    p, suite = curve.p, SUITES[curve.name]
    tv1 = suite.z * u * u % p
    tv1 = (tv1 * tv1 + tv1) % p
    if tv1 == 0:
        x1 = suite.b * pow(suite.z * suite.a, -1, p) % p
    else:
        x1 = -suite.b * pow(suite.a, -1, p) * (1 + pow(tv1, -1, p)) % p
    gx1 = (x1 * x1 * x1 + suite.a * x1 + suite.b) % p
    x2 = suite.z * u * u * x1 % p
    gx2 = (x2 * x2 * x2 + suite.a * x2 + suite.b) % p
    x, square = (x1, gx1) if pow(gx1, (p - 1) // 2, p) in (0, 1) else (x2, gx2)
    y = pow(square, (p + 1) // 4, p)
    if y % 2 != u % 2:
        y = -y % p
    return _isogeny(curve, x, y) if suite.isogeny else (x, y)


def hash_message(curve: Curve, message: bytes, dst: bytes) -> Point | None:
    """hash_to_curve (section 3); the cofactor is 1. None, infinity, is as rare as finding a logarithm."""
    u0, u1 = hash_to_field(curve, message, dst)
    return add(curve, map_element(curve, u0), map_element(curve, u1))


def map_to_curve(curve: Curve, elements: Rows) -> tuple[Rows, Flags]:
    """Rows of two field elements to their sum on the curve, and which sums are infinity."""
    pairs = ints(elements.reshape(-1, 32))
    sums = [
        add(curve, map_element(curve, u0), map_element(curve, u1))
        for u0, u1 in zip(pairs[::2], pairs[1::2], strict=True)
    ]
    return rows_of_points(sums)


def _isogeny(curve: Curve, x: int, y: int) -> Point | None:
    x_num, x_den, y_num, y_den = (_evaluate(c, x, curve.p) for c in SUITES[curve.name].isogeny)
    if x_den == 0 or y_den == 0:
        return None  # the kernel of the isogeny maps to infinity
    return x_num * pow(x_den, -1, curve.p) % curve.p, y * y_num * pow(y_den, -1, curve.p) % curve.p


def _evaluate(coefficients: Sequence[int], x: int, p: int) -> int:
    total = 0
    for coefficient in reversed(coefficients):
        total = (total * x + coefficient) % p
    return total
