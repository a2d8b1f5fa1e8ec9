"""The node's SQLite file: its schema, transactions, and named values. What the tables mean is for `store`.

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
from pathlib import Path

from compute.errors import ComputeError, DiskFull

_SCHEMA_VERSION = 2

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE jobs (
    job TEXT PRIMARY KEY, consumer TEXT NOT NULL, role TEXT NOT NULL, kind TEXT NOT NULL,
    grant_id TEXT NOT NULL, state TEXT NOT NULL, phase TEXT NOT NULL DEFAULT '',
    done INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
    rule TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '', remedy TEXT NOT NULL DEFAULT '',
    receipt TEXT, submission BLOB NOT NULL, units INTEGER NOT NULL, settles INTEGER NOT NULL,
    created_at INTEGER NOT NULL, deadline INTEGER NOT NULL, finished_at INTEGER,
    rate_milli INTEGER, seconds_left INTEGER, attempts INTEGER NOT NULL DEFAULT 0,
    sent INTEGER NOT NULL DEFAULT 0
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

# What makes a database of an earlier version one of the next.
_UPGRADES = {
    1: """
ALTER TABLE jobs ADD COLUMN rate_milli INTEGER;
ALTER TABLE jobs ADD COLUMN seconds_left INTEGER;
ALTER TABLE jobs ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN sent INTEGER NOT NULL DEFAULT 0;
""",
}


# A limit on a file's size reads as a write that failed.
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)


class StoreDamaged(ComputeError):
    """The node's database cannot be used as it is: another version, or behind the chain."""

    code = "node.store"


class Database:
    """The open file. Thread-safe; calls are short."""

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

    def meta(self, name: str) -> str | None:
        """A named value."""
        rows = self.rows("SELECT value FROM meta WHERE name = ?", name)
        return rows[0]["value"] if rows else None

    def set_meta(self, name: str, value: str) -> None:
        """Set a named value."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; the write lock is taken at once, so what is read stays true until the end.

        Raises DiskFull if there is no room for it.
        """
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException as error:
                # SQLite may have rolled back itself; a COMMIT that failed leaves the transaction open.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode in _NO_ROOM:
                    raise DiskFull("the node's database has no room: the disk is full") from error
                raise

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a query that reads."""
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def _create(self) -> None:
        with self.transaction() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                _execute(db, _SCHEMA)
                db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
                return
            while version in _UPGRADES:
                _execute(db, _UPGRADES[version])
                version += 1
                db.execute(f"PRAGMA user_version = {version}")
            if version != _SCHEMA_VERSION:
                raise StoreDamaged(
                    f"the node's database has schema {version}, this node needs {_SCHEMA_VERSION}"
                )


def _execute(db: sqlite3.Connection, script: str) -> None:
    # Not executescript: that would end the transaction.
    for statement in script.split(";"):
        db.execute(statement)
