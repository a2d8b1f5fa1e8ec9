"""Sums of several columns in one ciphertext per key: slots, schemes, what is sealed and how it is opened.

A key's slots are the number of its rows and, per column, the sum of round(v · 2^80) over its rows, so
totals are exact integers: what is rounded is each value, once, at 2^-81. A slot takes sums of up to 2^28
rows of values below 2^63, and 28 more bits, because the bound that travels with ciphertexts counts that
much for every key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from types import ModuleType
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from msgspec import Meta

from accel import ou, paillier
from accel.additive import PublicKey
from accel.encoding import to_fixed
from accel.encrypted import EncryptedArray
from accel.errors import AccelError
from accel.packing import PackedArray, Slots
from compute.errors import BadInput, BadMessage, DataError, ProtocolAbort
from compute.protocols import payload
from compute.protocols.identifiers import column
from compute.protocols.keyset import DIGEST_BYTES, KeySet
from compute.protocols.protocol import Rng
from compute.protocols.psi.bins import Rows
from compute.protocols.psi.delivery import taken

Scheme = Literal["paillier", "ou"]
SCHEMES: Mapping[str, ModuleType] = {"paillier": paillier, "ou": ou}

SCALE_BITS = 80
MAX_VALUE_BITS = 63
_ROW_BITS = 28
MAX_ROWS = 1 << _ROW_BITS
BOUND = 1 << (MAX_VALUE_BITS + SCALE_BITS + _ROW_BITS)
# Sign and headroom included, as `accel.packing.Slots.fitting` counts them.
SLOT_BITS = BOUND.bit_length() + 1 + _ROW_BITS
SEED_BYTES = 32
# A sum as it lies in the workspace.
SUM_BYTES = -(-(BOUND.bit_length() + 1) // 8)
# Rows that are added at once; Python's integers take this for a row and column, with what they are made of.
_ROW_BYTES = 1 << 9
_LEAST_ROWS, _MOST_ROWS = 1 << 8, 1 << 16
# Values of one key: how many rows, then the sum of each column.
KeySums = list[int]


class Totals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is sealed for the consumer: how many keys matched, and the ciphertexts of their sums.

    ``padding`` makes it as long with any count, so that its length does not tell it.
    """

    count: Annotated[int, Meta(ge=0)]
    sums: tuple[bytes, ...]
    padding: str = ""


def public_key(scheme: Scheme, text: str) -> PublicKey:
    """The consumer's key; raises BadInput if it is none of the scheme with 2048 bits or more."""
    try:
        key: PublicKey = SCHEMES[scheme].PublicKey.from_bytes(bytes.fromhex(text))
    except (AccelError, ValueError) as error:
        raise BadInput(f"public_key is no {scheme} key of at least 2048 bits") from error
    return key


def prepare(params: dict[str, Any], rng: Rng) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Make the consumer's key pair for one job: the public half is signed with the spec."""
    final = dict(params)
    scheme = final.get("scheme", "paillier")
    if scheme not in SCHEMES:
        raise BadInput(f"scheme: {scheme!r} is none of {', '.join(SCHEMES)}")
    bits = final.pop("key_bits", paillier.DEFAULT_MODULUS_BITS)
    try:
        private = SCHEMES[scheme].generate(bits, rng)
    except (AccelError, TypeError) as error:
        raise BadInput("key_bits is a multiple of 256 from 2048 to 8192") from error
    final["public_key"] = private.public.to_bytes().hex()
    return final, {scheme: private.to_bytes()}


def slots_of(key: PublicKey) -> Slots:
    """The layout of plaintexts under a key."""
    return Slots.of_width(key, SLOT_BITS)


def carriers_of(key: PublicKey, columns: int) -> int:
    """How many ciphertexts a key of the set takes."""
    return slots_of(key).carriers(columns + 1)


def width_of(columns: int) -> int:
    """Bytes of a record of `records`."""
    return DIGEST_BYTES + SUM_BYTES * (columns + 1)


