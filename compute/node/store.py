"""The node's memory: one SQLite file with jobs, events, receipts, grants, versions and nonces.

| table | holds | moved by |
|---|---|---|
| jobs | one row per admitted or refused job: accepted → running → a final state | `jobs`, `eaas` |
| events | a job's timeline | `jobs` |
| results | the payload sealed to the consumer | `finish` only |
| receipts | the node's receipt chain; a row is never changed | `finish`, `refuse` only |
| refusals | submissions that do not verify, by job and content: they never touch a job | `refuse` |
| grants | proposals signed, pending, declined or revoked here | `grants` |
| versions | published dataset versions | `publish` |
| sessions | EaaS calls used and their transcript | `eaas` |
| nonces | signed HTTP requests seen | `app` |

Write-ahead log with full synchronisation: what a caller was told survives a power cut. Every transaction is
short and takes the write lock at its start, so two processes (service and command line) may share the file.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from compute.errors import ComputeError
from compute.node.receipts import ZERO32, Writer
from compute.wire.canonical import from_hex
from compute.wire.messages import JobEvent, JobState, JobStatus, SignedReceipt

FINAL_STATES = ("completed", "refused", "failed", "cancelled", "expired")
_SCHEMA_VERSION = 1
_MAX_NONCES = 500_000

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE jobs (
    job TEXT PRIMARY KEY, consumer TEXT NOT NULL, role TEXT NOT NULL, kind TEXT NOT NULL,
    grant_id TEXT NOT NULL, state TEXT NOT NULL, phase TEXT NOT NULL DEFAULT '',
    done INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
    rule TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '', remedy TEXT NOT NULL DEFAULT '',
    receipt TEXT, submission BLOB NOT NULL, units INTEGER NOT NULL, settles INTEGER NOT NULL,
    created_at INTEGER NOT NULL, deadline INTEGER NOT NULL, finished_at INTEGER
) WITHOUT ROWID;
CREATE INDEX jobs_state ON jobs (state);
CREATE TABLE events (
    job TEXT NOT NULL, sequence INTEGER NOT NULL, at_ms INTEGER NOT NULL, phase TEXT NOT NULL,
    message TEXT NOT NULL, done INTEGER NOT NULL, total INTEGER NOT NULL, PRIMARY KEY (job, sequence)
) WITHOUT ROWID;
CREATE TABLE results (job TEXT PRIMARY KEY, payload BLOB NOT NULL);
CREATE TABLE receipts (
    sequence INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, job TEXT NOT NULL, document BLOB NOT NULL
);
CREATE TABLE refusals (
    job TEXT NOT NULL, attempt TEXT NOT NULL, consumer TEXT NOT NULL, status BLOB NOT NULL,
    PRIMARY KEY (job, attempt)
) WITHOUT ROWID;
CREATE TABLE grants (
    grant_id TEXT PRIMARY KEY, state TEXT NOT NULL, document BLOB NOT NULL, created_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE versions (
    dataset TEXT NOT NULL, version INTEGER NOT NULL, manifest BLOB NOT NULL, PRIMARY KEY (dataset, version)
) WITHOUT ROWID;
CREATE TABLE sessions (
    job TEXT PRIMARY KEY, calls INTEGER NOT NULL, used INTEGER NOT NULL, ends_at INTEGER NOT NULL,
    transcript BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE nonces (
    party TEXT NOT NULL, nonce TEXT NOT NULL, expires_at INTEGER NOT NULL, PRIMARY KEY (party, nonce)
) WITHOUT ROWID;
CREATE INDEX nonces_expiry ON nonces (expires_at);
"""


class StoreDamaged(ComputeError):
    """The node's database cannot be used as it is: another version, or behind the chain."""

    code = "node.store"


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
        )


@dataclass(frozen=True)
class Ending:
    """How a job ends: its final state and why."""

    state: JobState
    reason: str = ""
    rule: str = ""
    message: str = ""
    remedy: str = ""


