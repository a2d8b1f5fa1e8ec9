"""2HashDH with additive masks on vectors, for the IFMA and AVX2 paths; see `accel.curve25519_oprf`.

Lanes beyond the batch hold the base point or the empty message and are dropped. Files and words that held a
secret or what depends on it are overwritten with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from accel.cpu import curve25519_comb as comb
from accel.cpu import curve25519_edwards as formulas
from accel.cpu import curve25519_kernels as kernels
from accel.cpu import curve25519_programs, threads
from accel.cpu import field25519_vector as field
from accel.cpu.curve25519_check import REASONS, not_canonical
from accel.cpu.curve25519_chunk import SHARE, Chunk
from accel.cpu.curve25519_vector import each_hashed, secret_words
from accel.errors import InvalidPoint
from accel.reference.curve25519_oprf import BASE

U64 = npt.NDArray[np.uint64]

_SIGN = np.uint64(63)
_NEGATIVE = np.uint64(2**64 - 1)


def hash_and_mask(level: str, messages: Sequence[bytes], dst: bytes, masks: bytes) -> bytes:
    """The backend of ``curve25519.hash_and_mask`` at a CPU level."""
    path = field.PATHS[level]
    table = comb.table(path, BASE)
    rows = np.frombuffer(masks, dtype="<u8").reshape(-1, 4)
    output = np.empty((len(messages), 4), dtype=np.uint64)
    ready = programs()

    def work(hashed: Chunk, first: int, count: int) -> None:
        hashed.run(ready["enter mapped"], halves=2)
        hashed.run(ready["sum"])
        chunk = Chunk(path, formulas.MASK, hashed.points)
        chunk.begin(count)
        for source, target in zip(formulas.SUM_POINT, formulas.COMB_POINT, strict=True):
            chunk.copy_from(hashed, source, target)
        _add_multiples(chunk, rows[first : first + count], table)
        chunk.run(ready["leave"])
        bad = chunk.divide("a", "b", "f", "q", "i")
        if bad is not None:
            index = first + bad
            raise InvalidPoint(f"message {index} was masked to the point at infinity", index=index)
        chunk.run(ready["parity of mask"])
        _store_full(chunk, "a", output, first, count)
        chunk.file.fill(0)
        hashed.file.fill(0)

    each_hashed(path, messages, dst, work)
    return output.tobytes()


def multiply_points(level: str, points: bytes, scalar: bytes) -> bytes:
    """The backend of ``curve25519.multiply_points`` at a CPU level."""
    path = field.PATHS[level]
    source = np.frombuffer(points, dtype="<u8").reshape(-1, 4)
    output = np.empty_like(source)
    ready = programs()

    with secret_words(scalar) as words:

        def work(start: int, stop: int) -> None:
            chunk = Chunk(path, formulas.CLIMB, stop - start)
            for first in range(start, stop, chunk.points):
                count = chunk.begin(min(chunk.points, stop - first))
                _load_full(chunk, "decode to climb", source, first, count)
                chunk.run(ready["start"])
                kernels.ladder(path, words, chunk.file, chunk.width, True)
                chunk.run(ready["recover"])
                bad = chunk.divide("x", "z", "t", "q", "i")
                if bad is not None:
                    raise InvalidPoint(f"point {first + bad} has low order", index=first + bad)
                chunk.run(ready["parity of climb"])
                _store_full(chunk, "x", output, first, count)
                chunk.file.fill(0)

        threads.each_range(len(source), SHARE * path.lanes, work)
    return output.tobytes()


def unmask(level: str, points: bytes, masks: bytes, key: bytes) -> bytes:
    """The backend of ``curve25519.unmask`` at a CPU level."""
    path = field.PATHS[level]
    # The mask with all bits turned stands for the negative scalar.
    rows = np.frombuffer(masks, dtype="<u8").reshape(-1, 4) ^ _NEGATIVE
    source = np.frombuffer(points, dtype="<u8").reshape(-1, 4)
    output = np.empty_like(source)
    ready = programs()
    table = comb.table(path, key)

    def work(start: int, stop: int) -> None:
        chunk = Chunk(path, formulas.BARE, stop - start)
        for first in range(start, stop, chunk.points):
            count = chunk.begin(min(chunk.points, stop - first))
            _load_full(chunk, "decode to bare", source, first, count)
            chunk.run(ready["enter"])
            _add_multiples(chunk, rows[first : first + count], table)
            chunk.run(ready["leave u"])
            bad = chunk.divide("a", "b", "e", "q", "i")
            if bad is not None:
                index = first + bad
                raise InvalidPoint(f"point {index} unmasks to the point at infinity", index=index)
            chunk.store("a", output, first)
            chunk.file.fill(0)

    threads.each_range(len(source), SHARE * path.lanes, work)
    rows.fill(0)
    return output.tobytes()


def _add_multiples(chunk: Chunk, masks: U64, table: U64) -> None:
    lanes = chunk.path.lanes
    padded = np.zeros((chunk.width * lanes, 4), dtype=np.uint64)
    padded[: len(masks)] = masks
    words = np.ascontiguousarray(padded.reshape(chunk.width, lanes, 4).transpose(0, 2, 1)).ravel()
    comb.add_multiples(chunk.path, words, table, chunk.file, chunk.width)
    padded.fill(0)
    words.fill(0)


def _load_full(chunk: Chunk, decode: str, source: U64, first: int, count: int) -> None:
    """Points of a peer into "u" and "v"; raises InvalidPoint for the first that is none."""
    rows = source[first : first + count]
    kernels.load_points(chunk.path, source, first, count, chunk.file, chunk.at("u"), chunk.width)
    chunk.put_condition("s", (rows[:, 3] >> _SIGN).astype(np.bool_))
    chunk.run(programs()[decode])
    codes = np.where(chunk.condition("f"), 0, 3)
    codes[chunk.condition("e")] = 2
    bare = rows.copy()
    bare[:, 3] &= ~(np.uint64(1) << _SIGN)
    codes[not_canonical(bare)] = 1
    bad = np.flatnonzero(codes)
    if bad.size:
        at = int(bad[0])
        raise InvalidPoint(f"point {first + at} {REASONS[int(codes[at])]}", index=first + at)


def _store_full(chunk: Chunk, register: str, output: U64, first: int, count: int) -> None:
    """u, and condition "s" in its top bit."""
    chunk.store(register, output, first)
    output[first : first + count, 3] |= chunk.condition("s").astype(np.uint64) << _SIGN


@cache
def programs() -> dict[str, npt.NDArray[np.int64]]:
    return {
        "enter mapped": formulas.enter_mapped().finish(),
        "sum": formulas.sum_and_clear().finish(),
        "leave": formulas.leave().finish(),
        "parity of mask": formulas.parity(formulas.MASK).finish(),
        "decode to climb": formulas.decode(formulas.CLIMB).finish(),
        "start": curve25519_programs.ladder_start(formulas.CLIMB).finish(),
        "recover": formulas.recover().finish(),
        "parity of climb": formulas.parity(formulas.CLIMB).finish(),
        "decode to bare": formulas.decode(formulas.BARE).finish(),
        "enter": formulas.enter().finish(),
        "leave u": formulas.leave_u().finish(),
    }
