"""Jobs of this node: admission, cancel, recovery, and the one place that writes how a job ended.

    submitted ──admit──▶ accepted ──▶ running ──▶ completed | failed | cancelled | expired | refused
        └────refused (receipt)

A submission that is not the consumer's own word (wrong hash, wrong signature) gets a refusal receipt that
settles nothing and leaves the job it names untouched: else anyone in between could kill a job by
garbling it. A refusal of the consumer's own request settles its reservation with zero units.

A job of a resumable kind that a stopped or killed process left open is taken up again by the next one: it is
admitted anew, by the chain as it is now, and goes on from its last checkpoint.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
from collections.abc import Callable, Coroutine
from dataclasses import replace

from compute.data.results import ResultStore
from compute.errors import BadInput, ComputeError, DiskFull, JobCancelled, Refused
from compute.keys import sealing
from compute.node import policy
from compute.node.config import NodeConfig
from compute.node.datasets import Datasets
from compute.node.job_folders import JobFolders
from compute.node.ledger import Ledger, NotFinal
from compute.node.meter import Meter
from compute.node.policy import Admission, ChainView
from compute.node.receipts import Draft, ReceiptSigner, short
from compute.node.refusal_budget import RefusalBudget
from compute.node.running import Active, Done, Ended, NodeStopped, Runner, ending_of
from compute.node.sessions import Sessions
from compute.node.store import Ending, JobRow, Store
from compute.protocols.protocol import job_kind
from compute.wire import canonical
from compute.wire.binding import result_context
from compute.wire.canonical import from_hex
from compute.wire.identity import StatementSigner
from compute.wire.messages import JobStatus, JobSubmission, ReceiptDetail
from compute.wire.signed_result import sign_result
from contracts.errors import ContractError
from contracts.records import ReservationState

log = logging.getLogger(__name__)

SESSION_KIND = "eaas"
# Stands in documents for a grant, dataset or commitment that a submission does not name.
NOTHING = "0x" + "00" * 32
_STOP_TIMEOUT_S = 5.0
_CHAIN_RETRY_S = 1.0
_DISK_RETRY_S = 2.0


class NodeBusy(ComputeError):
    """As many jobs run as the node's limits allow, or it is stopping: nothing happened, try again later."""

    code = "node.busy"


