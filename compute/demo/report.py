"""What the demo writes to report.json: measured against expected, step by step."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Step:
    """One step of the story: what was done, how long it took, and every expectation that did not hold."""

    name: str
    ok: bool = False
    seconds: float = 0.0
    summary: str = ""
    failures: list[str] = field(default_factory=list)


@dataclass
class Report:
    """The fields of report.json. ``ok`` is true only if every step ran and every expectation held."""

    ok: bool = False
    steps: list[Step] = field(default_factory=list)
    receipts: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[dict[str, Any]] = field(default_factory=list)
    statistics: dict[str, dict[str, float]] = field(default_factory=dict)
    psi: dict[str, int] = field(default_factory=dict)
    psi_many: dict[str, int] = field(default_factory=dict)
    member: dict[str, list[bool]] = field(default_factory=dict)
    flights: dict[str, Any] = field(default_factory=dict)
    pir: dict[str, Any] = field(default_factory=dict)
    fl: dict[str, float] = field(default_factory=dict)
    reconcile: dict[str, Any] = field(default_factory=dict)
    evidence: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Pretty JSON, replaced as a whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")
        temporary.replace(path)


def close(found: float, expected: float, relative: float) -> bool:
    """Whether two numbers agree to a relative error."""
    return abs(found - expected) <= relative * max(abs(found), abs(expected))
