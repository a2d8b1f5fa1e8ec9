"""One job while it runs: the frame that every ending passes through, and the work of a protocol job.

Whatever happens inside, `Runner.drive` ends with exactly one call of `finish`: completed, refused (a rule
stopped holding), failed, cancelled or expired. A watcher looks every few seconds whether the grant still
stands; what it finds ends the job at once. Nothing is released before the chain was asked once more: while
it cannot be reached, a computed result waits, until the job's deadline.

A job of a resumable kind outlives a cut: its roles meet again and go on from the last checkpoint they all
have, until the deadline, `reconnect_timeout_s` without a peer, or `max_reconnects` cuts. It outlives this
process too: then `suspend` leaves it without an ending, and the next process takes it up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import TypeVar

import pyarrow as pa

from accel.errors import AccelError, DeviceOutOfMemory
from compute.errors import (
    ComputeError,
    DataError,
    JobCancelled,
    OutOfMemory,
    PeerLost,
    ProtocolAbort,
    Refused,
)
from compute.node import policy
from compute.node.config import NodeConfig
from compute.node.datasets import Datasets
from compute.node.job_folders import JobFolders
from compute.node.ledger import Ledger
from compute.node.meter import Meter, roles_of_consumer
from compute.node.pace import Pacer
from compute.node.peers import JobChannel, PeerDesk, PeerNotReady, Table
from compute.node.policy import Admission
from compute.node.receipts import short
from compute.node.store import Ending, JobRow
from compute.protocols import runner
from compute.protocols.checkpoints import Journal, inputs_of
from compute.protocols.directory import DirectoryWorkspace
from compute.protocols.executors import CallExecutor
from compute.protocols.lines import Room
from compute.protocols.protocol import Progress, Rng, Session, Steps, job_kind
from compute.protocols.workspace import Cache
from compute.wire.binding import session_binding
from compute.wire.canonical import from_hex
from compute.wire.messages import JobSubmission
from contracts.errors import ContractError

log = logging.getLogger(__name__)
T = TypeVar("T")

_PROGRESS_EVERY_S = 0.5
_CHAIN_RETRY_S = 1.0
# Two sides that cut each other off at once must not do so again at once.
_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 10.0
# The part of a job's memory for what waits on its lines, in each direction; and how much more of what peers
# send ahead of our asking may lie on disk.
_LINES_SHARE, _DISK_FACTOR = 8, 16


class NodeStopped(ComputeError):
    """The node was stopped, or killed and started again, while the job ran."""

    code = "node.restarted"


@dataclass(repr=False)  # holds results: keep it out of logs
class Done:
    """What a job's work gives: units used, transcript, public metrics, and what is to be released."""

    units: int
    transcript: bytes
    metrics: Mapping[str, int] = field(default_factory=dict)
    payload: bytes | None = None
    rows: pa.Table | None = None


@dataclass(repr=False)
class Active:
    """A job that this process runs. ``stop`` with ``cause`` set ends it; a session may set ``closing``."""

    row: JobRow
    submission: JobSubmission
    dataset: str
    commitment: str
    meter: Meter
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    cause: ComputeError | None = None
    suspended: bool = False
    traffic: runner.Traffic = field(default_factory=runner.Traffic)

    def end(self, cause: ComputeError) -> None:
        """Ask for the end of the job; the first cause counts."""
        if self.cause is None:
            self.cause = cause
        self.stop.set()


@dataclass(frozen=True, repr=False)
class Ended:
    """How a job ended, for the one place that writes endings."""

    ending: Ending
    units: int
    transcript: bytes = bytes(32)
    metrics: Mapping[str, int] = field(default_factory=dict)
    payload: bytes | None = None
    rows: pa.Table | None = None


Work = Callable[[Active], Awaitable[Done]]
# Job, phase, done, total, items in 1000 seconds, seconds left.
Advance = Callable[[str, str, int, int, int | None, int | None], None]
# What a session (EaaS) has used so far, however it ends. Protocol jobs have none: the meter rules.
Used = Callable[[str], Done]


@dataclass
class Means:
    """What jobs compute with and keep things in. The node sets ``calls`` when it starts."""

    folders: JobFolders
    cache: Cache
    calls: CallExecutor