class Jobs:
    """All jobs of the node; one event loop uses it. `attach` gives it its runner."""

    def __init__(
        self,
        *,
        config: NodeConfig,
        store: Store,
        ledger: Ledger,
        datasets: Datasets,
        results: ResultStore,
        folders: JobFolders,
        sessions: Sessions,
        receipts: Callable[[], ReceiptSigner],
        signer: StatementSigner,
        withdrawn: Callable[[str], bool],
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._store = store
        self._ledger = ledger
        self._datasets = datasets
        self._results = results
        self._folders = folders
        self._sessions = sessions
        self._receipts = receipts
        self._signer = signer
        self._withdrawn = withdrawn
        self._clock = clock
        self._refusals = RefusalBudget(config.limits.max_refusals_per_hour, clock)
        self._active: dict[str, Active] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False
        self._runner: Runner | None = None

    def attach(self, runner: Runner) -> None:
        """Give it the runner, which needs `advance` and `finish` of this object."""
        self._runner = runner

    @property
    def running(self) -> int:
        """How many jobs run now."""
        return len(self._active)

    def ended_as(self, job: str) -> str:
        """The final state of a job, so that its peers need not wait for us; empty: none, or not known."""
        row = self._store.job(job)
        return row.state if row is not None and row.final else ""

    def active(self, job: str) -> Active | None:
        """The running job, for sessions."""
        return self._active.get(job)

    async def submit(self, submission: JobSubmission, caller: str) -> JobStatus:
        """Take part in a job, or refuse it with a receipt. Repeating a submission gives its status.

        ``caller`` is the party that proved itself in the HTTP request. Raises NodeBusy, NotFinal, or
        ChainUnreachable: then nothing happened.
        """
        runner = self._require_runner()
        request = submission.request
        # The domain may be remembered; a new job needs the chain itself.
        domain = await runner.in_thread(self._ledger.domain, "UsageLedger")
        try:
            signer = policy.authenticate(submission, domain)
        except Refused as refusal:
            return await self._refuse_attempt(submission, refusal, caller)
        known = self._store.job(request.job)
        if known is not None:
            return known.status
        if self._stopping or self.running >= self._config.limits.max_running_jobs:
            raise NodeBusy("the node runs as many jobs as it may: try again later")
        view = await runner.in_thread(self._ledger.view, submission)
        try:
            policy.identify(view.consumer, signer)
        except Refused as refusal:
            return await self._refuse_attempt(submission, refusal, caller)
        row = self._row(submission, view)
        now = max(int(self._clock()), view.block.timestamp)
        ours = policy.part_of(self._config.party, submission.spec)
        published = self._datasets.published(ours.dataset) if ours and ours.dataset else None
        withdrawn = self._withdrawn(row.grant)
        try:
            admission = policy.admit(
                submission, signer, view, self._config, published, now, withdrawn=withdrawn
            )
        except Refused as refusal:
            return await self._refuse(submission, row, refusal, caller)
        if self._store.add_job(row):
            self._start(row, submission, admission)
        return self.status(row.job)

    def status(self, job: str) -> JobStatus:
        """A job that is known here."""
        row = self._store.job(job)
        if row is None:
            raise ComputeError("the job is not known here")
        return row.status

    async def cancel(self, job: str) -> JobStatus:
        """End a job; a final job stays as it is."""
        active = self._active.get(job)
        if active is not None:
            active.end(
                JobCancelled(
                    "cancelled at this node by its consumer or through the portal: no result is given out"
                )
            )
            while job in self._active:
                await asyncio.sleep(0.02)
        return self.status(job)

    def stop_grant(self, grant: str) -> None:
        """End what runs under a grant that this node just revoked."""
        for active in self._active.values():
            if active.row.grant == grant:
                active.end(Refused("grant.revoked", "the grant was revoked", remedy="ask for a new grant"))

    async def recover(self) -> None:
        """At start: sessions and resumable jobs go on, what else was running has failed."""
        runner = self._require_runner()
        rows = self._store.open_jobs()
        await runner.in_thread(self._results.sweep)
        await runner.in_thread(self._folders.sweep, {row.job for row in rows if _resumable(row)})
        for row in rows:
            submission = canonical.decode(JobSubmission, row.submission)
            active = self._activate(row, submission)
            if row.kind == SESSION_KIND and self._sessions.resume(active):
                self._spawn(row.job, runner.drive(active, self._sessions.serve, self._sessions.used))
            elif _resumable(row):
                self._spawn(row.job, runner.drive(active, self._resume))
            else:
                cause = NodeStopped("the node was stopped while the job ran: run it again")
                ending = Ending("failed", cause.code, message=cause.message)
                await self.finish(active, Ended(ending, 0))

    async def shut_down(self) -> None:
        """End all jobs with their receipts, but those that the next process takes up again."""
        self._stopping = True
        ending = []
        for job, active in list(self._active.items()):
            if _resumable(active.row) and job in self._tasks:
                # The peers are told that we come back.
                active.suspended = True
                self._tasks[job].cancel()
                ending.append(self._tasks[job])
            elif active.row.kind != SESSION_KIND and job in self._tasks:
                active.end(NodeStopped("the node was stopped while the job ran: run it again"))
                ending.append(self._tasks[job])
        if ending:
            await asyncio.wait(ending, timeout=_STOP_TIMEOUT_S)
        # Sessions go on at the next start; whatever else is left gets its ending then.
        for task in list(self._tasks.values()):
            task.cancel()

    def advance(
        self,
        job: str,
        phase: str,
        done: int,
        total: int,
        rate_milli: int | None = None,
        seconds_left: int | None = None,
    ) -> None:
        """Note progress in the job's timeline."""
        at_ms = int(self._clock() * 1000)
        self._store.advance(
            job, at_ms, phase, done=done, total=total, rate_milli=rate_milli, seconds_left=seconds_left
        )

    async def finish(self, active: Active, ended: Ended) -> None:
        """Write an ending: sealed result, own rows, state and receipt. Never leaves a job open."""
        runner = self._require_runner()
        try:
            await runner.in_thread(self._write, active, ended)
        except Exception as error:
            # The disk is full, or the result cannot be sealed: the job must still end, without releasing.
            log.exception("job %s: its ending could not be written", active.row.job)
            # Its workspace may be what fills the disk.
            await runner.in_thread(self._folders.remove, active.row.job)
            await self._write_at_last(active, self._unwritten(active, ended, error))
        finally:
            await runner.in_thread(self._folders.remove, active.row.job)
            self._active.pop(active.row.job, None)

    def _unwritten(self, active: Active, ended: Ended, error: Exception) -> Ended:
        """The ending of a job whose own ending could not be written; a result is not released."""
        if ended.ending.state != "completed":
            return replace(ended, payload=None, rows=None)
        ending = ending_of(active.row.job, error)
        # What a role of the consumer was sent it has, and calls that were made are owed.
        owed = active.meter.sent_to_consumer or active.row.kind == SESSION_KIND
        return replace(ended, ending=ending, units=ended.units if owed else 0, payload=None, rows=None)

    async def _write_at_last(self, active: Active, ended: Ended) -> None:
        """Write an ending as soon as the disk takes it; the next process does if we are stopped first."""
        runner = self._require_runner()
        while True:
            try:
                return await runner.in_thread(self._write, active, ended)
            except (DiskFull, sqlite3.OperationalError):
                log.exception("job %s: its ending waits for the disk", active.row.job)
            await asyncio.sleep(_DISK_RETRY_S)

    def _write(self, active: Active, ended: Ended) -> None:
        row, submission = active.row, active.submission
        sealed = None
        if ended.payload is not None:
            context = result_context(from_hex(row.job), row.role)
            signed = sign_result(self._signer, from_hex(row.job), row.role, ended.payload)
            sealed = sealing.seal(from_hex(submission.spec.result_key), signed, context)
        if ended.rows is not None:
            self._results.put(row.job, row.role, ended.rows)
        at_ms = int(self._clock() * 1000)
        draft = self._draft(row, submission, ended, at_ms // 1000)
        self._store.finish(row.job, at_ms, ended.ending, self._receipts().write(draft), sealed)

    def _draft(self, row: JobRow, submission: JobSubmission, ended: Ended, issued_at: int) -> Draft:
        ours = policy.part_of(self._config.party, submission.spec)
        outcome = ended.ending.state
        if outcome == "accepted" or outcome == "running":
            raise ComputeError("a receipt is for a final state")
        return Draft(
            job=from_hex(row.job),
            grant=from_hex(row.grant),
            spec_hash=from_hex(submission.request.spec_hash),
            commitment=from_hex((ours.commitment if ours else None) or NOTHING),
            transcript=ended.transcript,
            units=ended.units,
            outcome=outcome,
            settles=row.settles,
            issued_at=issued_at,
            detail=ReceiptDetail(
                kind=submission.spec.kind,
                role=row.role,
                purpose=submission.spec.purpose,
                reason=ended.ending.reason,
                rule=ended.ending.rule,
                message=short(ended.ending.message),
                metrics=dict(ended.metrics),
            ),
        )

    def _row(self, submission: JobSubmission, view: ChainView | None) -> JobRow:
        """The row of a new job. It settles if the chain holds an open reservation of our own grant for it."""
        request, spec = submission.request, submission.spec
        ours = policy.part_of(self._config.party, spec)
        grant = (ours.grant if ours else None) or NOTHING
        line = next((line for line in request.lines if line.grant == grant), None)
        record = view.grants.get(grant) if view else None
        reservation = view.reservation if view else None
        settles = (
            record is not None
            and record.provider == from_hex(self._config.party)
            and reservation is not None
            and reservation.state == ReservationState.OPEN
            and reservation.spec_hash == from_hex(request.spec_hash)
        )
        return JobRow(
            job=request.job,
            consumer=request.consumer,
            role=ours.role if ours else "",
            kind=spec.kind,
            grant=grant,
            submission=canonical.encode(submission),
            units=line.units if line else 0,
            settles=settles,
            created_at=int(self._clock()),
            deadline=request.deadline,
        )

    async def _refuse(
        self, submission: JobSubmission, row: JobRow, refusal: Refused, caller: str
    ) -> JobStatus:
        if not row.settles:
            self._spend_refusal(caller)
        ending = Ending("refused", refusal.code, refusal.rule, short(refusal.message), refusal.remedy)
        at_ms = int(self._clock() * 1000)
        draft = self._draft(row, submission, Ended(ending, 0), at_ms // 1000)
        writer = self._receipts().write(draft)
        await self._require_runner().in_thread(self._store.add_refused, row, at_ms, ending, writer)
        log.info("job %s refused: %s", row.job, refusal.rule)
        return self.status(row.job)

    def _spend_refusal(self, caller: str) -> None:
        if not self._refusals.spend(caller):
            raise NodeBusy("too many submissions were refused within the hour: try again later")

    async def _refuse_attempt(self, submission: JobSubmission, refusal: Refused, caller: str) -> JobStatus:
        """Refuse what is not the consumer's word; the same bytes again get the same answer."""
        try:
            attempt = hashlib.sha256(canonical.encode(submission)).hexdigest()
        except ComputeError as error:
            raise Refused("request.malformed", error.message, remedy="sign a request that fits") from error
        row = self._row(submission, None)
        known = self._store.refusal(row.job, attempt)
        if known is not None:
            return known
        self._spend_refusal(caller)
        ending = Ending("refused", refusal.code, refusal.rule, short(refusal.message), refusal.remedy)
        draft = self._draft(row, submission, Ended(ending, 0), int(self._clock()))
        status = JobStatus(
            job=row.job,
            role=row.role,
            state="refused",
            phase="refused",
            reason=refusal.code,
            rule=refusal.rule,
            message=ending.message,
            remedy=refusal.remedy,
        )
        written = await self._require_runner().in_thread(
            lambda: self._store.refuse(
                status,
                attempt,
                row.consumer,
                self._receipts().write(draft),
                at_most=self._config.limits.max_refusals_per_job,
            )
        )
        log.info("a submission for job %s refused: %s", row.job, refusal.rule)
        return written or status

    def _start(self, row: JobRow, submission: JobSubmission, admission: Admission) -> None:
        runner = self._require_runner()
        active = self._activate(row, submission)
        if row.kind == SESSION_KIND:
            self._sessions.open(active, admission)
            self._spawn(row.job, runner.drive(active, self._sessions.serve, self._sessions.used))
            return

        async def work(active: Active) -> Done:
            return await runner.protocol(active, admission)

        self._spawn(row.job, runner.drive(active, work))

    async def _resume(self, active: Active) -> Done:
        """The work of a job that an earlier process left: ask the chain again, then go on."""
        runner = self._require_runner()
        admission = await self._admit_again(active)
        return await runner.protocol(active, admission)

    async def _admit_again(self, active: Active) -> Admission:
        """Whether the job may still run, by all rules; waits for the chain. Raises Refused."""
        runner, submission = self._require_runner(), active.submission
        waiting = False
        while True:
            try:
                domain = await runner.in_thread(self._ledger.domain, "UsageLedger")
                view = await runner.in_thread(self._ledger.view, submission)
                break
            except (ContractError, NotFinal):
                if not waiting:
                    log.warning("job %s waits for the chain before it goes on", active.row.job)
                    self.advance(active.row.job, "awaiting_chain", 0, 0)
                    waiting = True
                await asyncio.sleep(_CHAIN_RETRY_S)
        record = view.grants.get(active.row.grant)
        # A job that was reserved in time may end after its grant's expiry; its own deadline is the runner's.
        now = min(max(int(self._clock()), view.block.timestamp), submission.request.deadline - 1)
        if record is not None:
            now = min(now, record.expiry - 1)
        return policy.admit(
            submission,
            policy.authenticate(submission, domain),
            view,
            self._config,
            self._datasets.published(active.dataset),
            now,
            withdrawn=self._withdrawn(active.row.grant),
        )

    def _activate(self, row: JobRow, submission: JobSubmission) -> Active:
        ours = policy.part_of(self._config.party, submission.spec)
        active = Active(
            row=row,
            submission=submission,
            dataset=(ours.dataset if ours else None) or NOTHING,
            commitment=(ours.commitment if ours else None) or NOTHING,
            meter=Meter(row.units, int(row.sent), lambda: self._store.note_sent(row.job)),
        )
        self._active[row.job] = active
        return active

    def _spawn(self, job: str, run: Coroutine[None, None, None]) -> None:
        self._tasks[job] = asyncio.create_task(run)
        self._tasks[job].add_done_callback(lambda task: self._tasks.pop(job, None))

    def _require_runner(self) -> Runner:
        if self._runner is None:
            raise ComputeError("the node is not started")
        return self._runner


def _resumable(row: JobRow) -> bool:
    try:
        return job_kind(row.kind).resumable
    except BadInput:
        # A kind that an older version of this node knew.
        return False
