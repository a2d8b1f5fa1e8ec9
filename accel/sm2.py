"""SM2 signatures and public-key encryption (GB/T 32918.2-2016, 32918.4-2016, curve of 32918.5-2017).

    private = sm2.generate()
    signature = sm2.sign(private, b"message")
    sm2.verify(private.public, b"message", signature)    # returns, or raises BadSignature
    sealed = sm2.encrypt(private.public, b"secret")      # C1 ‖ C3 ‖ C2
    sm2.decrypt(private, sealed)

Signatures travel as 64 bytes r ‖ s, ciphertexts as 04 ‖ x ‖ y ‖ C3 ‖ C2; `signature_to_der` and its siblings
convert to the ASN.1 forms of GB/T 35276-2017. The number and order of field operations do not depend on
secrets; Python integers still leak through the processor's caches and multiplier (see README, timing).
"""

from __future__ import annotations

import hashlib
import hmac

import gmpy2

from accel import der, selftest, sm3
from accel.errors import AccelError, BadEncoding, BadParameter, BadSignature, DecryptionFailed
from accel.randomness import Rng, draw, random_below, system_rng
from accel.reference import sm2 as _reference
from accel.reference.sm2 import A, B, G, N, Point
from accel.sm2_keys import MULTIPLY, MULTIPLY_BASE, PrivateKey, PublicKey, generate

__all__ = [
    "DEFAULT_ID",
    "SIGNATURE_BYTES",
    "PrivateKey",
    "PublicKey",
    "ciphertext_from_der",
    "ciphertext_to_der",
    "decrypt",
    "encrypt",
    "generate",
    "sign",
    "signature_from_der",
    "signature_to_der",
    "verify",
]

DEFAULT_ID = b"1234567812345678"  # of GM/T 0009-2012 section 10, for signers without an identity of their own
SIGNATURE_BYTES = 64
MAX_PLAINTEXT_BYTES = 1 << 24
_POINT_BYTES = 65
_OVERHEAD_BYTES = _POINT_BYTES + sm3.DIGEST_BYTES


def sign(
    private: PrivateKey, message: bytes, *, identity: bytes = DEFAULT_ID, rng: Rng = system_rng
) -> bytes:
    """Sign SM3(Z ‖ message), Z binding identity and public key; 64 bytes r ‖ s.

    The nonce is derived from the key, 32 random bytes and the digest: a source of randomness that fails or
    repeats does not give away the key. Raises BadParameter for an identity of 8192 bytes or more.
    """
    selftest.ensure("sm2")
    e = _message_digest(private.public, message, identity)
    seed = draw(rng, 32)
    for attempt in range(256):
        result = sign_digest(private.d, e, _nonce(private.d, e, seed, attempt))
        if result is not None:
            r, s = result
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    raise AccelError("no nonce gave a signature: the random source is broken")


def verify(public: PublicKey, message: bytes, signature: bytes, *, identity: bytes = DEFAULT_ID) -> None:
    """Return if the signature is right; raise BadSignature, always the same, otherwise."""
    selftest.ensure("sm2")
    e = _message_digest(public, message, identity)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    t = (r + s) % N
    if len(signature) != SIGNATURE_BYTES or not 0 < r < N or not 0 < s < N or t == 0:
        raise BadSignature("the SM2 signature does not verify")
    left = _finite(MULTIPLY_BASE.select("auto", batch=1)([s])[0])
    right = _finite(MULTIPLY.select("auto", batch=1)([(public.x, public.y)], [t])[0])
    total = _reference.add(left, right)  # public values only: speed and timing do not matter
    if total is None or (e + total[0]) % N != r:
        raise BadSignature("the SM2 signature does not verify")


def encrypt(public: PublicKey, plaintext: bytes, *, rng: Rng = system_rng) -> bytes:
    """Encrypt 1 byte to 16 MiB; the result is 97 bytes longer (04 ‖ x ‖ y ‖ C3 ‖ C2).

    Raises BadParameter for an empty or too long plaintext: the standard has no ciphertext for an empty one.
    """
    selftest.ensure("sm2")
    if not 1 <= len(plaintext) <= MAX_PLAINTEXT_BYTES:
        raise BadParameter(f"SM2 encrypts 1 to {MAX_PLAINTEXT_BYTES} bytes")
    while True:
        sealed = encrypt_with(public, plaintext, 1 + random_below(N - 1, rng))
        if sealed is not None:
            return sealed


def decrypt(private: PrivateKey, ciphertext: bytes) -> bytes:
    """The plaintext, only if C1 is on the curve and C3 is right; raises DecryptionFailed otherwise."""
    selftest.ensure("sm2")
    if not _OVERHEAD_BYTES < len(ciphertext) <= _OVERHEAD_BYTES + MAX_PLAINTEXT_BYTES or ciphertext[0] != 4:
        raise DecryptionFailed("the SM2 ciphertext does not decrypt")
    try:
        c1 = PublicKey.from_bytes(ciphertext[:_POINT_BYTES])
    except AccelError:
        raise DecryptionFailed("the SM2 ciphertext does not decrypt") from None
    c3, c2 = ciphertext[_POINT_BYTES:_OVERHEAD_BYTES], ciphertext[_OVERHEAD_BYTES:]
    shared = _finite(MULTIPLY.select("auto", batch=1)([(c1.x, c1.y)], [private.d])[0])
    x2, y2 = _coordinates(shared)
    pad = sm3.kdf(x2 + y2, len(c2))
    plaintext = _xor(c2, pad)
    # Both checks are made in any case, so that time tells nothing about which one failed.
    authentic = hmac.compare_digest(sm3.digest(x2 + plaintext + y2), c3)
    if not authentic or not any(pad):
        raise DecryptionFailed("the SM2 ciphertext does not decrypt")
    return plaintext


