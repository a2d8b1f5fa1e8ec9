"""Kernel sources and the modules that NVRTC makes of them.

Sources are flattened before they are compiled: the compiler sees one text, so its cache on disk notices a
change in an included file, and the package may lie in a zip file.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

OPTIONS = ("--std=c++17",)

_INCLUDE = re.compile(r'^#include "([\w.]+)"$', re.MULTILINE)
_building = threading.Lock()


def source(name: str) -> str:
    """The kernel file ``name`` with every include of ours put in its place, once."""
    return _flattened(name, set())


def _flattened(name: str, seen: set[str]) -> str:
    seen.add(name)
    text = resources.files("accel").joinpath("kernels", name).read_text(encoding="utf-8")
    text = text.replace("#pragma once\n", "")

    def put(match: re.Match[str]) -> str:
        return "" if match[1] in seen else _flattened(match[1], seen)

    return _INCLUDE.sub(put, text)


def macros(defines: Mapping[str, int]) -> tuple[str, ...]:
    """Compiler options that define the macros."""
    return tuple(f"-D{name}={value}" for name, value in sorted(defines.items()))


def module(name: str, **defines: int) -> Any:
    """The CuPy module of a kernel file under these macros: compiled once, kept on disk by CuPy."""
    with _building:
        return _module(name, tuple(sorted(defines.items())))


@cache
def _module(name: str, defines: tuple[tuple[str, int], ...]) -> Any:
    import cupy

    return cupy.RawModule(code=source(name), options=OPTIONS + macros(dict(defines)), backend="nvrtc")


def kernel(file: str, name: str, **defines: int) -> Any:
    """One kernel, as `launch.launch` takes it."""
    return module(file, **defines).get_function(name)
