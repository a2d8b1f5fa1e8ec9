"""`liutong keys`: the party's key file and its enrolment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compute.cli.session import Session, command, shared_options
from compute.cli.show import facts
from compute.errors import BadInput


@click.group()
def keys() -> None:
    """The party's key file."""


@keys.command("new")
@click.option("--enrolment", type=click.Path(path_type=Path), help="also write the enrolment here")
@click.option("--name", help="the party's name in the enrolment")
@shared_options
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
    session.show(public, lambda: facts("new party", public))


@keys.command("enrolment")
@click.option("--name", required=True, help="the party's name")
@click.argument("file", type=click.Path(path_type=Path))
@shared_options
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
