"""From which batch size on a backend pays, as `python -m accel.bench --calibrate` measured it here.

The file is ``accel-thresholds.json`` in the user's cache folder, or where ``LIUTONG_THRESHOLDS`` points:
``{"machine": ..., "operations": {"curve25519.scalar_mult": {"ifma": 4, "gpu": null}}}``, null meaning never.
Figures of another machine are not used.
"""

from __future__ import annotations

import json
import logging
import math
import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

from accel import features

_log = logging.getLogger(__name__)


def path() -> Path:
    """Where the measured thresholds of this user lie."""
    if named := os.environ.get("LIUTONG_THRESHOLDS"):
        return Path(named)
    cache_home = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache_home) if cache_home else Path.home() / ".cache") / "liutong" / "accel-thresholds.json"


def machine() -> str:
    """What the figures depend on: the processor's instruction sets and the presence of a GPU."""
    gpu = "no GPU" if features.gpu_missing() else "GPU"
    return f"{platform.machine()} {' '.join(sorted(features.processor()))} {gpu}"


def of(operation: str, backend: str, *, default: int) -> float:
    """The smallest batch for which ``auto`` may take the backend; infinity for never."""
    found = measured().get(operation, {})
    if backend not in found:
        return default
    value = found[backend]
    return math.inf if value is None else value


def save(operations: dict[str, dict[str, int | None]]) -> Path:
    """Write measured thresholds for this machine, replacing the file in one step."""
    target = path()
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_suffix(f".{os.getpid()}.tmp")
    scratch.write_text(json.dumps({"machine": machine(), "operations": operations}, indent=1) + "\n")
    scratch.replace(target)
    measured.cache_clear()
    return target


@cache
def measured() -> dict[str, dict[str, int | None]]:
    """What was measured on this machine: operation, backend, smallest batch. Read once per process."""
    source = path()
    try:
        document: Any = json.loads(source.read_text(encoding="utf-8"))
        found = {
            str(operation): {str(b): None if n is None else int(n) for b, n in backends.items()}
            for operation, backends in document["operations"].items()
        }
        of_machine = document["machine"]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        _log.warning("thresholds in %s cannot be read and are left out: %s", source, error)
        return {}
    return found if of_machine == machine() else {}
