"""Rates of the `openssl` program of this machine, by its own `speed` command on one core."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

from bench.peers import PeerUnavailable


@cache
def version() -> str:
    """Such as "OpenSSL 3.0.19"."""
    return " ".join(_run("version").split()[:2])


def sm2(seconds: int) -> tuple[float, float]:
    """SM2 signatures and verifications of a digest, a second each."""
    fields = _line(_run("speed", "-mr", "-seconds", str(seconds), "sm2"), "+F7:")
    return float(fields[-2]), float(fields[-1])


def bytes_per_second(name: str, size: int, seconds: int) -> float:
    """Throughput of a cipher or digest over buffers of ``size`` bytes."""
    output = _run("speed", "-mr", "-seconds", str(seconds), "-bytes", str(size), "-evp", name)
    return float(_line(output, "+F:")[-1])


def _line(output: str, prefix: str) -> list[str]:
    found = [line for line in output.splitlines() if line.startswith(prefix)]
    if not found:
        raise PeerUnavailable("openssl speed does not know this algorithm")
    return found[0].split(":")


def _run(*arguments: str) -> str:
    program = shutil.which("openssl")
    if program is None:
        raise PeerUnavailable("there is no openssl program")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerUnavailable(f"openssl {arguments[0]} ended with {done.returncode}")
    return done.stdout
