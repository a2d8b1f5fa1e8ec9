"""`liutong`: the market from a terminal. Every command takes --json; exit codes tell what happened.

| code | meaning |
|---|---|
| 0 | done |
| 1 | refused, failed, or a check that did not hold |
| 2 | the command line or an input does not fit |
| 3 | portal, node or chain does not answer |
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from compute.errors import BadInput, ComputeError, KeyStoreLocked, PeerLost
from contracts.errors import ChainUnreachable, ContractError

if TYPE_CHECKING:
    # The SDK pulls in every protocol; commands that need it import it when they run.
    from compute.sdk import Liutong
    from compute.sdk.objects import Grant, TimelineEvent

P = ParamSpec("P")
R = TypeVar("R")

_REFUSED, _USAGE, _UNREACHABLE = 1, 2, 3
# An id is the argument of the next command, so a table shows it whole, even where the terminal then wraps.
_TABLE_WIDTH = 140
_UNREACHABLE_CODES = {"portal.unreachable", "node.unreachable", PeerLost.code, ChainUnreachable.code}


class Session:
    """Options that every command shares, and where its words go."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.as_json: bool = options["as_json"]
        self.out = Console(highlight=False)
        self.err = Console(stderr=True, highlight=False)

    def client(self) -> Liutong:
        """The SDK's client for the given portal and API key."""
        from compute.sdk import Liutong

        options = self.options
        if not options["url"] or not options["api_key_file"]:
            raise BadInput("give --url and --api-key-file (or LIUTONG_URL and LIUTONG_API_KEY_FILE)")
        try:
            api_key = Path(options["api_key_file"]).read_text().strip()
        except OSError as error:
            raise BadInput(f"cannot read {options['api_key_file']}: {error.strerror}") from error
        return Liutong(
            options["url"],
            api_key,
            options["key_file"],
            passphrase_file=options["passphrase_file"],
            workspace=options["workspace"],
            chain_rpc=options["chain_rpc"],
            address_book=options["address_book"],
        )

    def show(self, value: Any, human: Callable[[], Any] | None = None) -> None:
        """One JSON value on stdout with --json, the human form otherwise."""
        if self.as_json or human is None:
            click.echo(json.dumps(_builtins(value), ensure_ascii=False, indent=None if self.as_json else 2))
            return
        rendered = human()
        if isinstance(rendered, Table):
            Console(highlight=False, width=max(self.out.width, _TABLE_WIDTH)).print(rendered)
        elif rendered is not None:
            self.out.print(rendered)


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Turn typed errors into one line (or JSON) on stderr and an exit code."""

    @wraps(function)
    def wrapped(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            return function(*arguments, **options)
        except (ComputeError, ContractError) as error:
            _fail(error)
            raise SystemExit(_exit_code(error)) from None

    return wrapped


def _exit_code(error: ComputeError | ContractError) -> int:
    if error.code in _UNREACHABLE_CODES:
        return _UNREACHABLE
    return _USAGE if isinstance(error, BadInput | KeyStoreLocked) else _REFUSED


def _fail(error: ComputeError | ContractError) -> None:
    problem = getattr(error, "problem", None)
    detail = {name: value for name, value in error.detail.items() if isinstance(value, str | int) and value}
    fields = {"code": error.code, "message": str(error), **detail}
    if problem is not None:
        fields = {
            **fields,
            "code": problem.code or error.code,
            "rule": problem.rule,
            "remedy": problem.remedy,
        }
    context = click.get_current_context(silent=True)
    session = context.find_object(Session) if context else None
    if session is not None and session.as_json:
        click.echo(json.dumps({"error": fields}, ensure_ascii=False), err=True)
        return
    console = session.err if session else Console(stderr=True)
    said = {name: escape(str(value)) for name, value in fields.items()}
    console.print(f"[bold red]✗[/bold red] {said['message']}  [dim]({said['code']})[/dim]")
    if said.get("rule"):
        console.print(f"  rule: {said['rule']}")
    if said.get("remedy"):
        console.print(f"  what would help: {said['remedy']}")


_SHARED = [
    click.option("--url", envvar="LIUTONG_URL", help="the portal's address"),
    click.option("--api-key-file", envvar="LIUTONG_API_KEY_FILE", type=click.Path(), help="file with lt_…"),
    click.option("--key-file", envvar="LIUTONG_KEY_FILE", type=click.Path(), help="sealed key file"),
    click.option(
        "--passphrase-file", envvar="LIUTONG_PASSPHRASE_FILE", type=click.Path(), help="opens the key file"
    ),
    click.option(
        "--workspace",
        envvar="LIUTONG_WORKSPACE",
        type=click.Path(),
        help="where secrets of jobs are kept (default: beside the key file)",
    ),
    click.option("--chain-rpc", envvar="LIUTONG_CHAIN_RPC_URL", help="a chain endpoint of your own"),
    click.option("--address-book", envvar="LIUTONG_ADDRESS_BOOK", help="the address book you trust"),
    click.option("--json", "as_json", is_flag=True, help="machine-readable output"),
]


def _with_shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """The shared options, before or after the subcommand: the nearer one wins."""

    @wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        names = ["url", "api_key_file", "key_file", "passphrase_file", "workspace", "chain_rpc"]
        names += ["address_book", "as_json"]
        mine = {name: options.pop(name) for name in names}
        context = click.get_current_context()
        outer = context.parent.find_object(Session) if context.parent else None
        if outer is not None:
            mine = {name: value or outer.options[name] for name, value in mine.items()}
        session = Session(mine)
        context.obj = session
        return function(session, *arguments, **options)

    for option in reversed(_SHARED):
        wrapped = option(wrapped)
    return wrapped


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="liutong")
@_with_shared
def main(session: Session) -> None:
    """A market of data that is usable but not visible."""


@main.group()
def keys() -> None:
    """The party's key file."""


