"""Every GPU kernel, checked against plain Python integers, then timed and held against the device's peak.

One command for a machine that has a GPU, numpy and CuPy, and nothing else of ours:
``python -m bench gpu [--quick] [FAMILY ...]``. Results go to ``bench/results`` and, where ``OUT`` names a
folder, there too, after every family anew: a run that is cut short leaves what it had. A kernel that reads
where there is no memory takes the CUDA context with it, and every family after it fails: run those by name.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from accel.errors import AccelError
from accel.gpu import device
from bench import measure
from bench.gpu import FAMILIES, families
from bench.gpu.clock import ceilings, device_seconds
from bench.gpu.entry import Ceilings, Entry
from bench.measure import Row


def main(arguments: list[str]) -> int:
    """What `python -m bench gpu` runs: prints and keeps as it goes. 1 if a kernel is wrong or fails."""
    quick = "--quick" in arguments
    only = [a for a in arguments if a in FAMILIES]
    unknown = [a for a in arguments if a not in FAMILIES and a != "--quick"]
    if unknown:
        print(f"unknown: {' '.join(unknown)}; families are {', '.join(FAMILIES)}", file=sys.stderr)
        return 2
    try:
        described = device.describe()
    except AccelError as error:
        print(error.message, file=sys.stderr)
        return 1
    print(json.dumps(described))
    started = time.perf_counter()
    rows: list[Row] = []
    faults: dict[str, str] = {}
    top = ceilings()
    for row in _of_the_device(top):
        _show(row, rows)
    for entry in families(only):
        began = time.perf_counter()
        fault = _fault(entry)
        print(f"{entry.name}: {'checked' if fault is None else 'WRONG: ' + fault}", flush=True)
        if fault is None:
            fault = _timed(entry, top, quick, rows)
        if fault is not None:
            faults[entry.name] = fault
        print(f"{entry.name}: {time.perf_counter() - began:.1f} s", flush=True)
        name = _keep(rows, faults, described, only, quick=quick, seconds=time.perf_counter() - started)
    print(f"kept as {name}")
    return 1 if faults else 0


def _timed(entry: Entry, top: Ceilings, quick: bool, rows: list[Row]) -> str | None:
    try:
        for row in entry.time(device_seconds, top, quick):
            _show(row, rows)
    except Exception as error:  # noqa: BLE001 - the other families still deserve their turn on a lent machine
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return None


def _fault(entry: Entry) -> str | None:
    try:
        entry.check()
    except Exception as error:  # noqa: BLE001 - likewise
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return None


def _of_the_device(top: Ceilings) -> Iterator[Row]:
    yield Row("multiply-add 32x32+64", 1, top.wide_per_s, "op/s", "independent chains, no carries")
    yield Row("multiply-add with carry", 1, top.carry_per_s, "op/s", "chains of 32")
    yield Row("copy on the device", 1, top.copy_bytes_per_s, "B/s", "bytes read and bytes written")


def _show(row: Row, rows: list[Row]) -> None:
    rows.append(row)
    against = "" if row.ratio is None else f"{row.ratio:7.1%} of {row.peer}"
    wanted = "" if row.target is None else f"  target {row.target:.3g}: {'met' if row.met else 'MISSED'}"
    print(f"{row.name:40} {row.size:>11,} {row.value:>11.4g} {row.unit:10} {against}{wanted}", flush=True)


def _keep(
    rows: list[Row],
    faults: dict[str, str],
    described: dict[str, object],
    only: list[str],
    *,
    quick: bool,
    seconds: float,
) -> str:
    date = time.strftime("%Y-%m-%d", time.gmtime())
    slug = "".join(c if c.isalnum() else "-" for c in str(described["gpu"]).lower()).strip("-")
    document = {
        "suite": "gpu",
        "date": date,
        "quick": quick,
        "seconds": round(seconds, 1),
        "machine": {**measure.machine(), **described},
        "faults": faults,
        "rows": [asdict(row) for row in rows],
    }
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    name = "-".join(["gpu", date, slug, *only, *(["quick"] if quick else [])]) + ".json"
    folders = [measure.RESULTS, *([Path(os.environ["OUT"])] if os.environ.get("OUT") else [])]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return name
