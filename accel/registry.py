"""An `Op` knows its backends, which of them this machine has, and which one a batch should run on.

    HASH = Op("curve25519.hash_to_curve")

    @HASH.backend("portable", needs="gmpy2")
    def _portable(messages, dst): ...

    @HASH.backend("ifma", needs="numba")
    def _ifma(messages, dst): ...

    HASH.select("auto", batch=len(messages))(messages, dst)

Backends, best first: `gpu`; the CPU paths `ifma`, `avx2`, `portable` (see `features`); `reference`, the
specification. ``"cpu"`` asks for the best CPU path. ``"auto"`` takes the first backend whose threshold the
batch reaches; thresholds are the registered ``min_batch``, replaced by what `python -m accel.bench
--calibrate` measured on this machine. A backend asked for by name, CPU path included, is that backend or an
error: a silent fallback would make measurements and tests lie. Each backend answers the operation's known
answer when it is first selected in a process, before its result is used anywhere. Under ``auto`` a GPU that
runs out of memory hands over to the processor, with a line in the log.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import pkgutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, wraps
from typing import Generic, ParamSpec, TypeVar

from accel import features, thresholds
from accel.cpu import threads
from accel.errors import BackendUnavailable, DeviceOutOfMemory, SelfTestFailed

P = ParamSpec("P")
R = TypeVar("R")

CPU_PATHS = tuple(reversed(features.LEVELS))
PREFERENCE = ("gpu", *CPU_PATHS, "reference")

_checking = threading.RLock()  # a check may call facades that select other operations
_log = logging.getLogger(__name__)


@cache
def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


@dataclass(frozen=True)
class _Backend(Generic[P, R]):
    name: str
    run: Callable[P, R]
    needs: tuple[str, ...]
    instructions: tuple[str, ...]
    min_batch: int

    def missing(self) -> str | None:
        """What keeps this backend from running here, or None. Modules are looked up, not imported."""
        for module in self.needs:
            if not _installed(module):
                return f"{module}, which is not installed"
        if self.name == "gpu":
            return features.gpu_missing()
        if self.name in features.LEVELS and not features.has_level(self.name):
            return f"CPU level {self.name!r}, and {features.level()!r} is in force"
        lacking = features.lacks(*self.instructions)
        return None if lacking is None else f"{lacking}, which this processor does not have"


class Op(Generic[P, R]):
    """One operation with the same signature and the same results on every backend.

    ``sample(batch)`` gives arguments for a batch of that size: `accel.bench` measures with it.
    """

    def __init__(self, name: str, *, sample: Callable[[int], tuple[object, ...]] | None = None) -> None:
        self.name = name
        self.sample = sample
        self._backends: dict[str, _Backend[P, R]] = {}
        self._known_answer: Callable[[Callable[P, R]], None] | None = None
        self._checked: set[str] = set()
        # By CPU level: single calls cannot wait to ask again.
        self._available: dict[str, tuple[str, ...]] = {}

    def known_answer(self, check: Callable[[Callable[P, R]], None]) -> Callable[[Callable[P, R]], None]:
        """Register the decorated check: it calls the function it is given and raises if the answer is wrong.

        It must take milliseconds. `reference` is not checked: it is what tests hold the others to.
        """
        self._known_answer = check
        return check

    def backend(
        self, name: str, *, needs: str = "", instructions: str = "", min_batch: int = 1
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Register the decorated function.

        ``needs`` lists modules, ``instructions`` instruction sets beyond the CPU level, by LLVM's names;
        ``min_batch`` keeps ``auto`` from smaller batches until `accel.bench --calibrate` knows better.
        """
        if name not in PREFERENCE:
            raise ValueError(f"unknown backend name {name!r}: known are {', '.join(PREFERENCE)}")

        def register(run: Callable[P, R]) -> Callable[P, R]:
            self._backends[name] = _Backend(
                name, run, tuple(needs.split()), tuple(instructions.split()), min_batch
            )
            self._available.clear()
            return run

        return register

    def available(self) -> tuple[str, ...]:
        """The backends this machine can run at the CPU level in force, best first."""
        level = features.level()
        if level not in self._available:
            self._available[level] = tuple(
                n for n in PREFERENCE if n in self._backends and self._backends[n].missing() is None
            )
        return self._available[level]

    def select(self, backend: str, *, batch: int) -> Callable[P, R]:
        """The function to call; raises BackendUnavailable naming what is missing."""
        if backend == "auto":
            # An empty batch runs where a single one does.
            worth_it = [n for n in self.available() if max(batch, 1) >= self._threshold(n)]
            return self._automatic(worth_it, batch)
        if backend == "cpu":
            paths = [n for n in self.available() if n in CPU_PATHS]
            if not paths:
                raise BackendUnavailable(f"{self.name} has no CPU backend on this machine")
            return self._tested(paths[0])
        found = self._backends.get(backend)
        if found is None:
            raise BackendUnavailable(
                f"{self.name} has no backend {backend!r}: it has {', '.join(self._backends)}"
            )
        missing = found.missing()
        if missing is not None:
            raise BackendUnavailable(f"backend {backend!r} of {self.name} needs {missing}")
        return self._tested(backend)

    def _tested(self, name: str) -> Callable[P, R]:
        run = self._backends[name].run
        if self._known_answer is not None and name != "reference" and name not in self._checked:
            threads.count()  # a wrong setting is no failure of a kernel
            with _checking:
                if name not in self._checked:
                    try:
                        self._known_answer(run)
                    except (SelfTestFailed, BackendUnavailable, DeviceOutOfMemory):
                        raise
                    except Exception as error:
                        what = (
                            f"the self-test of {self.name} on {name} failed: {type(error).__name__}: {error}"
                        )
                        raise SelfTestFailed(what) from error
                    self._checked.add(name)
        return run

    def _threshold(self, name: str) -> float:
        return thresholds.of(self.name, name, default=self._backends[name].min_batch)

    def _automatic(self, names: list[str], batch: int) -> Callable[P, R]:
        if not names:
            raise BackendUnavailable(f"{self.name} has no backend on this machine for a batch of {batch}")
        if names[0] != "gpu" or len(names) == 1:
            return self._tested(names[0])

        # The GPU may be full at its known answer already. The processor's kernels are compiled if needed.
        @wraps(self._backends["gpu"].run)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return self._tested("gpu")(*args, **kwargs)
            except DeviceOutOfMemory as error:
                _log.warning("%s: a batch of %d moves from gpu to %s: %s", self.name, batch, names[1], error)
                return self._tested(names[1])(*args, **kwargs)

        return run


def operations() -> list[Op[..., object]]:
    """Every operation of the package, by name. Imports every facade."""
    import accel

    found: dict[str, Op[..., object]] = {}
    for module in pkgutil.iter_modules(accel.__path__):
        # Packages hold backends; the others named are programs.
        if not module.ispkg and module.name not in ("bench", "info", "warm"):
            values = vars(importlib.import_module(f"accel.{module.name}")).values()
            found |= {value.name: value for value in values if isinstance(value, Op)}
    return [found[name] for name in sorted(found)]
