"""What every command shares: options, the client behind them, output, errors and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table

from compute.cli.show import printable
from compute.errors import BadInput, ComputeError, KeyStoreLocked, PeerLost
from contracts.errors import ChainUnreachable, ContractError

if TYPE_CHECKING:
    # The SDK pulls in every protocol; commands that need it import it when they run.
    from compute.sdk import Liutong

P = ParamSpec("P")
R = TypeVar("R")

REFUSED, USAGE, UNREACHABLE = 1, 2, 3
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
            click.echo(
                json.dumps(msgspec.to_builtins(value), ensure_ascii=False, indent=None if self.as_json else 2)
            )
            return
        rendered = human()
        if isinstance(rendered, Table):
            Console(highlight=False, width=max(self.out.width, _TABLE_WIDTH)).print(rendered)
        elif rendered is not None:
            self.out.print(rendered, soft_wrap=True)


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
        return UNREACHABLE
    return USAGE if isinstance(error, BadInput | KeyStoreLocked) else REFUSED


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
    if fields.get("rule") == "quota" and context and "max_elements" in context.params:
        fields["remedy"] = (
            "a smaller --max-elements (as many uses are reserved), or a grant with a larger quota"
        )
    session = context.find_object(Session) if context else None
    if session is not None and session.as_json:
        click.echo(json.dumps({"error": fields}, ensure_ascii=False), err=True)
        return
    console = session.err if session else Console(stderr=True)
    said = {name: printable(value) for name, value in fields.items()}
    # Wrapped by the terminal, if there is one: an id or a command in it stays whole for whoever copies it.
    say = partial(console.print, soft_wrap=True)
    say(f"[bold red]✗[/bold red] {said['message']}  [dim]({said['code']})[/dim]")
    if said.get("rule"):
        say(f"  rule: {said['rule']}")
    if said.get("remedy"):
        say(f"  what would help: {said['remedy']}")


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


def shared_options(function: Callable[..., Any]) -> Callable[..., Any]:
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
