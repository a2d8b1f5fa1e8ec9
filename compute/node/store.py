"""The node's memory: jobs and their timelines, results, the receipt chain, refused attempts, nonces.

Endings are written here and nowhere else: final state, receipt and result in one transaction. Grants, dataset
versions and sessions keep their rows through the same `Database`.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

import msgspec

from compute.node.database import Database
from compute.node.receipts import ZERO32, Writer
from compute.wire.canonical import from_hex
from compute.wire.messages import JobEvent, JobState, JobStatus, SignedReceipt

FINAL_STATES = ("completed", "refused", "failed", "cancelled", "expired")
_MAX_NONCES = 500_000


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """A job as stored; the defaults are those of one just accepted.

    ``submission`` is the `JobSubmission` as canonical JSON; times are Unix seconds.
    """

    job: str
    consumer: str
    role: str
    kind: str
    grant: str
    submission: bytes
    units: int
    settles: bool
    created_at: int
    deadline: int
    state: JobState = "accepted"
    phase: str = ""
    done: int = 0
    total: int = 0
    reason: str = ""
    rule: str = ""
    message: str = ""
    remedy: str = ""
    receipt: str | None = None
    has_result: bool = False
    rate_milli: int | None = None
    seconds_left: int | None = None
    attempts: int = 0
    sent: bool = False

    @property
    def final(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in FINAL_STATES

    @property
    def status(self) -> JobStatus:
        """What callers see."""
        return JobStatus(
            job=self.job,
            role=self.role,
            state=self.state,
            phase=self.phase,
            done=self.done,
            total=self.total,
            reason=self.reason,
            rule=self.rule,
            message=self.message,
            remedy=self.remedy,
            receipt=self.receipt,
            has_result=self.has_result,
            rate_milli=self.rate_milli,
            seconds_left=self.seconds_left,
            attempts=self.attempts,
        )


@dataclass(frozen=True)
class Ending:
    """How a job ends: its final state and why."""

    state: JobState
    reason: str = ""
    rule: str = ""
    message: str = ""
    remedy: str = ""


class Store(Database):
    """The open database. Thread-safe; calls are short."""

    # Jobs.

    def job(self, job: str) -> JobRow | None:
        """One job."""
        found = self.rows(_JOBS + " WHERE j.job = ?", job)
        return _job(found[0]) if found else None

    def open_jobs(self) -> list[JobRow]:
        """Jobs that are not final, oldest first."""
        return [
            _job(r)
            for r in self.rows(_JOBS + " WHERE j.state IN ('accepted', 'running') ORDER BY created_at")
        ]

    def add_job(self, row: JobRow) -> bool:
        """Insert an accepted job; False if it is there already."""
        with self.transaction() as db:
            return _insert_job(db, row)

    def advance(
        self,
        job: str,
        at_ms: int,
        phase: str,
        message: str = "",
        done: int = 0,
        total: int = 0,
        rate_milli: int | None = None,
        seconds_left: int | None = None,
    ) -> None:
        """Note progress: the job is running, and its timeline gets a line. A final job is left alone."""
        with self.transaction() as db:
            moved = db.execute(
                "UPDATE jobs SET state = 'running', phase = ?, done = ?, total = ?, rate_milli = ?,"
                " seconds_left = ? WHERE job = ? AND state IN ('accepted', 'running')",
                (phase, done, total, rate_milli, seconds_left, job),
            )
            if moved.rowcount:
                _add_event(db, job, at_ms, phase, message, done, total)

    def begin_attempt(self, job: str) -> int:
        """Count that the roles of a job met and begin (again); how often by now."""
        with self.transaction() as db:
            db.execute("UPDATE jobs SET attempts = attempts + 1 WHERE job = ?", (job,))
            return int(db.execute("SELECT attempts FROM jobs WHERE job = ?", (job,)).fetchone()[0])

    def note_sent(self, job: str) -> None:
        """Note that a role of the consumer's party is about to be sent something, in whichever attempt."""
        with self.transaction() as db:
            db.execute("UPDATE jobs SET sent = 1 WHERE job = ?", (job,))

    def finish(
        self, job: str, at_ms: int, ending: Ending, write: Writer, result: bytes | None = None
    ) -> SignedReceipt | None:
        """Make a job final: state, receipt and result in one transaction. None if it was final already."""
        with self.transaction() as db:
            row = db.execute("SELECT state FROM jobs WHERE job = ?", (job,)).fetchone()
            if row is None or row["state"] in FINAL_STATES:
                return None
            return _finish(db, job, at_ms, ending, write, result)

    def add_refused(self, row: JobRow, at_ms: int, ending: Ending, write: Writer) -> SignedReceipt | None:
        """Record a job that never starts, with its receipt; None if the job is there already."""
        with self.transaction() as db:
            return _finish(db, row.job, at_ms, ending, write, None) if _insert_job(db, row) else None

    def events(self, job: str, after: int, limit: int = 500) -> list[JobEvent]:
        """A job's timeline after a sequence number."""
        rows = self.rows(
            "SELECT sequence, at_ms, phase, message, done, total FROM events"
            " WHERE job = ? AND sequence > ? ORDER BY sequence LIMIT ?",
            job,
            after,
            limit,
        )
        return [JobEvent(**dict(row)) for row in rows]

    def result(self, job: str) -> bytes | None:
        """The sealed payload of a completed job."""
        rows = self.rows("SELECT payload FROM results WHERE job = ?", job)
        return bytes(rows[0]["payload"]) if rows else None

    # Submissions that do not verify.

    def refusal(self, job: str, attempt: str) -> JobStatus | None:
        """The status of an earlier, identical attempt."""
        rows = self.rows("SELECT status FROM refusals WHERE job = ? AND attempt = ?", job, attempt)
        return msgspec.json.decode(rows[0]["status"], type=JobStatus) if rows else None

    def refused_attempt(self, job: str) -> tuple[str, JobStatus] | None:
        """Consumer and status of some refused attempt at a job that was never admitted."""
        rows = self.rows("SELECT consumer, status FROM refusals WHERE job = ? LIMIT 1", job)
        if not rows:
            return None
        return rows[0]["consumer"], msgspec.json.decode(rows[0]["status"], type=JobStatus)

    def refuse(
        self, status: JobStatus, attempt: str, consumer: str, write: Writer, *, at_most: int
    ) -> JobStatus | None:
        """Sign a receipt for a submission that does not verify; None once there are too many for the job."""
        with self.transaction() as db:
            count = db.execute("SELECT count(*) FROM refusals WHERE job = ?", (status.job,)).fetchone()[0]
            if count >= at_most:
                return None
            receipt = _append_receipt(db, write)
            status = msgspec.structs.replace(status, receipt=receipt.digest)
            db.execute(
                "INSERT INTO refusals VALUES (?, ?, ?, ?)",
                (status.job, attempt, consumer, msgspec.json.encode(status)),
            )
            return status

    # Receipts.

    def receipts(self, after: int, limit: int) -> list[SignedReceipt]:
        """Receipts by sequence."""
        rows = self.rows(
            "SELECT document FROM receipts WHERE sequence > ? ORDER BY sequence LIMIT ?", after, limit
        )
        return [msgspec.json.decode(row["document"], type=SignedReceipt) for row in rows]

    def tip(self) -> tuple[int, bytes]:
        """Sequence and digest of the newest receipt; 0 and zero bytes before the first."""
        with self.transaction() as db:
            return _tip(db)

    # Nonces of signed requests.

    def use(self, party: str, nonce: str, now: int, expires_at: int) -> bool:
        """See `compute.wire.signed_http.Nonces`: these survive a restart."""
        with self.transaction() as db:
            db.execute("DELETE FROM nonces WHERE expires_at < ?", (now,))
            if db.execute("SELECT count(*) FROM nonces").fetchone()[0] >= _MAX_NONCES:
                return False
            added = db.execute("INSERT OR IGNORE INTO nonces VALUES (?, ?, ?)", (party, nonce, expires_at))
            return added.rowcount == 1


