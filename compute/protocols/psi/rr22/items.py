"""What an item is to this protocol: digests that job, instance and bucket are bound into.

One digest h(y) of 32 bytes serves three ends: its first bytes are the value H_B(y) that the table must give,
the table's rows are drawn from it, and it goes into the final hash H_o, which is thereby bound to the same
context. Both hashes take 48 bytes, one block of SM3; they stay apart because the first 16 bytes are the
context, itself a hash, in one of them and a part of h in the other: equal with probability 2^-128.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from accel import sm3

CONTEXT_BYTES = 16

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]

_CONTEXT = b"liutong/rr22/context/v1\0"
_COMMITMENT = b"liutong/rr22/coin/v1\0"


def context(binding: bytes, mode: str, instance: bytes, bucket: int) -> bytes:
    """128 bits that name this run of this bucket; both parties have the same."""
    parts = (binding, mode.encode(), instance, bucket.to_bytes(4, "big"))
    framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hashlib.sha256(_CONTEXT + framed).digest()[:CONTEXT_BYTES]


def digests(items: U8, context: bytes) -> U8:
    """h of every item: (n, 32) to (n, 32)."""
    return sm3.digest_joined([np.frombuffer(context, np.uint8).reshape(1, -1), items])


def values(hashed: U8, words: int) -> U64:
    """H_B: (n, words)."""
    return np.ascontiguousarray(hashed.view(np.uint64)[:, :words])


def outputs(decoded: U64, coin: bytes, hashed: U8) -> U8:
    """F from blocks (n, 2), the coin (16 bytes, empty where none is tossed) and the digests: (n, 32)."""
    if coin:
        decoded = decoded ^ np.frombuffer(coin, np.uint64)
    return sm3.digest_joined([hashed, decoded.view(np.uint8)])


def coin(theirs: bytes, ours: bytes) -> bytes:
    """What both shares give together."""
    return bytes(one ^ other for one, other in zip(theirs, ours, strict=True))


def commitment(context: bytes, share: bytes) -> bytes:
    """What binds the sender to its share of the coin; the share has 128 bits, so it hides, too."""
    return sm3.digest(_COMMITMENT + context + share)
