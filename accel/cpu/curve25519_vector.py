"""curve25519 on vectors: one point per lane, constant time in the scalar, for the IFMA and AVX2 paths.

Lanes beyond the batch hold the base point or the empty message and are dropped.

Files that held a secret scalar's intermediate points are overwritten with zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import numpy as np
import numpy.typing as npt

from accel.cpu import curve25519_kernels as kernels
from accel.cpu import curve25519_programs as formulas
from accel.cpu import field25519_vector as field
from accel.cpu import sha512_vector, threads
from accel.cpu.curve25519_chunk import SHARE, Chunk, programs
from accel.cpu.field25519_vector import Path
from accel.errors import InvalidPoint

U64 = npt.NDArray[np.uint64]


def hash_to_curve(level: str, messages: Sequence[bytes], dst: bytes) -> bytes:
    """The backend of ``curve25519.hash_to_curve`` at a CPU level."""
    return _hash(level, messages, dst, None)


def hash_and_multiply(level: str, messages: Sequence[bytes], dst: bytes, scalar: bytes) -> bytes:
    """Hash to the curve and multiply by one scalar, without leaving the kernels' representation."""
    with secret_words(scalar) as words:
        return _hash(level, messages, dst, words)


def scalar_mult_many(level: str, points: bytes, scalar: bytes) -> bytes:
    """The backend of ``curve25519.scalar_mult`` at a CPU level."""
    path = field.PATHS[level]
    source = np.frombuffer(points, dtype="<u8").reshape(-1, 4)
    output = np.empty_like(source)

    with secret_words(scalar) as words:

        def work(start: int, stop: int) -> None:
            ladder = Chunk(path, formulas.LADDER, stop - start)
            for first in range(start, stop, ladder.points):
                count = ladder.begin(min(ladder.points, stop - first))
                kernels.load_points(path, source, first, count, ladder.file, ladder.at("u"), ladder.width)
                bad = _multiply(ladder, words, output, first)
                if bad is not None:
                    raise InvalidPoint(f"point {first + bad} has low order", index=first + bad)

        threads.each_range(len(source), SHARE * path.lanes, work)
    return output.tobytes()


@contextmanager
def secret_words(scalar: bytes) -> Iterator[U64]:
    """The words of a scalar, overwritten afterwards."""
    words = np.frombuffer(scalar, dtype="<u8").astype(np.uint64)
    try:
        yield words
    finally:
        words.fill(0)


def _multiply(ladder: Chunk, words: U64, output: U64, first: int) -> int | None:
    """Multiply the points in register "u" into rows of ``output``; the number of one of low order, if any."""
    ladder.climb(words)
    bad = ladder.divide("x", "z", "t", "p", "i")
    ladder.store("x", output, first)
    ladder.file.fill(0)
    return bad


def _hash(level: str, messages: Sequence[bytes], dst: bytes, words: U64 | None) -> bytes:
    path = field.PATHS[level]
    output = np.empty((len(messages), 4), dtype=np.uint64)
    ready = programs()

    def work(chunk: Chunk, first: int, count: int) -> None:
        chunk.run(ready["sum"])
        bad = chunk.divide(formulas.SUM_X, formulas.SUM_Z, "t0", "t1", "u0")
        if bad is not None:
            index = first + bad
            raise InvalidPoint(f"message {index} hashed to the point at infinity", index=index)
        if words is None:
            chunk.store(formulas.SUM_X, output, first)
            return
        ladder = Chunk(path, formulas.LADDER, chunk.points)
        ladder.begin(count)
        ladder.copy_from(chunk, formulas.SUM_X, "u")
        _multiply(ladder, words, output, first)

    each_hashed(path, messages, dst, work)
    return output.tobytes()


def each_hashed(
    path: Path, messages: Sequence[bytes], dst: bytes, work: Callable[[Chunk, int, int], None]
) -> None:
    """Call ``work(chunk, first, count)`` for all messages: the chunk, of registers `formulas.SUM`, holds what
    the two halves of the hashes of messages from ``first`` on map to."""
    tag = sha512_vector.prepare(dst)
    lengths = np.fromiter(map(len, messages), dtype=np.int64, count=len(messages))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    data = np.frombuffer(b"".join(messages) + bytes(sha512_vector.SLACK), dtype=np.uint8)
    lanes = tuple(range(path.lanes))

    def each(start: int, stop: int) -> None:
        chunk = Chunk(path, formulas.SUM, stop - start)
        uniform = np.empty(chunk.points * 2 * sha512_vector.WORDS, dtype=np.uint64)
        for first in range(start, stop, chunk.points):
            count = chunk.begin(min(chunk.points, stop - first))
            sha512_vector.expand(
                lanes,
                data,
                offsets,
                first,
                count,
                tag.after_message,
                tag.length,
                tag.blocks,
                _zero_block(lanes),
                uniform,
            )
            kernels.load_uniform(path, uniform, chunk.file, chunk.width)
            chunk.run(programs()["map"], halves=2)
            work(chunk, first, count)

    threads.each_range(len(messages), SHARE * path.lanes, each)


@cache
def _zero_block(lanes: tuple[int, ...]) -> U64:
    return sha512_vector.state_after_zeros(lanes)
