"""Several small integers in one ciphertext: slots with carried bounds, exact under sums and plain factors.

    packed = paillier.encrypt_packed(key, rows, bound=1000, guard_bits=10)   # rows: (n, k) small integers
    total = packed.sum(axis=0)                                               # k sums, up to 2^10 rows
    paillier.decrypt_packed(private, total.rerandomize())

A plaintext is the sum of v[i] 2^(bits i) over its slots, every v[i] being signed and of magnitude below
2^(bits-1). Sums and multiples of such plaintexts are slotwise sums and multiples as long as every slot stays
below 2^(bits-1): the bound that travels with the array says so, and what could exceed it is refused before it
is computed. Negative slots borrow from their neighbours above; decoding gives that back by adding the offset
2^(bits-1) to every slot, reading unsigned digits and taking the offset off again. So nothing is added to the
plaintexts themselves, and no count of additions is needed to decode.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from accel import shapes
from accel.additive import DEFAULT_BOUND, PrivateKey, PublicKey, check_bound
from accel.ciphers import decrypt_ints, encrypt_ints
from accel.encrypted import EncryptedArray, concatenate
from accel.errors import BadEncoding, BadParameter, PlaintextOverflow
from accel.plain import Integers, Plain, as_numpy, integers
from accel.randomness import Rng, system_rng
from accel.shapes import Shape

_MAGIC = b"LTSL\x01"
_HEADER = len(_MAGIC) + 2 + 4


@dataclass(frozen=True)
class Slots:
    """``count`` signed slots of ``bits`` bits in one plaintext."""

    bits: int
    count: int

    @classmethod
    def fitting(cls, key: PublicKey, bound: int, guard_bits: int = 0) -> Slots:
        """As many slots as a plaintext of the key holds, for values up to ``bound`` and headroom for more.

        ``guard_bits``: sums of up to 2^guard_bits values, or factors whose magnitudes add up to that.
        Raises PlaintextOverflow if not even one slot fits.
        """
        if guard_bits < 0 or bound < 0:
            raise BadParameter("a bound and its guard bits cannot be negative")
        bits = bound.bit_length() + 1 + guard_bits
        return cls.of_width(key, bits)

    @classmethod
    def of_width(cls, key: PublicKey, bits: int) -> Slots:
        """As many slots of ``bits`` bits, sign included, as a plaintext of the key holds."""
        if bits < 2:
            bits = 2
        if bits > key.max_plaintext.bit_length():
            raise PlaintextOverflow("not even one slot fits the plaintext space of the key")
        return cls(bits, key.max_plaintext.bit_length() // bits)

    @property
    def limit(self) -> int:
        """The greatest magnitude of a slot."""
        return (1 << self.bits - 1) - 1

    @property
    def ones(self) -> int:
        """The plaintext with 1 in every slot."""
        return ((1 << self.bits * self.count) - 1) // ((1 << self.bits) - 1)

    def carriers(self, length: int) -> int:
        """How many plaintexts hold so many values."""
        return -(-length // self.count)

    def pack(self, values: Sequence[int], length: int) -> list[int]:
        """Rows of ``length`` values, one after the other, into `carriers` plaintexts a row."""
        packed = []
        for row in range(0, len(values), length or 1):
            for start in range(row, row + length, self.count):
                plain = 0
                for value in reversed(values[start : min(start + self.count, row + length)]):
                    plain = (plain << self.bits) + value
                packed.append(plain)
        return packed

    def unpack(self, plain: Sequence[int], length: int) -> list[int]:
        """Inverse of `pack`."""
        offset, mask = 1 << self.bits - 1, (1 << self.bits) - 1
        lift, per_row = offset * self.ones, self.carriers(length)
        values = []
        for index, carrier in enumerate(plain):
            digits = carrier + lift
            used = min(self.count, length - index % per_row * self.count)
            values += [(digits >> at & mask) - offset for at in range(0, used * self.bits, self.bits)]
        return values


@dataclass(frozen=True, eq=False, repr=False)
class PackedArray:
    """Encrypted integers whose last axis, of ``length`` values, lies in the slots of ``carriers``.

    ``bound`` is for every slot. The axes before the last behave as those of an `EncryptedArray`; operations
    treat all slots alike, so there is no indexing or summing along the last axis.
    """

    carriers: EncryptedArray
    slots: Slots
    length: int
    bound: int

    __array_ufunc__ = None

    def __post_init__(self) -> None:
        self._fits(self.bound)
        if not self.carriers.shape or self.carriers.shape[-1] != self.slots.carriers(self.length):
            raise BadParameter(f"{self.length} values do not lie in carriers of shape {self.carriers.shape}")

    def __repr__(self) -> str:
        return f"<PackedArray of shape {self.shape}, {self.slots.count} slots of {self.slots.bits} bits>"

    @property
    def shape(self) -> Shape:
        return (*self.carriers.shape[:-1], self.length)

    @property
    def rerandomized(self) -> bool:
        return self.carriers.rerandomized

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[PackedArray]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Any) -> PackedArray:
        """As numpy, along the axes before the last."""
        parts = index if isinstance(index, tuple) else (index,)
        taken = sum(part.ndim if _is_mask(part) else part is not None for part in parts)
        if any(part is Ellipsis for part in parts) or taken > self.carriers.ndim - 1:
            raise BadParameter("the last axis of a packed array cannot be indexed")
        return replace(self, carriers=self.carriers[index])

    def __add__(self, other: PackedArray | Integers) -> PackedArray:
        """Slot by slot: with an array of the same layout, or with plain integers that broadcast to it."""
        if isinstance(other, PackedArray):
            if (other.slots, other.length) != (self.slots, self.length):
                raise BadParameter("the slots of the two arrays differ")
            bound = self._fits(self.bound + other.bound)
            return self._computed(self.carriers + other.carriers, bound)
        plain = integers(other)
        if shapes.common(self.shape, plain.shape) != self.shape:
            raise BadParameter(f"the shape {plain.shape} does not broadcast to {self.shape}")
        bound = self._fits(self.bound + plain.largest)
        spread = np.broadcast_to(plain.array(), self.shape).ravel().tolist()
        packed = self.slots.pack(spread, self.length)
        return self._computed(self.carriers + Plain(packed, self.carriers.shape).array(), bound)

    __radd__ = __add__

    def __neg__(self) -> PackedArray:
        return replace(self, carriers=-self.carriers)

    def __sub__(self, other: PackedArray | Integers) -> PackedArray:
        if isinstance(other, PackedArray):
            return self + -other
        return self + -integers(other).array()

    def __mul__(self, factors: Integers) -> PackedArray:
        """By one plain integer, or one a row: their last axis, if there is one, must have length 1."""
        plain = integers(factors)
        if plain.shape and plain.shape[-1] != 1:
            raise BadParameter("all slots of a row take the same factor: its last axis has length 1")
        bound = self._fits(self.bound * plain.largest)
        return self._computed(self.carriers * plain.array(), bound)

    __rmul__ = __mul__

    def __rmatmul__(self, weights: Integers) -> PackedArray:
        """Plain matrix or vector on the left, of sums of rows."""
        if self.carriers.ndim != 2:
            raise BadParameter("a matrix product needs a packed array of two axes")
        matrix = integers(weights).array()
        if not 1 <= matrix.ndim <= 2 or matrix.shape[-1] != len(self):
            raise BadParameter(f"shapes {matrix.shape} and {self.shape} have no matrix product")
        rows = matrix.reshape(-1, len(self)).tolist()
        bound = self._fits(self.bound * max((sum(map(abs, row)) for row in rows), default=0))
        return self._computed(matrix @ self.carriers, bound)

    def sum(self, axis: int | tuple[int, ...] | None = None) -> PackedArray:
        """Over all axes before the last, or some of them."""
        rows = self.carriers.shape[:-1]
        _, kept = shapes.reduced(rows, axis)
        # Axes count from the end of the whole shape; here they mean the axes without the last.
        axes = tuple(range(len(rows))) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        total = self.carriers.sum(tuple(one % len(rows) for one in axes))
        most = math.prod(rows) // math.prod(kept) if math.prod(kept) else 0
        return self._computed(total, self._fits(self.bound * most))

    def group_sum(self, groups: Sequence[int] | npt.NDArray[Any], count: int) -> PackedArray:
        """``count`` rows: row g is the sum of all rows whose entry in ``groups`` is g."""
        if self.carriers.ndim < 2:
            raise BadParameter("a single row has no groups")
        wanted = integers(groups)
        most = max(np.unique(np.array(wanted.values), return_counts=True)[1], default=0)
        bound = self._fits(self.bound * int(most))
        return self._computed(self.carriers.group_sum(groups, count), bound)

    def rerandomize(self, rng: Rng = system_rng, *, backend: str = "auto") -> PackedArray:
        """The same plaintexts under fresh randomness: do it before a result crosses to another party."""
        return replace(self, carriers=self.carriers.rerandomize(rng, backend=backend))

    def to_bytes(self) -> bytes:
        """Magic "LTSL" 1, slot bits (2 bytes), length of the last axis (4), then the carriers' bytes.

        Raises NotRerandomized unless the array is fresh.
        """
        header = _MAGIC + self.slots.bits.to_bytes(2, "big") + self.length.to_bytes(4, "big")
        return header + self.carriers.to_bytes()

    @classmethod
    def from_bytes(cls, key: PublicKey, data: bytes) -> PackedArray:
        """Strict inverse of `to_bytes`, with the errors of `EncryptedArray.from_bytes`."""
        if len(data) < _HEADER or not data.startswith(_MAGIC):
            raise BadEncoding("not a packed array of this version")
        bits = int.from_bytes(data[len(_MAGIC) : len(_MAGIC) + 2], "big")
        length = int.from_bytes(data[_HEADER - 4 : _HEADER], "big")
        if not 2 <= bits <= key.max_plaintext.bit_length():
            raise BadEncoding("the slots of a packed array do not fit the key")
        slots = Slots.of_width(key, bits)
        carriers = EncryptedArray.from_bytes(key, data[_HEADER:])
        bound, rest = divmod(carriers.bound, slots.ones)
        if rest or bound > slots.limit:
            raise BadEncoding("the bound of a packed array does not fit its slots")
        if not carriers.shape or carriers.shape[-1] != slots.carriers(length):
            raise BadEncoding("a packed array has another length than its carriers")
        return cls(carriers, slots, length, bound)

    def _fits(self, bound: int) -> int:
        if not 0 <= bound <= self.slots.limit:
            raise PlaintextOverflow("a slot could overflow into its neighbour: take more guard bits")
        return bound

    def _computed(self, carriers: EncryptedArray, bound: int) -> PackedArray:
        carried = replace(carriers, bound=bound * self.slots.ones)
        return PackedArray(carried, self.slots, self.length, bound)


def encrypt_packed(
    key: PublicKey,
    values: Integers,
    *,
    bound: int = DEFAULT_BOUND,
    guard_bits: int = 0,
    scale_bits: int = 0,
    rng: Rng = system_rng,
    backend: str = "auto",
) -> PackedArray:
    """Encrypt signed integers of magnitude at most ``bound``, the last axis in slots (`Slots.fitting`).

    Raises what `encrypt_ints` raises. One ciphertext holds (plaintext bits) / (bound bits + 1 + guard_bits).
    """
    plain = integers(values)
    check_bound(plain, bound, key)
    if not plain.shape:
        raise BadParameter("there is no axis to pack")
    slots = Slots.fitting(key, bound, guard_bits)
    *rows, length = plain.shape
    packed = Plain(slots.pack(plain.values, length), (*rows, slots.carriers(length)))
    carriers = encrypt_ints(
        key, packed.array(), bound=bound * slots.ones, scale_bits=scale_bits, rng=rng, backend=backend
    )
    return PackedArray(carriers, slots, length, bound)


def decrypt_packed(private: PrivateKey, packed: PackedArray, *, backend: str = "auto") -> npt.NDArray[Any]:
    """Decrypt to a numpy array of the same shape: int64 if every value fits, else Python ints.

    Raises what `decrypt_ints` raises; ``index`` counts values in C order.
    """
    plain = decrypt_ints(private, packed.carriers, backend=backend)
    values = packed.slots.unpack(plain, packed.length)
    for index, value in enumerate(values):
        if abs(value) > packed.bound:
            raise PlaintextOverflow(f"value {index} exceeds the bound of its array", index=index)
    return as_numpy(values, packed.shape)


def pack(array: EncryptedArray, *, guard_bits: int = 0) -> PackedArray:
    """Move encrypted values into slots without decrypting: shift and add along the last axis.

    Fewer ciphertexts to send and to decrypt, at about one squaring a plaintext bit for every carrier.
    Raises BadParameter for an array without axes, PlaintextOverflow if not even one slot fits.
    """
    if not array.shape:
        raise BadParameter("there is no axis to pack")
    slots = Slots.fitting(array.key, array.bound, guard_bits)
    *rows, length = array.shape
    per_row = slots.carriers(length)
    used = min(slots.count, length)
    where = shapes.positions(array.shape)
    padded = np.full((*rows, per_row * used), array.size, dtype=np.intp)
    padded[..., :length] = where
    zero = replace(array, elements=array.key.encode([0]), shape=(1,), bound=0)
    flat = concatenate([array.reshape(-1), zero])
    columns = padded.reshape(*rows, per_row, used)
    total = flat.take(columns[..., used - 1]) if used else array
    for slot in reversed(range(used - 1)):
        total = total * (1 << slots.bits) + flat.take(columns[..., slot])
    carried = replace(total, bound=array.bound * slots.ones)
    return PackedArray(carried, slots, length, array.bound)


def _is_mask(part: Any) -> bool:
    return isinstance(part, np.ndarray) and part.dtype == np.bool_
