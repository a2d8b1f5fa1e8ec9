"""Rows of a measurement, the clock that makes them, and where they are kept."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One measured figure. ``ratio`` is ours over the peer's, turned so that above 1 is better for us.

    ``includes`` says what the figure covers: cores, both parties, input and output.
    """

    name: str
    size: int
    value: float
    unit: str
    includes: str
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    target: float | None = None
    met: bool | None = None


def rate(work: Callable[[], object], items: int, *, seconds: float) -> float:
    """Items per second: the median of runs that together last about ``seconds``, after one warm-up."""
    work()
    rates: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(rates) < 3:
        started = time.perf_counter()
        work()
        rates.append(items / (time.perf_counter() - started))
    return statistics.median(rates)


def against(
    name: str,
    size: int,
    ours: float,
    peer: str,
    theirs: float,
    *,
    unit: str,
    includes: str,
    target: float | None = None,
) -> Row:
    """A row beside a peer that was measured in the same run; the unit is a rate, so more is better."""
    met = None if target is None else ours >= target
    return Row(name, size, ours, unit, includes, peer, theirs, ours / theirs, target, met)


def machine() -> dict[str, object]:
    """What a reader needs to judge the figures: processor, cores, versions. No host name."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    packages = ("numpy", "numba", "gmpy2", "cryptography", "phe", "gmssl", "web3", "msgspec")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages if find_spec(name)},
    }


def keep(suite: str, rows: Iterable[Row], *, quick: bool) -> Path:
    """Write the rows with machine and date to ``bench/results`` and return the file."""
    RESULTS.mkdir(exist_ok=True)
    date = time.strftime("%Y-%m-%d", time.gmtime())
    described = machine()
    slug = "".join(c if c.isalnum() else "-" for c in str(described["processor"]).lower()).strip("-")
    path = RESULTS / f"{suite}-{date}-{slug}-{described['cores']}core{'-quick' if quick else ''}.json"
    document = {
        "suite": suite,
        "date": date,
        "quick": quick,
        "machine": described,
        "rows": [asdict(r) for r in rows],
    }
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return path
