"""``python -m compute.node results list|export``: what jobs left at this node, for the party's own use."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import click
import msgspec

from compute.data.results import ResultStore
from compute.data.table_file import TableFormat
from compute.errors import BadInput, ComputeError
from compute.node.config import load

P = ParamSpec("P")
R = TypeVar("R")

_CONFIG = click.option(
    "--config", "config_path", type=click.Path(path_type=Path), default=Path("node.toml"), show_default=True
)


def _typed_errors(command: Callable[P, R]) -> Callable[P, R]:
    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ComputeError as error:
            click.echo(f"{error.code}: {error}", err=True)
            sys.exit(1)

    return wrapped


@click.group()
def results() -> None:
    """Rows that jobs left at this node."""


@results.command("list")
@_CONFIG
@click.option("--json", "as_json", is_flag=True)
@_typed_errors
def results_list(config_path: Path, as_json: bool) -> None:
    """All stored results, the newest first."""
    stored = _store(config_path).stored()
    if as_json:
        click.echo(json.dumps([msgspec.to_builtins(item) for item in stored], ensure_ascii=False))
        return
    for item in stored:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(item.stored_at))
        rows = "damaged" if item.rows is None else f"{item.rows} rows"
        click.echo(f"{item.job}  {item.role:12}  {when}  {rows:>16}  {', '.join(map(repr, item.columns))}")


@results.command("export")
@_CONFIG
@click.argument("job")
@click.option("--role", default=None, help="Needed where a job left results for several roles.")
@click.option(
    "--format", "table_format", type=click.Choice(["csv", "parquet"]), default="csv", show_default=True
)
@click.option(
    "--column", "--columns", "columns", multiple=True, help="In this order; default: all. Repeat it."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file to write; replaced.")
@click.option("--exact", is_flag=True, help="CSV: no apostrophe before texts that a spreadsheet would run.")
@_typed_errors
def results_export(
    config_path: Path,
    job: str,
    role: str | None,
    table_format: TableFormat,
    columns: tuple[str, ...],
    out: Path,
    exact: bool,
) -> None:
    """Write the result of a JOB to a file."""
    store = _store(config_path)
    if role is None:
        roles = [item.role for item in store.stored() if item.job == job]
        if len(roles) > 1:
            raise BadInput(f"the job left results for several roles: give --role, one of {', '.join(roles)}")
        if not roles:
            raise BadInput(f"no result of job {job} is stored here")
        role = roles[0]
    rows = store.export(job, role, out, table_format=table_format, columns=columns or None, exact=exact)
    click.echo(f"{out}: {rows} rows")


def _store(config_path: Path) -> ResultStore:
    config = load(config_path)
    return ResultStore(config.path(config.results))
