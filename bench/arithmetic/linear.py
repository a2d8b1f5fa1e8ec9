"""The products of private lookups beside numpy and the memory of the machine, all cores."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from accel import lwe
from bench import peak
from bench.measure import Row, against, rate

_GIB = 1 << 30
_INCLUDES = "all cores, database of bytes in memory"


def rows(quick: bool, cores: int) -> Iterator[Row]:
    seconds = 0.3 if quick else 1.5
    side = 4096 if quick else 32768
    rng = np.random.default_rng()
    database = rng.integers(0, 256, (side, side), dtype=np.uint8)
    query = rng.integers(0, 1 << 32, side, dtype=np.uint32)
    single = rate(lambda: lwe.matvec(database, query, offset=128), database.nbytes, seconds=seconds)
    read = peak.read_bandwidth(cores)
    yield against(
        "PIR product, one query",
        database.nbytes,
        single,
        "reading the memory",
        read,
        unit="B/s",
        includes=_INCLUDES,
        target=40e9,
    )
    small = database[:512]
    wide = small.astype(np.uint32)
    theirs = rate(lambda: wide @ query, small.nbytes, seconds=seconds)
    yield against(
        "PIR product, one query",
        database.nbytes,
        single,
        "numpy " + np.__version__,
        theirs,
        unit="B/s",
        includes=_INCLUDES + "; the peer on 512 rows held as uint32, one core",
        target=40e9,
    )
    for queries in (8, 16):
        several = rng.integers(0, 1 << 32, (side, queries), dtype=np.uint32)
        work = rate(lambda q=several: lwe.matmul(database, q, offset=128), database.nbytes, seconds=seconds)
        yield Row(
            f"PIR product, {queries} queries in one pass",
            database.nbytes,
            queries * work,
            "B/s",
            _INCLUDES + "; bytes of database times queries",
        )
    public = rng.integers(0, 1 << 32, (side, lwe.LWE_DIMENSION), dtype=np.uint32)
    part = database[: side // 16]
    hint = rate(lambda: lwe.matmul(part, public, offset=128), part.nbytes, seconds=seconds)
    yield Row(
        "PIR hint",
        part.nbytes,
        _GIB / hint,
        "s/GiB",
        _INCLUDES + f"; measured on {part.shape[0]} of {side} rows and scaled",
        target=20,
        met=_GIB / hint <= 20,
    )
