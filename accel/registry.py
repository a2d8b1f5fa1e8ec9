"""An `Op` knows its backends, which of them this machine has, and which one a batch should run on.

    HASH = Op("curve25519.hash_to_curve")

    @HASH.backend("cpu", needs="gmpy2")
    def _cpu(messages, dst): ...

    HASH.select("auto", batch=len(messages))(messages, dst)

Backends are preferred in the order of `PREFERENCE`; ``when`` keeps a backend from small batches. A backend
asked for by name is that backend or an error: a silent fallback would make measurements and tests lie.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeVar

from accel.errors import BackendUnavailable

P = ParamSpec("P")
R = TypeVar("R")

PREFERENCE = ("gpu", "cpu", "reference")


@dataclass(frozen=True)
class _Backend(Generic[P, R]):
    run: Callable[P, R]
    needs: tuple[str, ...]
    when: Callable[[int], bool]

    def missing(self) -> str | None:
        """The first module that is not installed, or None. Looked up, not imported: imports may be slow."""
        return next((name for name in self.needs if importlib.util.find_spec(name) is None), None)


class Op(Generic[P, R]):
    """One operation with the same signature and the same results on every backend."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._backends: dict[str, _Backend[P, R]] = {}

    def backend(
        self, name: str, *, needs: str = "", when: Callable[[int], bool] = lambda batch: True
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Register the decorated function; ``needs`` lists modules, ``when(batch)`` limits ``auto``."""
        if name not in PREFERENCE:
            raise ValueError(f"unknown backend name {name!r}: known are {', '.join(PREFERENCE)}")

        def register(run: Callable[P, R]) -> Callable[P, R]:
            self._backends[name] = _Backend(run, tuple(needs.split()), when)
            return run

        return register

    def available(self) -> tuple[str, ...]:
        """The backends this machine can run, best first."""
        return tuple(n for n in PREFERENCE if n in self._backends and self._backends[n].missing() is None)

    def select(self, backend: str, *, batch: int) -> Callable[P, R]:
        """The function to call; raises BackendUnavailable naming what is missing."""
        if backend == "auto":
            names = self.available()
            for name in names:
                if self._backends[name].when(batch):
                    return self._backends[name].run
            raise BackendUnavailable(f"{self.name} has no backend on this machine for a batch of {batch}")
        found = self._backends.get(backend)
        if found is None:
            raise BackendUnavailable(
                f"{self.name} has no backend {backend!r}: it has {', '.join(self._backends)}"
            )
        missing = found.missing()
        if missing is not None:
            raise BackendUnavailable(
                f"backend {backend!r} of {self.name} needs {missing}, which is not installed"
            )
        return found.run
