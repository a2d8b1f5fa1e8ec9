"""Secure aggregation by pairwise masks: the coordinator learns the sum of the parties' vectors, no vector.

Every two parties agree on a seed by X25519 over their own channel. For each round a pair expands it to a
vector of uniform integers modulo 2^256, which one adds and the other subtracts: each masked vector alone is
uniform, and in the sum the masks cancel. The expansion also takes in everything the coordinator has said so
far: one that tells two parties different things gets noise. All parties of a job take part in every round;
if one is lost the job ends, so no seed is ever opened.

Source: Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning", CCS 2017,
section 4, without its dropout recovery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta

from accel.encoding import to_fixed
from accel.errors import BadParameter
from compute.errors import BadInput, ProtocolAbort
from compute.protocols.protocol import Message, Part, Rng, Send, receive

WORD_BYTES = 32
MODULUS = 1 << (8 * WORD_BYTES)
# Sums of squares of doubles below 2^63 over 2^40 rows stay below 2^166, far from half the modulus.
SCALE_BITS = 80
_HALF = MODULUS >> 1
MAX_SUM_BITS = 170


class MaskKey(Message, frozen=True, tag="mask.key"):
    """A party's X25519 public key for the masks of one job."""

    key: Annotated[bytes, Meta(min_length=32, max_length=32)]


class Masks:
    """A party's pairwise seeds. Holds secrets: no repr, one job only."""

    __slots__ = ("_role", "_seeds")

    def __init__(self, role: str, seeds: Mapping[str, bytes]) -> None:
        self._role = role
        self._seeds = dict(seeds)

    def mask(self, vector: Sequence[int], round_number: int, heard: bytes) -> bytes:
        """The vector plus our masks of this round, as words modulo 2^256. One vector per round.

        ``heard`` is the digest of all that the coordinator said; masks cancel only if it is the same
        everywhere.
        """
        masked = list(vector)
        for peer, seed in self._seeds.items():
            sign = 1 if _index(self._role) < _index(peer) else -1
            pad = _expand(seed, round_number, heard, len(vector))
            masked = [value + sign * word for value, word in zip(masked, pad, strict=True)]
        return b"".join((value % MODULUS).to_bytes(WORD_BYTES, "little") for value in masked)


def agree(role: str, peers: Sequence[str], binding: bytes, rng: Rng) -> Part[Masks]:
    """Exchange keys with every other party and derive the pairwise seeds.

    The channels authenticate the keys; the binding ties the seeds to the job. Raises ProtocolAbort for a
    key of low order, whose shared secret everybody would know.
    """
    private = X25519PrivateKey.from_private_bytes(rng(32))
    ours = private.public_key().public_bytes_raw()
    for peer in peers:
        yield Send(peer, MaskKey(ours))
    seeds = {}
    for peer in peers:
        theirs = (yield from receive(peer, MaskKey)).key
        try:
            shared = private.exchange(X25519PublicKey.from_public_bytes(theirs))
        except ValueError as error:
            raise ProtocolAbort(f"{peer} sent an invalid key") from error
        first, second = sorted(((role, ours), (peer, theirs)))
        info = b"liutong/fl/mask/v1\0" + first[0].encode() + first[1] + second[0].encode() + second[1]
        seeds[peer] = HKDF(algorithm=SHA256(), length=32, salt=binding, info=info).derive(shared)
    return Masks(role, seeds)


def encode(values: Sequence[float], name: str) -> list[int]:
    """Signed fixed-point integers; raises BadInput if one is not finite or too large to be summed."""
    try:
        encoded = to_fixed(values, SCALE_BITS)
    except BadParameter as error:
        raise BadInput(f"{name} holds a number that is not finite") from error
    if any(value.bit_length() > MAX_SUM_BITS + SCALE_BITS - 6 for value in encoded):
        raise BadInput(f"{name} holds a number that is too large to be summed")
    return encoded


def add(vectors: Mapping[str, bytes], length: int) -> list[Fraction]:
    """The sum of all parties' masked vectors, unmasked because the masks cancel; exact.

    Raises ProtocolAbort for a vector of another length. A party that masks wrongly makes the sum random:
    that shows as a number out of range, also ProtocolAbort, but for a chance of 2^-6 per word and length.
    """
    totals = [0] * length
    for role, data in vectors.items():
        if len(data) != length * WORD_BYTES:
            raise ProtocolAbort(f"{role} sent a vector of another length")
        for index in range(length):
            word = data[index * WORD_BYTES : (index + 1) * WORD_BYTES]
            totals[index] += int.from_bytes(word, "little")
    signed = [(total % MODULUS + _HALF) % MODULUS - _HALF for total in totals]
    if any(abs(total).bit_length() > MAX_SUM_BITS + SCALE_BITS for total in signed):
        raise ProtocolAbort("the parties' masks do not cancel")
    return [Fraction(total, 1 << SCALE_BITS) for total in signed]


def _expand(seed: bytes, round_number: int, heard: bytes, length: int) -> list[int]:
    info = b"liutong/fl/round/v1\0" + round_number.to_bytes(8, "big") + heard
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(seed)
    # The key serves one vector only, so the counter may start at zero.
    encryptor = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    stream = encryptor.update(bytes(length * WORD_BYTES))
    return [
        int.from_bytes(stream[at : at + WORD_BYTES], "little") for at in range(0, len(stream), WORD_BYTES)
    ]


def _index(role: str) -> int:
    return int(role[1:])
