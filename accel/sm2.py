"""SM2 signatures, public-key encryption and key exchange (GB/T 32918-2016/2017), one and many.

    private = sm2.generate()
    signature = sm2.sign(private, b"message")
    sm2.verify(private.public, b"message", signature)    # returns, or raises BadSignature
    sealed = sm2.encrypt(private.public, b"secret")      # C1 ‖ C3 ‖ C2
    sm2.decrypt(private, sealed)

    signatures = sm2.sign_many(private, messages)        # uint8 (n, 64)
    sm2.verify_many(private.public, messages, signatures)    # booleans

Signatures travel as 64 bytes r ‖ s, ciphertexts as 04 ‖ x ‖ y ‖ C3 ‖ C2; `accel.sm2_encoding` converts to
ASN.1 and to the old order C1C2C3. The key exchange is in `accel.sm2_exchange`. On the vector paths nothing
depends on a secret but values in registers; the portable path fixes the sequence of field operations only
(see README, timing).
"""

from __future__ import annotations

from accel import selftest
from accel.sm2_encoding import (
    SIGNATURE_BYTES,
    ciphertext_from_c1c2c3,
    ciphertext_from_der,
    ciphertext_to_c1c2c3,
    ciphertext_to_der,
    signature_from_der,
    signature_to_der,
)
from accel.sm2_encryption import (
    MAX_PLAINTEXT_BYTES,
    decrypt,
    decrypt_many,
    encrypt,
    encrypt_many,
    encrypt_with,
)
from accel.sm2_exchange import Initiator, Responder
from accel.sm2_keys import PrivateKey, PublicKey, generate
from accel.sm2_signature import (
    DEFAULT_ID,
    identity_digest,
    identity_digests,
    sign,
    sign_digest,
    sign_many,
    verify,
    verify_many,
)

__all__ = [
    "DEFAULT_ID",
    "MAX_PLAINTEXT_BYTES",
    "SIGNATURE_BYTES",
    "Initiator",
    "PrivateKey",
    "PublicKey",
    "Responder",
    "ciphertext_from_c1c2c3",
    "ciphertext_from_der",
    "ciphertext_to_c1c2c3",
    "ciphertext_to_der",
    "decrypt",
    "decrypt_many",
    "encrypt",
    "encrypt_many",
    "encrypt_with",
    "generate",
    "identity_digest",
    "identity_digests",
    "sign",
    "sign_digest",
    "sign_many",
    "signature_from_der",
    "signature_to_der",
    "verify",
    "verify_many",
]


@selftest.known_answer("sm2")
def _known_answer() -> None:
    document = selftest.vectors("sm2")
    case = document["sign"][0]
    private = PrivateKey(int(case["d"], 16))
    message, identity = case["message"].encode(), case["identity"].encode()
    got = sign_digest(private.d, int(case["e"], 16), int(case["k"], 16))
    selftest.expect(got == (int(case["r"], 16), int(case["s"], 16)), "sm2.sign")
    verify(private.public, message, bytes.fromhex(case["r"] + case["s"]), identity=identity)
    case = document["encrypt"][0]
    plaintext = decrypt(PrivateKey(int(case["d"], 16)), bytes.fromhex(case["ciphertext"]))
    selftest.expect(plaintext == case["plaintext"].encode(), "sm2.decrypt")
