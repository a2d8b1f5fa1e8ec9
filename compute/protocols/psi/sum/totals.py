"""Sums of several columns in one ciphertext per key: slots, schemes, what is sealed and how it is opened.

A key's slots are the number of its rows and, per column, the sum of round(v · 2^80) over its rows, so
totals are exact integers: what is rounded is each value, once, at 2^-81. A slot takes sums of up to 2^28
rows of values below 2^63, and 28 more bits, because the bound that travels with ciphertexts counts that
much for every key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
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
from compute.errors import BadInput, BadMessage, ProtocolAbort
from compute.protocols import payload
from compute.protocols.identifiers import column
from compute.protocols.keyset import KeySet
from compute.protocols.protocol import Rng

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
# Values of one key: how many rows, then the sum of each column.
KeySums = list[int]


class Totals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is sealed for the consumer: how many keys matched, and the ciphertexts of their sums."""

    count: Annotated[int, Meta(ge=0)]
    sums: tuple[bytes, ...]


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


def sums_of(table: pa.Table, keys: KeySet, names: Sequence[str]) -> list[KeySums]:
    """Per distinct key, its row count and its sum of each column; nulls add nothing.

    Raises BadInput naming column and row of a value that is no finite number below 2^63 in magnitude.
    """
    if table.num_rows > MAX_ROWS:
        raise BadInput(f"the table has {table.num_rows} rows; at most {MAX_ROWS} are accepted")
    columns = [_scaled(table, name) for name in names]
    sums = []
    for first, last in zip(keys.offsets[:-1].tolist(), keys.offsets[1:].tolist(), strict=True):
        rows = keys.rows[first:last].tolist()
        sums.append([len(rows), *(sum(values[row] for row in rows) for values in columns)])
    return sums


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
    """Ciphertexts of a block of keys, of which only the ``chosen`` are kept and checked.

    Raises ProtocolAbort if one of them is no ciphertext under the key.
    """
    carriers = carriers_of(key, columns)
    rows = np.frombuffer(data, np.uint8).reshape(-1, carriers, key.ciphertext_bytes)[chosen]
    slots = slots_of(key)
    try:
        array = EncryptedArray.from_numpy(key, np.ascontiguousarray(rows), bound=BOUND * slots.ones)
    except AccelError as error:
        raise ProtocolAbort(f"{peer} sent an invalid ciphertext: {error.message}") from error
    return PackedArray(array, slots, columns + 1, BOUND)


def seal(total: PackedArray, count: int, rng: Rng) -> bytes:
    """The payload of the totals over ``count`` keys; rerandomised, so that it hides how it was made."""
    rows = total.rerandomize(rng).carriers.to_numpy()
    return payload.encode(Totals(count, tuple(row.tobytes() for row in rows)))


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


def _scaled(table: pa.Table, name: str) -> list[int]:
    values = column(table, name)
    if not (
        pa.types.is_integer(values.type)
        or pa.types.is_floating(values.type)
        or pa.types.is_decimal(values.type)
    ):
        raise BadInput(f"column {name!r} holds {values.type}: sums need numbers", column=name)
    plain = [0 if value is None else value for value in values.to_pylist()]
    try:
        scaled = to_fixed(plain, SCALE_BITS)
    except AccelError as error:
        row = error.detail.get("index")
        raise BadInput(f"row {row} of column {name!r} is no finite number", row=row, column=name) from error
    limit = 1 << (MAX_VALUE_BITS + SCALE_BITS)
    for row, value in enumerate(scaled):
        if abs(value) >= limit:
            raise BadInput(f"row {row} of column {name!r} is beyond 2^{MAX_VALUE_BITS}", row=row, column=name)
    return scaled
