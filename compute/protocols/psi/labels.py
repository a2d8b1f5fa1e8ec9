"""Labels: columns of one role that the other gets for matching keys, in rows of one width for all.

A row is packed into a fixed number of bytes, so that nothing depends on the values, and encrypted under a
key that follows from F of its key: who has F of the key reads the label, nobody else does. F is fresh in each
attempt and a key used once per direction (``context`` names job and role), so the label is masked with the
output of SM3's key derivation function (GB/T 32918.4-2016, 5.4.3) as with a one-time pad. An SM3 digest under
the same key, over inputs of one length, authenticates it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Meta

from accel import sm3
from compute.errors import BadInput, ProtocolAbort
from compute.protocols.identifiers import column
from compute.protocols.key_texts import raw_texts
from compute.protocols.stream import BLOCK_BYTES

KEY_BYTES = 16
MAC_BYTES = 16
MAX_TEXT_BYTES = 1 << 12
# A sealed row crosses in one block.
MAX_ROW_BYTES = BLOCK_BYTES - MAC_BYTES
_TEXT_STEP = 8

Rows = npt.NDArray[np.uint8]
_CIPHER = b"liutong/psi/label/cipher"
_MAC = b"liutong/psi/label/mac/v1"


class LabelColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What kind of values a label column has, and the bytes of each (texts: padded)."""

    kind: Literal["integer", "number", "boolean", "text"]
    size: Annotated[int, Meta(ge=1, le=MAX_TEXT_BYTES)]

    @property
    def width(self) -> int:
        """Bytes in a packed row: presence, a text's length, the value."""
        return 1 + (4 if self.kind == "text" else 0) + self.size


LabelColumns = Annotated[tuple[LabelColumn, ...], Meta(max_length=64)]


def width_of(columns: Sequence[LabelColumn]) -> int:
    """Bytes of a packed row."""
    return sum(item.width for item in columns)


def describe(table: pa.Table, names: Sequence[str]) -> tuple[LabelColumn, ...]:
    """Kinds and widths of columns; raises BadInput for one that cannot be a label.

    Texts are padded to the longest, rounded up to 8 bytes; a row of all columns has `MAX_ROW_BYTES` at most.
    """
    described = tuple(_describe(column(table, name), name) for name in names)
    if width_of(described) > MAX_ROW_BYTES:
        raise BadInput(f"label columns take {width_of(described)} bytes a row: at most {MAX_ROW_BYTES}")
    return described


