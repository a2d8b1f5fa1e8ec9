"""Cost per element against batch size, 1 to 10^6, for every operation of `accel` on every backend here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from accel import bench as costs
from accel.bench import Cost, Effort
from accel.registry import operations
from bench import plots
from bench.measure import Row

_EFFORT = Effort(cell_seconds=0.05, patience_seconds=1.0)
_INCLUDES = "whole call on all cores, sample arguments; sizes end where a batch would take over 1 s"


def run(quick: bool) -> Iterator[Row]:
    """Rows "OPERATION on BACKEND" with microseconds per element; the specification itself is left out."""
    sizes = costs.DECADES[:3] if quick else costs.DECADES
    for op in operations():
        backends = [name for name in op.available() if name != "reference"]
        for cost in costs.sweep(op, backends, sizes, _EFFORT):
            each = 1e6 * cost.seconds / cost.batch
            yield Row(f"{cost.operation} on {cost.backend}", cost.batch, each, "µs", _INCLUDES)


def draw(rows: Sequence[Row], kept: Path) -> None:
    """A figure and a table to read, beside the results."""
    measured = [_cost(row) for row in rows]
    title = "accel: cost per element against batch size"
    plots.cost_against_batch(measured, title, kept.with_suffix(".svg"))
    kept.with_suffix(".md").write_text(_table(rows, title))


def _cost(row: Row) -> Cost:
    operation, backend = row.name.split(" on ")
    return Cost(operation, backend, row.size, row.value * row.size / 1e6)


def _table(rows: Sequence[Row], title: str) -> str:
    sizes = sorted({row.size for row in rows})
    lines = [
        f"# {title}",
        "",
        f"Microseconds per element; {_INCLUDES}.",
        "",
        "| operation | backend | " + " | ".join(f"{size:,}" for size in sizes) + " |",
        "|---|---|" + "---:|" * len(sizes),
    ]
    for name in dict.fromkeys(row.name for row in rows):
        cells = {row.size: f"{row.value:.3g}" for row in rows if row.name == name}
        operation, backend = name.split(" on ")
        lines.append(
            f"| {operation} | {backend} | " + " | ".join(cells.get(size, "") for size in sizes) + " |"
        )
    return "\n".join(lines) + "\n"
