"""Records of a table as equally long ciphertexts, each under a key of its own; all at array speed.

The hint and every answer of SimplePIR tell linear facts about the whole database, and of a small one all of
it. So the database holds ciphertexts only; the key of a record comes from the oblivious function.

A record is the JSON list of its rows, each a list of values in the order of the columns asked for.
Ciphertext: stream cipher and authenticator (encrypt-then-MAC) from SM3, one key per record and content: the
key derivation of GB/T 32918.4 gives the pad and the key of HMAC-SM3 (RFC 2104).
"""

from __future__ import annotations

import functools
import hmac
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from accel import sm3
from accel.byte_rows import ByteRows
from compute.errors import BadInput
from compute.protocols import payload
from compute.protocols.identifiers import column

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
_Value = bool | int | float | str | None
KEY_BYTES = 16
TAG_BYTES = 16
LENGTH_BYTES = 4
# Sizes are rounded up, so the longest record is known only roughly.
SIZE_STEP = 32
_KDF = np.frombuffer(b"liutong/pir/record/v2\0", np.uint8)
_AT_ONCE = 1 << 24  # bytes of records sealed at a time
# A dictionary of CPython, and what each value adds to it.
_ROW_BYTES, _CELL_BYTES = 256, 96


@functools.cache
def _mark(text: bytes) -> pa.Scalar:
    # Not at import: Arrow's first scalar imports pandas where it is installed, which takes a second.
    return pa.scalar(text, pa.large_binary())


