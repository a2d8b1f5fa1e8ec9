"""What crosses between the roles of both statistics kinds: ciphertexts of moments, a summary at the end."""

from __future__ import annotations

from accel import paillier
from accel.errors import AccelError
from compute.errors import ProtocolAbort
from compute.protocols.protocol import Message
from compute.protocols.stats.moments import BOUND
from compute.protocols.stream import Uint32, split


class Summary(Message, frozen=True, tag="stats.summary"):
    """How many groups go to the consumer, and how many were suppressed."""

    released: Uint32
    suppressed: Uint32


def check_summary(summary: Summary, groups: int, role: str) -> None:
    """Raise ProtocolAbort unless the summary of ``role`` speaks of all groups."""
    if summary.released + summary.suppressed != groups:
        raise ProtocolAbort(f"{role} reports another number of groups")


def to_bytes(array: paillier.EncryptedArray) -> bytes:
    """Ciphertexts at the fixed width of their key; rerandomise what was computed before it goes out."""
    width = array.key.ciphertext_bytes
    return b"".join(value.to_bytes(width, "big") for value in array.ciphertexts())


def from_bytes(key: paillier.PublicKey, data: bytes, count: int, role: str) -> paillier.EncryptedArray:
    """The ``count`` ciphertexts that ``role`` sent; raises ProtocolAbort unless each is one under ``key``."""
    if len(data) != count * key.ciphertext_bytes:
        raise ProtocolAbort(f"{role} sent another number of ciphertexts than groups or rows")
    numbers = [int.from_bytes(item, "big") for item in split(data, key.ciphertext_bytes)]
    try:
        return paillier.EncryptedArray.from_ciphertexts(key, numbers, bound=BOUND)
    except AccelError as error:
        raise ProtocolAbort(f"{role} sent an invalid ciphertext: {error.message}") from error