_JOBS = "SELECT j.*, EXISTS (SELECT 1 FROM results r WHERE r.job = j.job) AS has_result FROM jobs j"


def _job(row: sqlite3.Row) -> JobRow:
    values: dict[str, Any] = dict(row)
    values["grant"] = values.pop("grant_id")
    values["settles"] = bool(values["settles"])
    values["has_result"] = bool(values["has_result"])
    values["sent"] = bool(values["sent"])
    del values["finished_at"]
    return JobRow(**values)


def _insert_job(db: sqlite3.Connection, row: JobRow) -> bool:
    added = db.execute(
        "INSERT OR IGNORE INTO jobs (job, consumer, role, kind, grant_id, state, submission, units, settles,"
        " created_at, deadline) VALUES (?, ?, ?, ?, ?, 'accepted', ?, ?, ?, ?, ?)",
        (
            row.job,
            row.consumer,
            row.role,
            row.kind,
            row.grant,
            row.submission,
            row.units,
            int(row.settles),
            row.created_at,
            row.deadline,
        ),
    )
    return added.rowcount == 1


def _finish(
    db: sqlite3.Connection, job: str, at_ms: int, ending: Ending, write: Writer, result: bytes | None
) -> SignedReceipt:
    receipt = _append_receipt(db, write)
    db.execute(
        "UPDATE jobs SET state = ?, phase = ?, reason = ?, rule = ?, message = ?, remedy = ?, receipt = ?,"
        " finished_at = ?, rate_milli = NULL, seconds_left = NULL WHERE job = ?",
        (
            ending.state,
            ending.state,
            ending.reason,
            ending.rule,
            ending.message,
            ending.remedy,
            receipt.digest,
            at_ms // 1000,
            job,
        ),
    )
    if result is not None:
        db.execute("INSERT INTO results VALUES (?, ?)", (job, result))
    _add_event(db, job, at_ms, ending.state, ending.message, 0, 0)
    return receipt


def _append_receipt(db: sqlite3.Connection, write: Writer) -> SignedReceipt:
    sequence, previous = _tip(db)
    receipt = write(sequence + 1, previous)
    db.execute(
        "INSERT INTO receipts VALUES (?, ?, ?, ?)",
        (receipt.sequence, receipt.digest, receipt.job, msgspec.json.encode(receipt)),
    )
    return receipt


def _tip(db: sqlite3.Connection) -> tuple[int, bytes]:
    row = db.execute("SELECT sequence, digest FROM receipts ORDER BY sequence DESC LIMIT 1").fetchone()
    return (row["sequence"], from_hex(row["digest"])) if row else (0, ZERO32)


def _add_event(
    db: sqlite3.Connection, job: str, at_ms: int, phase: str, message: str, done: int, total: int
) -> None:
    db.execute(
        "INSERT INTO events SELECT ?, coalesce(max(sequence), 0) + 1, ?, ?, ?, ?, ?"
        " FROM events WHERE job = ?",
        (job, at_ms, phase, message[:4000], done, total, job),
    )
