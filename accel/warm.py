"""`python -m accel.warm`: compile the kernels that `auto` takes on this machine, so that no job waits.

Compiled kernels are cached on disk beside their sources (or in numba's cache folder of the user where that
cannot be written) until the sources, numba or the processor change. They give their known answers here.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from time import perf_counter

from accel.cpu import threads
from accel.registry import operations

BATCHES = (1, 64)  # one for what small batches run on, one for what large ones do


def warm(name: str) -> float:
    """Run the operation of that name on its sample arguments; the seconds it took."""
    start = perf_counter()
    op = next(op for op in operations() if op.name == name)
    if op.sample is not None:
        for batch in BATCHES:
            op.select("auto", batch=batch)(*op.sample(batch))
        if "gpu" in op.available():  # which `auto` takes for batches too large to run here
            op.select("gpu", batch=batch)(*op.sample(batch))
    return perf_counter() - start


def main() -> int:
    start = perf_counter()
    names = [op.name for op in operations()]
    # Not forked: a child of a process that has used a GPU or threads could not use them.
    with ProcessPoolExecutor(threads.count(), mp_context=get_context("spawn")) as pool:
        seconds = dict(zip(names, pool.map(warm, names), strict=True))
    slowest = max(seconds, key=lambda name: seconds[name])
    print(
        f"{len(names)} operations ready in {perf_counter() - start:.1f} s, "
        f"{slowest} took longest ({seconds[slowest]:.1f} s)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
