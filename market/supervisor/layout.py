"""Where a stack keeps its files, and which ports it uses: chosen once, then kept."""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_PORTS = {
    "portal": 8600,
    "chain": 8601,
    "hospital-east": 8611,
    "hospital-west": 8612,
    "laboratory": 8613,
    "airport": 8614,
}


@dataclass(frozen=True)
class Layout:
    """One stack's folder. ``free_ports`` True lets the system choose the ports at the first start."""

    home: Path
    free_ports: bool = False

    @property
    def log(self) -> Path:
        """One log file per process."""
        return self.home / "log"

    @property
    def secrets(self) -> Path:
        """Keys of operator and portal, demo logins and API keys; readable by the owner alone."""
        return self.home / "secrets"

    @property
    def chain_state(self) -> Path:
        """What anvil writes every second and reads at its start."""
        return self.home / "chain" / "state.json"

    @property
    def deployment(self) -> Path:
        """Where the contracts are."""
        return self.home / "chain" / "deployment.json"

    @property
    def status(self) -> Path:
        """Addresses, process ids and readiness, rewritten at every change: for people and tests."""
        return self.home / "stack.json"

    @property
    def lock(self) -> Path:
        """Held by the running supervisor."""
        return self.home / "supervisor.lock"

    def node(self, name: str) -> Path:
        """A party node's folder: keys, configuration, database, results."""
        return self.home / "nodes" / name

    def member(self, name: str) -> Path:
        """The folder of a party that has keys and no node."""
        return self.home / "members" / name

    def shell(self, name: str) -> Path:
        """What a person sources to act as a party from a terminal."""
        return self.home / "shell" / f"{name}.sh"

    @cached_property
    def ports(self) -> dict[str, int]:
        """Ports by process name. They stay the same for the life of the folder: the portal remembers URLs."""
        path = self.home / "ports.json"
        known: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
        # A folder of an earlier version may know fewer processes.
        missing = [name for name in DEFAULT_PORTS if name not in known]
        if not missing:
            return known
        more = free_ports(missing) if self.free_ports else {name: DEFAULT_PORTS[name] for name in missing}
        ports = known | more
        write_atomically(path, json.dumps(ports, indent=2))
        return ports

    def url(self, name: str) -> str:
        """The address of a process that listens."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def secret(self, name: str, make: Callable[[], str] = lambda: secrets.token_hex(32)) -> str:
        """The content of a secret file, made at first use."""
        path = self.secrets / name
        if not path.exists():
            self.secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(path, make(), mode=0o600)
        return path.read_text().strip()

    def password(self, username: str) -> str:
        """A demo login's password, made at first use: nobody ships a default one."""
        return self.secret(f"{username}.password", lambda: secrets.token_urlsafe(9))

    def secret_file(self, name: str) -> Path:
        """The path of a secret, which exists afterwards."""
        self.secret(name)
        return self.secrets / name


def free_ports(names: list[str]) -> dict[str, int]:
    """A free port of the loopback interface for each name, all different."""
    sockets = [socket.socket() for _ in names]
    try:
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return {name: item.getsockname()[1] for name, item in zip(names, sockets, strict=True)}
    finally:
        for item in sockets:
            item.close()


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace a file as a whole: a reader, or a crash, never meets half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
