"""Setting up a node: its folder, keys and configuration, and its enrolment for the operator."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from compute.errors import BadInput
from compute.keys.keystore import KeyStore, read_secret
from compute.keys.sealing import box_public, new_box_key
from compute.keys.signer import NodeSigner, new_signing_key
from compute.node.config import NodeConfig
from compute.node.service import BOX_KEY, BOX_KIND, NO_HE_KEY, SIGNING_KEY, SIGNING_KIND
from compute.wire import structs
from compute.wire.canonical import to_hex
from compute.wire.messages import Enrolment
from contracts.bindings import Chain
from contracts.eip712 import Domain


def new_id() -> str:
    """A random party or dataset id: never the hash of a name, which could be guessed."""
    return to_hex(secrets.token_bytes(32))


def initialise(
    home: Path,
    *,
    name: str,
    roles: Sequence[str] = ("provider",),
    party: str | None = None,
    listen: str = "127.0.0.1:8611",
    url: str = "",
    rpc_url: str = "http://127.0.0.1:8601",
    address_book: str = "",
    portal_address: str = "",
    passphrase_file: Path | None = None,
    cipher: Literal["aes-256-gcm", "sm4-gcm"] = "aes-256-gcm",
    peers: Sequence[str] = (),
) -> Path:
    """Make a node's folder with keys and node.toml; raises BadInput if it has one. Gives the file's path.

    Without ``passphrase_file`` a random key file is made beside the store: keep it elsewhere in production.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = home / "node.toml"
    if path.exists():
        raise BadInput(f"{path} exists: a node is set up once")
    if passphrase_file is None:
        passphrase_file = home / "passphrase"
        _write_secret(passphrase_file, secrets.token_hex(32).encode() + b"\n")
    secret = read_secret(passphrase_file)
    keys = KeyStore.create(home / "keys.sealed", secret, cipher=cipher)
    keys.put(SIGNING_KEY, new_signing_key(), SIGNING_KIND)
    keys.put(BOX_KEY, new_box_key()[0], BOX_KIND)
    lines = [
        f"name = {_toml(name)}",
        f"party = {_toml(party or new_id())}",
        f"roles = {_toml(list(roles))}",
        f"listen = {_toml(listen)}",
        f"url = {_toml(url or 'http://' + listen)}",
        "",
        "[chain]",
        f"rpc_url = {_toml(rpc_url)}",
        *([f"address_book = {_toml(address_book)}"] if address_book else []),
        "",
        "[portal]",
        *([f"address = {_toml(portal_address)}"] if portal_address else []),
        "",
        "[keys]",
        f"passphrase_file = {_toml(os.path.relpath(passphrase_file, home))}",
        f"cipher = {_toml(cipher)}",
        "",
        "[peers]",
        f"allow = {_toml(list(peers))}",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    path.chmod(0o600)
    return path


def enrolment(config: NodeConfig) -> Enrolment:
    """The party's key, signed by itself for the registry; raises ChainUnreachable, KeyStoreLocked."""
    if config.chain.address_book is None:
        raise BadInput("set [chain] address_book first: the enrolment is signed for one registry")
    chain = Chain(config.chain.rpc_url, config.chain.address_book, timeout_s=float(config.chain.timeout_s))
    try:
        domain = chain.domain("PartyRegistry")
    finally:
        chain.close()
    return sign_enrolment(config, domain)


def sign_enrolment(config: NodeConfig, domain: Domain) -> Enrolment:
    """Like `enrolment`, for a registry that is known already."""
    keys = KeyStore.open(
        config.path(config.keys.store), read_secret(config.path(config.keys.passphrase_file))
    )
    signer = NodeSigner(keys.get(SIGNING_KEY, SIGNING_KIND))
    unsigned = Enrolment(
        party=config.party,
        name=config.name,
        address=signer.address,
        box_key=to_hex(box_public(keys.get(BOX_KEY, BOX_KIND))),
        he_key_digest=NO_HE_KEY,
        signature="0x" + "00" * 65,
        url=config.url,
    )
    signature = signer.sign(domain, structs.node_key(unsigned))
    return msgspec.structs.replace(unsigned, signature=to_hex(signature))


def _write_secret(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _toml(value: str | list[str]) -> str:
    # JSON strings and arrays of strings are TOML, once what JSON leaves raw is escaped.
    return json.dumps(value, ensure_ascii=False)
