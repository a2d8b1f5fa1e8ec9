"""What this processor and this machine offer, asked at run time, and the switch that asks for less.

CPU levels, each with everything of the one before:

| level | needs |
|---|---|
| `portable` | nothing: gmpy2, OpenSSL, plain numba |
| `avx2` | AVX2: 256-bit integer vectors |
| `ifma` | AVX-512 F, BW, DQ, VL and IFMA: 512-bit vectors and 52-bit multiply-add |

The environment variable ``LIUTONG_CPU`` names the level to work at; a level that the processor lacks is an
error, never a silent step down. Kernels that need more than their level (GFNI, VNNI) say so with `lacks`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

from accel.errors import BackendUnavailable

LEVELS = ("portable", "avx2", "ifma")
SWITCH = "LIUTONG_CPU"

_NEEDS = {
    "portable": (),
    "avx2": ("avx2",),
    "ifma": ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512ifma"),
}
_LEAST_CAPABILITY = 80  # Ampere: products of bytes on the tensor cores, 16 by 8 by 32
_forced: ContextVar[str | None] = ContextVar("forced CPU level", default=None)


@cache
def processor() -> frozenset[str]:
    """The instruction sets of this processor, by LLVM's names; empty where llvmlite is not installed."""
    try:
        from llvmlite import binding
    except ImportError:
        return frozenset()
    return frozenset(name for name, present in binding.get_host_cpu_features().items() if present)


def lacks(*names: str) -> str | None:
    """The first of the named instruction sets that the processor does not have, or None."""
    return next((name for name in names if name not in processor()), None)


def level() -> str:
    """The CPU level in force: the best of this processor, or what ``LIUTONG_CPU`` or `at_level` asks for.

    Raises BackendUnavailable for a level that is unknown or that the processor lacks.
    """
    wanted = _forced.get() or os.environ.get(SWITCH)
    if wanted:
        return _check(wanted)
    return _best(processor())


def has_level(name: str) -> bool:
    """Is ``name`` within the level in force?"""
    return LEVELS.index(name) <= LEVELS.index(level())


@contextmanager
def at_level(name: str) -> Iterator[None]:
    """Work at a CPU level inside the block, in this thread or task: for tests and measurements."""
    token = _forced.set(_check(name))
    try:
        yield
    finally:
        _forced.reset(token)


@cache
def gpu_missing() -> str | None:
    """Why no GPU can be used, or None. Looked up once per process: a driver does not come and go."""
    try:
        import cupy
    except ImportError:
        return "cupy is not installed"
    try:
        if cupy.cuda.runtime.getDeviceCount() < 1:
            return "there is no CUDA device"
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"the CUDA runtime answered: {error}"
    capability = cupy.cuda.Device().compute_capability
    if int(capability) < _LEAST_CAPABILITY:
        return f"the GPU has compute capability {capability}, and the kernels need {_LEAST_CAPABILITY}"
    return None


@cache
def _best(instructions: frozenset[str]) -> str:
    return next(name for name in reversed(LEVELS) if instructions.issuperset(_NEEDS[name]))


def _check(name: str) -> str:
    if name not in LEVELS:
        raise BackendUnavailable(f"unknown CPU level {name!r}: known are {', '.join(LEVELS)}")
    missing = lacks(*_NEEDS[name])
    if missing is not None:
        raise BackendUnavailable(f"CPU level {name!r} needs {missing}, which this processor does not have")
    return name
