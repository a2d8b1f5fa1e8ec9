"""One of the two processes of `bench.two_parties`: meets the other, runs jobs, says what they took."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import uvicorn
from coincurve import PrivateKey
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

import compute.protocols.kinds  # noqa: F401 - registers all
from bench.two_parties import SIDES, PrivateMemory, Task, binding_of
from compute.data.columns import ColumnConfig
from compute.data.snapshot import Snapshots
from compute.data.source import Source, SourceConfig
from compute.errors import PeerLost
from compute.protocols import runner
from compute.protocols.directory import DirectoryWorkspace
from compute.protocols.directory_cache import DirectoryCache
from compute.protocols.protocol import JobKind, Progress, Session, job_kind
from compute.protocols.workspace import Cache, Workspace
from compute.wire.channel import Channel
from compute.wire.handshake import Meeting, accept, dial
from compute.wire.messages import JobSpec, Participant
from compute.wire.websocket import PEER_PATH, StarletteTransport, connect_websocket
from contracts import statement
from contracts.eip712 import address_of


class _Party:
    """A party of the benchmark with a key of its own; both processes derive both addresses."""

    def __init__(self, side: str) -> None:
        number = SIDES.index(side) + 1
        self._secret = bytes([number]) * 32
        self.id = "0x" + f"{number:02x}" * 32
        self.address = address_of(PrivateKey(self._secret).public_key.format(compressed=False))

    def sign_statement(self, purpose: str, payload: bytes) -> bytes:
        return statement.sign(purpose, payload, self._secret)


_PARTIES = {side: _Party(side) for side in SIDES}


def _directory(party: str) -> set[str]:
    return {known.address for known in _PARTIES.values() if known.id == party}


def _meeting(job: str) -> Meeting:
    left, right = (_PARTIES[side].id for side in SIDES)
    return Meeting("0x" + job, right, "right", left, "left")


async def serve(side: str, port: int, pipe: Connection, folder: Path) -> None:
    """Run the jobs that come through the pipe until the process is ended."""
    loop = asyncio.get_running_loop()
    house = _House(folder)
    arrived: asyncio.Queue[tuple[Channel, asyncio.Event]] = asyncio.Queue()
    if side == SIDES[0]:
        _listen(port, arrived, loop)
    pipe.send({})
    while True:
        job, task = await loop.run_in_executor(None, pipe.recv)
        try:
            pipe.send(await _run(side, port, job, task, house, arrived))
        except Exception as error:  # noqa: BLE001 - the other process must hear of any
            pipe.send(f"{side}: {type(error).__name__}: {error}")


def _listen(port: int, arrived: asyncio.Queue[Any], loop: asyncio.AbstractEventLoop) -> None:
    async def admit(meeting: Meeting) -> None:
        return None

    async def peer(websocket: WebSocket) -> None:
        await websocket.accept()
        transport = StarletteTransport(websocket)
        _, channel = await accept(transport, _PARTIES["left"].id, _PARTIES["left"], _directory, admit)
        ended = asyncio.Event()
        await arrived.put((channel, ended))
        await ended.wait()

    app = Starlette(routes=[WebSocketRoute(PEER_PATH, peer)])
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="error", ws_ping_interval=None, ws_max_size=1 << 24
    )
    loop.create_task(uvicorn.Server(config).serve())


async def _channel(
    side: str, port: int, job: str, arrived: asyncio.Queue[tuple[Channel, asyncio.Event]]
) -> tuple[Channel, asyncio.Event]:
    if side == SIDES[0]:
        return await arrived.get()
    for _ in range(100):
        try:
            transport = await connect_websocket(f"http://127.0.0.1:{port}")
            break
        except PeerLost:
            await asyncio.sleep(0.05)
    else:
        raise PeerLost("the other process does not listen")
    return await dial(transport, _meeting(job), _PARTIES[side], _directory), asyncio.Event()


async def _run(
    side: str, port: int, job: str, task: Task, house: _House, arrived: asyncio.Queue[Any]
) -> dict[str, Any]:
    index = SIDES.index(side)
    kind = job_kind(task.kind)
    cpu = time.process_time()
    phases = _Phases()
    memory = PrivateMemory()
    snapshot = house.folder / f"{job}.arrow"
    source = _source(task.sources[index], task.columns)
    table = house.load(source, task.sources[index]) if task.published else _read(source, snapshot)
    phases.note("read")
    channel, ended = await _channel(side, port, job, arrived)
    workspace = DirectoryWorkspace(house.folder / job)
    session = _session(kind, side, task, job, workspace, house.cache)
    try:
        result = await runner.run(
            kind.start(session, table),
            {SIDES[1 - index]: channel},
            role=side,
            binding=session.binding,
            on_progress=lambda progress: phases.progress(progress),
            timeout_s=3600,
        )
    finally:
        workspace.close()
        shutil.rmtree(house.folder / job)
        snapshot.unlink(missing_ok=True)
    ended.set()
    phases.note("end")
    rows = result.output.rows
    if rows is None:
        rows = pa.table({"id": pa.array([], pa.string())})
    pacsv.write_csv(rows, task.results[index])
    phases.note("write")
    return {
        "bytes_out": result.bytes_out,
        "cpu_s": time.process_time() - cpu,
        "peak_bytes": memory.stop(),
        "rows": rows.num_rows,
        "metrics": dict(result.output.metrics),
        "phases": phases.seconds,
    }


class _House:
    """What outlives a job: the cache of a node, and the versions that were published."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = DirectoryCache(folder / "cache", 20 << 30)
        self._snapshots = Snapshots(folder / "snapshots")
        self._roots: dict[Path, bytes] = {}

    def load(self, source: Source, path: Path) -> pa.Table:
        """The rows of a published version, as a node loads them for a job."""
        name = hashlib.sha256(str(path).encode()).hexdigest()
        if path not in self._roots:
            commitment, table = self._snapshots.record(name, source, bytes(32))
            self._roots[path] = commitment.root
            return table
        table = self._snapshots.load(name, source, bytes(32), self._roots[path])
        if table is None:
            raise RuntimeError(f"{path} changed between two jobs")
        return table


