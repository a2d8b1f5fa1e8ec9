"""A modulus on the device and what the kernels of ``modular.cuh`` do under it.

The kernels work with R' = 2^(32 words), `accel.modular` with R = 2^(52 limbs). R / R' is a few bits, which a
product divides by in passing; where it is not, a second product by a constant makes up for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.gpu import compile as gpu_compile
from accel.gpu import memory
from accel.gpu.launch import launch, resident
from accel.limbs import LIMB_BITS, U64
from accel.modulus import Modulus

TILE = 32
THREADS = 128
BLOCKS_EACH = 2  # blocks of THREADS that a multiprocessor runs at once: 255 registers a thread
WIDEST_WINDOW = (
    4  # tables lie in device memory and are read in full: 32 entries would cost more than they save
)
_WIDEST_BLOCK = 32  # its sums and one factor fill the registers of a thread

_NONE = np.uint64(0)  # a null pointer
_MAX_EXTRA = 63

Keep = Callable[[Any], Any]


@dataclass(frozen=True)
class Shape:
    """How the kernels cut a number: ``blocks`` blocks of ``block_limbs`` limbs of 32 bits.

    ``paired``: elements are pairs of such numbers, modulo a square (see ``pair.cuh``).
    """

    block_limbs: int
    blocks: int
    paired: bool = False

    @classmethod
    def of(cls, bits: int) -> Shape:
        """The smallest shape that holds numbers of so many bits."""
        words = -(-bits // 32)
        blocks = -(-words // _WIDEST_BLOCK)
        return cls(-(-words // (8 * blocks)) * 8, blocks)

    @property
    def modulus_words(self) -> int:
        return self.block_limbs * self.blocks

    @property
    def words(self) -> int:
        """Limbs of an element."""
        return self.modulus_words * (2 if self.paired else 1)

    @property
    def bits(self) -> int:
        """R' is 2 to the power of this."""
        return 32 * self.modulus_words

    @property
    def number_bytes(self) -> int:
        return 4 * self.words

    def kernel(self, name: str, file: str = "modular.cuh") -> Any:
        how = {
            "BLOCK_LIMBS": self.block_limbs,
            "BLOCKS": self.blocks,
            **({"PAIRS": 1} if self.paired else {}),
        }
        return gpu_compile.kernel(file, name, **how)

    def empty(self, count: int, keep: Keep) -> Any:
        """Tiles for ``count`` numbers."""
        return keep(memory.empty((-(-count // TILE), self.words, TILE), np.uint32))

    def number(self, value: int, keep: Keep) -> Any:
        """One number that all threads share: lane 0 of a tile."""
        return keep(memory.upload(self.lane(value), secret=True))

    def tiles(self, limbs: U64, keep: Keep) -> Any:
        """A matrix of 52-bit limbs, copied to the device and repacked."""
        limb_count, count = limbs.shape
        there = keep(memory.upload(limbs, secret=True))
        tiles = self.empty(count, keep)
        sizes = np.uint32(limb_count), np.uint64(count)
        padded = -(-count // TILE) * TILE
        launch(self.kernel("tiles_from_limbs"), padded, there, *sizes, tiles, np.uint64(count))
        return tiles

    def deliver(self, tiles: Any, into: U64, keep: Keep) -> memory.Finish:
        """Repack numbers into 52-bit limbs and enqueue their copy to the host."""
        limb_count, count = into.shape
        limbs = keep(memory.empty(into.shape, np.uint64))
        sizes = np.uint32(limb_count), np.uint64(count)
        launch(self.kernel("limbs_from_tiles"), count, tiles, limbs, *sizes, np.uint64(count))
        return memory.download(limbs, into, secret=True)

    def lane(self, value: int) -> npt.NDArray[np.uint32]:
        tile = np.zeros((1, self.words, TILE), np.uint32)
        tile[0, :, 0] = np.frombuffer(value.to_bytes(self.number_bytes, "little"), "<u4")
        return tile


class Elements:
    """What the kernels of ``modular.cuh`` do with elements in tiles, enqueued on the current stream.

    ``keep`` takes every buffer that is made, as `memory.secrets_in` gives it: a modulus may be a secret, and
    so may the elements. ``radix`` is R' modulo what the elements are reduced by.
    """

    shape: Shape
    radix: int
    modulus: Any
    """On the device, as kernels take it."""

    def number(self, value: int, keep: Keep) -> Any:
        """One element that all threads share."""
        return self.shape.number(value, keep)

    def multiply(
        self,
        a: Any,
        b: Any,
        count: int,
        keep: Keep,
        *,
        a_at: Any = _NONE,
        b_at: Any = _NONE,
        shared: bool = False,
        extra: int = 0,
    ) -> Any:
        """a b 2^-extra / R' mod m; ``a_at``, ``b_at`` choose the factors, ``shared`` has b be one number."""
        r = self.shape.empty(count, keep)
        flags = np.uint32(shared), self.modulus, np.uint32(extra)
        launch(self.shape.kernel("multiply"), count, a, a_at, b, b_at, *flags, r, np.uint64(count))
        return r

    def power(self, bases: Any, digits: Any, window: int, count: int, keep: Keep, *, each: bool) -> Any:
        """base^e in R' form. ``digits`` (digits, numbers or 1), highest first, bytes on the device."""
        grid = resident(BLOCKS_EACH, count, block=THREADS)
        scratch = self.shape.empty(((1 << window) + 3) * grid * THREADS, keep)
        r = self.shape.empty(count, keep)
        one = self.number(self.radix, keep)
        width = digits.shape[1]
        how = np.uint32(digits.shape[0]), np.uint64(width), np.uint32(each), np.uint32(window)
        launch(
            self.shape.kernel("power"),
            count,
            bases,
            digits,
            *how,
            one,
            self.modulus,
            scratch,
            r,
            np.uint64(count),
            block=THREADS,
            grid=grid,
        )
        return r

    def power_scratch_bytes(self, window: int, count: int) -> int:
        """What `power` takes besides its operands and its result."""
        grid = resident(BLOCKS_EACH, count, block=THREADS)
        return ((1 << window) + 3) * grid * THREADS * self.shape.number_bytes

    def fixed_base(
        self, table: Any, window: int, digits: Any, last: Any, count: int, keep: Keep, *, last_each: bool
    ) -> Any:
        """g^e last / R' mod m, digits (digits, numbers) lowest first, the table as ``modular.cuh`` says."""
        grid = resident(BLOCKS_EACH, count, block=THREADS)
        scratch = self.shape.empty(2 * grid * THREADS, keep)
        r = self.shape.empty(count, keep)
        how = np.uint32(digits.shape[0]), np.uint64(digits.shape[1])
        launch(
            self.shape.kernel("fixed_base"),
            count,
            table,
            np.uint32(window),
            digits,
            *how,
            last,
            np.uint32(last_each),
            self.modulus,
            scratch,
            r,
            np.uint64(count),
            block=THREADS,
            grid=grid,
        )
        return r


class Field(Elements):
    """Numbers modulo m."""

    def __init__(self, m: Modulus, keep: Keep) -> None:
        self.m = m
        self.shape = Shape.of(m.bits)
        self.radix = (1 << self.shape.bits) % m.value
        extra = LIMB_BITS * m.limbs - self.shape.bits
        self._extra = extra if 0 <= extra <= _MAX_EXTRA else None
        lane = self.shape.lane(m.value).ravel()
        n0 = -pow(m.value, -1, 1 << 32) % (1 << 32)
        self.modulus = keep(memory.upload(np.append(lane, np.uint32(n0)), secret=True))
        # a b R'^-1 -> a b R^-1: times R'^2 / R, divided by R' once more.
        self._correction = (
            None
            if self._extra is not None
            else self.number(self.radix * self.radix * m.radix_inverse % m.value, keep)
        )

    def product(
        self,
        a: Any,
        b: Any,
        count: int,
        keep: Keep,
        *,
        a_at: Any = _NONE,
        b_at: Any = _NONE,
        shared: bool = False,
    ) -> Any:
        """a b / R mod m, the Montgomery product of `accel.modular`."""
        r = self.multiply(a, b, count, keep, a_at=a_at, b_at=b_at, shared=shared, extra=self._extra or 0)
        if self._correction is not None:
            r = self.multiply(r, self._correction, count, keep, shared=True)
        return r

    def enter(self, a: Any, count: int, keep: Keep) -> Any:
        """From x R to x R'."""
        change = self.radix * self.radix * self.m.radix_inverse % self.m.value
        return self.multiply(a, self.number(change, keep), count, keep, shared=True)

    def leave(self, a: Any, count: int, keep: Keep) -> Any:
        """From x R' to x R."""
        return self.multiply(a, self.number(self.m.one, keep), count, keep, shared=True)


def best_window(exponent_bits: int) -> int:
    """The window of `Field.power` with the fewest products."""

    def products(window: int) -> int:
        digits = -(-exponent_bits // window)
        return (1 << window) - 2 + (digits - 1) * (window + 1)

    return min(range(2, WIDEST_WINDOW + 1), key=products)


def digits_of(rows: npt.NDArray[np.uint8], exponent_bits: int, window: int) -> npt.NDArray[np.uint8]:
    """Big-endian rows (numbers, bytes) into digits (digits, numbers) of ``window`` bits, lowest first."""
    count = -(-max(exponent_bits, 1) // window)
    bits = np.unpackbits(rows[:, ::-1], axis=1, bitorder="little")[:, : count * window]
    padded = np.zeros((len(rows), count * window), np.uint8)
    padded[:, : bits.shape[1]] = bits
    weights = (1 << np.arange(window)).astype(np.uint8)
    digits = (padded.reshape(len(rows), count, window) * weights).sum(axis=2, dtype=np.uint8)
    padded.fill(0)
    return np.ascontiguousarray(digits.T)
