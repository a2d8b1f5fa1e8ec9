"""`liutong jobs`: order, follow, open."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compute.cli.result import deliver, file_options, jobs_result
from compute.cli.session import Session, command, shared_options
from compute.cli.show import printable, short, table
from compute.cli.watch import pace, watched
from compute.errors import BadInput, JobCancelled

if TYPE_CHECKING:
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
@click.option(
    "--params", default="{}", help="JSON, or a file with it; with --draft it is added to the draft's"
)
@click.option("--units", multiple=True, help="ROLE=N: reserve another amount than computed")
@click.option("--deadline-s", type=int, default=600, show_default=True)
@click.option("--wait/--no-wait", default=True, help="follow the job and open its result")
@click.option("--yes", is_flag=True, help="order a draft without being asked")
@file_options
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
    to_file: Mapping[str, Any],
) -> None:
    """Sign and order a job of KIND (psi, stats.vertical, pir.keyword, fl.logistic, …); `jobs kinds` has all.

    Ctrl-C asks the nodes to stop; what was reserved and not used is released.
    """
    if to_file["out"] is not None and not wait:
        raise BadInput("--out needs the result: leave out --no-wait")
    with session.client() as client:
        if draft:
            if session.as_json and not yes:
                raise BadInput("--json cannot ask whether a draft is what you meant: add --yes")
            # Asked before any bar is drawn: a question and a bar would fight over the line.
            given = _json(params)
            order = client.jobs.prepare_draft(draft, params=given)
            if not yes and not _confirmed(session, order):
                raise JobCancelled("the order was not confirmed: nothing was sent")
            result = watched(
                session, client, lambda watch: client.jobs.run_order(order, draft=draft, **watch.options)
            )
        else:
            if not kind or purpose is None or not roles:
                raise BadInput("give KIND, --purpose and --grant ROLE=GRANT for each role, or --draft")
            order_of: dict[str, Any] = {
                "purpose": purpose,
                "grants": _pairs(roles, "--grant"),
                "params": _json(params),
                "units": {role: _number(value) for role, value in _pairs(units, "--units").items()},
                "deadline_s": deadline_s,
                "wait": wait,
            }
            name = kind
            result = watched(
                session, client, lambda watch: client.jobs.run(name, **order_of, **watch.options)
            )
    deliver(session, result, to_file)


@jobs.command("list")
@click.option("--state")
@click.option("--kind")
@shared_options
@command
def jobs_list(session: Session, state: str | None, kind: str | None) -> None:
    """Jobs that the party ordered or takes part in, newest first."""
    with session.client() as client:
        found = client.known_jobs.list(state=state, kind=kind)
    session.show(
        found,
        lambda: table(
            ("job", "kind", "state", "purpose"),
            [(job.job, job.kind, job.state, job.purpose) for job in found],
        ),
    )


@jobs.command("kinds")
@click.argument("name", required=False)
@shared_options
@command
def jobs_kinds(session: Session, name: str | None) -> None:
    """The kinds of job; with NAME its roles, an example of its parameters and their schema."""
    from compute.protocols.catalogue import entry
    from compute.protocols.kinds import job_kind, job_kinds

    if name is not None:
        session.show(entry(job_kind(name)))
        return
    entries = [entry(kind) for kind in job_kinds()]
    session.show(
        entries,
        lambda: table(
            ("kind", "roles", "you run", "charged by"),
            [
                (item["name"], ", ".join(item["role_names"]), item["consumer_role"] or "", item["unit"])
                for item in entries
            ],
        ),
    )


@jobs.command("status")
@click.argument("job")
@shared_options
@command
def jobs_status(session: Session, job: str) -> None:
    """How far each party is."""
    with session.client() as client:
        found = client.known_jobs.get(job)

    def human() -> Any:
        state = f"[bold]{printable(found.state)}[/bold]"
        session.out.print(f"{printable(found.kind)}  {state}  {printable(found.purpose)}")
        if found.reason is not None and found.reason.code:
            session.out.print(f"{printable(found.reason.message)} ({printable(found.reason.code)})")
        return table(
            ("role", "party", "state", "phase", "done", "pace", "receipt"),
            [
                (
                    part.role,
                    part.party.name,
                    part.state,
                    part.phase,
                    f"{part.done:,} of {part.total:,}" if part.total else "",
                    pace(part.rate_milli, part.seconds_left) if part.state == "running" else "",
                    short(part.receipt or ""),
                )
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
        found = client.known_jobs.cancel(job)

    def human() -> str:
        state = printable(found.state)
        told = (
            f"has ended already: {state}"
            if found.is_final
            else f"its nodes are asked to stop ({state} as yet)"
        )
        return f"{printable(found.job)}: {told}"

    session.show(found, human)


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
        value = json.loads(text if text.lstrip().startswith(("{", "[")) else _read(text.removeprefix("@")))
    except (OSError, ValueError) as error:
        raise BadInput(f"--params: {error}") from error
    if not isinstance(value, dict):
        raise BadInput("--params is a JSON object")
    return value


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def _number(text: str) -> int:
    if not text.isdigit():
        raise BadInput(f"--units: {text!r} is not a number")
    return int(text)
