"""hash_to_field of RFC 9380 section 5.2 for batches: two elements a message, expand_message_xmd."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from accel import sm3
from accel.reference.sswu import BLOCK_BYTES, FIELD_BYTES
from accel.reference.weierstrass import SECP256K1, SM2, Curve, Rows

DigestMany = Callable[[Sequence[bytes]], Rows]


def _sha256_many(items: Sequence[bytes]) -> Rows:
    digests = b"".join(hashlib.sha256(item).digest() for item in items)
    return np.frombuffer(digests, np.uint8).reshape(-1, 32)


def _sm3_many(items: Sequence[bytes]) -> Rows:
    return np.frombuffer(b"".join(map(sm3.digest, items)), np.uint8).reshape(-1, 32)


_DIGEST_MANY: dict[str, DigestMany] = {SM2.name: _sm3_many, SECP256K1.name: _sha256_many}


def hash_to_field(curve: Curve, messages: Sequence[bytes], dst: bytes) -> Rows:
    """Rows of two field elements, 32 big-endian bytes each. Integers reduce them: not constant-time."""
    digest_many = _DIGEST_MANY[curve.name]
    if len(dst) > 255:
        dst = digest_many([b"H2C-OVERSIZE-DST-" + dst])[0].tobytes()
    suffix = dst + bytes([len(dst)])
    tail = (2 * FIELD_BYTES).to_bytes(2, "big") + b"\0" + suffix
    first = digest_many([bytes(BLOCK_BYTES) + message + tail for message in messages])
    blocks = [np.zeros_like(first)]
    for counter in (1, 2, 3):
        mixed = first ^ blocks[-1]
        end = bytes([counter]) + suffix
        blocks.append(digest_many([row + end for row in _strings(mixed)]))
    uniform = np.concatenate(blocks[1:], axis=1).reshape(-1, FIELD_BYTES)
    reduced = [int.from_bytes(row, "big") % curve.p for row in _strings(uniform)]
    elements = b"".join(value.to_bytes(32, "big") for value in reduced)
    return np.frombuffer(elements, np.uint8).reshape(-1, 64)


def _strings(rows: Rows) -> list[bytes]:
    data, width = rows.tobytes(), rows.shape[1]
    return [data[at : at + width] for at in range(0, len(data), width)]
