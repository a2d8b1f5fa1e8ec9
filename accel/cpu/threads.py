"""Independent ranges of a batch over the cores of this process.

Kernels are compiled with ``nogil=True`` and take ``start, stop``; plain threads run them. numba's own
parallel loops are not used: their fallback layer aborts the process when two threads enter at once, and they
take many times longer to compile.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from accel.errors import BadParameter

SWITCH = "LIUTONG_THREADS"


def count() -> int:
    """How many threads work at a batch: ``LIUTONG_THREADS``, or the cores this process may use."""
    wanted = os.environ.get(SWITCH)
    if not wanted:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not wanted.isascii() or not wanted.isdigit() or not 1 <= int(wanted) <= 1024:
        raise BadParameter(f"{SWITCH} must be a number from 1 to 1024, not {wanted!r}")
    return int(wanted)


def each_range(size: int, step: int, work: Callable[[int, int], None]) -> None:
    """Call ``work(start, stop)`` for ranges that cover ``0 … size``, starts being multiples of ``step``.

    The ranges run at the same time, so ``work`` must release the GIL and write to its own range alone.
    An exception of any range is raised after all have ended.
    """
    workers = count()
    blocks = -(-size // step)
    if workers == 1 or blocks <= 1:
        if size:
            work(0, size)
        return
    # A few ranges a thread even out cores that other work slows down.
    share = -(-blocks // min(blocks, 4 * workers)) * step
    starts = range(0, size, share)
    futures = [_pool(workers).submit(work, start, min(start + share, size)) for start in starts]
    errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        raise errors[0]


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="accel")


if hasattr(os, "register_at_fork"):
    # Threads do not survive a fork: the pools that a child inherits would wait for ever.
    os.register_at_fork(after_in_child=_pool.cache_clear)
