"""`EncryptedArray`: ciphertexts under one key, in any shape, that compute like a numpy array of integers.

Every array carries what its plaintexts may at most be (``bound``) and their fixed-point scale. An operation
that could leave the plaintext space is refused before it is done. The array also knows whether it has been
rerandomized since it was computed; what leaves the process must have been, because a receiver who knows the
inputs could otherwise tell how it was made.

Shapes, broadcasting and indexing are numpy's; an index out of range is a `BadParameter` here. Ciphertexts
stay in Montgomery form from one operation to the next and leave it at the edge (`ciphertexts`, `to_bytes`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from accel import encrypted_codec, linear, modular, shapes
from accel.additive import PublicKey
from accel.encoding import check_scale
from accel.encrypted_backends import ADD, MULTIPLY
from accel.errors import BadParameter, NotRerandomized, PlaintextOverflow, WrongKey
from accel.limbs import LimbArray
from accel.limbs import concatenate as join
from accel.plain import Integers, integers
from accel.randomness import Rng, system_rng
from accel.shapes import Shape


@dataclass(frozen=True, eq=False, repr=False)
class EncryptedArray:
    """Ciphertexts under ``key`` whose plaintexts p mean p / 2^scale_bits with abs(p) <= bound.

    ``elements`` holds them in C order, in Montgomery form modulo ``key.ciphertext_modulus``. Make an array
    with `accel.paillier.encrypt_ints`, `from_ciphertexts`, `from_bytes` or `from_numpy`; the last three
    validate.
    """

    key: PublicKey
    elements: LimbArray
    shape: Shape
    bound: int
    scale_bits: int = 0
    rerandomized: bool = False

    # numpy's operators leave an expression such as ``matrix @ array`` to us.
    __array_ufunc__ = None

    def __post_init__(self) -> None:
        # Bounds grow with every operation: a numpy integer would wrap and let an overflow pass.
        if isinstance(self.bound, bool) or not isinstance(self.bound, int):
            raise BadParameter("a bound is an int")
        self._fits(self.bound)
        check_scale(self.scale_bits)
        if math.prod(self.shape) != len(self.elements):
            raise BadParameter(f"{len(self.elements)} ciphertexts do not make the shape {self.shape}")

    @classmethod
    def from_ciphertexts(
        cls, key: PublicKey, ciphertexts: Sequence[int], *, bound: int, scale_bits: int = 0
    ) -> EncryptedArray:
        """Take ciphertexts from elsewhere (such as `phe`), checking that each is a unit of its group.

        Raises InvalidCiphertext with ``index``. ``bound`` is the sender's promise: it cannot be seen.
        """
        elements = encrypted_codec.from_ints(key, ciphertexts)
        return cls(key, elements, (len(elements),), bound, scale_bits)

    def __repr__(self) -> str:
        state = "rerandomized" if self.rerandomized else "not rerandomized"
        return f"<EncryptedArray of shape {self.shape} under {self.key!r}, {state}>"

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many ciphertexts."""
        return len(self.elements)

    @property
    def T(self) -> EncryptedArray:  # noqa: N802 - numpy's name
        """The axes in reverse order."""
        return self._select(shapes.positions(self.shape).T, fresh=self.rerandomized)

    def __len__(self) -> int:
        """The length of the first axis."""
        if not self.shape:
            raise TypeError("an array without axes has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[EncryptedArray]:
        """Along the first axis."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Any) -> EncryptedArray:
        """As numpy: integers, slices, tuples of them, integer and boolean arrays."""
        if isinstance(index, slice) and self.ndim == 1:
            elements = self.elements[index]
            return replace(self, elements=elements, shape=(len(elements),))
        fresh = self.rerandomized and shapes.is_basic(index)
        return self._select(shapes.selected(self.shape, index), fresh=fresh)

    def take(self, indices: Sequence[int] | npt.NDArray[Any]) -> EncryptedArray:
        """The elements (in C order) at non-negative indices, in the shape of these; repeats allowed."""
        where = np.asarray(indices)
        if where.size and (where.dtype.kind not in "iu" or where.min() < 0 or where.max() >= self.size):
            raise BadParameter("an index is out of range or not an integer")
        return self._select(where.astype(np.intp), fresh=False)

    def reshape(self, *shape: int | Shape) -> EncryptedArray:
        """The same elements in C order in another shape; one length may be -1."""
        wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        return replace(self, shape=shapes.reshaped(self.shape, wanted))  # type: ignore[arg-type]

    def __add__(self, other: EncryptedArray | Integers) -> EncryptedArray:
        """Element by element: with an array under the same key and scale, or plain integers at our scale."""
        if not isinstance(other, EncryptedArray):
            return self._add_plain(other)
        self._check_alike(other)
        bound = self._fits(self.bound + other.bound)
        shape = shapes.common(self.shape, other.shape)
        one, two = (self, other) if self.shape == shape else (other, self)
        elements = one._spread(shape)
        addend = two.elements if two.size == 1 else two._spread(shape)
        sums = ADD.select("auto", batch=len(elements))(elements, addend, self.key.ciphertext_modulus)
        return self._computed(sums, shape, bound)

    __radd__ = __add__

    def __neg__(self) -> EncryptedArray:
        return self._computed(self._inverse(), self.shape, self.bound)

    def __sub__(self, other: EncryptedArray | Integers) -> EncryptedArray:
        return self + (-other if isinstance(other, EncryptedArray) else _negative(other))

    def __rsub__(self, other: Integers) -> EncryptedArray:
        return -self + other

    def __mul__(self, factors: Integers) -> EncryptedArray:
        """Multiply by one plain integer, or by an array of them. The scale stays ours.

        Timing depends on the factors. Raises PlaintextOverflow if the product could be too large.
        """
        if isinstance(factors, EncryptedArray):
            raise BadParameter("two ciphertexts cannot be multiplied: one factor must be plain")
        plain = integers(factors)
        bound = self._fits(self.bound * plain.largest)
        shape = shapes.common(self.shape, plain.shape)
        elements = self._spread(shape)
        exponents: int | list[int]
        if len(plain.values) == 1:
            exponents = plain.values[0]
        else:
            exponents = np.broadcast_to(plain.array(), shape).ravel().tolist()
        run = MULTIPLY.select("auto", batch=len(elements))
        return self._computed(run(elements, exponents, self.key.ciphertext_modulus), shape, bound)

    __rmul__ = __mul__

    def __matmul__(self, weights: Integers) -> EncryptedArray:
        """The matrix product with plain integers on the right, of one or two axes each.

        Timing depends on the weights. Raises PlaintextOverflow if a sum could be too large.
        """
        return self._matmul(integers(weights).array(), left=False)

    def __rmatmul__(self, weights: Integers) -> EncryptedArray:
        """The matrix product with plain integers on the left."""
        return self._matmul(integers(weights).array(), left=True)

    def dot(self, weights: Integers) -> EncryptedArray:
        """The sum of element times weight; for two axes the matrix product."""
        return self @ weights

    def sum(self, axis: int | tuple[int, ...] | None = None) -> EncryptedArray:
        """The sum of all elements, or along one axis or several; an empty sum is an encryption of 0."""
        groups, shape = shapes.reduced(self.shape, axis)
        count = math.prod(shape)
        return self._grouped(groups, count, shape, self.size // count if count else 0)

    def group_sum(self, groups: Sequence[int] | npt.NDArray[Any], count: int) -> EncryptedArray:
        """``count`` rows: row g is the sum of all rows (along the first axis) whose entry in groups is g."""
        wanted = integers(groups)
        if wanted.shape != self.shape[:1] or any(not 0 <= group < count for group in wanted.values):
            raise BadParameter("there must be one group index from 0 to count - 1 for every row")
        rest = self.shape[1:]
        width = math.prod(rest)
        rows = np.array(wanted.values, dtype=np.int64)
        each = (rows[:, None] * width + np.arange(width, dtype=np.int64)).ravel()
        most = int(np.bincount(rows).max()) if rows.size else 0
        return self._grouped(each, count * width, (count, *rest), most)

    def with_scale(self, scale_bits: int) -> EncryptedArray:
        """The same ciphertexts read at another scale: after multiplying by factors encoded at a scale."""
        return replace(self, scale_bits=scale_bits)

    def rerandomize(self, rng: Rng = system_rng, *, backend: str = "auto") -> EncryptedArray:
        """The same plaintexts under fresh randomness: do it before a result crosses to another party."""
        return replace(self, elements=self.key.rerandomize(self.elements, rng, backend), rerandomized=True)

    def ciphertexts(self) -> list[int]:
        """The ciphertexts as integers in C order, for interoperation; not checked for rerandomization."""
        return modular.leave(self.elements, self.key.ciphertext_modulus).to_ints()

    def to_bytes(self) -> bytes:
        """Canonical and versioned (`encrypted_codec`); raises NotRerandomized unless the array is fresh."""
        self._check_fresh()
        return encrypted_codec.encode(self.key, self.elements, self.shape, self.bound, self.scale_bits)

    @classmethod
    def from_bytes(cls, key: PublicKey, data: bytes) -> EncryptedArray:
        """Strictly decode and validate what a peer sent under ``key``.

        Raises BadEncoding, WrongKey, InvalidCiphertext, PlaintextOverflow. The result counts as not
        rerandomized: passing it on unchanged would show where it came from.
        """
        return cls(key, *encrypted_codec.decode(key, data))

    def to_numpy(self) -> npt.NDArray[np.uint8]:
        """Big-endian ciphertexts, shape (*shape, key.ciphertext_bytes); refuses like `to_bytes`.

        The buffer is what Arrow calls fixed-size binary. Shape, bound, scale and key go another way.
        """
        self._check_fresh()
        return encrypted_codec.to_rows(self.key, self.elements).reshape(*self.shape, -1)

    @classmethod
    def from_numpy(
        cls, key: PublicKey, rows: npt.NDArray[np.uint8], *, bound: int, scale_bits: int = 0
    ) -> EncryptedArray:
        """Inverse of `to_numpy`, validating as `from_ciphertexts` does."""
        elements = encrypted_codec.from_rows(key, rows)
        return cls(key, elements, rows.shape[:-1], bound, scale_bits)

    def _fits(self, bound: int) -> int:
        if not 0 <= bound <= self.key.max_plaintext:
            raise PlaintextOverflow("a result could leave the plaintext space: use smaller bounds")
        return bound

    def _computed(self, elements: LimbArray, shape: Shape, bound: int) -> EncryptedArray:
        return EncryptedArray(self.key, elements, shape, bound, self.scale_bits)

    def _select(self, where: shapes.Positions, *, fresh: bool) -> EncryptedArray:
        elements = self.elements.take(where.ravel())
        return replace(self, elements=elements, shape=where.shape, rerandomized=fresh)

    def _spread(self, shape: Shape) -> LimbArray:
        """The elements broadcast to a shape, in C order."""
        if shape == self.shape:
            return self.elements
        return self.elements.take(np.broadcast_to(shapes.positions(self.shape), shape).ravel())

    def _inverse(self) -> LimbArray:
        return modular.inverse(self.elements, self.key.ciphertext_modulus)

    def _add_plain(self, addends: Integers) -> EncryptedArray:
        plain = integers(addends)
        bound = self._fits(self.bound + plain.largest)
        shape = shapes.common(self.shape, plain.shape)
        elements = self._spread(shape)
        addend = self.key.encode(plain.values)
        if len(addend) != 1:
            where = np.broadcast_to(shapes.positions(plain.shape), shape)
            addend = addend if shape == plain.shape else addend.take(where.ravel())
        sums = ADD.select("auto", batch=len(elements))(elements, addend, self.key.ciphertext_modulus)
        return self._computed(sums, shape, bound)

    def _matmul(self, weights: npt.NDArray[Any], *, left: bool) -> EncryptedArray:
        # W @ A is (A^T @ W^T)^T, and numpy's vectors are their own transposes.
        if left:
            weights = weights.T
            return self.T._matmul(weights, left=False).T
        if not (1 <= self.ndim <= 2 and 1 <= weights.ndim <= 2) or self.shape[-1] != weights.shape[0]:
            raise BadParameter(f"shapes {self.shape} and {weights.shape} have no matrix product")
        columns = weights.reshape(weights.shape[0], math.prod(weights.shape[1:])).T.tolist()
        bound = self._fits(self.bound * max((sum(map(abs, column)) for column in columns), default=0))
        rows = math.prod(self.shape[:-1])
        elements = linear.products(self.elements, rows, columns, self.key.ciphertext_modulus)
        return self._computed(elements, self.shape[:-1] + weights.shape[1:], bound)

    def _grouped(self, groups: npt.NDArray[np.int64], count: int, shape: Shape, most: int) -> EncryptedArray:
        bound = self._fits(self.bound * most)
        sums = modular.product_by_group(self.elements, groups, count, self.key.ciphertext_modulus)
        return self._computed(sums, shape, bound)

    def _check_alike(self, other: EncryptedArray) -> None:
        if other.key.fingerprint != self.key.fingerprint:
            raise WrongKey("the arrays are encrypted under different keys")
        if other.scale_bits != self.scale_bits:
            raise BadParameter(f"the scales differ: {self.scale_bits} and {other.scale_bits} bits")

    def _check_fresh(self) -> None:
        if not self.rerandomized:
            raise NotRerandomized("call rerandomize() before a computed array leaves the process")


def concatenate(arrays: Sequence[EncryptedArray]) -> EncryptedArray:
    """One array after the other along the first axis; an array without axes counts as one element.

    Raises WrongKey or BadParameter if keys, scales or the other axes differ.
    """
    if not arrays:
        raise BadParameter("nothing to concatenate")
    parts = [array if array.shape else array.reshape(1) for array in arrays]
    first = parts[0]
    for other in parts:
        first._check_alike(other)
        if other.shape[1:] != first.shape[1:]:
            raise BadParameter(f"the shapes differ: {first.shape} and {other.shape}")
    return EncryptedArray(
        first.key,
        join([array.elements for array in parts]),
        (sum(len(array) for array in parts), *first.shape[1:]),
        max(array.bound for array in parts),
        first.scale_bits,
        all(array.rerandomized for array in parts),
    )


def _negative(given: Integers) -> npt.NDArray[Any]:
    plain = integers(given)
    return replace(plain, values=[-value for value in plain.values]).array()
