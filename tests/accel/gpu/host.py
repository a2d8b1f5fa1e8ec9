"""Run a kernel on the processor: g++ compiles the same source, ctypes calls it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from accel.gpu import compile as gpu_compile

_FLAGS = ("-O2", "-march=native", "-std=c++17", "-shared", "-fPIC", "-x", "c++", "-w")


def missing(what: str) -> None:
    """Skip for want of a tool, except where CI promised to have it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not there")
    pytest.skip(f"{what} is not there")


@cache
def library(source: str, **defines: int) -> ctypes.CDLL:
    """The kernels of a source file, for the processor. Built once per source, flags and machine."""
    compiler = shutil.which("g++")
    if compiler is None:
        missing("g++")
    text = gpu_compile.source(source)
    options = [*_FLAGS, *gpu_compile.macros(defines)]
    digest = hashlib.sha256(
        "\0".join([text, *options, os.uname().machine, _processor()]).encode()
    ).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"liutong-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    built = folder / f"{digest[:32]}.so"
    if not built.exists():
        scratch = built.with_suffix(f".{os.getpid()}.tmp")
        done = subprocess.run(
            [compiler, *options, "-o", str(scratch), "-"],
            input=text,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        scratch.replace(built)
    return ctypes.CDLL(str(built))


def run(built: ctypes.CDLL, kernel: str, grid: int, block: int, *arguments: object) -> None:
    """Launch: numpy arrays go as pointers, numpy scalars by value, as CuPy would pass them."""
    kept = [_argument(a) for a in arguments]
    pointers = (ctypes.c_void_p * len(kept))(*[ctypes.addressof(a) for a in kept])
    entry = getattr(built, f"{kernel}_on_host")
    entry.restype = None
    entry(ctypes.c_uint32(grid), ctypes.c_uint32(block), pointers)


def limbs(values: Sequence[int], count: int) -> np.ndarray:
    """Structure of arrays: uint32 of shape (count, numbers), little end first."""
    data = b"".join(v.to_bytes(4 * count, "little") for v in values)
    return np.ascontiguousarray(np.frombuffer(data, "<u4").reshape(len(values), count).T)


def integers(array: np.ndarray) -> list[int]:
    """The numbers of a (limbs, numbers) matrix of uint32."""
    rows = np.ascontiguousarray(array.T).astype("<u4")
    width = rows.shape[1] * 4
    data = rows.tobytes()
    return [int.from_bytes(data[at : at + width], "little") for at in range(0, len(data), width)]


def _argument(value: object) -> ctypes._SimpleCData:
    if isinstance(value, np.ndarray):
        assert value.flags.c_contiguous
        return ctypes.c_void_p(value.ctypes.data)
    if isinstance(value, np.generic):
        return np.ctypeslib.as_ctypes_type(value.dtype)(value.item())
    raise TypeError(f"pass numpy arrays and scalars of a definite type, not {type(value).__name__}")


@cache
def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return ""
    return next((line for line in info.read_text().splitlines() if line.startswith("flags")), "")
