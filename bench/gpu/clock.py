"""Time on the device, and the ceilings of the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from accel.gpu import compile as gpu_compile
from accel.gpu import device
from accel.gpu.launch import launch
from bench.gpu.entry import Ceilings

RUNS = 7
_ROUNDS = 2000
_COPY_BYTES = 1 << 31


def device_seconds(work: Callable[[], object]) -> float:
    """The median of a few runs between two events, after a warm-up that compiles."""
    cupy = device.require()
    work()
    times = []
    for _ in range(RUNS):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(start, end) / 1000)
    return float(np.median(times))


def ceilings() -> Ceilings:
    """Measure them: a few seconds."""
    cupy = device.require()
    # Released before anything else is measured.
    seconds = _copy_seconds(cupy.zeros(_COPY_BYTES, cupy.uint8))
    return Ceilings(
        wide_per_s=_multiply_adds("wide_peak", 4),
        carry_per_s=_multiply_adds("carry_peak", 2),
        copy_bytes_per_s=2 * _COPY_BYTES / seconds,
    )


def _copy_seconds(source: Any) -> float:
    copy = source.copy()
    return device_seconds(lambda: device.require().copyto(copy, source))


def _multiply_adds(kernel: str, blocks_each: int) -> float:
    cupy = device.require()
    block, grid = 256, 4 * blocks_each * device.multiprocessors()
    out = cupy.empty(grid * block, cupy.uint64)
    run = gpu_compile.kernel("peak.cuh", kernel)

    def work() -> None:
        arguments = np.uint32(0x9E3779B9), np.uint32(_ROUNDS), out
        launch(run, grid * block, *arguments, block=block, grid=grid)

    # 256 is ROUND of peak.cuh.
    return 256 * _ROUNDS * grid * block / device_seconds(work)
