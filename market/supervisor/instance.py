"""One supervisor per folder: the second says so and who the first is."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class AlreadyRunning(Exception):
    """Another supervisor holds this folder; ``pid`` is its process id (0 if unknown)."""

    def __init__(self, home: Path, pid: int) -> None:
        super().__init__(
            f"a stack is already running in {home} (process {pid or 'unknown'}): stop it with Ctrl-C first"
        )
        self.pid = pid


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Hold the folder's lock. The kernel lets go of it when we die, so no stale lock can stay behind."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(descriptor, 20).decode(errors="replace").strip()
            raise AlreadyRunning(lock.parent, int(text) if text.isdigit() else 0) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)
