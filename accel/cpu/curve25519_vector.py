"""curve25519 on vectors: one point per lane, constant time in the scalar, for the IFMA and AVX2 paths.

The batch is worked off in chunks of `_CHUNK` vectors. A chunk has one file of registers (see
`field25519_vector`) and one inversion: its vectors share it by Montgomery's trick, three products each. Lanes
beyond the batch hold the base point or the empty message and are dropped.

Files that held a secret scalar's intermediate points are overwritten with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from accel.cpu import curve25519_kernels as kernels
from accel.cpu import curve25519_programs as formulas
from accel.cpu import field25519_vector as field
from accel.cpu import sha512_vector, threads
from accel.cpu.field25519_vector import Path
from accel.errors import InvalidPoint

U64 = npt.NDArray[np.uint64]

# Vectors that share an inversion, and a file that stays in the L2 cache.
_CHUNK = 64
# Vectors of a range that a thread of its own is worth.
_SHARE = 8

_REASONS = {1: "is not canonically encoded", 2: "has low order", 3: "is not on the curve"}


def hash_to_curve(level: str, messages: Sequence[bytes], dst: bytes) -> bytes:
    """The backend of ``curve25519.hash_to_curve`` at a CPU level."""
    return _hash(level, messages, dst, None)


def hash_and_multiply(level: str, messages: Sequence[bytes], dst: bytes, scalar: bytes) -> bytes:
    """Hash to the curve and multiply by one scalar, without leaving the kernels' representation."""
    words = np.frombuffer(scalar, dtype="<u8").astype(np.uint64)
    output = _hash(level, messages, dst, words)
    words.fill(0)
    return output


def scalar_mult_many(level: str, points: bytes, scalar: bytes) -> bytes:
    """The backend of ``curve25519.scalar_mult`` at a CPU level."""
    path = field.PATHS[level]
    source = np.frombuffer(points, dtype="<u8").reshape(-1, 4)
    output = np.empty_like(source)
    words = np.frombuffer(scalar, dtype="<u8").astype(np.uint64)

    def work(start: int, stop: int) -> None:
        ladder = _Chunk(path, formulas.LADDER, stop - start)
        for first in range(start, stop, ladder.points):
            count = ladder.begin(min(ladder.points, stop - first))
            kernels.load_points(path, source, first, count, ladder.file, ladder.at("u"), ladder.width)
            ladder.climb(words)
            bad = ladder.divide("x", "z", "t", "p", "i")
            ladder.store("x", output, first)
            ladder.file.fill(0)
            if bad is not None:
                raise InvalidPoint(f"point {first + bad} has low order", index=first + bad)

    threads.each_range(len(source), _SHARE * path.lanes, work)
    words.fill(0)
    return output.tobytes()


def find_invalid(level: str, points: bytes) -> tuple[int, str] | None:
    """The backend of ``curve25519.find_invalid`` at a CPU level."""
    path = field.PATHS[level]
    source = np.frombuffer(points, dtype="<u8").reshape(-1, 4)
    codes = np.zeros(len(source), dtype=np.uint8)
    program = _programs()["check"]

    def work(start: int, stop: int) -> None:
        chunk = _Chunk(path, formulas.CHECK, stop - start)
        for first in range(start, stop, chunk.points):
            count = chunk.begin(min(chunk.points, stop - first))
            kernels.load_points(path, source, first, count, chunk.file, chunk.at("u"), chunk.width)
            chunk.run(program)
            found = codes[first : first + count]
            # The first reason counts: what is written last.
            found[~chunk.condition("w")] = 3
            found[chunk.condition("z")] = 2

    threads.each_range(len(source), _SHARE * path.lanes, work)
    codes[_not_canonical(source)] = 1
    bad = np.flatnonzero(codes)
    return (int(bad[0]), _REASONS[int(codes[bad[0]])]) if bad.size else None


