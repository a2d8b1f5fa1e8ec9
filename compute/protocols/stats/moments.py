"""Count, sum and sum of squares of a group in one Paillier plaintext, and the statistics made of them.

A value v is the integer round(v · 2^80); its moments are packed as

    count + sum · 2^40 + squares · 2^232        (sum is signed; count < 2^40, |sum| < 2^191, squares < 2^336)

so one ciphertext carries a row, one addition adds a row, and the totals are exact integers: what is rounded
is each value, once, at 2^-81. Doubles of magnitude 2^-27 and above are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

import msgspec
import pyarrow as pa
from msgspec import Meta

from accel import paillier
from accel.encoding import to_fixed
from accel.errors import AccelError
from compute.errors import BadInput, BadMessage, CohortTooSmall
from compute.protocols import filters, payload
from compute.protocols.identifiers import column, text_of
from compute.protocols.protocol import Rng, Session
from compute.wire.messages import JobSpec, Name, Text

SCALE_BITS = 80
MAX_VALUE_BITS = 63
MAX_ROWS = 1 << 28
_COUNT_BITS = 40
_SUM_BITS = 192
_SQUARES_BITS = 336
BOUND = 1 << (_COUNT_BITS + _SUM_BITS + _SQUARES_BITS)
ALL = "all"

Groups = Annotated[tuple[Text, ...], Meta(max_length=64)]
PublicKeyText = Annotated[str, Meta(pattern=r"^[0-9a-f]{500,4200}$")]


@dataclass(frozen=True, repr=False)  # one row's value is private: keep it out of logs
class Moments:
    """Exact moments of some rows, at `SCALE_BITS`."""

    count: int = 0
    total: int = 0
    squares: int = 0

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.squares + other.squares)

    def pack(self) -> int:
        """The plaintext."""
        return self.count + (self.total << _COUNT_BITS) + (self.squares << (_COUNT_BITS + _SUM_BITS))


def unpack(plaintext: int) -> Moments:
    """The moments in a plaintext; raises BadMessage if no rows could have them."""
    count = plaintext & ((1 << _COUNT_BITS) - 1)
    rest = plaintext >> _COUNT_BITS
    total = rest & ((1 << _SUM_BITS) - 1)
    if total >> (_SUM_BITS - 1):
        total -= 1 << _SUM_BITS
    squares = (rest - total) >> _SUM_BITS
    # Cauchy-Schwarz holds for every set of values, and no sum is possible over no rows.
    if not 0 <= squares < 1 << _SQUARES_BITS or total * total > squares * count:
        raise BadMessage("the decrypted moments belong to no set of rows")
    return Moments(count, total, squares)


def statistics(moments: Moments) -> dict[str, Any]:
    """Count, sum, mean and unbiased sample variance (null for one row) as JSON values."""
    count, unit = moments.count, 1 << SCALE_BITS
    spread = moments.squares * count - moments.total * moments.total
    return {
        "count": count,
        "sum": float(Fraction(moments.total, unit)),
        "mean": float(Fraction(moments.total, unit * count)),
        "variance": float(Fraction(spread, unit * unit * count * (count - 1))) if count > 1 else None,
    }


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What both statistics kinds ask: the moments of one column per group, under the consumer's key."""

    value: Name
    public_key: PublicKeyText
    group_by: Name | None = None
    groups: Groups = ()
    filter: filters.Conditions = ()

    def __post_init__(self) -> None:
        if (self.group_by is None) != (not self.groups):
            raise ValueError("group_by and groups: give both or neither")
        if len(set(self.groups)) != len(self.groups):
            raise ValueError("groups: name a group once")

    @property
    def group_names(self) -> tuple[str, ...]:
        """The groups in the order in which their ciphertexts travel."""
        return self.groups or (ALL,)

    @property
    def value_columns(self) -> tuple[str, ...]:
        """The columns that a holder of values reads."""
        group = () if self.group_by is None else (self.group_by,)
        return tuple(dict.fromkeys((self.value, *group, *filters.columns_of(self.filter))))


class Totals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is sealed for the consumer: per released group one ciphertext; how many were suppressed."""

    groups: dict[str, bytes]
    suppressed: Annotated[int, Meta(ge=0)]


@dataclass(frozen=True, repr=False)  # holds values: keep it out of logs
class Row:
    """A row that counts: its number in the filtered table, its group's index, its moments."""

    number: int
    group: int
    moments: Moments


def units(spec: JobSpec, question: Question, role: str) -> int:
    """Every role is charged one unit per group that was asked for."""
    return len(question.group_names)


