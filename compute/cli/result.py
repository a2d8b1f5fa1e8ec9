"""`liutong jobs result`: open a result, on the screen or into a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from compute.cli.session import Session, command, shared_options
from compute.errors import BadInput

if TYPE_CHECKING:
    from compute.sdk.result_file import ResultFormat


@click.command("result")
@click.argument("job")
@click.option("--out", type=click.Path(path_type=Path), help="write it to this file, which is replaced")
@click.option(
    "--format", "result_format", type=click.Choice(["json", "csv", "parquet"]), help="of --out; default: json"
)
@click.option("--part", help="which table, where a result has several: a role, groups, answers")
@click.option(
    "--column", "--columns", "columns", multiple=True, help="in this order; repeat it; default: all"
)
@click.option("--exact", is_flag=True, help="csv: no apostrophe before texts that a spreadsheet would run")
@shared_options
@command
def jobs_result(
    session: Session,
    job: str,
    out: Path | None,
    result_format: ResultFormat | None,
    part: str | None,
    columns: tuple[str, ...],
    exact: bool,
) -> None:
    """Open the result of a finished JOB that was ordered from this workspace."""
    if out is None and (result_format or part or columns or exact):
        raise BadInput("--format, --part, --column and --exact are for a file: give --out")
    with session.client() as client:
        result = client.jobs.result(job)
    if out is None:
        session.show({"job": result.job, "state": result.state, "value": result.value})
        return
    from compute.sdk.result_file import write_result

    rows = write_result(
        result.value, out, result_format or "json", part=part, columns=columns or None, exact=exact
    )
    written = {"job": result.job, "state": result.state, "file": str(out), "rows": rows}
    session.show(written, lambda: f"wrote {out}")