@keys.command("new")
@click.option("--enrolment", type=click.Path(path_type=Path), help="also write the enrolment here")
@click.option("--name", help="the party's name in the enrolment")
@_with_shared
@command
def keys_new(session: Session, enrolment: Path | None, name: str | None) -> None:
    """Make a sealed key file (--key-file, --passphrase-file) and show its public half."""
    from compute.keys.keystore import read_secret
    from compute.sdk.identity import Identity
    from compute.wire.canonical import to_hex

    path, passphrase = session.options["key_file"], session.options["passphrase_file"]
    if not path or not passphrase:
        raise BadInput("give --key-file for the new file and --passphrase-file with its passphrase")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    identity = Identity.create(Path(path), read_secret(Path(passphrase)))
    public = {
        "party": identity.party,
        "address": identity.signer.address,
        "box_key": to_hex(identity.box_public),
        "key_file": str(path),
    }
    if enrolment is not None:
        _write_enrolment(session, identity, name, enrolment)
        public["enrolment"] = str(enrolment)
    session.show(public, lambda: _facts("new party", public))


@keys.command("enrolment")
@click.option("--name", required=True, help="the party's name")
@click.argument("file", type=click.Path(path_type=Path))
@_with_shared
@command
def keys_enrolment(session: Session, name: str, file: Path) -> None:
    """Write the signed document that the operator puts on chain."""
    from compute.keys.keystore import read_secret
    from compute.sdk.identity import Identity

    path, passphrase = session.options["key_file"], session.options["passphrase_file"]
    if not path or not passphrase:
        raise BadInput("give --key-file and --passphrase-file")
    identity = Identity.open(Path(path), read_secret(Path(passphrase)))
    _write_enrolment(session, identity, name, file)
    session.show({"party": identity.party, "enrolment": str(file)}, lambda: f"wrote {file}")


def _write_enrolment(session: Session, identity: Any, name: str | None, file: Path) -> None:
    from compute.sdk.chain_view import ChainView
    from compute.wire import canonical

    if not name:
        raise BadInput("an enrolment needs --name")
    portal = session.client().portal if session.options["url"] and session.options["api_key_file"] else None
    if portal is None and not (session.options["chain_rpc"] and session.options["address_book"]):
        raise BadInput("an enrolment is signed for one chain: give --chain-rpc and --address-book")
    chain = ChainView(portal, session.options["chain_rpc"], session.options["address_book"])
    file.write_bytes(canonical.encode(identity.enrolment(name, chain.domain("PartyRegistry"))))