def records(table: pa.Table, keys: KeySet, names: Sequence[str], memory_bytes: int) -> Iterator[Rows]:
    """Each distinct key with its row count and its sum of each column, (n, `width_of`), some at a time.

    Nulls add nothing. Raises BadInput naming column and row of a value that is no finite number below 2^63 in
    magnitude.
    """
    at_once = max(_LEAST_ROWS, min(_MOST_ROWS, memory_bytes // (_ROW_BYTES * (len(names) + 1))))
    done, begun = 0, [0] * (len(names) + 1)
    for first in range(0, len(keys.rows), at_once):
        rows = keys.rows[first : first + at_once]
        last = first + len(rows)
        values = [_scaled(table, name, rows) for name in names]
        # Keys with rows among these; the last may have more, which are added with the next.
        stop = int(np.searchsorted(keys.offsets, last))
        cuts = np.clip(keys.offsets[done : stop + 1] - first, 0, len(rows)).tolist()
        sums = [
            [after - before, *(sum(column[before:after]) for column in values)]
            for before, after in pairwise(cuts)
        ]
        sums[0] = [one + other for one, other in zip(begun, sums[0], strict=True)]
        begun = sums.pop() if keys.offsets[stop] > last else [0] * (len(names) + 1)
        yield np.concatenate([keys.digests[done : done + len(sums)], _packed(sums, len(names))], axis=1)
        done += len(sums)


def sums_in(packed: Rows) -> list[KeySums]:
    """The row count and sums in each of the `records`."""
    data, width = packed[:, DIGEST_BYTES:].tobytes(), packed.shape[1] - DIGEST_BYTES
    return [
        [
            int.from_bytes(data[at : at + SUM_BYTES], "little", signed=True)
            for at in range(row, row + width, SUM_BYTES)
        ]
        for row in range(0, len(data), width)
    ]


def checksum(table: pa.Table, names: Sequence[str], keys: bytes) -> bytes:
    """Tells that a later attempt has other values or keys; never leaves the node."""
    digest = hashlib.sha256(keys)
    for first in range(0, table.num_rows, _MOST_ROWS):
        some = table.select(names).slice(first, _MOST_ROWS).combine_chunks()
        for batch in some.to_batches():
            digest.update(batch.serialize())
    return digest.digest()


def encrypt(scheme: Scheme, text: str, sums: list[KeySums], seed: bytes) -> bytes:
    """A `Call`: the ciphertexts of these keys, one key after the other, under the public key in ``text``.

    Their randomness is ChaCha20 (RFC 8439) under ``seed``: 32 bytes, fresh for every call.
    """
    stream = Cipher(ChaCha20(seed, bytes(16)), mode=None).encryptor()
    packed = SCHEMES[scheme].encrypt_packed(
        public_key(scheme, text),
        sums,
        bound=BOUND,
        guard_bits=_ROW_BITS,
        rng=lambda length: stream.update(bytes(length)),
    )
    rows: bytes = packed.carriers.to_numpy().tobytes()
    return rows


def received(
    key: PublicKey, data: bytes, chosen: npt.NDArray[np.int64], columns: int, peer: str
) -> PackedArray:
    """Ciphertexts of a block of keys, of which only the ``chosen`` are kept.

    Raises ProtocolAbort if any is no ciphertext under the key, chosen or not: else a peer that spoils one
    would see from how the job ends whether it was chosen.
    """
    carriers = carriers_of(key, columns)
    rows = np.frombuffer(data, np.uint8).reshape(-1, carriers, key.ciphertext_bytes)
    slots = slots_of(key)
    try:
        array = EncryptedArray.from_numpy(key, rows, bound=BOUND * slots.ones)
    except AccelError as error:
        raise ProtocolAbort(f"{peer} sent an invalid ciphertext: {error.message}") from error
    return PackedArray(array[chosen], slots, columns + 1, BOUND)


def kept(total: PackedArray, rng: Rng) -> bytes:
    """A total so far, for the workspace: of as many keys as it is given back with."""
    rows: bytes = total.rerandomize(rng).carriers.to_numpy().tobytes()
    return rows


def restored(key: PublicKey, data: memoryview, count: int, columns: int) -> PackedArray:
    """The total over ``count`` keys that was kept; raises DataError if it is damaged."""
    bound, slots = BOUND * count, slots_of(key)
    try:
        rows = np.frombuffer(data, np.uint8).reshape(carriers_of(key, columns), key.ciphertext_bytes)
        array = EncryptedArray.from_numpy(key, rows, bound=bound * slots.ones)
    except (AccelError, ValueError) as error:
        raise DataError("the total so far in the job's workspace is damaged") from error
    return PackedArray(array, slots, columns + 1, bound)


def seal(total: PackedArray, count: int, rng: Rng) -> bytes:
    """The payload of the totals over ``count`` keys; rerandomised, so that it hides how it was made."""
    rows = total.rerandomize(rng).carriers.to_numpy()
    told = Totals(count, tuple(row.tobytes() for row in rows))
    return payload.encode_padded(told, msgspec.structs.replace(told, count=MAX_ROWS))


def open_totals(
    scheme: Scheme,
    text: str,
    names: Sequence[str],
    secrets: Mapping[str, bytes],
    payloads: Mapping[str, bytes],
    role: str,
) -> dict[str, Any]:
    """Decrypt the sums; raises BadMessage for what no honest node delivers."""
    key = public_key(scheme, text)
    slots = slots_of(key)
    totals = payload.decode(Totals, payloads, role)
    if len(totals.sums) != carriers_of(key, len(names)) or any(
        len(item) != key.ciphertext_bytes for item in totals.sums
    ):
        raise BadMessage(f"the result of {role} holds another number of ciphertexts, or none of our key")
    if scheme not in secrets:
        raise BadInput("this job's private key is not here: it was made where the job was signed")
    try:
        private = SCHEMES[scheme].PrivateKey.from_bytes(secrets[scheme])
        numbers = [int.from_bytes(item, "big") for item in totals.sums]
        array = EncryptedArray.from_ciphertexts(key, numbers, bound=slots.limit * slots.ones)
        rows, *sums = slots.unpack(SCHEMES[scheme].decrypt_ints(private, array), len(names) + 1)
    except AccelError as error:
        raise BadMessage(f"the result of {role} does not decrypt") from error
    most = rows << (MAX_VALUE_BITS + SCALE_BITS)
    if not totals.count <= rows <= MAX_ROWS or any(abs(value) > most for value in sums):
        raise BadMessage("the decrypted sums belong to no set of rows")
    exact = [float(Fraction(value, 1 << SCALE_BITS)) for value in sums]
    return {"count": totals.count, "rows": rows, "sums": dict(zip(names, exact, strict=True))}


def check_columns(table: pa.Table, names: Sequence[str]) -> None:
    """Raise BadInput for a table that is too long and for a column that holds no numbers."""
    if table.num_rows > MAX_ROWS:
        raise BadInput(f"the table has {table.num_rows} rows; at most {MAX_ROWS} are accepted")
    for name in names:
        kind = column(table, name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            raise BadInput(f"column {name!r} holds {kind}: sums need numbers", column=name)


def _scaled(table: pa.Table, name: str, rows: npt.NDArray[np.int64]) -> list[int]:
    """The values of these rows as multiples of 2^-80; raises BadInput."""
    values = taken(table.select([name]), rows).column(0)
    plain = [0 if value is None else value for value in values.to_pylist()]
    try:
        scaled = to_fixed(plain, SCALE_BITS)
    except AccelError as error:
        index = error.detail.get("index")
        row = int(rows[index]) if isinstance(index, int) else None
        raise BadInput(f"row {row} of column {name!r} is no finite number", row=row, column=name) from error
    limit = 1 << (MAX_VALUE_BITS + SCALE_BITS)
    for index, value in enumerate(scaled):
        if abs(value) >= limit:
            row = int(rows[index])
            raise BadInput(f"row {row} of column {name!r} is beyond 2^{MAX_VALUE_BITS}", row=row, column=name)
    return scaled


def _packed(sums: list[KeySums], columns: int) -> Rows:
    data = b"".join(value.to_bytes(SUM_BYTES, "little", signed=True) for row in sums for value in row)
    return np.frombuffer(data, np.uint8).reshape(len(sums), SUM_BYTES * (columns + 1))
