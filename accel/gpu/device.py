"""The GPU in use: what it is, what it has free. CuPy's current device is taken."""

from __future__ import annotations

from functools import cache
from typing import Any

from accel import features
from accel.errors import BackendUnavailable


def require() -> Any:
    """The module cupy; raises BackendUnavailable saying what is missing."""
    missing = features.gpu_missing()
    if missing is not None:
        raise BackendUnavailable(f"no GPU can be used: {missing}")
    import cupy

    return cupy


def properties() -> dict[str, Any]:
    """What the CUDA runtime says of the current device."""
    return _properties(require().cuda.Device().id)


@cache
def _properties(number: int) -> dict[str, Any]:
    """Asked once: it takes the driver about a millisecond, and launchers ask for every kernel."""
    found: dict[str, Any] = require().cuda.runtime.getDeviceProperties(number)
    return found


def describe() -> dict[str, object]:
    """For a table of measurements: model, multiprocessors, memory, versions."""
    cupy = require()
    found = properties()
    return {
        "gpu": found["name"].decode(),
        "compute_capability": f"{found['major']}.{found['minor']}",
        "multiprocessors": found["multiProcessorCount"],
        "memory_bytes": found["totalGlobalMem"],
        "clock_khz": found.get("clockRate"),
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "runtime": cupy.cuda.runtime.runtimeGetVersion(),
        "cupy": cupy.__version__,
    }


def multiprocessors() -> int:
    return int(properties()["multiProcessorCount"])


def free_bytes() -> int:
    """Memory that an allocation can get: free on the device, and free in CuPy's pool, which others share."""
    cupy = require()
    free, _ = cupy.cuda.runtime.memGetInfo()
    return int(free) + int(cupy.get_default_memory_pool().free_bytes())
