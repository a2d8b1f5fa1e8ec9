"""What kinds of job there are, read as data: the portal never imports protocol code."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from market.errors import NotFound

_PROTOCOLS = Path(__file__).resolve().parents[2] / "compute" / "protocols"


@functools.cache
def job_kinds() -> tuple[dict[str, Any], ...]:
    """Every kind with name, operation, roles, consumer role, result roles, unit, JSON schema and example."""
    catalogue = json.loads((_PROTOCOLS / "catalogue.json").read_text())
    kinds = catalogue["kinds"] if isinstance(catalogue, dict) and "kinds" in catalogue else catalogue
    if isinstance(kinds, dict):
        kinds = [{"name": name, **kind} for name, kind in kinds.items()]
    return tuple(sorted(kinds, key=lambda kind: str(kind["name"])))


def job_kind(name: str) -> dict[str, Any]:
    """One kind by name; raises NotFound."""
    for kind in job_kinds():
        if kind["name"] == name:
            return kind
    raise NotFound(f"unknown job kind {name!r}")


def operation_of(name: str) -> str:
    """The operation a grant must allow for this kind: its name up to the first dot, unless it says so."""
    return str(job_kind(name).get("operation") or name.partition(".")[0])
