"""Figures beside the tables: where people would rather look than read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

from accel.bench import Cost
from bench.measure import Row

# One colour per backend, the same in every figure; told apart by the colour-blind as well (Okabe and Ito).
_COLOURS = {
    "gpu": "#009E73",
    "ifma": "#0072B2",
    "avx2": "#56B4E9",
    "portable": "#E69F00",
    "reference": "#999999",
}
_COLUMNS = 4


def cost_against_batch(costs: Sequence[Cost], title: str, path: Path) -> None:
    """Small multiples, one per operation: microseconds per element over batch size, a line per backend."""
    names = sorted({cost.operation for cost in costs})
    rows = -(-len(names) // _COLUMNS)
    figure, grid = pyplot.subplots(rows, _COLUMNS, figsize=(3.4 * _COLUMNS, 2.5 * rows), squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
        _one_operation(axes, name, [cost for cost in costs if cost.operation == name])
    for axes in list(grid.flat)[len(names) :]:
        axes.set_axis_off()
    figure.suptitle(title)
    _save(figure, path)


def beside_peers(rows: Sequence[Row], title: str, path: Path) -> None:
    """One line per measured rate: ours over the peer's on a logarithmic axis, 1 being equal."""
    shown = [row for row in rows if row.ratio is not None]
    figure, axes = pyplot.subplots(figsize=(8, 0.35 * len(shown) + 1.2))
    for height, row in enumerate(reversed(shown)):
        ratio = row.ratio or 1.0
        axes.plot([1, ratio], [height, height], color="#cccccc", zorder=1)
        axes.plot(ratio, height, "o", color="#0072B2" if ratio >= 1 else "#D55E00", zorder=2)
        axes.annotate(f"{ratio:.3g}×", (ratio, height), (6, -3), textcoords="offset points", fontsize=8)
    labels = [f"{row.name}, {row.peer}" for row in reversed(shown)]
    axes.set_yticks(range(len(shown)), labels, fontsize=8)
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.margins(x=0.15)
    axes.set_xlabel("times the peer's rate, measured in the same run")
    axes.set_title(title)
    axes.spines[["top", "right", "left"]].set_visible(False)
    _save(figure, path)


def cost_per_item(series: Mapping[str, Sequence[tuple[int, float]]], title: str, path: Path) -> None:
    """Microseconds per item over the number of items, a line per series: flat is what one hopes for."""
    figure, axes = pyplot.subplots(figsize=(6, 3.5))
    for name, points in series.items():
        axes.plot([size for size, _ in points], [cost for _, cost in points], marker="o", label=name)
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("items of each party")
    axes.set_ylabel("µs per item")
    axes.set_title(title)
    axes.legend()
    _save(figure, path)


def _one_operation(axes: Axes, name: str, costs: Sequence[Cost]) -> None:
    for backend in dict.fromkeys(cost.backend for cost in costs):
        line = [cost for cost in costs if cost.backend == backend]
        axes.plot(
            [cost.batch for cost in line],
            [1e6 * cost.seconds / cost.batch for cost in line],
            marker=".",
            color=_COLOURS[backend],
            label=backend,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(name, fontsize=9)
    axes.set_xlabel("batch", fontsize=8)
    axes.set_ylabel("µs each", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=7, frameon=False)


def _save(figure: pyplot.Figure, path: Path) -> None:
    figure.tight_layout()
    # No date inside: a run that measures the same draws the same.
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
