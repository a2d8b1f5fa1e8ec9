"""The SM3 hash function (GB/T 32905-2016), HMAC and the key derivation of GB/T 32918.4-2016.

Runs on OpenSSL through `cryptography`, whose build may lack SM3: then BackendUnavailable, never another hash.
"""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from accel import selftest
from accel.errors import BackendUnavailable, BadParameter
from accel.reference import sm3 as _reference
from accel.registry import Op

DIGEST_BYTES = 32
BLOCK_BYTES = 64


class Hasher:
    """A running SM3 digest: `update` any number of times, then read `digest`."""

    def __init__(self, data: bytes = b"") -> None:
        try:
            self._context = hashes.Hash(hashes.SM3())
        except UnsupportedAlgorithm as error:
            raise BackendUnavailable("OpenSSL on this machine was built without SM3") from error
        self._context.update(data)

    def update(self, data: bytes) -> None:
        self._context.update(data)

    def digest(self) -> bytes:
        """The digest of everything so far; more may follow."""
        return self._context.copy().finalize()


def _openssl(data: bytes) -> bytes:
    return Hasher(data).digest()


DIGEST: Op[[bytes], bytes] = Op("sm3.digest")
DIGEST.backend("reference")(_reference.digest)
DIGEST.backend("portable", needs="cryptography")(_openssl)


def new(data: bytes = b"") -> Hasher:
    """A `Hasher`, for data that comes in pieces."""
    selftest.ensure("sm3")
    return Hasher(data)


def digest(data: bytes, *, backend: str = "auto") -> bytes:
    """The 32-byte SM3 digest."""
    selftest.ensure("sm3")
    return DIGEST.select(backend, batch=1)(data)


def hmac(key: bytes, data: bytes) -> bytes:
    """HMAC-SM3 (RFC 2104 with a block of 64 bytes), 32 bytes. Compare it with `hmac.compare_digest`."""
    selftest.ensure("sm3")
    context = HMAC(key, hashes.SM3())
    context.update(data)
    return context.finalize()


def kdf(secret: bytes, length: int) -> bytes:
    """``length`` bytes SM3(secret ‖ 1) ‖ SM3(secret ‖ 2) ‖ … (GB/T 32918.4-2016, section 5.4.3)."""
    selftest.ensure("sm3")
    if not 0 <= length < DIGEST_BYTES * (2**32 - 1):
        raise BadParameter("the length of a derived key is out of range")
    prefix = hashes.Hash(hashes.SM3())
    prefix.update(secret)
    blocks = []
    for counter in range(1, (length + DIGEST_BYTES - 1) // DIGEST_BYTES + 1):
        context = prefix.copy()
        context.update(counter.to_bytes(4, "big"))
        blocks.append(context.finalize())
    return b"".join(blocks)[:length]


@selftest.known_answer("sm3")
def _known_answer() -> None:
    for case in selftest.vectors("sm3")["digest"]:
        for backend in DIGEST.available():
            got = DIGEST.select(backend, batch=1)(bytes.fromhex(case["message"]))
            selftest.expect(got.hex() == case["digest"], f"sm3.digest on {backend}")
