"""Private retrieval: what a server reads per second, what a hint takes, and whole lookups, cold and warm."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from bench import peak
from bench.measure import Row, against, rate
from compute.protocols.local import LocalRun
from compute.protocols.pir.simple import linear, records
from compute.protocols.pir.simple.plan import HINT_GOAL_BYTES, plan
from compute.protocols.protocol import Session
from compute.protocols.workspace import MemoryCache
from tests.compute.protocols.jobs import Job

_GIB = 1 << 30
# SimplePIR's program is Go with C: neither PyPI, npm nor Debian has it, so no figure of a peer stands here.
_NO_PEER = "; SimplePIR's own Go program cannot be installed from PyPI, npm or Debian: no peer measured"
_ONE_PROCESS = "client and server in one process on all cores, no network"


def run(quick: bool) -> Iterator[Row]:
    """Products, hint, layout, then whole jobs."""
    cores = len(os.sched_getaffinity(0))
    yield from _products(quick, cores)
    yield _hint(quick, cores)
    yield from _overhead(quick, cores)
    yield from _hint_bytes()
    list(_jobs("kernels are compiled", 1000, 100))
    yield from _jobs("records of 64 bytes", 8_191 if quick else 1 << 20, 64)
    yield from _jobs("like the flights of 2013", 5_003 if quick else 336_776, 100)


def _random(rows: int, columns: int) -> linear.U8:
    return np.random.default_rng().integers(0, 256, (rows, columns), dtype=np.uint8)


def _vectors(count: int, columns: int) -> linear.U32:
    return np.random.default_rng().integers(0, 1 << 32, (count, columns), dtype=np.uint32)


def _products(quick: bool, cores: int) -> Iterator[Row]:
    """The pass over the matrix that answers queries, against nothing but reading it."""
    seconds = 1.0 if quick else 4.0
    layout = plan((1 << 18) if quick else (1 << 20), records.sealed_bytes(1000), keyed=False)
    matrix = _random(layout.rows, layout.columns)
    read = peak.read_bandwidth(cores)
    for queries, target in ((1, 40e9), (8, 55e9), (16, None)):
        vectors = _vectors(queries, layout.columns)
        speed = rate(lambda v=vectors: linear.answer(matrix, v), queries * matrix.nbytes, seconds=seconds)
        # It reads each byte once and does little with it.
        bound = ", no faster than the memory is read" if queries == 1 else ""
        yield against(
            "PIR product, one query" if queries == 1 else f"PIR product, {queries} queries in one pass",
            matrix.nbytes,
            speed,
            "reading the memory once",
            read,
            unit="B/s",
            includes=f"{cores} cores, packing of the queries, bytes of matrix times queries{bound}"
            + _NO_PEER,
            target=target,
        )


def _hint(quick: bool, cores: int) -> Row:
    rows, columns = (512, 1 << 15) if quick else (4096, 1 << 17)
    matrix = _random(rows, columns)
    list(linear.hint(matrix[:64, : 1 << 14], bytes(32)))
    started = time.perf_counter()
    list(linear.hint(matrix, bytes(32)))
    taken = (time.perf_counter() - started) * _GIB / matrix.nbytes
    includes = (
        f"{cores} cores, expansion of A included, matrix of {matrix.nbytes >> 20} MiB, scaled" + _NO_PEER
    )
    return Row("PIR hint", matrix.nbytes, taken, "s/GiB", includes, target=20, met=taken <= 20)


def _overhead(quick: bool, cores: int) -> Iterator[Row]:
    """A query by keyword beside one by row number over the same records: server's time, and bytes."""
    count, width = (1 << 18 if quick else 1 << 20), records.sealed_bytes(64)
    by_keyword = plan(count, width)
    by_row = replace(by_keyword, keyed=False)
    work = [
        (_random(layout.rows, layout.columns), _vectors(1, layout.columns)) for layout in (by_keyword, by_row)
    ]
    times = [math.inf, math.inf]
    for _ in range(12 if quick else 40):  # in turns, and the best of each: other work hits both alike
        for index, (matrix, vectors) in enumerate(work):
            started = time.perf_counter()
            linear.answer(matrix, vectors)
            times[index] = min(times[index], time.perf_counter() - started)
    sizes = [layout.lookup_bytes for layout in (by_keyword, by_row)]
    for name, (ours, plain), what in (
        ("time", times, f"the server's product, {cores} cores, same stack of records"),
        ("bytes", sizes, "query and answer, same stack of records"),
    ):
        ratio = ours / plain
        yield Row(
            f"PIR by keyword over by row, {name}", count, ratio, "x", what, target=1.3, met=ratio <= 1.3
        )


def _hint_bytes() -> Iterator[Row]:
    for count, size in ((1 << 24, 60), (1 << 20, 1020), (1 << 14, 65_532)):
        layout = plan(count, records.sealed_bytes(size))
        yield Row(
            f"PIR hint for 1 GB as {count:,} records of {size + 4} bytes, by keyword",
            count * (size + 4),
            layout.hint_bytes,
            "B",
            f"what a client downloads once per version; a lookup then takes {layout.lookup_bytes:,} bytes",
            target=HINT_GOAL_BYTES,
            met=layout.hint_bytes <= HINT_GOAL_BYTES,
        )


class _Kept(Job):
    """A job whose parties keep their caches and the version's secret."""

    def session(self, role: str) -> Session:
        secret = hashlib.sha256(b"bench").digest() if role == "server" else b""
        return replace(super().session(role), version_secret=secret)


def _jobs(what: str, count: int, size: int) -> Iterator[Row]:
    """One lookup by keyword from nothing, again with everything kept, and sixteen at once."""
    fill = size - len('[["",]]') - 7
    table = pa.table(
        {
            "id": [f"{i:08}" for i in range(count)],
            "n": range(1_000_000, 1_000_000 + count),
            "t": ["x" * fill] * count,
        }
    )
    storage: dict[str, Any] = {"server": {"cache": MemoryCache()}, "client": {"cache": MemoryCache()}}
    for name, keywords in (
        ("cold: encoding, hint and its download included", 1),
        ("warm, one query", 1),
        ("warm, 16 queries", 16),
    ):
        wanted = [[f"{(i + 1) * (count // 17):08}"] for i in range(keywords)]
        params = {"columns": ["n", "t"], "key": ["id"], "keywords": wanted}
        job = _Kept("pir.keyword", params, {"server": table}, storage=storage, seed=name)
        started = time.perf_counter()
        outcome = job.run()
        elapsed = time.perf_counter() - started
        _check(job, outcome, wanted)
        yield Row(f"PIR by keyword, {what}, {name}", count, elapsed, "s", _ONE_PROCESS)
        yield Row(
            f"PIR by keyword, {what}, {name}, both ways",
            count,
            sum(outcome.bytes_sent(role) for role in job.roles),
            "B",
            "all messages",
        )


def _check(job: Job, outcome: LocalRun, wanted: list[list[str]]) -> None:
    found = [answer["records"][0]["n"] for answer in job.open(outcome)["answers"]]
    if found != [1_000_000 + int(word) for (word,) in wanted]:
        raise RuntimeError(f"the answers are {found}")
