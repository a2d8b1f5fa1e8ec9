"""`LimbArray`: many non-negative integers as a structure-of-arrays matrix of 52-bit limbs.

``limbs[j, i]`` is limb j (little end first) of number i, one uint64 with the upper 12 bits zero: eight
neighbours make one 512-bit vector. 52 bits are what the IFMA instructions multiply; the AVX2 kernels split
each limb into 26 + 26 bits and the GPU repacks to 32.

Slicing works on the numbers: ``array[2:5]``, ``array.take(indices)``; they are views where numpy's would be.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
import numpy.typing as npt

from accel.errors import BadEncoding, BadParameter

LIMB_BITS = 52
LIMB_MASK = (1 << LIMB_BITS) - 1

U64 = npt.NDArray[np.uint64]

_BLOCK = 256  # numbers converted at a time: what a transposition touches stays in the cache


def limb_count(bits: int) -> int:
    """Limbs that hold a number of ``bits`` bits."""
    return -(-bits // LIMB_BITS)


@dataclass(frozen=True, eq=False, repr=False)  # may hold secrets
class LimbArray:
    """``limbs``: uint64 of shape (limb count, numbers), every limb below 2^52.

    The constructor checks shape and dtype; `from_numpy`, `from_ints` and `from_bytes` the limbs as well.
    """

    limbs: U64

    def __post_init__(self) -> None:
        if not isinstance(self.limbs, np.ndarray) or self.limbs.dtype != np.uint64 or self.limbs.ndim != 2:
            raise BadParameter("a limb matrix is a two-dimensional numpy array of uint64")

    @classmethod
    def from_numpy(cls, limbs: U64) -> LimbArray:
        """Take a limb matrix from elsewhere; raises BadParameter for a wrong dtype or a limb ≥ 2^52."""
        array = cls(limbs)
        if limbs.size and int(limbs.max()) > LIMB_MASK:
            raise BadParameter("a limb has more than 52 bits")
        return array

    @classmethod
    def from_ints(cls, values: Sequence[int], limbs: int) -> LimbArray:
        """Encode non-negative integers; raises BadParameter (``index``) for what is none or does not fit."""
        width = -(-limbs * LIMB_BITS // 8)
        pieces = []
        for index, given in enumerate(values):
            try:
                value = operator.index(given)
            except TypeError as error:
                raise BadParameter(f"value {index} is not an integer", index=index) from error
            if value < 0 or value.bit_length() > limbs * LIMB_BITS:
                raise BadParameter(f"value {index} does not fit {limbs} limbs", index=index)
            pieces.append(value.to_bytes(width, "little"))
        return cls._from_little_endian(b"".join(pieces), width, limbs)

    @classmethod
    def from_bytes(cls, data: bytes, width: int, limbs: int) -> LimbArray:
        """Decode concatenated big-endian numbers of ``width`` bytes each.

        Raises BadEncoding if the length is no multiple of the width, BadParameter with ``index`` for a number
        that does not fit.
        """
        if width < 1 or len(data) % width:
            raise BadEncoding(f"{len(data)} bytes are not numbers of {width} bytes each")
        rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, width)[:, ::-1]
        array = cls._from_little_endian(rows.tobytes(), width, max(limbs, limb_count(8 * width)))
        extra = array.limbs[limbs:]
        if extra.any():
            index = int(np.flatnonzero(extra.any(axis=0))[0])
            raise BadParameter(f"number {index} does not fit {limbs} limbs", index=index)
        return cls(array.limbs[:limbs])

    def to_ints(self) -> list[int]:
        data, width = self._to_little_endian()
        return [int.from_bytes(data[at : at + width], "little") for at in range(0, len(data), width)]

    def to_bytes(self, width: int) -> bytes:
        """Concatenated big-endian numbers; raises BadParameter with ``index`` for one that is wider."""
        data, have = self._to_little_endian()
        rows = np.frombuffer(data, dtype=np.uint8).reshape(len(self), have)
        if have > width:
            wide = rows[:, width:].any(axis=1)
            if wide.any():
                index = int(np.flatnonzero(wide)[0])
                raise BadParameter(f"number {index} does not fit {width} bytes", index=index)
            rows = rows[:, :width]
        output = np.zeros((len(self), width), dtype=np.uint8)
        output[:, width - rows.shape[1] :] = rows[:, ::-1]
        return output.tobytes()

    def __len__(self) -> int:
        return int(self.limbs.shape[1])

    def __getitem__(self, numbers: slice) -> LimbArray:
        return LimbArray(self.limbs[:, numbers])

    def take(self, indices: Sequence[SupportsIndex] | npt.NDArray[np.intp]) -> LimbArray:
        """The numbers at the indices, in that order; repeats allowed, negative indices count from the end."""
        return LimbArray(self.limbs[:, np.asarray(indices, dtype=np.intp)])

    @property
    def limb_count(self) -> int:
        return int(self.limbs.shape[0])

    @classmethod
    def _from_little_endian(cls, data: bytes, width: int, limbs: int) -> LimbArray:
        # Two limbs are 13 bytes: bits 0-51 begin at byte 0, bits 52-103 at byte 6 and are shifted by 4.
        rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, width)
        pairs = -(-limbs // 2)
        output = np.empty((limbs, len(rows)), dtype=np.uint64)
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK, : 13 * pairs]
            padded = np.zeros((len(block), 13 * pairs), dtype=np.uint8)
            padded[:, : block.shape[1]] = block
            in_pairs = padded.reshape(len(block), pairs, 13)
            words = np.zeros((len(block), pairs, 2, 8), dtype=np.uint8)
            words[:, :, 0, :7] = in_pairs[:, :, :7]
            words[:, :, 1, :7] = in_pairs[:, :, 6:]
            matrix = words.view("<u8").reshape(len(block), 2 * pairs)
            matrix[:, 0::2] &= np.uint64(LIMB_MASK)
            matrix[:, 1::2] >>= np.uint64(4)
            output[:, start : start + _BLOCK] = matrix.T[:limbs]
        return cls(output)

    def _to_little_endian(self) -> tuple[bytes, int]:
        count, limbs = len(self), self.limb_count
        pairs = -(-limbs // 2)
        output = np.zeros((count, pairs, 13), dtype=np.uint8)
        for start in range(0, count, _BLOCK):
            block = output[start : start + _BLOCK]
            matrix = np.zeros((len(block), 2 * pairs), dtype="<u8")
            matrix[:, :limbs] = self.limbs[:, start : start + _BLOCK].T
            matrix[:, 1::2] <<= np.uint64(4)
            words = matrix.view(np.uint8).reshape(len(block), pairs, 2, 8)
            block[:, :, :7] = words[:, :, 0, :7]
            # The two limbs of a pair meet in byte 6.
            block[:, :, 6:] |= words[:, :, 1, :7]
        return output.tobytes(), 13 * pairs


def concatenate(arrays: Sequence[LimbArray]) -> LimbArray:
    """One array after the other; raises BadParameter if their limb counts differ."""
    if not arrays or any(array.limb_count != arrays[0].limb_count for array in arrays):
        raise BadParameter("only limb arrays of one limb count can be joined")
    return LimbArray(np.concatenate([array.limbs for array in arrays], axis=1))