class Records:
    """The encoded records of a table: record i is ``data[offsets[i]:offsets[i + 1]]``."""

    def __init__(self, data: U8, offsets: I64) -> None:
        self.data = data
        self.offsets = offsets
        self.lengths = np.diff(offsets)

    def __len__(self) -> int:
        return len(self.lengths)

    def digests(self) -> U8:
        """SM3 of every record, (n, 32): tells what changed between versions. Never leaves the node."""
        return sm3.digest_rows(ByteRows(self.data, self.offsets[:-1], self.lengths))

    def size(self) -> int:
        """The common length of the padded records."""
        return padded_bytes(int(self.lengths.max(initial=0)))

    def take(self, which: I64) -> Records:
        """These records, in this order."""
        lengths = self.lengths[which]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        source = np.repeat(self.offsets[which] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Records(self.data[source], offsets)

    def seal(self, size: int, keys: U8) -> U8:
        """Every record padded to ``size`` bytes and sealed: (n, size + 16). ``keys`` (n, 16)."""
        sealed = np.empty((len(self), size + TAG_BYTES), np.uint8)
        start = 0
        for plain in self._padded(size):
            stop = start + len(plain)
            stream = _stream(keys[start:stop], size)
            np.bitwise_xor(plain, stream[:, :size], out=sealed[start:stop, :size])
            cipher = np.ascontiguousarray(sealed[start:stop, :size])
            tags = sm3.hmac_many(np.ascontiguousarray(stream[:, size:]), cipher)
            sealed[start:stop, size:] = tags[:, :TAG_BYTES]
            start = stop
        return sealed

    def _padded(self, size: int) -> Iterator[U8]:
        """Rows of length, content and zeros, as many at a time as are worth it."""
        step = max(1, _AT_ONCE // size)
        room = np.arange(size - LENGTH_BYTES)
        for start in range(0, len(self), step):
            lengths = self.lengths[start : start + step]
            plain = np.zeros((len(lengths), size), np.uint8)
            plain[:, :LENGTH_BYTES] = lengths.astype(">u4")[:, None].view(np.uint8)
            body = self.data[self.offsets[start] : self.offsets[start + len(lengths)]]
            plain[:, LENGTH_BYTES:][room < lengths[:, None]] = body
            yield plain


def encode(table: pa.Table, columns: Sequence[str], rows: I64, offsets: I64, most: int) -> Records:
    """Record i holds the rows ``rows[offsets[i]:offsets[i + 1]]``.

    Raises BadInput for a record beyond ``most`` bytes, as padded, and naming a column that is no JSON.
    """
    texts = [_texts(column(table, name), name) for name in columns]
    lines = _bracketed(pc.binary_join_element_wise(*texts, _mark(b",")) if len(texts) > 1 else texts[0])
    groups = pa.LargeListArray.from_arrays(
        pa.array(offsets, pa.int64()), lines.take(pa.array(rows, pa.int64()))
    )
    data, starts = _flat(_bracketed(pc.binary_join(groups, _mark(b","))))
    found = Records(data, starts)
    # Compared as padded, and told without row or length: by asking with other limits, for nothing, a client
    # would learn more about the records than the length that everybody is told. ``row`` stays at home.
    if found.size() > padded_bytes(most):
        raise BadInput(
            "a record of the table is longer than max_record_bytes: raise it or ask for fewer columns",
            row=int(rows[offsets[found.lengths.argmax()]]),
        )
    return found


def padded_bytes(length: int) -> int:
    """The padded length of a record of ``length`` bytes."""
    return -(-(length + LENGTH_BYTES) // SIZE_STEP) * SIZE_STEP


def sealed_bytes(length: int) -> int:
    """What a database of records of at most ``length`` bytes holds for each."""
    return padded_bytes(length) + TAG_BYTES


def open_sealed(sealed: bytes, key: bytes) -> bytes | None:
    """The record's content, or None if this is not its ciphertext under this key."""
    size = len(sealed) - TAG_BYTES
    stream = _stream(np.frombuffer(key, np.uint8)[None], size)[0].tobytes()
    tag = sm3.hmac(stream[size:], sealed[:size])[:TAG_BYTES]
    if not hmac.compare_digest(tag, sealed[size:]):
        return None
    plain = bytes(a ^ b for a, b in zip(sealed[:size], stream, strict=False))
    length = int.from_bytes(plain[:LENGTH_BYTES], "big")
    return plain[LENGTH_BYTES : LENGTH_BYTES + length]


def parse(record: bytes, columns: Sequence[str]) -> list[list[_Value]] | None:
    """The rows of a record, or None unless each has exactly one value per column asked for.

    The server chose the bytes: whatever they are, no error may tell it that this record was asked for. Cells
    have no depth, for what nests deeply fails in the decoder or, a little less deep, where it is passed on.
    """
    try:
        rows = msgspec.json.decode(record, type=list[list[_Value]])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return None if any(len(row) != len(columns) for row in rows) else rows


def named(rows: list[list[_Value]], columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows as they are shown, each value under the name of its column."""
    return [dict(zip(columns, row, strict=True)) for row in rows]


def named_bytes(rows: int, columns: Sequence[str]) -> int:
    """What rows take under their names, as objects and as text: up to a thousand times their record."""
    each = sum(len(name.encode()) + _CELL_BYTES for name in columns)
    return rows * (_ROW_BYTES + each)


def _stream(keys: U8, size: int) -> U8:
    """The pad of ``size`` bytes and 32 bytes of authentication key, for every record key."""
    secrets = np.empty((len(keys), len(_KDF) + KEY_BYTES), np.uint8)
    secrets[:, : len(_KDF)] = _KDF
    secrets[:, len(_KDF) :] = keys
    return sm3.kdf_many(secrets, size + sm3.DIGEST_BYTES)


def _texts(values: pa.ChunkedArray, name: str) -> pa.Array:
    """Every value as JSON, encoded once where it comes again."""
    whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(whole, pa.ChunkedArray):  # what has no chunk at all stays chunked
        whole = pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], values.type)
    index = None
    # A dictionary would merge 0.0 and -0.0, and nested values have none.
    if not pa.types.is_floating(whole.type) and not pa.types.is_nested(whole.type):
        coded = whole.dictionary_encode(null_encoding="encode")
        whole, index = coded.dictionary, coded.indices
    values_as_json = (
        [value for (value,) in payload.plain_rows(pa.table({"value": whole}))]
        if pa.types.is_temporal(whole.type)
        else whole.to_pylist()
    )
    try:
        texts = list(map(msgspec.json.Encoder().encode, values_as_json))
    except (TypeError, ValueError, UnicodeEncodeError, msgspec.MsgspecError) as error:
        raise BadInput(
            f"column {name!r} holds {values.type}, which a record cannot carry", column=name
        ) from error
    found = pa.array(texts, pa.large_binary())
    return found if index is None else found.take(index)


def _bracketed(texts: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(_mark(b"["), texts, _mark(b"]"), _mark(b""))


def _flat(strings: pa.Array) -> tuple[U8, I64]:
    """Data and offsets of a binary array."""
    strings = strings.cast(pa.large_binary())
    buffers = strings.buffers()
    starts = np.frombuffer(buffers[1], np.int64)[strings.offset : strings.offset + len(strings) + 1]
    data = np.frombuffer(buffers[2] or b"", np.uint8)[starts[0] : starts[-1]]
    return data, starts - starts[0]
