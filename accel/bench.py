"""`python -m accel.bench`: cost per element against batch size, and from which batch on a backend pays.

    python -m accel.bench                          # a table for every operation with a choice of backends
    python -m accel.bench --only sm2. --sizes 1,100,10000
    python -m accel.bench --calibrate              # measure the thresholds of `auto` and keep them

Times are of the wall, threads as the operation uses them. Calibrate on a machine that is otherwise idle: what
is kept holds until it is measured again (see `thresholds`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

from accel import thresholds
from accel.errors import DeviceOutOfMemory
from accel.registry import PREFERENCE, Op, operations

DECADES = tuple(10**k for k in range(7))
TIE = 0.9  # a rival that is faster by less than this may owe it to noise: the order of preference holds
QUARTERS = tuple(4**k for k in range(11))


@dataclass(frozen=True)
class Effort:
    """How long to measure: repetitions of one size, and the batch time beyond which no larger is tried."""

    cell_seconds: float
    patience_seconds: float


THOROUGH = Effort(cell_seconds=0.3, patience_seconds=5.0)
BRIEF = Effort(cell_seconds=0.05, patience_seconds=0.5)  # enough to tell which backend is the faster


@dataclass(frozen=True)
class Cost:
    """One measurement: ``seconds`` for a whole batch, the least of a few runs."""

    operation: str
    backend: str
    batch: int
    seconds: float


def sweep(
    op: Op[..., object], backends: Iterable[str], sizes: Sequence[int], effort: Effort = THOROUGH
) -> Iterator[Cost]:
    """Measure an operation on its sample arguments, growing the batch until it takes too long."""
    if op.sample is None:
        return
    for backend in backends:
        for size in sizes:
            arguments = op.sample(size)
            try:
                run = op.select(backend, batch=size)
                first = _least(
                    run, arguments, repeat_for=0
                )  # compiles, loads tables, finds its place in the caches
                seconds = min(first, _least(run, arguments, repeat_for=effort.cell_seconds))
            except DeviceOutOfMemory:
                break
            yield Cost(op.name, backend, size, seconds)
            following = sizes[sizes.index(size) + 1 :]
            if following and seconds * following[0] / size > effort.patience_seconds:
                break


def crossovers(costs: Sequence[Cost]) -> dict[str, int | None]:
    """From which batch on each backend beats every backend that `auto` would take instead; None for never.

    ``costs`` are of one operation. A size at which a backend was not measured counts as lost to those that
    were.
    """
    by_backend = {name: {c.batch: c.seconds for c in costs if c.backend == name} for name in PREFERENCE}
    present = [name for name in PREFERENCE if by_backend[name]]
    sizes = sorted({cost.batch for cost in costs})
    found: dict[str, int | None] = {}
    for rank, name in enumerate(present[:-1]):
        wins_from: int | None = None
        for size in sizes:
            rivals = [by_backend[other].get(size) for other in present[rank + 1 :]]
            ours = by_backend[name].get(size)
            lost = ours is None or any(theirs is not None and theirs < ours * TIE for theirs in rivals)
            wins_from = None if lost else (size if wins_from is None else wins_from)
        found[name] = wins_from
    return found


def calibrate(ops: Iterable[Op[..., object]]) -> dict[str, dict[str, int | None]]:
    """Thresholds of every operation that has a choice; prints as it goes."""
    measured: dict[str, dict[str, int | None]] = {}
    for op in ops:
        candidates = [name for name in op.available() if name != "reference"]
        if op.sample is None or len(candidates) < 2:
            continue
        measured[op.name] = crossovers(list(sweep(op, candidates, QUARTERS, BRIEF)))
        shown = ", ".join(
            f"{n} {'never' if at is None else f'from {at}'}" for n, at in measured[op.name].items()
        )
        print(f"{op.name:32} {shown}, else {candidates[-1]}", flush=True)
    return measured


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m accel.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--calibrate", action="store_true", help="measure and keep the thresholds of auto")
    parser.add_argument("--only", default="", help="operations whose name begins so")
    parser.add_argument("--sizes", default=",".join(map(str, DECADES)), help="batch sizes of the table")
    parser.add_argument("--backends", default="", help="such as ifma,portable; all available by default")
    options = parser.parse_args(arguments)
    ops = [op for op in operations() if op.name.startswith(options.only)]
    if not ops:
        parser.error(f"no operation is called {options.only}…")
    if options.calibrate:
        # A part does not replace the whole.
        print(f"kept in {thresholds.save({**thresholds.measured(), **calibrate(ops)})}")
        return 0
    try:
        sizes = [int(size) for size in options.sizes.split(",")]
    except ValueError:
        parser.error("--sizes takes numbers separated by commas")
    if min(sizes) < 1:
        parser.error("a batch has at least one element")
    wanted = set(options.backends.split(",")) if options.backends else set(PREFERENCE) - {"reference"}
    for op in ops:
        for cost in sweep(op, [name for name in op.available() if name in wanted], sorted(sizes)):
            each = 1e6 * cost.seconds / cost.batch
            print(f"{cost.operation:32} {cost.backend:10} {cost.batch:>9,} {each:14,.3f} µs each", flush=True)
    return 0


def _least(run: object, arguments: tuple[object, ...], *, repeat_for: float) -> float:
    assert callable(run)
    least = float("inf")
    end = perf_counter() + repeat_for
    while True:
        start = perf_counter()
        run(*arguments)
        least = min(least, perf_counter() - start)
        if perf_counter() >= end:
            return least


if __name__ == "__main__":
    sys.exit(main())
