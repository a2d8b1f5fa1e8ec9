"""The terminal as a page: a line per step with progress, tables of what was found, a summary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status
from rich.table import Table

from compute.cli.show import printable
from compute.demo.report import Report
from compute.sdk.objects import TimelineEvent


class Screen:
    """Where the demo speaks. On a terminal a running step shows a spinner; elsewhere plain lines."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._status: Status | None = None
        self._title = ""

    @contextmanager
    def step(self, number: int, title: str) -> Iterator[None]:
        """One step: title, then its progress in place."""
        self._title = f"{number:2d}. {title}"
        if not self.console.is_terminal:
            self.console.print(f"[bold]{self._title}[/bold]")
            yield
            return
        with self.console.status(f"[bold]{self._title}[/bold]") as status:
            self._status = status
            yield
            self._status = None

    def done(self, ok: bool, summary: str, seconds: float) -> None:
        """How a step ended."""
        mark = "[green]✓[/green]" if ok else "[bold red]✗[/bold red]"
        head = f"[bold]{self._title}[/bold]  " if self.console.is_terminal else "    "
        self.console.print(f"{mark} {head}{printable(summary)}  [dim]{seconds:.1f} s[/dim]")

    def say(self, text: str) -> None:
        """A line of detail under the running step."""
        self.console.print(f"      [dim]{text}[/dim]")

    def progress(self, event: TimelineEvent) -> None:
        """A job's timeline, shown behind the step's title."""
        if self._status is None:
            return
        share = f" {event.done}/{event.total}" if event.total else ""
        said = printable(f"{event.role or 'portal'}: {event.phase}{share}")
        self._status.update(f"[bold]{self._title}[/bold]  [dim]{said}[/dim]")

    def summary(self, report: Report) -> None:
        """The closing tables."""
        table = _table("What happened")
        for heading in ("", "step", "result", "time"):
            table.add_column(heading, justify="right" if heading == "time" else "left")
        for step in report.steps:
            mark = "[green]✓[/green]" if step.ok else "[bold red]✗[/bold red]"
            table.add_row(mark, step.name, printable(step.summary), f"{step.seconds:.1f} s")
        self.console.print()
        self.console.print(table)
        numbers = _table("Federated beside plaintext")
        for heading in ("quantity", "federated", "plaintext"):
            numbers.add_column(heading, justify="left" if heading == "quantity" else "right")
        for name, pair in report.statistics.items():
            numbers.add_row(name, f"{pair['federated']:.9g}", f"{pair['plaintext']:.9g}")
        if report.fl:
            numbers.add_row(
                "AUC, logistic regression",
                f"{report.fl['federated_auc']:.9f}",
                f"{report.fl['centralised_auc']:.9f}",
            )
        self.console.print()
        self.console.print(numbers)
        for step in report.steps:
            for failure in step.failures:
                self.console.print(f"[bold red]✗ {step.name}:[/bold red] {printable(failure)}")


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", header_style="dim", box=None, pad_edge=False)
