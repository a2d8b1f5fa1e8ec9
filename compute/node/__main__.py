"""``python -m compute.node init|enrolment|publish|grants|results|new-id|serve``."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Literal, ParamSpec, TypeVar

import click
import msgspec
import uvicorn

from compute.errors import ComputeError
from compute.node import setup
from compute.node.app import create_app
from compute.node.config import load
from compute.node.results_command import results
from compute.node.service import Node
from compute.wire import canonical
from compute.wire.transport import MAX_FRAME_BYTES
from contracts.errors import ContractError

P = ParamSpec("P")
R = TypeVar("R")

_CONFIG = click.option(
    "--config", "config_path", type=click.Path(path_type=Path), default=Path("node.toml"), show_default=True
)
_FRAME_SLACK_BYTES = 1024


def _typed_errors(command: Callable[P, R]) -> Callable[P, R]:
    """A typed error is one line and exit code 1; a traceback would tell a user nothing more."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (ComputeError, ContractError) as error:
            click.echo(f"{error.code}: {error}", err=True)
            sys.exit(1)

    return wrapped


@click.group()
def main() -> None:
    """One party's compute node."""


@main.command()
@click.option("--home", type=click.Path(path_type=Path), required=True, help="Folder to make the node in.")
@click.option("--name", required=True, help="What people call the party.")
@click.option("--roles", default="provider", show_default=True, help="Comma-separated.")
@click.option("--party", default=None, help="Party id; random if not given.")
@click.option("--listen", default="127.0.0.1:8611", show_default=True)
@click.option("--url", default="", help="Where others reach the node; http://LISTEN if not given.")
@click.option("--rpc-url", default="http://127.0.0.1:8601", show_default=True)
@click.option("--address-book", default="")
@click.option("--portal-address", default="", help="Address of the key that the portal signs requests with.")
@click.option("--passphrase-file", type=click.Path(path_type=Path), default=None)
@click.option("--cipher", type=click.Choice(["aes-256-gcm", "sm4-gcm"]), default="aes-256-gcm")
@click.option("--allow-peer", "peers", multiple=True, help="host:port pattern this node may dial.")
@_typed_errors
def init(
    home: Path,
    name: str,
    roles: str,
    party: str | None,
    listen: str,
    url: str,
    rpc_url: str,
    address_book: str,
    portal_address: str,
    passphrase_file: Path | None,
    cipher: Literal["aes-256-gcm", "sm4-gcm"],
    peers: tuple[str, ...],
) -> None:
    """Make keys and node.toml."""
    path = setup.initialise(
        home,
        name=name,
        roles=tuple(role.strip() for role in roles.split(",")),
        party=party,
        listen=listen,
        url=url,
        rpc_url=rpc_url,
        address_book=address_book,
        portal_address=portal_address,
        passphrase_file=passphrase_file,
        cipher=cipher,
        peers=peers,
    )
    click.echo(str(path))


@main.command()
@_CONFIG
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Default: standard output.")
@_typed_errors
def enrolment(config_path: Path, out: Path | None) -> None:
    """Sign the enrolment that the operator puts on chain."""
    document = canonical.encode(setup.enrolment(load(config_path)))
    if out is None:
        click.echo(document.decode())
    else:
        out.write_bytes(document)


@main.command()
@_CONFIG
@click.option("--dataset", default=None, help="Dataset id; default: every dataset.")
@_typed_errors
def publish(config_path: Path, dataset: str | None) -> None:
    """Publish what the sources hold now as new versions."""
    node = Node(load(config_path))
    for settings in node.config.dataset:
        if dataset in (None, settings.id):
            manifest = node.datasets.publish(settings.id)
            click.echo(f"{settings.name}: version {manifest.version}, {manifest.row_count} rows")


@main.group()
def grants() -> None:
    """Proposals that wait for this node's staff."""


@grants.command("list")
@_CONFIG
@_typed_errors
def grants_list(config_path: Path) -> None:
    """All proposals and what became of them."""
    for row in Node(load(config_path)).grants.all():
        terms = row.proposal.terms
        click.echo(f"{row.grant}  {row.state:8}  {','.join(terms.operations)}  {terms.purpose}")


@grants.command("show")
@_CONFIG
@click.argument("grant")
@_typed_errors
def grants_show(config_path: Path, grant: str) -> None:
    """One proposal in full."""
    row = Node(load(config_path)).grants.find(grant)
    if row is None:
        raise click.ClickException("there is no such proposal")
    click.echo(msgspec.json.format(canonical.encode(row.proposal)).decode())


@grants.command("approve")
@_CONFIG
@click.argument("grant")
@_typed_errors
def grants_approve(config_path: Path, grant: str) -> None:
    """Sign a pending proposal when the portal asks next."""
    Node(load(config_path)).grants.decide(grant, approve=True)


@grants.command("decline")
@_CONFIG
@click.argument("grant")
@_typed_errors
def grants_decline(config_path: Path, grant: str) -> None:
    """Never sign a pending proposal."""
    Node(load(config_path)).grants.decide(grant, approve=False)


@main.command("new-id")
def new_id() -> None:
    """A random id for a party or dataset."""
    click.echo(setup.new_id())


@main.command()
@_CONFIG
@_typed_errors
def serve(config_path: Path) -> None:
    """Run the service until it is told to stop."""
    config = load(config_path)
    logging.basicConfig(
        level=config.log_level.upper(),
        format="%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    logging.Formatter.converter = time.gmtime
    logging.getLogger("httpx").setLevel(logging.WARNING)
    host, port = config.bind
    uvicorn.run(
        create_app(Node(config)),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws_max_size=MAX_FRAME_BYTES + _FRAME_SLACK_BYTES,
        ws_ping_interval=None,
        timeout_graceful_shutdown=8,
        lifespan="on",
    )


main.add_command(results)

if __name__ == "__main__":
    main(prog_name="python -m compute.node")
