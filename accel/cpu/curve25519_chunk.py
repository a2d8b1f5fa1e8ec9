"""A chunk of a batch: a file of registers by name, the programs that run on it, and one inversion for all.

The vectors of a chunk share an inversion by Montgomery's trick, which then costs three products a vector.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from accel.cpu import curve25519_kernels as kernels
from accel.cpu import curve25519_programs as formulas
from accel.cpu import field25519_vector as field
from accel.cpu.field25519_vector import Path

U64 = npt.NDArray[np.uint64]

# Vectors that share an inversion, and a file that stays in the L2 cache.
VECTORS = 64
# Vectors of a range that a thread of its own is worth.
SHARE = 8


class Chunk:
    """The file of one thread: registers by name, for up to `VECTORS` vectors of points."""

    def __init__(self, path: Path, registers: tuple[str, ...], points: int, *, spare: int = 0) -> None:
        """For at most ``points`` points a chunk. ``spare`` elements follow the registers, from `spare` on."""
        self.path = path
        self.points = min(-(-points // path.lanes), VECTORS) * path.lanes
        self._numbers = {name: number for number, name in enumerate(registers)}
        self._registers = registers
        self._limb_words = path.limbs * path.lanes
        self._table = field.constants(path)
        self.spare = len(registers) * (self.points // path.lanes)
        self.file: U64 = np.zeros((self.spare + spare) * self._limb_words, dtype=np.uint64)
        self._alone: U64 = np.empty(len(formulas.ALONE) * self._limb_words, dtype=np.uint64)
        self.begin(self.points)

    def begin(self, count: int) -> int:
        """Take ``count`` points: registers are as wide as these need."""
        self._count = count
        self.width = -(-count // self.path.lanes)
        return count

    def at(self, register: str) -> int:
        """The number of the first element of a register."""
        return self._numbers[register] * self.width

    def run(self, program: npt.NDArray[np.int64], halves: int = 1) -> None:
        """Run a program written for this chunk's registers, or for ``halves`` of them in one."""
        field.run(self.path, program, self._table, self.file, self.width * halves)

    def condition(self, register: str) -> npt.NDArray[np.bool_]:
        """A stored condition, one value per point."""
        start = self.at(register) * self._limb_words
        stored = self.file[start : start + self.width * self._limb_words]
        lanes = stored.reshape(self.width, self.path.limbs, self.path.lanes)[:, 0, :].reshape(-1)
        holds: npt.NDArray[np.bool_] = lanes[: self._count] != 0
        return holds

    def put_condition(self, register: str, holds: npt.NDArray[np.bool_]) -> None:
        """Store a condition, one value per point; it does not hold in lanes beyond."""
        lanes = np.zeros(self.width * self.path.lanes, dtype=np.uint64)
        lanes[: self._count][holds] = ~np.uint64(0)
        start = self.at(register) * self._limb_words
        stored = self.file[start : start + self.width * self._limb_words]
        stored.reshape(self.width, self.path.limbs, self.path.lanes)[:, 0, :] = lanes.reshape(self.width, -1)

    def copy_from(self, other: Chunk, source: str, target: str) -> None:
        """Copy a register of another chunk of as many points."""
        size = self._limb_words
        there, here = other.at(source) * size, self.at(target) * size
        words = self.width * size
        self.file[here : here + words] = other.file[there : there + words]

    def climb(self, words: U64) -> None:
        """(x : z) = scalar times u, by registers of `formulas.LADDER`."""
        self.run(programs()["start"])
        kernels.ladder(self.path, words, self.file, self.width, False)
        self.run(programs()["end"])

    def divide(self, x: str, z: str, zero: str, prefix: str, inverse: str) -> int | None:
        """x = x / z, and the number of the first point with z = 0."""
        ready, finish = _division(self._registers, x, z, zero, prefix, inverse)
        self.run(ready)
        zeros = np.flatnonzero(self.condition(zero))
        step = self._limb_words
        last = (self.at(prefix) + self.width - 1) * step
        self._alone[:step] = self.file[last : last + step]
        field.run(self.path, programs()["invert"], self._table, self._alone, 1)
        first = self.at(inverse) * step
        self.file[first : first + step] = self._alone[step : 2 * step]
        self._alone.fill(0)
        self.run(finish)
        return int(zeros[0]) if zeros.size else None

    def store(self, register: str, output: U64, first: int) -> None:
        """Write a register's canonical numbers to rows of ``output`` from ``first`` on."""
        kernels.store_points(self.path, self.file, self.at(register), output, first, self._count)


@cache
def programs() -> dict[str, npt.NDArray[np.int64]]:
    return {
        "map": formulas.map_to_curve().finish(),
        "sum": formulas.sum_and_clear().finish(),
        "start": formulas.ladder_start(formulas.LADDER).finish(),
        "end": formulas.ladder_end().finish(),
        "order": formulas.check_order().finish(),
        "square": formulas.check_square().finish(),
        "invert": formulas.invert().finish(),
    }


@cache
def _division(
    registers: tuple[str, ...], x: str, z: str, zero: str, prefix: str, inverse: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    before = formulas.products(registers, z, zero, prefix, inverse)
    after = formulas.quotients(registers, x, z, prefix, inverse)
    return before.finish(), after.finish()
