"""`liutong jobs`: order, follow, open."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compute.cli.result import jobs_result
from compute.cli.session import Session, command, shared_options
from compute.cli.show import printable, short, table
from compute.errors import BadInput

if TYPE_CHECKING:
    from compute.sdk.objects import TimelineEvent
    from compute.sdk.orders import Order


@click.group()
def jobs() -> None:
    """Computations under grants."""


jobs.add_command(jobs_result)


@jobs.command("run")
@click.argument("kind", required=False)
@click.option("--draft", help="run what was prepared in the portal instead")
@click.option("--purpose")
@click.option("--grant", "roles", multiple=True, help="ROLE=GRANT, once per role")
@click.option("--params", default="{}", help="JSON, or @FILE; with --draft it is added to the draft's")
@click.option("--units", multiple=True, help="ROLE=N: reserve another amount than computed")
@click.option("--deadline-s", type=int, default=600, show_default=True)
@click.option("--wait/--no-wait", default=True, help="follow the job and open its result")
@click.option("--yes", is_flag=True, help="order a draft without being asked")
@shared_options
@command
def jobs_run(
    session: Session,
    kind: str | None,
    draft: str | None,
    purpose: str | None,
    roles: tuple[str, ...],
    params: str,
    units: tuple[str, ...],
    deadline_s: int,
    wait: bool,
    yes: bool,
) -> None:
    """Sign and order a job of KIND (psi, stats.vertical, pir.keyword, fl.logistic, …)."""
    with session.client() as client:
        if draft:
            if session.as_json and not yes:
                raise BadInput("--json cannot ask whether a draft is what you meant: add --yes")
            result = client.jobs.run_draft(
                draft,
                params=_json(params),
                confirm=lambda order: yes or _confirmed(session, order),
                on_progress=_teller(session),
            )
        else:
            if not kind or purpose is None or not roles:
                raise BadInput("give KIND, --purpose and --grant ROLE=GRANT for each role, or --draft")
            result = client.jobs.run(
                kind,
                purpose=purpose,
                grants=_pairs(roles, "--grant"),
                params=_json(params),
                units={role: _number(value) for role, value in _pairs(units, "--units").items()},
                deadline_s=deadline_s,
                wait=wait,
                on_progress=_teller(session),
            )
    session.show({"job": result.job, "state": result.state, "value": result.value})


@jobs.command("status")
@click.argument("job")
@shared_options
@command
def jobs_status(session: Session, job: str) -> None:
    """How far each party is."""
    with session.client() as client:
        found = client.jobs.get(job)

    def human() -> Any:
        state = f"[bold]{printable(found.state)}[/bold]"
        session.out.print(f"{printable(found.kind)}  {state}  {printable(found.purpose)}")
        if found.reason is not None and found.reason.code:
            session.out.print(f"{printable(found.reason.message)} ({printable(found.reason.code)})")
        return table(
            ("role", "party", "state", "phase", "receipt"),
            [
                (part.role, part.party.name, part.state, part.phase, short(part.receipt or ""))
                for part in found.parts
            ],
        )

    session.show(found, human)


@jobs.command("cancel")
@click.argument("job")
@shared_options
@command
def jobs_cancel(session: Session, job: str) -> None:
    """Ask for the end of a JOB."""
    with session.client() as client:
        found = client.jobs.cancel(job)
    session.show(found, lambda: f"{printable(found.job)}: {printable(found.state)}")


def _confirmed(session: Session, order: Order) -> bool:
    """Show on this machine what is about to be signed: the page that made the draft is the portal's."""
    spec = order.spec
    session.err.print(f"[bold]{printable(spec.kind)}[/bold] for {printable(spec.purpose)}")
    reserved = {line.grant: line.units for line in order.request.lines}
    session.err.print(
        table(
            ("role", "party", "dataset", "grant", "uses at most", "columns"),
            [
                (
                    part.role,
                    short(part.party),
                    short(part.dataset or ""),
                    short(part.grant or ""),
                    str(reserved.get(part.grant or "", "")),
                    ", ".join(part.columns),
                )
                for part in spec.participants
            ],
        )
    )
    session.err.print(printable(json.dumps(spec.params, ensure_ascii=False)))
    return click.confirm("Order this?", err=True)


def _teller(session: Session) -> Callable[[TimelineEvent], None]:
    last: dict[str, str] = {}

    def tell(event: TimelineEvent) -> None:
        if session.as_json or last.get(event.role) == event.phase:
            return
        last[event.role] = event.phase
        said = f"{printable(event.phase)} {printable(event.message)}".rstrip()
        session.err.print(f"[dim]· {printable(event.role or 'portal')}[/dim] {said}")

    return tell


def _pairs(items: tuple[str, ...], option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in items:
        name, separator, value = item.partition("=")
        if not separator or not name or not value or name in pairs:
            raise BadInput(f"{option} {item!r}: write ROLE=VALUE, each role once")
        pairs[name] = value
    return pairs


def _json(text: str) -> dict[str, Any]:
    try:
        source = Path(text[1:]).read_text() if text.startswith("@") else text
        value = json.loads(source)
    except (OSError, ValueError) as error:
        raise BadInput(f"--params: {error}") from error
    if not isinstance(value, dict):
        raise BadInput("--params is a JSON object")
    return value


def _number(text: str) -> int:
    if not text.isdigit():
        raise BadInput(f"--units: {text!r} is not a number")
    return int(text)
