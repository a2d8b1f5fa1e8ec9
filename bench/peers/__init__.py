"""Peers that live in an environment of their own, because their pins would quarrel with ours.

``NAME.txt`` holds pinned requirements with hashes, ``NAME_peer.py`` the program that measures the peer and
prints JSON. The environment is made under ``.bench-envs/NAME`` at the first run.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_ENVIRONMENTS = _HERE.parent.parent / ".bench-envs"


class PeerUnavailable(Exception):
    """A peer cannot be installed or run here; the message says why."""


def measure(name: str, *arguments: str) -> Any:
    """Run the program of a peer in its environment and return the JSON that it prints last."""
    python = _environment(name)
    done = subprocess.run(
        [python, _HERE / f"{name}_peer.py", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise PeerUnavailable(f"{name} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _environment(name: str) -> Path:
    requirements = _HERE / f"{name}.txt"
    folder = _ENVIRONMENTS / f"{name}-{platform.python_version()}"
    python = folder / "bin" / "python"
    stamp = folder / "requirements.txt"
    if stamp.exists() and stamp.read_bytes() == requirements.read_bytes():
        return python
    venv.create(folder, clear=True, with_pip=True)
    done = subprocess.run(
        [
            python,
            "-m",
            "pip",
            "install",
            "-q",
            "--require-hashes",
            "--only-binary",
            ":all:",
            "-r",
            requirements,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PeerUnavailable(f"{name} does not install here: {done.stderr.strip()[-300:]}")
    stamp.write_bytes(requirements.read_bytes())
    print(f"environment of {name} made in {folder.name}", file=sys.stderr)
    return python
