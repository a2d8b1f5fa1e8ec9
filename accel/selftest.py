"""Known answers at the first use of each facade, in milliseconds; `registry` asks every backend for its own.

A wrong build of gmpy2, OpenSSL or a miscompiled kernel must stop the process before it produces a wrong
number, not after. `python -m accel.info` runs all of them and prints how long each took.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from importlib import resources
from typing import Any

from accel.errors import BackendUnavailable, SelfTestFailed

_checks: dict[str, Callable[[], None]] = {}
_passed: set[str] = set()
_running = threading.local()
_lock = threading.RLock()


def vectors(name: str) -> dict[str, Any]:
    """The document ``vectors/<name>.json``: ``source`` and lists of cases, each with a ``comment``."""
    text = resources.files("accel").joinpath("vectors", f"{name}.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def known_answer(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register the decorated check as the self-test of a facade. It raises or returns None."""

    def register(check: Callable[[], None]) -> Callable[[], None]:
        _checks[name] = check
        return check

    return register


def facades() -> tuple[str, ...]:
    """The facades with a self-test of their own, among those imported so far."""
    return tuple(sorted(_checks))


def ensure(name: str) -> None:
    """Run the self-test of a facade once per process.

    Raises SelfTestFailed if an answer is wrong, BackendUnavailable if this machine has nothing to run it on.
    """
    if name in _passed:
        return
    with _lock:
        # The check itself calls the facade, which calls us again.
        if name in _passed or getattr(_running, name, False):
            return
        setattr(_running, name, True)
        try:
            _checks[name]()
        except (SelfTestFailed, BackendUnavailable):
            raise
        except Exception as error:
            raise SelfTestFailed(
                f"the self-test of {name} failed: {type(error).__name__}", facade=name
            ) from error
        finally:
            setattr(_running, name, False)
        _passed.add(name)


def expect(condition: bool, what: str) -> None:
    """Raise SelfTestFailed naming the known answer that came out wrong."""
    if not condition:
        raise SelfTestFailed(f"known answer is wrong: {what}")