def _source(path: Path, columns: tuple[str, ...]) -> Source:
    declared = tuple(ColumnConfig(name=name, type="string", grade="L3") for name in columns)
    return Source(SourceConfig(kind="csv", path=path.name, columns=declared), path.parent)


def _read(source: Source, snapshot: Path) -> pa.Table:
    """Through a mapped file, as at a node, so that memory does not grow with the table."""
    snapshot.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(snapshot), "wb") as file, pa.ipc.new_file(file, source.schema()) as writer:
        for batch in source.batches():
            writer.write_batch(batch)
    return pa.ipc.open_file(pa.memory_map(str(snapshot))).read_all()


def _session(kind: JobKind, side: str, task: Task, job: str, workspace: Workspace, cache: Cache) -> Session:
    participants = tuple(
        Participant(
            role=name,
            party=_PARTIES[name].id,
            grant=_PARTIES[name].id,
            dataset=_PARTIES[name].id,
            commitment=_PARTIES[name].id,
        )
        for name in SIDES
    )
    spec = JobSpec(
        kind=kind.name,
        purpose="bench",
        consumer="0x" + "cc" * 32,
        result_key="0x" + "aa" * 32,
        participants=participants,
        params=dict(task.params),
    )
    return Session(
        role=side,
        spec=spec,
        params=kind.parse(spec),
        binding=binding_of(job),
        min_cohort=1,
        rng=os.urandom,
        workspace=workspace,
        cache=cache,
        memory_bytes=task.memory_bytes,
        parallel=1,
        version_secret=side.encode().ljust(32, b"."),
    )


class _Phases:
    """Seconds by phase: a phase lasts until the next one is named."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._phase = "start"
        self._since = time.perf_counter()

    def progress(self, progress: Progress) -> None:
        if progress.phase != self._phase:
            self.note(progress.phase)

    def note(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[self._phase] = self.seconds.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now
