"""Writes a party node's folder: configuration, passphrase, data. Keys are made by the node's own command.

The supervisor never sees a private key of a party: it writes a random passphrase to a file that belongs to
the node, and the node (or `liutong keys new`) makes and seals its keys itself.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from market.supervisor import commands
from market.supervisor.cast import DatasetPlan, PartyPlan
from market.supervisor.layout import Layout, write_atomically


def passphrase_file(folder: Path) -> Path:
    """The passphrase of a party's key store, made at first use, readable by its owner alone."""
    path = folder / "passphrase"
    if not path.exists():
        write_atomically(path, secrets.token_urlsafe(24), mode=0o600)
    return path


def dataset_ids(layout: Layout, party: PartyPlan) -> dict[str, str]:
    """Random ids of a party's datasets, made once: an id says nothing about what it names."""
    path = layout.node(party.key) / "datasets.json"
    if path.exists():
        known: dict[str, str] = json.loads(path.read_text())
        return known
    ids = {dataset.key: "0x" + secrets.token_hex(32) for dataset in party.datasets}
    write_atomically(path, json.dumps(ids, indent=2))
    return ids


def node_toml(
    layout: Layout, party: PartyPlan, party_id: str, *, chain: dict[str, Any], portal_address: str
) -> str:
    """The node's whole configuration; every key is explained in compute/node/node.example.toml."""
    port = layout.ports[party.key]
    lines = [
        f"name = {_text(party.name)}",
        f"party = {_text(party_id)}",
        f"roles = [{', '.join(_text(role) for role in party.roles)}]",
        f'listen = "127.0.0.1:{port}"',
        f"url = {_text(layout.url(party.key))}",
        "",
        "[chain]",
        f"rpc_url = {_text(chain['rpc_url'])}",
        f"address_book = {_text(chain['address_book'])}",
        "finality_depth = 0",
        "",
        "[portal]",
        f"address = {_text(portal_address)}",
        "",
        "[keys]",
        'passphrase_file = "passphrase"',
        "",
        "[peers]",
        'allow = ["127.0.0.1:*"]',
        "",
        "[eaas]",
        f"enabled = {'true' if any(d.file is None for d in party.datasets) else 'false'}",
    ]
    ids = dataset_ids(layout, party)
    for dataset in party.datasets:
        lines += _dataset(ids[dataset.key], dataset)
    return "\n".join(lines) + "\n"


def _dataset(dataset_id: str, plan: DatasetPlan) -> list[str]:
    lines = [
        "",
        "[[dataset]]",
        f"id = {_text(dataset_id)}",
        f"name = {_text(plan.name)}",
        f"description = {_text(plan.description)}",
        f"kind = {_text('service' if plan.file is None else 'table')}",
        "",
        "[dataset.ceiling]",
        f"operations = [{', '.join(_text(name) for name in plan.operations)}]",
        f"min_cohort = {plan.min_cohort}",
        "max_days = 366",
    ]
    if plan.file is None:
        return lines
    lines += [
        "",
        "[dataset.source]",
        f"kind = {_text('parquet' if plan.file.endswith('.parquet') else 'csv')}",
        f"path = {_text('data/' + plan.file)}",
        'keys = ["patient_id"]',
    ]
    for column in plan.columns:
        lines += [
            "",
            "[[dataset.source.columns]]",
            f"name = {_text(column.name)}",
            f"type = {_text(column.type)}",
            f"grade = {_text(column.grade)}",
            f"description = {_text(column.description)}",
        ]
    return lines


def _text(value: str) -> str:
    # JSON's escapes are a subset of those of a TOML basic string.
    return json.dumps(value, ensure_ascii=False)


def ensure_identity(
    layout: Layout,
    party: PartyPlan,
    *,
    chain: dict[str, Any],
    portal_address: str,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """A party's keys and signed enrolment, made by the party's own tool if they are not there yet."""
    folder = layout.node(party.key) if party.has_node else layout.member(party.key)
    enrolment = folder / "enrolment.json"
    if not enrolment.exists():
        passphrase_file(folder)
        make = _make_node if party.has_node else _make_member
        make(layout, party, folder, chain, portal_address, environment)
    document: dict[str, Any] = json.loads(enrolment.read_text())
    return document


def serve_command(layout: Layout, party: PartyPlan) -> list[str]:
    """What starts the node of a party, after ``python``."""
    return ["-m", "compute.node", "serve", "--config", str(layout.node(party.key) / "node.toml")]


def _make_node(
    layout: Layout,
    party: PartyPlan,
    folder: Path,
    chain: dict[str, Any],
    portal_address: str,
    environment: Mapping[str, str],
) -> None:
    log = layout.log / f"{party.key}.setup.log"
    party_file = folder / "party"
    if not party_file.exists():
        write_atomically(party_file, "0x" + secrets.token_hex(32))
    config = folder / "node.toml"
    party_id = party_file.read_text()
    write_atomically(config, node_toml(layout, party, party_id, chain=chain, portal_address=portal_address))
    if not (folder / "keys.sealed").exists():
        commands.run(
            ["-m", "compute.node", "init", "--config", str(config)],
            environment,
            f"making the keys of {party.name}",
            log,
        )
    commands.run(
        ["-m", "compute.node", "enrolment", "--config", str(config), "--out", str(folder / "enrolment.json")],
        environment,
        f"the enrolment of {party.name}",
        log,
    )


def _make_member(
    layout: Layout,
    party: PartyPlan,
    folder: Path,
    chain: dict[str, Any],
    portal_address: str,
    environment: Mapping[str, str],
) -> None:
    verb = "enrolment" if (folder / "party.keys").exists() else "new"
    enrolment = str(folder / "enrolment.json")
    commands.run(
        [
            *("-m", "compute.cli", "keys", verb),
            *("--key-file", str(folder / "party.keys"), "--passphrase-file", str(folder / "passphrase")),
            *("--chain-rpc", chain["rpc_url"], "--address-book", chain["address_book"]),
            *("--name", party.name),
            *(("--enrolment", enrolment) if verb == "new" else (enrolment,)),
        ],
        environment,
        f"making the keys of {party.name}",
        layout.log / f"{party.key}.setup.log",
    )
