"""One job while it runs: the frame that every ending passes through, and the work of a protocol job.

Whatever happens inside, `Runner.drive` ends with exactly one call of `finish`: completed, refused (a rule
stopped holding), failed, cancelled or expired. A watcher looks every few seconds whether the grant still
stands; what it finds ends the job at once. Nothing is released before the chain was asked once more: while
it cannot be reached, a computed result waits, until the job's deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TypeVar

import pyarrow as pa

from accel.errors import AccelError
from compute.errors import ComputeError, DataError, JobCancelled, Refused
from compute.node import policy
from compute.node.datasets import Datasets
from compute.node.ledger import Ledger
from compute.node.meter import Meter, roles_of_consumer
from compute.node.peers import PeerDesk, Table
from compute.node.policy import Admission
from compute.node.receipts import short
from compute.node.store import Ending, JobRow
from compute.protocols import runner
from compute.protocols.protocol import Progress, Rng, Session
from compute.wire.binding import session_binding
from compute.wire.canonical import from_hex
from compute.wire.channel import Channel
from compute.wire.messages import JobSubmission
from contracts.errors import ContractError

log = logging.getLogger(__name__)
T = TypeVar("T")

_PROGRESS_EVERY_S = 0.5
_CHAIN_RETRY_S = 1.0


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
# What a session (EaaS) has used so far, however it ends. Protocol jobs have none: the meter rules.
Used = Callable[[str], Done]


class Runner:
    """Runs jobs; one event loop uses it. ``advance`` notes progress, ``finish`` writes the ending."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        datasets: Datasets,
        desk: PeerDesk,
        compute: Executor,
        waiting: Executor,
        rng: Rng,
        clock: Callable[[], float],
        revocation_poll_s: float,
        silence_timeout_s: float,
        withdrawn: Callable[[str], bool],
        advance: Callable[[str, str, int, int], None],
        finish: Callable[[Active, Ended], Awaitable[None]],
    ) -> None:
        self._ledger = ledger
        self._datasets = datasets
        self._desk = desk
        self._compute = compute
        self._waiting = waiting
        self._rng = rng
        self._clock = clock
        self._revocation_poll_s = revocation_poll_s
        self._silence_timeout_s = silence_timeout_s
        self._withdrawn = withdrawn
        self._advance = advance
        self._finish = finish

    async def drive(self, active: Active, work: Work, used: Used | None = None) -> None:
        """Run a job to its ending. Raises nothing but CancelledError."""
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
            await self._desk.close(active.row.job)
        await self._finish(active, ended)

    async def protocol(self, active: Active, admission: Admission) -> Done:
        """The work of a protocol job: read, verify, meet, compute, ask the chain again."""
        job, spec = active.row.job, active.submission.spec
        kind, role = admission.kind, admission.role
        self._advance(job, "reading", 0, 0)
        table = await self.in_worker(self._datasets.load, admission.dataset, active.commitment)
        columns = list(kind.columns(spec, admission.params, role))
        session = Session(
            role=role,
            spec=spec,
            params=admission.params,
            binding=session_binding(from_hex(job), from_hex(active.submission.request.spec_hash)),
            min_cohort=admission.min_cohort,
            rng=self._rng,
        )
        self._advance(job, "connecting", 0, 0)
        seats = Table(
            job=job,
            role=role,
            parties={participant.role: participant.party for participant in spec.participants},
            roles=kind.roles(spec, admission.params),
        )
        self._desk.open(seats)
        counters = dict.fromkeys(
            roles_of_consumer(spec, kind.consumer_role), active.meter.note_sent_to_consumer
        )
        channels: dict[str, Channel] = {}
        try:
            channels = await self._desk.connect(seats, active.submission.peers, counters)
            result = await runner.run(
                kind.start(session, table.select(columns)),
                channels,
                role=role,
                binding=session.binding,
                on_progress=_Throttle(self._clock, lambda p: self._advance(job, p.phase, p.done, p.total)),
                timeout_s=self._silence_timeout_s,
                executor=self._compute,
            )
        finally:
            for channel in channels.values():
                await channel.close(ComputeError.code)
        output = result.output
        active.meter.completed(output.units)
        await self.may_release(active)
        metrics = {"bytes_in": result.bytes_in, "bytes_out": result.bytes_out, "rows": table.num_rows}
        return Done(
            units=output.units,
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
                    self._advance(active.row.job, "awaiting_chain", 0, 0)
                    waiting = True
                await asyncio.sleep(_CHAIN_RETRY_S)

    async def in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        """Run something that waits (chain, disk) in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._waiting, function, *arguments)

    async def in_worker(self, function: Callable[..., T], *arguments: object) -> T:
        """Run something that computes; these threads are few, and nobody's answer waits for them."""
        return await asyncio.get_running_loop().run_in_executor(self._compute, function, *arguments)

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
        ending, own_fault = _ending(active.row.job, error)
        if used is not None:
            done = used(active.row.job)
            if done.units and ending.state == "refused":
                # The ledger takes no charge with a refusal, and calls that were made are owed.
                ending = Ending("cancelled", ending.reason, ending.rule, ending.message, ending.remedy)
            return Ended(ending, done.units, done.transcript, done.metrics)
        return Ended(ending, active.meter.ended_early(ending.state, own_fault=own_fault))


def _ending(job: str, error: Exception) -> tuple[Ending, bool]:
    """The final state behind an error, and whether it is this node's own fault."""
    if isinstance(error, Refused):
        return Ending("refused", error.code, error.rule, short(error.message), error.remedy), False
    if isinstance(error, JobCancelled):
        return Ending("cancelled", error.code, message=short(error.message)), False
    if isinstance(error, TimeoutError):
        return Ending(
            "expired", "job.deadline", message="the job's deadline passed before it was done"
        ), False
    if isinstance(error, DataError):
        # It names file, line and reason, never a value; where the file lies stays at home.
        log.error("job %s: %s", job, error.message)
        return Ending("failed", error.code, message=short(_without_folders(error.message))), True
    if isinstance(error, NodeStopped):
        return Ending("failed", error.code, message=short(error.message)), True
    if isinstance(error, ComputeError):
        log.warning("job %s failed: %s: %s", job, error.code, error.message)
        return Ending("failed", error.code, message=short(error.message)), False
    if isinstance(error, AccelError):
        log.error("job %s failed: %s", job, error)
        return Ending("failed", error.code, message="an input does not fit the computation"), True
    log.error("job %s failed unexpectedly", job, exc_info=error)
    return Ending("failed", "node.internal", message="an unexpected error: the node's log has it"), True


def _without_folders(message: str) -> str:
    return re.sub(r"/[^\s'\"]*/", "", message)


class _Throttle:
    """Passes on a phase's first progress, then at most two a second: each is a write to disk."""

    def __init__(self, clock: Callable[[], float], note: Callable[[Progress], None]) -> None:
        self._clock = clock
        self._note = note
        self._phase = ""
        self._last = 0.0

    def __call__(self, progress: Progress) -> None:
        now = self._clock()
        if progress.phase == self._phase and now - self._last < _PROGRESS_EVERY_S:
            return
        self._phase, self._last = progress.phase, now
        self._note(progress)
