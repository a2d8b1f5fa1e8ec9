"""What can go wrong in arithmetic. Codes are stable and never reused.

Errors about a secret operation (`DecryptionFailed`, `BadSignature`) never say why it failed: the reason
would be an oracle. Errors about public values name the index of the offending element.
"""

from __future__ import annotations


class AccelError(Exception):
    """Root of the tree. ``detail`` holds public facts only, such as the index of a bad element."""

    code = "accel.error"

    def __init__(self, message: str, **detail: object) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class BadParameter(AccelError):
    """An argument is outside what the operation is defined for (type, length, range)."""

    code = "accel.bad_parameter"


class BackendUnavailable(AccelError):
    """The backend that was asked for by name, or one that the operation needs, is not on this machine."""

    code = "accel.backend_unavailable"


class BadEncoding(AccelError):
    """Bytes are truncated, too long, non-canonical or of another version."""

    code = "accel.bad_encoding"


class InvalidPoint(AccelError):
    """A point is off the curve, of low order, at infinity or not canonically encoded (``index``)."""

    code = "accel.invalid_point"


class InvalidKey(AccelError):
    """A key does not have the form or the size that its scheme needs."""

    code = "accel.invalid_key"


class InvalidCiphertext(AccelError):
    """A ciphertext is outside its group (``index``)."""

    code = "accel.invalid_ciphertext"


class WrongKey(AccelError):
    """Ciphertexts under different keys, or a ciphertext under a key other than the one at hand."""

    code = "accel.wrong_key"


class PlaintextOverflow(AccelError):
    """A value, or the bound carried for a homomorphic result, does not fit the plaintext space."""

    code = "accel.plaintext_overflow"


class NotRerandomized(AccelError):
    """A homomorphic result was about to leave the process although it can be linked to its inputs."""

    code = "accel.not_rerandomized"


class BadSignature(AccelError):
    """A signature does not verify; deliberately without a reason."""

    code = "accel.bad_signature"


class DecryptionFailed(AccelError):
    """A ciphertext does not decrypt or authenticate; deliberately without a reason."""

    code = "accel.decryption_failed"


class SelfTestFailed(AccelError):
    """A known answer came out wrong: this installation must not be used."""

    code = "accel.self_test_failed"


class NotInvertible(AccelError):
    """An element shares a factor with its modulus (``index``)."""

    code = "accel.not_invertible"


class DeviceOutOfMemory(AccelError):
    """A batch does not fit the memory of the GPU, even in pieces."""

    code = "accel.device_out_of_memory"


class KeyConfirmationFailed(AccelError):
    """The parties of a key exchange do not share a key; deliberately without a reason."""

    code = "accel.key_confirmation_failed"


class DuplicateItem(AccelError):
    """An item occurs twice where all must differ (``index`` of one of the two)."""

    code = "accel.duplicate_item"


class EncodingFailed(AccelError):
    """Random equations have no solution under this seed: draw another. Once in 2^40 times."""

    code = "accel.encoding_failed"