class _Chunk:
    """The file of one thread: registers by name, for up to `_CHUNK` vectors of points."""

    def __init__(self, path: Path, registers: tuple[str, ...], points: int) -> None:
        self.path = path
        self.points = min(-(-points // path.lanes), _CHUNK) * path.lanes
        self._numbers = {name: number for number, name in enumerate(registers)}
        self._registers = registers
        self._limb_words = path.limbs * path.lanes
        self._table = field.constants(path)
        self.file: U64 = np.zeros(len(registers) * self.points * path.limbs, dtype=np.uint64)
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

    def climb(self, words: U64) -> None:
        """(x : z) = scalar times u, by registers of `formulas.LADDER`."""
        self.run(_programs()["start"])
        kernels.ladder(self.path, words, self.file, self.width)
        self.run(_programs()["end"])

    def divide(self, x: str, z: str, zero: str, prefix: str, inverse: str) -> int | None:
        """x = x / z, and the number of the first point with z = 0."""
        ready, finish = _division(self._registers, x, z, zero, prefix, inverse)
        self.run(ready)
        zeros = np.flatnonzero(self.condition(zero))
        step = self._limb_words
        last = (self.at(prefix) + self.width - 1) * step
        self._alone[:step] = self.file[last : last + step]
        field.run(self.path, _programs()["invert"], self._table, self._alone, 1)
        first = self.at(inverse) * step
        self.file[first : first + step] = self._alone[step : 2 * step]
        self._alone.fill(0)
        self.run(finish)
        return int(zeros[0]) if zeros.size else None

    def store(self, register: str, output: U64, first: int) -> None:
        """Write a register's canonical numbers to rows of ``output`` from ``first`` on."""
        kernels.store_points(self.path, self.file, self.at(register), output, first, self._count)


def _hash(level: str, messages: Sequence[bytes], dst: bytes, words: U64 | None) -> bytes:
    path = field.PATHS[level]
    tag = sha512_vector.prepare(dst)
    lengths = np.fromiter(map(len, messages), dtype=np.int64, count=len(messages))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    data = np.frombuffer(b"".join(messages) or b"\0", dtype=np.uint8)
    output = np.empty((len(messages), 4), dtype=np.uint64)
    lanes = tuple(range(path.lanes))
    programs = _programs()

    def work(start: int, stop: int) -> None:
        chunk = _Chunk(path, formulas.SUM, stop - start)
        ladder = None if words is None else _Chunk(path, formulas.LADDER, stop - start)
        uniform = np.empty(chunk.points * 2 * sha512_vector.WORDS, dtype=np.uint64)
        for first in range(start, stop, chunk.points):
            count = chunk.begin(min(chunk.points, stop - first))
            sha512_vector.expand(
                lanes, data, offsets, first, count, tag.after_message, tag.blocks, _zero_block(lanes), uniform
            )
            kernels.load_uniform(path, uniform, chunk.file, chunk.width)
            chunk.run(programs["map"], halves=2)
            chunk.run(programs["sum"])
            bad = chunk.divide(formulas.SUM_X, formulas.SUM_Z, "t0", "t1", "u0")
            if bad is not None:
                index = first + bad
                raise InvalidPoint(f"message {index} hashed to the point at infinity", index=index)
            if ladder is None or words is None:
                chunk.store(formulas.SUM_X, output, first)
                continue
            ladder.begin(count)
            size = path.limbs * path.lanes
            source, target = chunk.at(formulas.SUM_X) * size, ladder.at("u") * size
            ladder.file[target : target + chunk.width * size] = chunk.file[
                source : source + chunk.width * size
            ]
            ladder.climb(words)
            ladder.divide("x", "z", "t", "p", "i")
            ladder.store("x", output, first)
            ladder.file.fill(0)

    threads.each_range(len(messages), _SHARE * path.lanes, work)
    return output.tobytes()


@cache
def _programs() -> dict[str, npt.NDArray[np.int64]]:
    return {
        "map": formulas.map_to_curve().finish(),
        "sum": formulas.sum_and_clear().finish(),
        "start": formulas.ladder_start().finish(),
        "end": formulas.ladder_end().finish(),
        "check": formulas.check().finish(),
        "invert": formulas.invert().finish(),
    }


@cache
def _division(
    registers: tuple[str, ...], x: str, z: str, zero: str, prefix: str, inverse: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    before = formulas.products(registers, z, zero, prefix, inverse)
    after = formulas.quotients(registers, x, z, prefix, inverse)
    return before.finish(), after.finish()


@cache
def _zero_block(lanes: tuple[int, ...]) -> U64:
    return sha512_vector.state_after_zeros(lanes)


def _not_canonical(rows: U64) -> npt.NDArray[np.bool_]:
    """u ≥ p, for rows of four words."""
    full = np.uint64(2**64 - 1)
    top = np.uint64(2**63 - 1)
    largest = (rows[:, 3] == top) & (rows[:, 2] == full) & (rows[:, 1] == full)
    beyond: npt.NDArray[np.bool_] = (rows[:, 3] > top) | (largest & (rows[:, 0] >= np.uint64(2**64 - 19)))
    return beyond
