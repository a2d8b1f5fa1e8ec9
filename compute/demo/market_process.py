"""The demo's own market: `python -m market.supervisor` as a child process, in the demo's folder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compute.sdk import Liutong

REPOSITORY = Path(__file__).resolve().parents[2]
# Seconds before giving up, for a machine that is busy with other work: nine processes start and import much.
_START_TIMEOUT_S = 900.0
_STOP_TIMEOUT_S = 30.0


class MarketFailed(Exception):
    """The market of the demo does not start; the message holds its last words."""


@dataclass(frozen=True)
class Market:
    """A running market, as its status file tells it."""

    home: Path
    supervisor: subprocess.Popen[str]

    @property
    def status(self) -> dict[str, Any]:
        """The status file, read afresh."""
        fields: dict[str, Any] = json.loads((self.home / "stack.json").read_text())
        return fields

    def party(self, key: str) -> str:
        """A party's id."""
        return str(self.status["parties"][key]["party"])

    def folder(self, key: str) -> Path:
        """A party's own folder."""
        return Path(self.status["parties"][key]["folder"])

    def api_key_file(self, key: str) -> Path:
        """Where a party's API key lies."""
        return Path(self.status["secrets"]) / f"{key}.apikey"

    def client(self, key: str, *, with_keys: bool = False) -> Liutong:
        """The SDK as this party; ``with_keys`` opens its key file for ordering jobs."""
        status = self.status
        folder = self.folder(key)
        return Liutong(
            status["portal"],
            self.api_key_file(key).read_text().strip(),
            folder / "party.keys" if with_keys else None,
            passphrase_file=folder / "passphrase" if with_keys else None,
            chain_rpc=status["chain"],
            address_book=status["address_book"],
        )

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the portal's management commands beside it."""
        return run_python("manage.py", *arguments, environment=self.status["portal_environment"])

    def tool(self, key: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the `liutong` command line as a party."""
        status = self.status
        return run_python(
            "-m",
            "compute.cli",
            *arguments,
            environment={
                "LIUTONG_URL": status["portal"],
                "LIUTONG_API_KEY_FILE": str(self.api_key_file(key)),
                "LIUTONG_CHAIN_RPC_URL": status["chain"],
                "LIUTONG_ADDRESS_BOOK": status["address_book"],
            },
        )


def run_python(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run this interpreter in the repository and keep what it says."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@contextlib.contextmanager
def running(home: Path, *, fresh: bool = True) -> Iterator[Market]:
    """A market in ``home``, from scratch unless told otherwise; ended when the block is left."""
    if fresh:
        _clear(home)
    home.mkdir(parents=True, exist_ok=True)
    log = (home / "supervisor.log").open("a")
    (home / "stack.json").unlink(missing_ok=True)
    process = subprocess.Popen(
        _command(home), cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True
    )
    try:
        _wait(home, process)
        yield Market(home, process)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()  # its children die with it
            process.wait()
        log.close()


def _command(home: Path) -> Sequence[str]:
    return [sys.executable, "-m", "market.supervisor", "--home", str(home), "--free-ports"]


def _clear(home: Path) -> None:
    """Remove an earlier demo, unless it is still running."""
    lock = home / "supervisor.lock"
    if lock.exists():
        import fcntl

        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise MarketFailed(f"a demo is running in {home}: stop it first") from None
    shutil.rmtree(home, ignore_errors=True)


def _wait(home: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise MarketFailed(_tail(home / "supervisor.log"))
        with contextlib.suppress(OSError, ValueError):
            if json.loads((home / "stack.json").read_text())["ready"]:
                return
        time.sleep(0.2)
    raise MarketFailed(
        f"the market was not up within {_START_TIMEOUT_S:.0f} s\n{_tail(home / 'supervisor.log')}"
    )


def _tail(path: Path, lines: int = 30) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
