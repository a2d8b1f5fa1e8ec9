"""`liutong receipts` and `liutong audit`: what was signed, and whether it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import msgspec

from compute.cli.session import REFUSED, Session, command, shared_options
from compute.cli.show import printable, proof, short, table
from compute.wire.canonical import from_hex


@click.group()
def receipts() -> None:
    """What the nodes signed."""


@receipts.command("list")
@click.option("--job")
@click.option("--grant")
@shared_options
@command
def receipts_list(session: Session, job: str | None, grant: str | None) -> None:
    """Receipts of the party's jobs and grants."""
    with session.client() as client:
        found = client.receipts(job=job, grant=grant)
    session.show(
        found,
        lambda: table(
            ("receipt", "node", "#", "job", "outcome", "units", "state"),
            [
                (
                    item.digest,
                    item.node_name,
                    item.sequence,
                    short(item.job),
                    item.outcome,
                    item.units,
                    item.state,
                )
                for item in found
            ],
        ),
    )


@receipts.command("verify")
@click.argument("receipt")
@click.option("--save", type=click.Path(path_type=Path), help="also keep the evidence bundle")
@shared_options
@command
def receipts_verify(session: Session, receipt: str, save: Path | None) -> None:
    """Check the evidence of a RECEIPT against the chain."""
    with session.client() as client:
        report = client.verify_receipt(receipt)
        if save is not None:
            save.write_text(json.dumps(client.evidence(receipt)))
    session.show(report, lambda: f"[green]✓[/green] {proof(report)}")


@click.group()
def audit() -> None:
    """For regulators, and for anyone who holds an audit file."""


@audit.command("export")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--after", type=int, default=0, help="only entries after this sequence number")
@shared_options
@command
def audit_export(session: Session, out: Path, after: int) -> None:
    """Write the audit log and the evidence of all anchored receipts to one file."""
    lines = 0
    with session.client() as client, out.open("wb") as file:
        for line in client.audit_lines(after):
            file.write(line + b"\n")
            lines += 1
    session.show({"file": str(out), "lines": lines}, lambda: f"{lines} lines in {out}")


@audit.command("verify")
@click.option("--offline", "file", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--trusted-block", multiple=True, help="a block hash from a source of your own")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
@command
def audit_verify(context: click.Context, file: Path, trusted_block: tuple[str, ...], as_json: bool) -> None:
    """Check an audit file or an evidence bundle without any network. Exit code 1 if anything is broken."""
    from compute.sdk import audit_file

    outer = context.parent.find_object(Session) if context.parent else None
    session = Session({"as_json": as_json or (outer is not None and outer.as_json)})
    report = audit_file.verify(file, trusted_block_hashes=[from_hex(text) for text in trusted_block])

    def human() -> Any:
        for item in report.evidence:
            session.out.print(f"[green]✓[/green] receipt {short(item['digest'])}: {proof(item)}")
        for problem in report.problems:
            session.out.print(f"[bold red]✗[/bold red] {printable(problem)}")
        return (
            f"{report.entries} audit entries, {len(report.evidence)} receipts proven, "
            f"{len(report.problems)} problems"
        )

    session.show({"ok": report.ok, **msgspec.to_builtins(report)}, human)
    if not report.ok:
        raise SystemExit(REFUSED)