def public_key(question: Question) -> paillier.PublicKey:
    """The consumer's key; raises BadInput if it is not a Paillier key of 2048 bits or more."""
    try:
        return paillier.PublicKey.from_bytes(bytes.fromhex(question.public_key))
    except (AccelError, ValueError) as error:
        raise BadInput("public_key is no Paillier key of at least 2048 bits") from error


def rows_of(table: pa.Table, question: Question) -> list[Row]:
    """The rows of a filtered table with a value and one of the groups that were asked for.

    Raises BadInput naming column and row of a value that is no finite number below 2^63 in magnitude.
    """
    if table.num_rows > MAX_ROWS:
        raise BadInput(f"the table has {table.num_rows} rows; at most {MAX_ROWS} are accepted")
    wanted = {name: index for index, name in enumerate(question.group_names)}
    values = column(table, question.value)
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or _decimal(values.type)):
        raise BadInput(f"column {question.value!r} holds {values.type}: statistics need numbers")
    groups: Iterable[Any] = [ALL] * table.num_rows
    if question.group_by is not None:
        groups = (text_of(value) for value in column(table, question.group_by).to_pylist())
    rows = []
    for number, (value, group) in enumerate(zip(values.to_pylist(), groups, strict=True)):
        if value is None or group not in wanted:
            continue
        rows.append(Row(number, wanted[group], _moments(value, number, question.value)))
    return rows


def prepare(params: dict[str, Any], rng: Rng) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Make the consumer's key pair for one job: the public half is signed with the spec."""
    final = dict(params)
    bits = final.pop("key_bits", paillier.DEFAULT_MODULUS_BITS)
    try:
        private = paillier.generate(bits, rng)
    except (AccelError, TypeError) as error:
        raise BadInput("key_bits is a multiple of 256 from 2048 to 8192") from error
    final["public_key"] = private.public.to_bytes().hex()
    return final, {"paillier": private.to_bytes()}


def seal(question: Question, totals: Mapping[int, int], suppressed: int) -> bytes:
    """The payload of one ciphertext per released group."""
    width = public_key(question).ciphertext_bytes
    names = question.group_names
    return payload.encode(
        Totals({names[index]: value.to_bytes(width, "big") for index, value in totals.items()}, suppressed)
    )


def open_totals(session: Session, payloads: Mapping[str, bytes], role: str) -> dict[str, Any]:
    """Decrypt and compute the statistics; raises BadMessage for what no honest node delivers."""
    question: Question = session.params
    key = public_key(question)
    totals = payload.decode(Totals, payloads, role)
    names = [name for name in question.group_names if name in totals.groups]
    if len(names) != len(totals.groups) or len(names) + totals.suppressed != len(question.group_names):
        raise BadMessage(f"the result of {role} has other groups than were asked for")
    data = [totals.groups[name] for name in names]
    if any(len(item) != key.ciphertext_bytes for item in data):
        raise BadMessage(f"the result of {role} holds no ciphertext of our key")
    try:
        private = paillier.PrivateKey.from_bytes(session.secrets["paillier"])
        array = paillier.EncryptedArray.from_ciphertexts(
            key, [int.from_bytes(item, "big") for item in data], bound=BOUND
        )
        plain = paillier.decrypt_ints(private, array)
    except KeyError as error:
        raise BadInput("this job's private key is not here: it was made where the job was signed") from error
    except AccelError as error:
        raise BadMessage(f"the result of {role} does not decrypt") from error
    opened = {name: unpack(value) for name, value in zip(names, plain, strict=True)}
    groups = {name: statistics(moments) for name, moments in opened.items() if moments.count}
    if not groups:
        raise CohortTooSmall("no group has enough rows: widen the groups or the filter")
    return {"groups": groups, "suppressed": len(question.group_names) - len(groups)}


def _moments(value: Any, number: int, name: str) -> Moments:
    try:
        (scaled,) = to_fixed([value], SCALE_BITS)
    except AccelError as error:
        raise BadInput(f"row {number} of column {name!r} is no finite number", row=number) from error
    if abs(scaled) >= 1 << (MAX_VALUE_BITS + SCALE_BITS):
        raise BadInput(f"row {number} of column {name!r} is beyond 2^{MAX_VALUE_BITS}", row=number)
    return Moments(1, scaled, scaled * scaled)


def _decimal(arrow_type: pa.DataType) -> bool:
    return bool(pa.types.is_decimal(arrow_type))