def _describe(values: pa.ChunkedArray, name: str) -> LabelColumn:
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if pa.types.is_boolean(kind):
        return LabelColumn("boolean", 1)
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        return LabelColumn("integer", 8)
    if pa.types.is_floating(kind):
        return LabelColumn("number", 8)
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise BadInput(f"column {name!r} holds {kind}: a label is text, number, boolean or date", column=name)
    longest = max(1, *(int(raw_texts(chunk).lengths.max()) for chunk in _pieces(values)), 1)
    if longest > MAX_TEXT_BYTES:
        raise BadInput(f"column {name!r} has a text of more than {MAX_TEXT_BYTES} bytes", column=name)
    return LabelColumn("text", min(-(-longest // _TEXT_STEP) * _TEXT_STEP, MAX_TEXT_BYTES))


def _pieces(values: pa.ChunkedArray, rows: int = 1 << 18) -> list[pa.ChunkedArray]:
    return [values.slice(start, rows) for start in range(0, len(values), rows)]


def packed(table: pa.Table, names: Sequence[str], columns: Sequence[LabelColumn]) -> Rows:
    """All rows of a table as bytes: (rows, width)."""
    rows = np.zeros((table.num_rows, width_of(columns)), np.uint8)
    at = 0
    for name, described in zip(names, columns, strict=True):
        _pack(column(table, name), described, rows[:, at : at + described.width])
        at += described.width
    return rows


def _pack(values: pa.ChunkedArray, described: LabelColumn, into: Rows) -> None:
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    present = np.asarray(values.is_valid().to_numpy())
    into[:, 0] = present
    if described.kind == "text":
        texts = raw_texts(values)
        into[:, 1:5] = texts.lengths.astype("<u4").view(np.uint8).reshape(-1, 4)
        inside = np.arange(described.size) < texts.lengths[:, None]
        into[:, 5:][inside] = texts.compact().data
        return
    types = {"integer": (pa.int64(), 0), "number": (pa.float64(), 0.0), "boolean": (pa.uint8(), 0)}
    kind, zero = types[described.kind]
    plain = pc.fill_null(values.cast(kind), pa.scalar(zero, kind)).to_numpy()
    into[:, 1:] = np.ascontiguousarray(plain).view(np.uint8).reshape(-1, described.size)


def unpacked(rows: Rows, columns: Sequence[LabelColumn], peer: str) -> list[pa.Array]:
    """The columns of packed rows; a row of zeros has nulls. Raises ProtocolAbort for what no row packs to."""
    found, at = [], 0
    for described in columns:
        found.append(_unpack(rows[:, at : at + described.width], described, peer))
        at += described.width
    return found


def _unpack(rows: Rows, described: LabelColumn, peer: str) -> pa.Array:
    absent = rows[:, 0] == 0
    if (rows[:, 0] > 1).any():
        raise _malformed(peer)
    if described.kind == "text":
        lengths = np.ascontiguousarray(rows[:, 1:5]).view("<u4").reshape(-1).astype(np.int64)
        if (lengths > described.size).any() or lengths[absent].any():
            raise _malformed(peer)
        inside = np.arange(described.size) < lengths[:, None]
        offsets = np.append(np.zeros(1, np.int64), np.cumsum(lengths))
        buffers = [
            pa.py_buffer(np.packbits(~absent, bitorder="little")),
            pa.py_buffer(offsets),
            pa.py_buffer(np.ascontiguousarray(rows[:, 5:])[inside]),
        ]
        text = pa.Array.from_buffers(pa.large_string(), len(rows), buffers)
        try:
            text.validate(full=True)
        except pa.ArrowInvalid as error:
            raise _malformed(peer) from error
        return text
    kinds = {"integer": np.int64, "number": np.float64, "boolean": np.uint8}
    values = np.ascontiguousarray(rows[:, 1:]).view(kinds[described.kind]).reshape(-1)
    if described.kind == "boolean":
        if (values > 1).any():
            raise _malformed(peer)
        values = values.astype(np.bool_)
    return pa.array(values, mask=absent)


def seal(rows: Rows, keys: Rows, context: bytes) -> Rows:
    """Packed rows encrypted, row i under key i (n, 16): (n, width + 16)."""
    sealed = np.empty((len(rows), rows.shape[1] + MAC_BYTES), np.uint8)
    sealed[:, :-MAC_BYTES] = rows ^ _stream(keys, rows.shape[1], context)
    sealed[:, -MAC_BYTES:] = _authenticator(sealed[:, :-MAC_BYTES], keys, context)
    return sealed


def open_sealed(sealed: Rows, keys: Rows, context: bytes, peer: str) -> Rows:
    """The packed rows; raises ProtocolAbort if one is not what the holder of its key sealed."""
    expected = _authenticator(sealed[:, :-MAC_BYTES], keys, context)
    if ((expected ^ sealed[:, -MAC_BYTES:]) != 0).any():
        raise _malformed(peer)
    rows: Rows = sealed[:, :-MAC_BYTES] ^ _stream(keys, sealed.shape[1] - MAC_BYTES, context)
    return rows


def _stream(keys: Rows, length: int, context: bytes) -> Rows:
    ahead = np.frombuffer(_CIPHER + context, np.uint8)
    secrets = np.concatenate([np.broadcast_to(ahead, (len(keys), len(ahead))), keys], axis=1)
    return sm3.kdf_many(secrets, length)


def _authenticator(sealed: Rows, keys: Rows, context: bytes) -> Rows:
    # Lengths are fixed and part of the hash, so no message is the beginning of another.
    prefix = _MAC + struct.pack(">I", sealed.shape[1]) + context
    return sm3.digest_many(np.concatenate([keys, sealed], axis=1), prefix=prefix)[:, :MAC_BYTES]


def _malformed(peer: str) -> ProtocolAbort:
    return ProtocolAbort(f"{peer} sent labels that nobody sealed under these keys")
