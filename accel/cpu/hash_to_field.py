"""hash_to_field of RFC 9380 section 5.2 for batches: two elements a message, expand_message_xmd."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from accel import sm3
from accel.reference.sswu import BLOCK_BYTES, FIELD_BYTES
from accel.reference.weierstrass import SECP256K1, SM2, Curve, Rows

DigestMany = Callable[[Sequence[bytes] | Rows], Rows]


def _sha256_many(items: Sequence[bytes] | Rows) -> Rows:
    strings = _strings(items) if isinstance(items, np.ndarray) else items
    digests = b"".join([hashlib.sha256(item).digest() for item in strings])
    return np.frombuffer(digests, np.uint8).reshape(-1, 32)


_DIGEST_MANY: dict[str, DigestMany] = {SM2.name: sm3.digest_many, SECP256K1.name: _sha256_many}


def hash_to_field(curve: Curve, messages: Sequence[bytes], dst: bytes) -> Rows:
    """Rows of two field elements, 32 big-endian bytes each. Integers reduce them: not constant-time."""
    digest_many = _DIGEST_MANY[curve.name]
    if len(dst) > 255:
        dst = digest_many([b"H2C-OVERSIZE-DST-" + dst])[0].tobytes()
    suffix = dst + bytes([len(dst)])
    head, tail = bytes(BLOCK_BYTES), (2 * FIELD_BYTES).to_bytes(2, "big") + b"\0" + suffix
    first = digest_many([head + message + tail for message in messages])
    inner = np.empty((len(first), first.shape[1] + 1 + len(suffix)), np.uint8)
    inner[:, first.shape[1] + 1 :] = np.frombuffer(suffix, np.uint8)
    blocks = [np.zeros_like(first)]
    for counter in (1, 2, 3):
        inner[:, : first.shape[1]] = first ^ blocks[-1]
        inner[:, first.shape[1]] = counter
        blocks.append(digest_many(inner))
    uniform = np.concatenate(blocks[1:], axis=1).reshape(-1, FIELD_BYTES)
    from_bytes, p = int.from_bytes, curve.p
    elements = b"".join([(from_bytes(row, "big") % p).to_bytes(32, "big") for row in _strings(uniform)])
    return np.frombuffer(elements, np.uint8).reshape(-1, 64)


def _strings(rows: Rows) -> list[bytes]:
    data, width = rows.tobytes(), rows.shape[1]
    return [data[at : at + width] for at in range(0, len(data), width)]