@main.command()
@click.argument("query", required=False)
@click.option("--operation", help="only datasets that allow it")
@_with_shared
@command
def datasets(session: Session, query: str | None, operation: str | None) -> None:
    """The catalogue."""
    with session.client() as client:
        found = client.datasets(query, operation=operation)
    session.show(
        found,
        lambda: _table(
            ("dataset", "name", "provider", "operations", "rows", "state"),
            [
                (
                    _short(item.dataset),
                    item.name,
                    item.provider.name,
                    " ".join(item.operations),
                    item.row_count if item.kind == "table" else "–",
                    item.state,
                )
                for item in found
            ],
        ),
    )


@main.command()
@click.argument("query", required=False)
@click.option("--dataset", help="only offers of this dataset")
@_with_shared
@command
def offers(session: Session, query: str | None, dataset: str | None) -> None:
    """Open offers."""
    with session.client() as client:
        found = client.offers(query, dataset=dataset)
    session.show(
        found,
        lambda: _table(
            ("offer", "title", "dataset", "operations", "purposes", "quota", "days", "credits"),
            [
                (
                    item.id,
                    item.title,
                    item.dataset_name,
                    " ".join(item.operations),
                    ", ".join(item.purposes),
                    f"≤ {item.max_quota}",
                    f"≤ {item.max_days}",
                    item.price_credits,
                )
                for item in found
            ],
        ),
    )


@main.group()
def grants() -> None:
    """Rights of use."""


@grants.command("request")
@click.argument("offer")
@click.option("--purpose", required=True)
@click.option("--operation", "operations", multiple=True, required=True)
@click.option("--column", "columns", multiple=True)
@click.option("--quota", type=int, required=True)
@click.option("--days", type=int, default=30, show_default=True)
@click.option("--note", default="")
@click.option("--wait", is_flag=True, help="until it is active, or ended")
@_with_shared
@command
def grants_request(session: Session, offer: str, wait: bool, **terms: Any) -> None:
    """Apply for a grant under an OFFER."""
    with session.client() as client:
        grant = client.grants.request(offer, **terms)
        if wait:
            grant = client.grants.wait(grant, timeout_s=86_400)
    session.show(grant, lambda: _grants([grant]))


@grants.command("list")
@click.option("--state")
@click.option("--side", type=click.Choice(["given", "held"]))
@_with_shared
@command
def grants_list(session: Session, state: str | None, side: str | None) -> None:
    """Grants the party holds or gave."""
    with session.client() as client:
        found = client.grants.list(state=state, side=side)
    session.show(found, lambda: _grants(found))


@main.group()
def jobs() -> None:
    """Computations under grants."""


@jobs.command("run")
@click.argument("kind", required=False)
@click.option("--draft", help="run what was prepared in the portal instead")
@click.option("--purpose")
@click.option("--grant", "roles", multiple=True, help="ROLE=GRANT, once per role")
@click.option("--params", default="{}", help="JSON, or @FILE; with --draft it is added to the draft's")
@click.option("--units", multiple=True, help="ROLE=N: reserve another amount than computed")
@click.option("--deadline-s", type=int, default=600, show_default=True)
@click.option("--wait/--no-wait", default=True, help="follow the job and open its result")
@_with_shared
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
) -> None:
    """Sign and order a job of KIND (psi, stats.vertical, pir.keyword, fl.logistic, …)."""
    with session.client() as client:
        if draft:
            result = client.jobs.run_draft(draft, params=_json(params), on_progress=_teller(session))
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
@_with_shared
@command
def jobs_status(session: Session, job: str) -> None:
    """How far each party is."""
    with session.client() as client:
        found = client.jobs.get(job)

    def human() -> Any:
        session.out.print(f"{found.kind}  [bold]{found.state}[/bold]  {found.purpose}")
        if found.reason is not None and found.reason.code:
            session.out.print(f"{found.reason.message} ({found.reason.code})")
        return _table(
            ("role", "party", "state", "phase", "receipt"),
            [
                (part.role, part.party.name, part.state, part.phase, _short(part.receipt or ""))
                for part in found.parts
            ],
        )

    session.show(found, human)


@jobs.command("result")
@click.argument("job")
@_with_shared
@command
def jobs_result(session: Session, job: str) -> None:
    """Open the result of a finished JOB that was ordered from this workspace."""
    with session.client() as client:
        result = client.jobs.result(job)
    session.show({"job": result.job, "state": result.state, "value": result.value})