class Store:
    """The open database. Thread-safe; calls are short."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        path.chmod(0o600)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._create()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    # Jobs.

    def job(self, job: str) -> JobRow | None:
        """One job."""
        found = self._rows(_JOBS + " WHERE j.job = ?", job)
        return _job(found[0]) if found else None

    def open_jobs(self) -> list[JobRow]:
        """Jobs that are not final, oldest first."""
        return [
            _job(r)
            for r in self._rows(_JOBS + " WHERE j.state IN ('accepted', 'running') ORDER BY created_at")
        ]

    def add_job(self, row: JobRow) -> bool:
        """Insert an accepted job; False if it is there already."""
        with self.transaction() as db:
            return _insert_job(db, row)

    def advance(
        self, job: str, at_ms: int, phase: str, message: str = "", done: int = 0, total: int = 0
    ) -> None:
        """Note progress: the job is running, and its timeline gets a line. A final job is left alone."""
        with self.transaction() as db:
            moved = db.execute(
                "UPDATE jobs SET state = 'running', phase = ?, done = ?, total = ?"
                " WHERE job = ? AND state IN ('accepted', 'running')",
                (phase, done, total, job),
            )
            if moved.rowcount:
                _add_event(db, job, at_ms, phase, message, done, total)

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
        rows = self._rows(
            "SELECT sequence, at_ms, phase, message, done, total FROM events"
            " WHERE job = ? AND sequence > ? ORDER BY sequence LIMIT ?",
            job,
            after,
            limit,
        )
        return [JobEvent(**dict(row)) for row in rows]

    def result(self, job: str) -> bytes | None:
        """The sealed payload of a completed job."""
        rows = self._rows("SELECT payload FROM results WHERE job = ?", job)
        return bytes(rows[0]["payload"]) if rows else None

    # Submissions that do not verify.

    def refusal(self, job: str, attempt: str) -> JobStatus | None:
        """The status of an earlier, identical attempt."""
        rows = self._rows("SELECT status FROM refusals WHERE job = ? AND attempt = ?", job, attempt)
        return msgspec.json.decode(rows[0]["status"], type=JobStatus) if rows else None

    def refused_attempt(self, job: str) -> tuple[str, JobStatus] | None:
        """Consumer and status of some refused attempt at a job that was never admitted."""
        rows = self._rows("SELECT consumer, status FROM refusals WHERE job = ? LIMIT 1", job)
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
        rows = self._rows(
            "SELECT document FROM receipts WHERE sequence > ? ORDER BY sequence LIMIT ?", after, limit
        )
        return [msgspec.json.decode(row["document"], type=SignedReceipt) for row in rows]

    def tip(self) -> tuple[int, bytes]:
        """Sequence and digest of the newest receipt; 0 and zero bytes before the first."""
        with self.transaction() as db:
            return _tip(db)

    # Named values, nonces.

    def meta(self, name: str) -> str | None:
        """A named value."""
        rows = self._rows("SELECT value FROM meta WHERE name = ?", name)
        return rows[0]["value"] if rows else None

    def set_meta(self, name: str, value: str) -> None:
        """Set a named value."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def use(self, party: str, nonce: str, now: int, expires_at: int) -> bool:
        """See `compute.wire.signed_http.Nonces`: these survive a restart."""
        with self.transaction() as db:
            db.execute("DELETE FROM nonces WHERE expires_at < ?", (now,))
            if db.execute("SELECT count(*) FROM nonces").fetchone()[0] >= _MAX_NONCES:
                return False
            added = db.execute("INSERT OR IGNORE INTO nonces VALUES (?, ?, ?)", (party, nonce, expires_at))
            return added.rowcount == 1

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; the write lock is taken at once, so what is read stays true until the end."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def _create(self) -> None:
        with self.transaction() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            elif version != _SCHEMA_VERSION:
                raise StoreDamaged(
                    f"the node's database has schema {version}, this node needs {_SCHEMA_VERSION}"
                )


_JOBS = "SELECT j.*, EXISTS (SELECT 1 FROM results r WHERE r.job = j.job) AS has_result FROM jobs j"


def _job(row: sqlite3.Row) -> JobRow:
    values: dict[str, Any] = dict(row)
    values["grant"] = values.pop("grant_id")
    values["settles"] = bool(values["settles"])
    values["has_result"] = bool(values["has_result"])
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
        " finished_at = ? WHERE job = ?",
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
