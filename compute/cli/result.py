"""Results: `liutong jobs result`, and how every command shows one or writes it to a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compute.cli.session import Session, command, shared_options
from compute.cli.show import printable, table
from compute.errors import BadInput, ComputeError

if TYPE_CHECKING:
    from compute.sdk import JobResult
    from compute.sdk.result_file import ResultFormat

_FORMATS = ("json", "csv", "parquet")
_BY_SUFFIX: dict[str, ResultFormat] = {".json": "json", ".csv": "csv", ".parquet": "parquet"}
_ROWS_ON_SCREEN = 20

_OPTIONS = [
    click.option("--out", type=click.Path(path_type=Path), help="write it to this file, which is replaced"),
    click.option(
        "--format",
        "result_format",
        type=click.Choice(_FORMATS),
        help="of --out; default: what its name ends with",
    ),
    click.option("--part", help="which table, where a result has several: a role, groups, answers"),
    click.option(
        "--column", "--columns", "columns", multiple=True, help="in this order; repeat it; default: all"
    ),
    click.option(
        "--exact", is_flag=True, help="csv: no apostrophe before texts that a spreadsheet would run"
    ),
]


def file_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `deliver`, as one argument ``to_file``."""

    @wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        names = ("out", "result_format", "part", "columns", "exact")
        chosen = {name: options.pop(name) for name in names}
        # Looked at before anything is ordered: a job costs time and uses.
        if chosen["out"] is None and any(chosen[name] for name in names[1:]):
            raise click.UsageError("--format, --part, --column and --exact are for a file: give --out")
        if chosen["out"] is not None:
            chosen["result_format"] = _format(chosen["out"], chosen["result_format"])
            _writable(chosen["out"])
            if chosen["result_format"] == "json" and (chosen["part"] or chosen["columns"]):
                raise click.UsageError("--part and --column are for csv and parquet: json holds it all")
        return function(*arguments, to_file=chosen, **options)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def _format(out: Path, chosen: ResultFormat | None) -> ResultFormat:
    form = chosen or _BY_SUFFIX.get(out.suffix.lower())
    if form is None:
        known = ", ".join(_BY_SUFFIX)
        raise click.BadParameter(
            f"{printable(out.name)} ends with none of {known}: use one of these, or add --format",
            param_hint="--out",
        )
    return form


def _writable(out: Path) -> None:
    folder = out.parent
    if out.exists() and not out.is_file():
        raise click.BadParameter(f"{printable(out)} is there and no plain file", param_hint="--out")
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise click.BadParameter(
            f"nothing can be written into the folder {printable(folder)}", param_hint="--out"
        )


@click.command("result")
@click.argument("job")
@file_options
@shared_options
@command
def jobs_result(session: Session, job: str, to_file: Mapping[str, Any]) -> None:
    """Open the result of a finished JOB that was ordered from this workspace."""
    with session.client() as client:
        result = client.jobs.result(job)
    deliver(session, result, to_file)


def deliver(session: Session, result: JobResult, to_file: Mapping[str, Any]) -> None:
    """Show a result, or write it to the file that `file_options` names."""
    out: Path | None = to_file["out"]
    if out is None:
        shown = {"job": result.job, "state": result.state, "value": result.value}
        session.show(shown, (lambda: screen(session, result)) if result.value is not None else None)
        return
    from compute.sdk.result_file import write_result

    try:
        rows = write_result(
            result.value,
            out,
            to_file["result_format"],
            part=to_file["part"],
            columns=to_file["columns"] or None,
            exact=to_file["exact"],
        )
    except ComputeError as error:
        # The job is done and paid for: nobody should order it again for a slip in an option.
        error.detail.setdefault("remedy", f"the result is kept: liutong jobs result {result.job} --out FILE")
        raise
    written = {"job": result.job, "state": result.state, "file": str(out), "rows": rows}
    session.show(written, lambda: f"wrote {printable(out)}: {counted(rows)}, job {result.job}")


def screen(session: Session, result: JobResult) -> None:
    """A result for people: its single values, why its protocol was chosen, the first rows of its tables."""
    from compute.sdk.result_file import result_tables

    session.out.print(f"[dim]job[/dim] {result.job}  [bold]{printable(result.state)}[/bold]")
    value = result.value if isinstance(result.value, Mapping) else {"value": result.value}
    for name, item in value.items():
        if isinstance(item, str | int | float) and item != "":
            session.out.print(f"[dim]{printable(name)}[/dim] {printable(item)}")
        elif isinstance(item, Mapping) and item and all(_single(part) for part in item.values()):
            told = "  ".join(f"{printable(key)}: {printable(part)}" for key, part in item.items())
            session.out.print(f"[dim]{printable(name)}[/dim] {told}")
    try:
        tables = {name: made for name, made in result_tables(value).items() if name != "result"}
    except BadInput:
        session.out.print("[dim]values of several types in a column: --json shows them[/dim]")
        return
    for name, made in tables.items():
        session.out.print(f"[dim]{printable(name)}: {counted(made.num_rows)}[/dim]")
        rows = [[*row.values()] for row in made.slice(0, _ROWS_ON_SCREEN).to_pylist()]
        session.out.print(table(made.column_names, rows))
        if made.num_rows > _ROWS_ON_SCREEN:
            session.out.print(f"[dim]… {made.num_rows - _ROWS_ON_SCREEN} more: --out FILE writes all[/dim]")


def counted(rows: int) -> str:
    """A number of rows in words."""
    return "1 row" if rows == 1 else f"{rows:,} rows"


def _single(value: object) -> bool:
    return isinstance(value, str | int | float)