@jobs.command("cancel")
@click.argument("job")
@_with_shared
@command
def jobs_cancel(session: Session, job: str) -> None:
    """Ask for the end of a JOB."""
    with session.client() as client:
        found = client.jobs.cancel(job)
    session.show(found, lambda: f"{found.job}: {found.state}")


@main.group()
def receipts() -> None:
    """What the nodes signed."""


@receipts.command("list")
@click.option("--job")
@click.option("--grant")
@_with_shared
@command
def receipts_list(session: Session, job: str | None, grant: str | None) -> None:
    """Receipts of the party's jobs and grants."""
    with session.client() as client:
        found = client.receipts(job=job, grant=grant)
    session.show(
        found,
        lambda: _table(
            ("receipt", "node", "#", "job", "outcome", "units", "state"),
            [
                (
                    item.digest,
                    item.node_name,
                    item.sequence,
                    _short(item.job),
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
@_with_shared
@command
def receipts_verify(session: Session, receipt: str, save: Path | None) -> None:
    """Check the evidence of a RECEIPT against the chain."""
    with session.client() as client:
        report = client.verify_receipt(receipt)
        if save is not None:
            save.write_text(json.dumps(client.evidence(receipt)))
    session.show(report, lambda: f"[green]✓[/green] {_links(report)}")


@main.group()
def audit() -> None:
    """For regulators, and for anyone who holds an audit file."""


@audit.command("export")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--after", type=int, default=0, help="only entries after this sequence number")
@_with_shared
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
    report = audit_file.verify(file, trusted_block_hashes=[_hash(text) for text in trusted_block])

    def human() -> Any:
        for item in report.evidence:
            session.out.print(f"[green]✓[/green] receipt {_short(item['digest'])}: {_links(item)}")
        for problem in report.problems:
            session.out.print(f"[bold red]✗[/bold red] {problem}")
        return (
            f"{report.entries} audit entries, {len(report.evidence)} receipts proven, "
            f"{len(report.problems)} problems"
        )

    session.show({"ok": report.ok, **_builtins(report)}, human)
    if not report.ok:
        raise SystemExit(_REFUSED)


@main.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def node(arguments: tuple[str, ...]) -> None:
    """A party's own node: init, enrolment, publish, grants, serve (see compute/node/README.md)."""
    from compute.node.__main__ import main as node_main

    result: Any = node_main(list(arguments))
    sys.exit(result if isinstance(result, int) else 0)


# --- presentation -----------------------------------------------------------------------------------------


def _teller(session: Session) -> Callable[[TimelineEvent], None]:
    last: dict[str, str] = {}

    def tell(event: TimelineEvent) -> None:
        if session.as_json or last.get(event.role) == event.phase:
            return
        last[event.role] = event.phase
        session.err.print(f"[dim]· {event.role or 'portal'}[/dim] {event.phase} {event.message}".rstrip())

    return tell


def _grants(found: list[Grant]) -> Table:
    return _table(
        ("grant", "dataset", "purpose", "operations", "used", "left", "state"),
        [
            (
                item.grant or item.id,
                item.dataset_name,
                item.purpose,
                " ".join(item.operations),
                "–" if item.used is None else item.used,
                "–" if item.left is None else item.left,
                item.state,
            )
            for item in found
        ],
    )


def _table(headings: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for position, heading in enumerate(headings):
        table.add_column(heading, no_wrap=position == 0)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    return table


def _facts(title: str, facts: dict[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, title=title, title_justify="left")
    for name, value in facts.items():
        table.add_row(f"[dim]{name}[/dim]", value)
    return table


def _links(report: dict[str, Any]) -> str:
    held = ", ".join(str(link) for link in report.get("links", ()))
    vouched = "" if report.get("block_trusted") else " (no trusted block: consistent, origin not vouched for)"
    return f"block {report.get('block_number')}: {held}{vouched}"


def _short(digest: str) -> str:
    return f"{digest[:8]}…{digest[-4:]}" if len(digest) > 14 else digest


def _builtins(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)


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


def _hash(text: str) -> bytes:
    from compute.wire.canonical import from_hex

    return from_hex(text)


if __name__ == "__main__":
    main()
