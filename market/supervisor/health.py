"""Waiting until a stack works: not that processes run, but that they answer and agree."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

from market.supervisor.chain import StartFailed

_PAUSE_S = 0.2


def wait_until(
    what: str, holds: Callable[[], bool], stop: threading.Event, tend: Callable[[], None], timeout_s: float
) -> None:
    """Until ``holds``; raises StartFailed after the timeout or when asked to stop."""
    end = time.monotonic() + timeout_s
    while not holds():
        if stop.is_set():
            raise StartFailed("stopped before everything was up")
        if time.monotonic() > end:
            raise StartFailed(f"{what}: not within {timeout_s:.0f} s")
        tend()
        time.sleep(_PAUSE_S)


def listens(port: int) -> bool:
    """Whether anything accepts connections on a port of the loopback interface."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(http: httpx.Client, url: str) -> bool:
    """Whether a health endpoint says 200."""
    try:
        return http.get(url).status_code == 200
    except httpx.HTTPError:
        return False


def listing(http: httpx.Client, portal: str, path: str, api_key: str) -> list[dict[str, Any]]:
    """One page of a portal list; empty while the portal does not answer."""
    try:
        response = http.get(
            f"{portal}/api/v1/{path}?page_size=500", headers={"Authorization": f"Bearer {api_key}"}
        )
        results: list[dict[str, Any]] = response.json()["results"] if response.status_code == 200 else []
        return results
    except (httpx.HTTPError, ValueError, KeyError):
        return []
