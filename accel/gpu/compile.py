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


def kernel(file: str, name: str, **defines: int) -> Any:
    """One kernel, as `launch.launch` takes it. A file is compiled once for these macros and kept on disk."""
    with _building:
        return _kernel(file, name, tuple(sorted(defines.items())))


@cache
def _kernel(file: str, name: str, defines: tuple[tuple[str, int], ...]) -> Any:
    import cupy

    # CuPy compiles when asked for a kernel and remembers by source and options: a file's kernels share that.
    options = OPTIONS + macros(dict(defines))
    return cupy.RawModule(code=source(file), options=options, backend="nvrtc").get_function(name)