class Runner:
    """Runs jobs; one event loop uses it.

    ``advance`` notes progress, ``begun`` counts a job's attempts, ``finish`` writes the ending.
    """

    def __init__(
        self,
        *,
        config: NodeConfig,
        ledger: Ledger,
        datasets: Datasets,
        desk: PeerDesk,
        means: Means,
        compute: Executor,
        waiting: Executor,
        rng: Rng,
        clock: Callable[[], float],
        withdrawn: Callable[[str], bool],
        advance: Advance,
        begun: Callable[[str], int],
        finish: Callable[[Active, Ended], Awaitable[None]],
    ) -> None:
        self._peer_settings = config.peers
        self._memory_bytes = config.limits.memory_bytes
        self._spills = config.path(config.work)
        self._revocation_poll_s = float(config.chain.revocation_poll_s)
        self._means = means
        self._ledger = ledger
        self._datasets = datasets
        self._desk = desk
        self._compute = compute
        self._waiting = waiting
        self._rng = rng
        self._clock = clock
        self._withdrawn = withdrawn
        self._advance = advance
        self._begun = begun
        self._finish = finish

    async def drive(self, active: Active, work: Work, used: Used | None = None) -> None:
        """Run a job to its ending. Raises nothing but CancelledError: then it has none (`suspend`)."""
        watcher = asyncio.create_task(self._watch(active))
        try:
            done = await self._until_stopped(active, work)
            ended = Ended(
                Ending("completed"),
                active.meter.completed(done.units),
                done.transcript,
                done.metrics,
                done.payload,
                done.rows,
            )
        except Exception as error:  # noqa: BLE001 - every ending is an ending, also one nobody foresaw
            ended = self._early(active, error, used)
        finally:
            watcher.cancel()
            await self._desk.close(active.row.job, *([NodeStopped.code] if active.suspended else []))
        await self._finish(active, ended)

    async def protocol(self, active: Active, admission: Admission) -> Done:
        """The work of a protocol job: read, verify, meet, compute, ask the chain again."""
        job, spec = active.row.job, active.submission.spec
        kind, role = admission.kind, admission.role
        self._note(job, "reading")
        table = await self.in_worker(self._datasets.load, admission.dataset, active.commitment)
        secret = await self.in_worker(self._datasets.version_secret, admission.dataset.id, active.commitment)
        workspace = await self.in_thread(self._means.folders.open, job)
        session = Session(
            role=role,
            spec=spec,
            params=admission.params,
            binding=session_binding(from_hex(job), from_hex(active.submission.request.spec_hash)),
            min_cohort=admission.min_cohort,
            rng=self._rng,
            workspace=workspace,
            cache=self._means.cache,
            version_secret=secret,
            memory_bytes=self._memory_bytes,
            parallel=self._means.calls.parallel,
        )
        columns = table.select(list(kind.columns(spec, admission.params, role)))
        seats = Table(
            job=job,
            role=role,
            parties={participant.role: participant.party for participant in spec.participants},
            roles=kind.roles(spec, admission.params),
            resumable=kind.resumable,
        )
        self._desk.open(seats)
        try:
            attempts = _Attempts(
                self, active, seats, session, lambda ours: kind.start(ours, columns), workspace
            )
            result = await attempts.run()
        finally:
            workspace.close()
        output = result.output
        units = active.meter.completed(output.units)
        if attempts.counted:
            units = active.meter.repeated(output.units, attempts.repeats, result.checkpoints)
        await self.may_release(active)
        metrics = {"bytes_in": result.bytes_in, "bytes_out": result.bytes_out, "rows": table.num_rows}
        if attempts.count > 1:
            metrics["attempts"] = attempts.count
        if attempts.repeats:
            metrics["repeats"] = attempts.repeats
        return Done(
            units=units,
            transcript=result.transcript,
            metrics={**metrics, **output.metrics},
            payload=output.sealed,
            rows=output.rows,
        )

    async def may_release(self, active: Active) -> None:
        """Ask the chain, until it answers, whether the job may still give anything out; raises Refused."""
        waiting = False
        while True:
            try:
                return await self._recheck(active)
            except ContractError:
                if not waiting:
                    log.warning("job %s waits for the chain before its release", active.row.job)
                    self._note(active.row.job, "awaiting_chain")
                    waiting = True
                await asyncio.sleep(_CHAIN_RETRY_S)

    async def in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        """Run something that waits (chain, disk) in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._waiting, function, *arguments)

    async def in_worker(self, function: Callable[..., T], *arguments: object) -> T:
        """Run something that computes; these threads are few, and nobody's answer waits for them."""
        return await asyncio.get_running_loop().run_in_executor(self._compute, function, *arguments)

    def _note(self, job: str, phase: str, done: int = 0, total: int = 0) -> None:
        self._advance(job, phase, done, total, None, None)

    async def _until_stopped(self, active: Active, work: Work) -> Done:
        task = asyncio.ensure_future(work(active))
        stop = asyncio.create_task(active.stop.wait())
        patience = active.row.deadline - self._clock()
        try:
            await asyncio.wait({task, stop}, timeout=max(patience, 0), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise active.cause or TimeoutError
        finally:
            stop.cancel()
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task

    async def _watch(self, active: Active) -> None:
        while True:
            await asyncio.sleep(self._revocation_poll_s)
            try:
                await self._recheck(active)
            except Refused as refusal:
                active.end(refusal)
                return
            except ContractError:
                # Running jobs go on while the chain is away; the release waits for it.
                continue

    async def _recheck(self, active: Active) -> None:
        row = active.row
        standing = await self.in_thread(self._ledger.standing, row.grant, active.dataset, row.consumer)
        policy.recheck(*standing, active.commitment, withdrawn=self._withdrawn(row.grant))

    def _early(self, active: Active, error: Exception, used: Used | None) -> Ended:
        ending = ending_of(active.row.job, error)
        if used is not None:
            done = used(active.row.job)
            if done.units and ending.state == "refused":
                # The ledger takes no charge with a refusal, and calls that were made are owed.
                ending = Ending("cancelled", ending.reason, ending.rule, ending.message, ending.remedy)
            return Ended(ending, done.units, done.transcript, done.metrics)
        traffic = active.traffic
        # Also an ending that charges nothing says what crossed.
        metrics = {"bytes_in": traffic.bytes_in, "bytes_out": traffic.bytes_out}
        units = active.meter.ended_early(ending.state, stopped=isinstance(error, NodeStopped))
        return Ended(ending, units, metrics=metrics if any(metrics.values()) else {})


class _Attempts:
    """One job's attempts at its role: one, or for a resumable kind as many as cuts and settings allow."""

    def __init__(
        self,
        runner: Runner,
        active: Active,
        seats: Table,
        session: Session,
        start: Callable[[Session], Steps],
        workspace: DirectoryWorkspace,
    ) -> None:
        self._runner = runner
        self._active = active
        self._seats = seats
        self._session = session
        self._start = start
        inputs = inputs_of(session.spec, session.binding)
        self._journal = Journal(workspace, session.role, session.binding, inputs)
        consumer_role = job_kind(session.spec.kind).consumer_role
        self.counted = roles_of_consumer(session.spec, consumer_role) & set(seats.roles)
        self.count = active.row.attempts
        # In this process: a restart of ours is nobody else's doing.
        self.repeats = 0
        self._begun_at: Counter[int] = Counter()

    async def run(self) -> runner.RunResult:
        """The result of the attempt that came to its end."""
        pause_s = _PAUSE_S
        while True:
            before = self.count
            try:
                return await self._once()
            except PeerLost as error:
                if not self._may_go_on(error, met=self.count > before):
                    raise
                log.warning("job %s was cut: %s", self._active.row.job, error.message)
            self._runner._note(self._active.row.job, "reconnecting")
            # Half of it by chance: see above.
            await asyncio.sleep(pause_s * (0.5 + random.random() / 2))  # noqa: S311 - no secret
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _may_go_on(self, error: PeerLost, *, met: bool) -> bool:
        # A peer that was never met, or did not come back in time, is waited for no longer. One that ended for
        # a reason of its own will not come back.
        if not (self._seats.resumable and met and error.detail.get("peer_code", "") in _COMES_BACK):
            return False
        return self.count <= self._runner._peer_settings.max_reconnects

    async def _once(self) -> runner.RunResult:
        job, node = self._active.row.job, self._runner
        node._note(job, "reconnecting" if self.count else "connecting")
        again_s = float(node._peer_settings.reconnect_timeout_s) if self.count else None
        channels = await node._desk.connect(self._seats, self._active.submission.peers, again_s)
        memory_bytes = node._memory_bytes // (_LINES_SHARE * max(len(channels), 1))
        room = Room(memory_bytes, _DISK_FACTOR * node._memory_bytes, node._spills)
        try:
            if not self._seats.resumable:
                self._count(channels)
            self.count = node._begun(job)
            report = _Reporter(node._clock, lambda *progress: node._advance(job, *progress))
            silence_s = float(node._peer_settings.silence_timeout_s)
            if not self._seats.resumable:
                return await runner.run(
                    self._start(self._session),
                    channels,
                    role=self._session.role,
                    binding=self._session.binding,
                    on_progress=report,
                    timeout_s=silence_s,
                    executor=node._compute,
                    calls=node._means.calls,
                    room=room,
                    traffic=self._active.traffic,
                )

            def start(resumed: int) -> Steps:
                self._begin(resumed)
                # Agreeing where to begin tells nobody anything: it is not charged.
                self._count(channels)
                return self._start(replace(self._session, resumed=resumed))

            return await runner.run_resumable(
                start,
                channels,
                journal=self._journal,
                on_progress=report,
                timeout_s=silence_s,
                executor=node._compute,
                calls=node._means.calls,
                interrupted=lambda: NodeStopped.code if self._active.suspended else JobCancelled.code,
                room=room,
                traffic=self._active.traffic,
            )
        finally:
            for channel in channels.values():
                await channel.close(ComputeError.code)

    def _begin(self, resumed: int) -> None:
        """Count a bucket that is begun again; raises ProtocolAbort if it was too often."""
        self.repeats += bool(self._begun_at)
        again = self._begun_at[resumed]
        # In all, not in a row: a peer could have another checkpoint in between, and go back by one.
        self._begun_at[resumed] += 1
        if again > self._runner._peer_settings.max_repeats:
            raise ProtocolAbort(
                f"the line was cut {again} times after checkpoint {resumed}: "
                "a bucket is not shown to a peer without end"
            )

    def _count(self, channels: Mapping[str, JobChannel]) -> None:
        for role in self.counted & channels.keys():
            channels[role].count(self._active.meter.note_sent_to_consumer)


# The line was cut, the peer lost another one of ours, or its node stops and starts again.
_COMES_BACK = ("", PeerLost.code, NodeStopped.code, PeerNotReady.code)


def ending_of(job: str, error: Exception) -> Ending:
    """The final state behind an error."""
    if isinstance(error, Refused):
        return Ending("refused", error.code, error.rule, short(error.message), error.remedy)
    if isinstance(error, JobCancelled):
        return Ending("cancelled", error.code, message=short(error.message))
    if isinstance(error, TimeoutError):
        return Ending("expired", "job.deadline", message="the job's deadline passed before it was done")
    if isinstance(error, DataError):
        # It names file, line and reason, never a value; where the file lies stays at home.
        log.error("job %s: %s", job, error.message)
        return Ending("failed", error.code, message=short(_without_folders(error.message)))
    if isinstance(error, ComputeError):
        log.warning("job %s failed: %s: %s", job, error.code, error.message)
        return Ending("failed", error.code, message=short(error.message))
    if isinstance(error, MemoryError | DeviceOutOfMemory):
        log.error("job %s: out of memory: %s", job, error)
        return Ending("failed", OutOfMemory.code, message="the computation does not fit this node's memory")
    if isinstance(error, AccelError):
        log.error("job %s failed: %s", job, error)
        return Ending("failed", error.code, message="an input does not fit the computation")
    log.error("job %s failed unexpectedly", job, exc_info=error)
    return Ending("failed", "node.internal", message="an unexpected error: the node's log has it")


def _without_folders(message: str) -> str:
    return re.sub(r"/[^\s'\"]*/", "", message)


class _Reporter:
    """Passes on a phase's first progress and its end, else at most two reports a second: each is a write to
    disk. All of them tell the pace."""

    def __init__(
        self,
        clock: Callable[[], float],
        note: Callable[[str, int, int, int | None, int | None], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._note = note
        self._pacer = Pacer(monotonic)
        self._phase = ""
        self._last = 0.0

    def __call__(self, progress: Progress) -> None:
        pace = self._pacer.note(progress.phase, progress.done, progress.total)
        now = self._clock()
        ended = 0 < progress.total <= progress.done
        if progress.phase == self._phase and now - self._last < _PROGRESS_EVERY_S and not ended:
            return
        self._phase, self._last = progress.phase, now
        self._note(progress.phase, progress.done, progress.total, pace.rate_milli, pace.seconds_left)
