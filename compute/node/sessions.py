"""EaaS sessions: jobs whose work is to stand open while a consumer calls the node's encryption service.

Calls are counted in the store before they are performed, so neither a crash nor a race gives a call away. A
session closes when its calls are used up, its time is over, or the consumer closes it; it survives a restart
of the node. Its transcript is a hash chain over operation, request and answer of every call.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import struct
from collections import Counter
from collections.abc import Callable

from compute.errors import ComputeError, Refused
from compute.node.policy import Admission
from compute.node.running import Active, Done
from compute.node.store import Store
from compute.wire.canonical import from_hex

_CALL = b"liutong/eaas/call/v1\x00"
_WORKING_POLL_S = 0.02
_START = b"liutong/eaas/session/v1\x00"


class SessionClosed(ComputeError):
    """The session is not open: not started, over, or its calls are used up."""

    code = "eaas.closed"


class Sessions:
    """Meters of all EaaS sessions; one event loop uses it, the store may be called from threads."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._open: dict[str, Active] = {}
        # Calls taken and not yet noted, by job; changed inside the store's transactions only.
        self._working: Counter[str] = Counter()

    def open(self, active: Active, admission: Admission) -> None:
        """Start a session for an admitted job."""
        row = active.row
        ends_at = min(int(self._clock()) + admission.params.duration_s, row.deadline - 1)
        with self._store.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO sessions VALUES (?, ?, 0, ?, ?)",
                (row.job, admission.units, ends_at, hashlib.sha256(_START + from_hex(row.job)).digest()),
            )
        self._open[row.job] = active

    def resume(self, active: Active) -> bool:
        """Go on with a session after a restart; False if it never began."""
        if self._row(active.row.job) is None:
            return False
        self._open[active.row.job] = active
        return True

    def find(self, job: str) -> Active:
        """The open session of a job; raises SessionClosed."""
        active = self._open.get(job)
        if active is None or active.stop.is_set() or active.closing.is_set():
            raise SessionClosed("the session is over: run a new eaas job")
        return active

    async def serve(self, active: Active) -> Done:
        """The work of a session: stand open until it closes."""
        job = active.row.job
        self._store.advance(job, int(self._clock() * 1000), "serving", total=self._read(job)[0])
        ends_at = self._read(job)[2]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, ends_at - self._clock())):
                await active.closing.wait()
        active.closing.set()
        self._end(job)
        # A call that was charged belongs into the transcript before it is signed.
        while self._working[job]:
            await asyncio.sleep(_WORKING_POLL_S)
        return self.used(job)

    def used(self, job: str) -> Done:
        """What a session has used so far; nothing more is served from here on."""
        self._end(job)
        calls, used, _, transcript = self._read(job)
        return Done(units=used, transcript=transcript, metrics={"calls": used, "calls_reserved": calls})

    def close(self, active: Active) -> None:
        """End a session in order."""
        active.closing.set()

    def take(self, job: str) -> int:
        """Use up one call; how many are left. Raises SessionClosed if there is none."""
        with self._store.transaction() as db:
            taken = db.execute(
                "UPDATE sessions SET used = used + 1 WHERE job = ? AND used < calls AND ends_at > ?",
                (job, int(self._clock())),
            )
            if taken.rowcount != 1:
                raise SessionClosed("the session's calls are used up or its time is over")
            row = db.execute("SELECT calls - used FROM sessions WHERE job = ?", (job,)).fetchone()
            self._working[job] += 1
        return int(row[0])

    def note(self, active: Active, operation: str, request: bytes, answer: bytes) -> None:
        """Add a call to the transcript; the last one closes the session."""
        job = active.row.job
        name = operation.encode()
        entry = struct.pack(">I", len(name)) + name
        entry += hashlib.sha256(request).digest() + hashlib.sha256(answer).digest()
        with self._store.transaction() as db:
            row = db.execute("SELECT transcript, used, calls FROM sessions WHERE job = ?", (job,)).fetchone()
            link = hashlib.sha256(_CALL + bytes(row["transcript"]) + entry).digest()
            db.execute("UPDATE sessions SET transcript = ? WHERE job = ?", (link, job))
            db.execute("UPDATE jobs SET done = ? WHERE job = ?", (row["used"], job))
            self._working[job] -= 1
        if row["used"] >= row["calls"]:
            active.closing.set()

    def _end(self, job: str) -> None:
        self._open.pop(job, None)
        # A call that found the session open may still wait for a thread: ended here, it gets nothing, or it
        # would be served after the count was taken.
        with self._store.transaction() as db:
            db.execute("UPDATE sessions SET ends_at = 0 WHERE job = ?", (job,))

    def _row(self, job: str) -> tuple[int, int, int, bytes] | None:
        rows = self._store.rows("SELECT calls, used, ends_at, transcript FROM sessions WHERE job = ?", job)
        return tuple(rows[0]) if rows else None

    def _read(self, job: str) -> tuple[int, int, int, bytes]:
        row = self._row(job)
        if row is None:
            raise Refused("request.unknown", "there is no session of this job", remedy="run an eaas job")
        return row
