"""SM2 signatures and ciphertexts in the forms that travel: raw, ASN.1 DER, and the order C1C2C3 of before
2012.

Raw: a signature is 64 bytes r ‖ s, a ciphertext 04 ‖ x ‖ y ‖ C3 ‖ C2 with C3 of 32 bytes. DER is that of GB/T
35276-2017: SEQUENCE { INTEGER r, INTEGER s } and SEQUENCE { INTEGER x, INTEGER y, OCTET STRING C3, OCTET
STRING C2 }. All decoders are strict, and all conversions are of public data.
"""

from __future__ import annotations

from accel import der
from accel.errors import BadEncoding

SIGNATURE_BYTES = 64
POINT_BYTES = 65
DIGEST_BYTES = 32
OVERHEAD_BYTES = POINT_BYTES + DIGEST_BYTES


def signature_to_der(signature: bytes) -> bytes:
    """From r ‖ s; raises BadEncoding for another length."""
    if len(signature) != SIGNATURE_BYTES:
        raise BadEncoding("a raw SM2 signature has 64 bytes")
    return der.encode([int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")])


def signature_from_der(data: bytes) -> bytes:
    """Strict inverse of `signature_to_der`; raises BadEncoding. Ranges are for `verify` to check."""
    numbers = der.decode(data, [int, int])
    return b"".join(_fixed(number) for number in numbers)


def ciphertext_to_der(ciphertext: bytes) -> bytes:
    """From the raw form C1C3C2; raises BadEncoding."""
    _check_raw(ciphertext)
    x, y = int.from_bytes(ciphertext[1:33], "big"), int.from_bytes(ciphertext[33:65], "big")
    return der.encode([x, y, ciphertext[65:97], ciphertext[97:]])


def ciphertext_from_der(data: bytes) -> bytes:
    """Strict inverse of `ciphertext_to_der`; raises BadEncoding. Validity is for `decrypt` to find out."""
    x, y, c3, c2 = der.decode(data, [int, int, bytes, bytes])
    if not isinstance(c3, bytes) or not isinstance(c2, bytes) or len(c3) != DIGEST_BYTES or not c2:
        raise BadEncoding("an SM2 ciphertext in DER has a digest of 32 bytes and at least one byte of data")
    return b"\x04" + _fixed(x) + _fixed(y) + c3 + c2


def ciphertext_to_c1c2c3(ciphertext: bytes) -> bytes:
    """From C1C3C2 to the order of GM/T 0003 drafts that old devices read; raises BadEncoding."""
    _check_raw(ciphertext)
    return ciphertext[:POINT_BYTES] + ciphertext[OVERHEAD_BYTES:] + ciphertext[POINT_BYTES:OVERHEAD_BYTES]


def ciphertext_from_c1c2c3(data: bytes) -> bytes:
    """Inverse of `ciphertext_to_c1c2c3`. The orders cannot be told apart: the sender must say which it is."""
    _check_raw(data)
    return data[:POINT_BYTES] + data[-DIGEST_BYTES:] + data[POINT_BYTES:-DIGEST_BYTES]


def _check_raw(ciphertext: bytes) -> None:
    if len(ciphertext) <= OVERHEAD_BYTES or ciphertext[0] != 4:
        raise BadEncoding("a raw SM2 ciphertext begins with 04 and has more than 97 bytes")


def _fixed(number: int | bytes) -> bytes:
    if not isinstance(number, int) or number >= 1 << 256:
        raise BadEncoding("an SM2 number has at most 32 bytes")
    return number.to_bytes(32, "big")
