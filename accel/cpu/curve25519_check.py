"""Validation of many points at once: which u are canonical, of sufficient order, and on the curve?

Whether g = u^3 + J u^2 + u is a square takes an exponentiation, a tenth of a ladder. Large batches take far
fewer: for each of 64 subsets of a range's vectors, drawn at random here and now, the product of their g is
tested. If a single g in a lane is no square, each subset's product in that lane is a square with probability
1/2, whatever the other points are, so a bad point passes all with probability 2^-64. If any product fails,
the points are tested one by one, for the index.

The 64 products come from 8 tables of 256 buckets: a vector goes into one bucket of each table, that of a
random byte, and subset j of a table is what lies in buckets with bit j.
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from accel.cpu import curve25519_kernels as kernels
from accel.cpu import curve25519_programs as formulas
from accel.cpu import field25519_vector as field
from accel.cpu import threads
from accel.cpu.curve25519_chunk import SHARE, Chunk, programs
from accel.cpu.field25519_vector import Path
from accel.cpu.jit import compiled

U64 = npt.NDArray[np.uint64]

REASONS = {1: "is not canonically encoded", 2: "has low order", 3: "is not on the curve"}

# Vectors of a range from which on subsets pay: the 64 exponentiations and the tables cost about 100.
_MANY = 256
_TABLES = 8
_BUCKETS = 256
_SUBSETS = 64


def find_invalid(level: str, points: bytes) -> tuple[int, str] | None:
    """The backend of ``curve25519.find_invalid`` at a CPU level."""
    path = field.PATHS[level]
    source = np.frombuffer(points, dtype="<u8").reshape(-1, 4)
    codes = np.zeros(len(source), dtype=np.uint8)

    def work(start: int, stop: int) -> None:
        if stop - start < _MANY * path.lanes or not _all_good(path, source, start, stop):
            _judge(path, source, start, stop, codes)

    threads.each_range(len(source), SHARE * path.lanes, work)
    codes[not_canonical(source)] = 1
    bad = np.flatnonzero(codes)
    return (int(bad[0]), REASONS[int(codes[bad[0]])]) if bad.size else None


def _judge(path: Path, source: U64, start: int, stop: int, codes: npt.NDArray[np.uint8]) -> None:
    """Each point for itself."""
    chunk = Chunk(path, formulas.CHECK, stop - start)
    for first in range(start, stop, chunk.points):
        count = chunk.begin(min(chunk.points, stop - first))
        kernels.load_points(path, source, first, count, chunk.file, chunk.at("u"), chunk.width)
        chunk.run(programs()["order"])
        chunk.run(programs()["square"])
        found = codes[first : first + count]
        # The first reason counts: what is written last.
        found[~chunk.condition("w")] = 3
        found[chunk.condition("z")] = 2


def _all_good(path: Path, source: U64, start: int, stop: int) -> bool:
    """Is no point of low order or off the curve? A false yes has probability 2^-64."""
    chunk = Chunk(path, formulas.CHECK, stop - start, spare=_TABLES * _BUCKETS)
    subsets = Chunk(path, formulas.CHECK, _SUBSETS * path.lanes)
    _fill_with_ones(path, chunk.file, chunk.spare, _TABLES * _BUCKETS)
    for first in range(start, stop, chunk.points):
        count = chunk.begin(min(chunk.points, stop - first))
        kernels.load_points(path, source, first, count, chunk.file, chunk.at("u"), chunk.width)
        chunk.run(programs()["order"])
        if chunk.condition("z").any():
            return False
        drawn = np.frombuffer(os.urandom(_TABLES * chunk.width), dtype=np.uint8)
        _into_buckets(path, chunk.file, chunk.at("g"), chunk.width, drawn, chunk.spare)
    _subset_products(path, chunk.file, chunk.spare, subsets.file, subsets.at("g"))
    subsets.run(programs()["square"])
    return bool(subsets.condition("w").all())


def not_canonical(rows: U64) -> npt.NDArray[np.bool_]:
    """u ≥ p, for rows of four words."""
    full = np.uint64(2**64 - 1)
    top = np.uint64(2**63 - 1)
    largest = (rows[:, 3] == top) & (rows[:, 2] == full) & (rows[:, 1] == full)
    beyond: npt.NDArray[np.bool_] = (rows[:, 3] > top) | (largest & (rows[:, 0] >= np.uint64(2**64 - 19)))
    return beyond


def _fill_with_ones(path: Path, file: U64, element: int, count: int) -> None:
    size = path.limbs * path.lanes
    elements = file[element * size : (element + count) * size].reshape(count, path.limbs, path.lanes)
    elements[:, 0, :] = 1


@compiled
def _into_buckets(
    path: Path, file: U64, element: int, width: int, drawn: npt.NDArray[np.uint8], buckets: int
) -> None:
    for v in range(width):
        for table in range(_TABLES):
            bucket = buckets + table * _BUCKETS + drawn[v * _TABLES + table]
            field.multiply(path, file, bucket, bucket, element + v)


@compiled
def _subset_products(path: Path, file: U64, buckets: int, target: U64, element: int) -> None:
    """Subset j of a table: the product of its buckets with bit j. The buckets are used up."""
    size = path.limbs * path.lanes
    for table in range(_TABLES):
        base = buckets + table * _BUCKETS
        for bit in range(7, -1, -1):
            half = 1 << bit
            # Buckets that differ in this bit alone become one, for the bits below.
            for i in range(half):
                field.multiply(path, file, base + i, base + i, base + half + i)
            for i in range(half + 1, 2 * half):
                field.multiply(path, file, base + half, base + half, base + i)
            to = (element + 8 * table + bit) * size
            for word in range(size):
                target[to + word] = file[(base + half) * size + word]