def signature_to_der(signature: bytes) -> bytes:
    """SEQUENCE { INTEGER r, INTEGER s }."""
    if len(signature) != SIGNATURE_BYTES:
        raise BadEncoding("a raw SM2 signature has 64 bytes")
    return der.encode([int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")])


def signature_from_der(data: bytes) -> bytes:
    """Strict inverse of `signature_to_der`; raises BadEncoding."""
    numbers = der.decode(data, [int, int])
    return b"".join(_fixed(number) for number in numbers)


def ciphertext_to_der(ciphertext: bytes) -> bytes:
    """SEQUENCE { INTEGER x, INTEGER y, OCTET STRING C3, OCTET STRING C2 }."""
    if len(ciphertext) <= _OVERHEAD_BYTES or ciphertext[0] != 4:
        raise BadEncoding("a raw SM2 ciphertext begins with 04 and has more than 97 bytes")
    x, y = int.from_bytes(ciphertext[1:33], "big"), int.from_bytes(ciphertext[33:65], "big")
    return der.encode([x, y, ciphertext[65:97], ciphertext[97:]])


def ciphertext_from_der(data: bytes) -> bytes:
    """Strict inverse of `ciphertext_to_der`; raises BadEncoding. Validity is for `decrypt` to find out."""
    x, y, c3, c2 = der.decode(data, [int, int, bytes, bytes])
    if not isinstance(c3, bytes) or not isinstance(c2, bytes) or len(c3) != 32 or not c2:
        raise BadEncoding("an SM2 ciphertext in DER has a digest of 32 bytes and at least one byte of data")
    return b"\x04" + _fixed(x) + _fixed(y) + c3 + c2


def identity_digest(public: PublicKey, identity: bytes) -> bytes:
    """Z: SM3 over identity, curve and public key (GB/T 32918.2-2016 section 5.5)."""
    if len(identity) >= 1 << 13:
        raise BadParameter("an SM2 identity has fewer than 8192 bytes")
    curve = b"".join(value.to_bytes(32, "big") for value in (A, B, *G, public.x, public.y))
    return sm3.digest((8 * len(identity)).to_bytes(2, "big") + identity + curve)


def sign_digest(d: int, e: int, nonce: int) -> tuple[int, int] | None:
    """(r, s) of section 6.1, or None if the nonce must be replaced. For vectors; callers use `sign`."""
    x1, _ = _finite(MULTIPLY_BASE.select("auto", batch=1)([nonce])[0])
    r = (e + x1) % N
    inverse = int(gmpy2.powmod_sec(1 + d, N - 2, N))
    s = inverse * (nonce - r * d) % N
    return None if r == 0 or r + nonce == N or s == 0 else (r, s)


def encrypt_with(public: PublicKey, plaintext: bytes, nonce: int) -> bytes | None:
    """Section 6.1 of part 4, or None if the nonce must be replaced. For vectors; callers use `encrypt`."""
    c1 = PublicKey(*_finite(MULTIPLY_BASE.select("auto", batch=1)([nonce])[0]))
    shared = _finite(MULTIPLY.select("auto", batch=1)([(public.x, public.y)], [nonce])[0])
    x2, y2 = _coordinates(shared)
    pad = sm3.kdf(x2 + y2, len(plaintext))
    if not any(pad):
        return None
    return c1.to_bytes() + sm3.digest(x2 + plaintext + y2) + _xor(plaintext, pad)


def _message_digest(public: PublicKey, message: bytes, identity: bytes) -> int:
    return int.from_bytes(sm3.digest(identity_digest(public, identity) + message), "big")


def _nonce(d: int, e: int, seed: bytes, attempt: int) -> int:
    material = seed + e.to_bytes(32, "big") + bytes([attempt])
    wide = hmac.digest(d.to_bytes(32, "big"), b"liutong sm2 nonce" + material, hashlib.sha512)
    return 1 + int.from_bytes(wide, "big") % (N - 1)  # 512 bits: the bias is below 2^-255


def _finite(point: Point | None) -> Point:
    # The order is prime and every scalar here is from 1 to N - 1, so only a broken backend gets to infinity.
    if point is None:
        raise AccelError("a multiple of an SM2 point came out at infinity")
    return point


def _coordinates(point: Point) -> tuple[bytes, bytes]:
    return point[0].to_bytes(32, "big"), point[1].to_bytes(32, "big")


def _fixed(number: int | bytes) -> bytes:
    if not isinstance(number, int) or number >= 1 << 256:
        raise BadEncoding("an SM2 number has at most 32 bytes")
    return number.to_bytes(32, "big")


def _xor(a: bytes, b: bytes) -> bytes:
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).to_bytes(len(a), "big")


@selftest.known_answer("sm2")
def _known_answer() -> None:
    document = selftest.vectors("sm2")
    case = document["sign"][0]
    private = PrivateKey(int(case["d"], 16))
    message = case["message"].encode()
    e = _message_digest(private.public, message, case["identity"].encode())
    selftest.expect(
        sign_digest(private.d, e, int(case["k"], 16)) == (int(case["r"], 16), int(case["s"], 16)), "sm2.sign"
    )
    verify(private.public, message, bytes.fromhex(case["r"] + case["s"]), identity=case["identity"].encode())
    case = document["encrypt"][0]
    got = decrypt(PrivateKey(int(case["d"], 16)), bytes.fromhex(case["ciphertext"]))
    selftest.expect(got == case["plaintext"].encode(), "sm2.decrypt")
