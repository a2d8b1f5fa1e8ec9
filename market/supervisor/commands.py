"""Runs our own tools to their end: migrations, key making, publication. Their words go to a log."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from market.supervisor.chain import StartFailed
from market.supervisor.layout import REPOSITORY


def start(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start ``python ARGUMENTS`` beside others; give it to `finish` later."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def finish(process: subprocess.Popen[bytes], what: str, log: Path, timeout_s: float = 120.0) -> None:
    """Wait for the end; raises StartFailed with the end of the log unless it went well."""
    try:
        code = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        raise StartFailed(f"{what} did not end within {timeout_s:.0f} s; see {log}") from None
    except BaseException:
        process.kill()
        raise
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
        raise StartFailed(f"{what} ended with code {code}:\n{tail}")


def run(arguments: Sequence[str], environment: Mapping[str, str], what: str, log: Path) -> None:
    """Start and finish."""
    finish(start(arguments, environment, log), what, log)
