"""Starts child processes, starts them again when they die, and takes all of them along when it ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from market.supervisor.layout import REPOSITORY

_PR_SET_PDEATHSIG = 1
_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 15.0
# A process that ran this long is taken to be well: its next death starts from the shortest delay again.
_SETTLED_S = 30.0
_STOP_TIMEOUT_S = 8.0

# Resolved before the first fork: between fork and exec a child should do as little as possible.
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass
class Child:
    """One supervised process. ``before`` runs before every start, in the supervisor."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    log: Path
    before: Callable[[], None] = lambda: None
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    _delay_s: float = _FIRST_DELAY_S
    _started_at: float = 0.0
    _start_again_at: float = field(default=0.0)

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self.process.pid if self.process and self.process.poll() is None else None

    def start(self) -> None:
        """Start now. The child leads a session of its own, and dies with the supervisor."""
        self.before()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        supervisor = os.getpid()

        def die_with_parent() -> None:
            # SIGKILL: every process here is built to survive it, and a polite signal may go unheard.
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != supervisor:  # it died between fork and prctl
                os._exit(1)

        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=REPOSITORY,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,  # safe: children are started from one thread only
            )
        self._started_at = time.monotonic()

    def tend(self) -> bool:
        """Notice a death and start again when the back-off has passed; True if something changed."""
        if self.process is None or self.process.poll() is None:
            return False
        now = time.monotonic()
        if self._start_again_at == 0.0:
            if now - self._started_at > _SETTLED_S:
                self._delay_s = _FIRST_DELAY_S
            self._start_again_at = now + self._delay_s
            self._delay_s = min(2 * self._delay_s, _LONGEST_DELAY_S)
            # What it left behind in its group must not keep the port.
            signal_group(self.process.pid, signal.SIGKILL)
            return True
        if now < self._start_again_at:
            return False
        self._start_again_at = 0.0
        self.restarts += 1
        self.start()
        return True

    def stop(self, timeout_s: float = _STOP_TIMEOUT_S) -> None:
        """End the whole process group: politely, then not."""
        if self.process is None:
            return
        signal_group(self.process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout_s)
        signal_group(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def last_words(self, lines: int = 12) -> str:
        """The end of the log, for a message about a start that failed."""
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


def signal_group(leader: int, number: signal.Signals) -> None:
    """Signal a process group; a group that is gone is fine."""
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        return


def stop_all(children: list[Child]) -> None:
    """End all: everybody is told at once, then waited for, last started first."""
    for child in reversed(children):
        if child.process is not None and child.name != "chain":
            signal_group(child.process.pid, signal.SIGTERM)
    for child in reversed(children):
        child.stop()
