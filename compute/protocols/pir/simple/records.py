"""Records of a table as equally long ciphertexts, each under a key of its own.

The hint and every answer of SimplePIR tell linear facts about the whole database, and of a small one all of
it. So the database holds ciphertexts only; the key of a record comes from the oblivious function.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from compute.errors import BadInput
from compute.protocols import payload
from compute.protocols.identifiers import column

TAG_BYTES = 16
LENGTH_BYTES = 4
# Sizes are rounded up, so the longest record is known only roughly.
SIZE_STEP = 32


def row_records(
    table: pa.Table, columns: Sequence[str], groups: Sequence[Sequence[int]], most: int
) -> list[bytes]:
    """Record i is the JSON list of the rows ``groups[i]``.

    Raises BadInput naming the row of a record beyond ``most`` bytes.
    """
    rows = payload.plain_rows(pa.table({name: column(table, name) for name in columns}))
    records = []
    for group in groups:
        record = msgspec.json.encode([dict(zip(columns, rows[row], strict=True)) for row in group])
        if len(record) > most:
            raise BadInput(
                f"the record of row {group[0]} has {len(record)} bytes: raise max_record_bytes or ask for "
                "fewer columns",
                row=group[0],
            )
        records.append(record)
    return records


def padded_bytes(records: Sequence[bytes]) -> int:
    """The common length of the padded records."""
    longest = max((len(record) for record in records), default=0) + LENGTH_BYTES
    return -(-longest // SIZE_STEP) * SIZE_STEP


def seal(record: bytes, size: int, secret: bytes, binding: bytes) -> bytes:
    """The ciphertext of a record padded to ``size``; ``secret`` is the record's F and serves it alone."""
    plain = len(record).to_bytes(LENGTH_BYTES, "big") + record.ljust(size - LENGTH_BYTES, b"\0")
    # The key belongs to one record of one job, so a fixed nonce is used once.
    return AESGCM(_key(secret, binding)).encrypt(bytes(12), plain, None)


def open_sealed(sealed: bytes, secret: bytes, binding: bytes) -> bytes | None:
    """The padded record's content, or None if this is not its ciphertext under this secret."""
    try:
        plain = AESGCM(_key(secret, binding)).decrypt(bytes(12), sealed, None)
    except InvalidTag:
        return None
    length = int.from_bytes(plain[:LENGTH_BYTES], "big")
    return plain[LENGTH_BYTES : LENGTH_BYTES + length]


def parse(record: bytes, columns: Sequence[str]) -> list[dict[str, Any]] | None:
    """The rows of a record, or None unless each has exactly the columns asked for."""
    try:
        rows = msgspec.json.decode(record, type=list[dict[str, Any]])
    except msgspec.MsgspecError:
        return None
    return rows if all(set(row) == set(columns) for row in rows) else None


def matrix(sealed: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    """The ciphertexts as rows of bytes."""
    return np.frombuffer(b"".join(sealed), dtype=np.uint8).reshape(len(sealed), -1)


def _key(secret: bytes, binding: bytes) -> bytes:
    return hashlib.sha256(b"liutong/pir/record/v1\0" + binding + secret).digest()
