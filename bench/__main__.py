"""``python -m bench NAME [--quick] [--json]``: measure one suite and print it beside its peers."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

if __name__ == "__main__" and "gpu" in sys.argv[1:]:
    # Runs on lent machines that have numpy and CuPy and none of the imports below.
    from bench import suite_gpu

    sys.exit(suite_gpu.main([argument for argument in sys.argv[1:] if argument != "gpu"]))

import click
from rich.console import Console
from rich.table import Table

from bench import measure


def suites() -> tuple[str, ...]:
    """Every module ``bench/suite_NAME.py`` is one: ``run(quick)`` yields rows, ``draw`` makes figures."""
    return tuple(
        sorted(path.stem.removeprefix("suite_") for path in Path(__file__).parent.glob("suite_*.py"))
    )


@click.command()
@click.argument("name", type=click.Choice(suites()))
@click.option("--quick", is_flag=True, help="Smaller sizes; ends within 50 seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON instead of a table.")
def main(name: str, *, quick: bool, as_json: bool) -> None:
    """Measure suite NAME, print it, and keep it in bench/results."""
    suite = importlib.import_module(f"bench.suite_{name}")
    rows: list[measure.Row] = []
    for row in suite.run(quick):
        rows.append(row)
        # After every row: what was measured stays if a later part fails.
        kept = measure.keep(name, rows, quick=quick)
    if hasattr(suite, "draw"):
        suite.draw(rows, kept)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], ensure_ascii=False))
        return
    table = Table(title=f"{name} ({'quick' if quick else 'full'})")
    for heading in ("name", "size", "ours", "unit", "peer", "peer's", "ratio", "target", "met"):
        numeric = heading in {"size", "ours", "peer's", "ratio", "target"}
        table.add_column(heading, justify="right" if numeric else "left", no_wrap=numeric)
    for row in rows:
        table.add_row(
            row.name,
            _figure(row.size),
            _figure(row.value),
            row.unit,
            row.peer,
            _figure(row.peer_value),
            "" if row.ratio is None else f"{row.ratio:.2f}x",
            _figure(row.target),
            "" if row.met is None else ("yes" if row.met else "no"),
        )
    # Wide figures beside wide names: a narrow terminal wraps lines, a file does not.
    console = Console()
    console.width = max(console.width, 150)
    console.print(table, f"What each figure includes stands in bench/results/{kept.name}")


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if value < 100 or value >= 1e7 else f"{value:,.0f}"


if __name__ == "__main__":
    main()
