"""Two party processes on loopback that run whole jobs: what the set and retrieval suites time.

Each process stands ready with its kernels loaded, like a node: an authenticated encrypted channel over a
WebSocket (`compute.wire`), the runner, a workspace on disk. A job is timed from the moment both are told to
start until both have ended: reading the CSV file as a declared source, the protocol, the CSV result.
The chain, the portal and the receipts of a real node are left out: they cost the same whatever the size.
"""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

SIDES = ("left", "right")
_TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class Task:
    """One job: a kind's params, and per side the CSV file to read (text columns) and the one to write.

    ``published``: as at a node the sources are versions that were published; the first job reads and records
    them, later ones map their verified snapshots. Else each job reads its files.
    """

    kind: str
    params: Mapping[str, Any]
    sources: tuple[Path, Path]
    results: tuple[Path, Path]
    columns: tuple[str, ...] = ("id",)
    memory_bytes: int = 1 << 30
    published: bool = False


@dataclass(frozen=True)
class Measured:
    """A finished job: wall time until both sides ended, bytes each sent, peak private memory, metrics."""

    seconds: float
    bytes_out: tuple[int, int]
    cpu_s: tuple[float, float]
    peak_bytes: tuple[int, int]
    rows: tuple[int, int]
    metrics: tuple[dict[str, int], dict[str, int]]
    phases: tuple[dict[str, float], dict[str, float]]


class TwoParties:
    """The two processes; use as a context. ``threads`` of each: by default as many as there are cores."""

    def __init__(self, folder: Path, *, threads: int | None = None) -> None:
        self._folder = folder
        self._threads = threads

    def __enter__(self) -> TwoParties:
        context = multiprocessing.get_context("spawn")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._processes, self._pipes = [], []
        for side in SIDES:
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_party, args=(side, port, theirs, self._folder / side, self._threads), daemon=True
            )
            process.start()
            self._processes.append(process)
            self._pipes.append(ours)
        for pipe in self._pipes:
            _answer(pipe)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.terminate()
            process.join(10)

    def run(self, task: Task) -> Measured:
        """Run a job on both sides; raises RuntimeError with what a side said."""
        job = os.urandom(32).hex()
        started = time.perf_counter()
        for pipe in self._pipes:
            pipe.send((job, task))
        answers = [_answer(pipe) for pipe in self._pipes]
        seconds = time.perf_counter() - started
        left, right = answers
        return Measured(seconds, *((left[name], right[name]) for name in _ANSWERED))


_ANSWERED = ("bytes_out", "cpu_s", "peak_bytes", "rows", "metrics", "phases")


def _answer(pipe: Connection) -> Any:
    if not pipe.poll(_TIMEOUT_S):
        raise RuntimeError("a party did not answer")
    answer = pipe.recv()
    if isinstance(answer, str):
        raise RuntimeError(answer)
    return answer


def _party(side: str, port: int, pipe: Connection, folder: Path, threads: int | None) -> None:
    if threads is not None:
        os.environ["LIUTONG_THREADS"] = str(threads)
    from bench.party_process import serve

    asyncio.run(serve(side, port, pipe, folder))


class PrivateMemory:
    """The most private memory of this process from now on: looked up every 20 ms, without mapped files."""

    def __init__(self) -> None:
        self._peak = _private_bytes()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """End watching; bytes."""
        self._ended.set()
        self._thread.join()
        return max(self._peak, _private_bytes())

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            self._peak = max(self._peak, _private_bytes())


def _private_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not tell how much private memory a process has")


def binding_of(job: str) -> bytes:
    """What ties a benchmark job's hashes together; a node takes job id and spec hash."""
    return hashlib.sha256(b"bench " + job.encode()).digest()
