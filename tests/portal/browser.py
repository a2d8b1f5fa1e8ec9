"""The portal as a process and a chromium to look at it with."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
_START_TIMEOUT_S = 60


def chromium() -> str:
    """The browser's path; skips without one, fails where CI promises one."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI=true, but there is no chromium")
        pytest.skip("no chromium on this machine")
    return found


def need_build() -> None:
    """The pages need their scripts and styles; skips like `chromium`."""
    if not (ROOT / "frontend/static/build/app.js").exists():
        if os.environ.get("CI") == "true":
            pytest.fail("CI=true, but the front end is not built: npm run build")
        pytest.skip("the front end is not built: npm run build")


@dataclass
class Portal:
    """A running portal with the world of `world.py` in a database of its own."""

    url: str
    environment: dict[str, str]
    ids: dict[str, str]

    def run(self, code: str) -> str:
        """Run Python beside the server, with models imported; returns what it prints."""
        setup = "import django; django.setup(); "
        done = subprocess.run(
            [sys.executable, "-c", setup + code],
            env=self.environment, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return done.stdout


@contextmanager
def portal(folder: Path) -> Iterator[Portal]:
    """Start the portal on a free port; ends it afterwards."""
    environment = {
        **{key: value for key, value in os.environ.items() if key not in {"DATABASE_URL", "REDIS_URL"}},
        "VAR_DIR": str(folder),
        "DJANGO_SETTINGS_MODULE": "market.settings",
        "LOG_LEVEL": "WARNING",
    }
    _manage(environment, "compile_catalogues")
    _manage(environment, "migrate", "-v0")
    made = Portal("", environment, {})
    made.ids = json.loads(
        made.run(
            "import json; from tests.portal.world import build; w = build(); "
            "names = set(w.__dataclass_fields__) - {'logins'}; "
            "print(json.dumps({name: str(getattr(w, name).pk) for name in names}))"
        )
    )
    # The server inherits a bound socket: no port is guessed.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        made.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with (folder / "server.log").open("w") as log:
            server = subprocess.Popen(
                [
                    sys.executable, "-m", "uvicorn", "market.asgi:application", "--fd",
                    str(listener.fileno()),
                    "--lifespan", "off", "--log-level", "warning",
                ],
                env=environment, cwd=ROOT, stdout=log, stderr=log, pass_fds=[listener.fileno()],
            )  # fmt: skip
    try:
        _wait(made.url, server)
        yield made
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _manage(environment: dict[str, str], *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "manage.py", *arguments], env=environment, cwd=ROOT, check=True, timeout=120,
        capture_output=True,
    )  # fmt: skip


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"the portal ended with {server.returncode}")
        try:
            with urllib.request.urlopen(url + "/healthz", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError("the portal did not become healthy")
