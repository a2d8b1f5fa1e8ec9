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


def dataset_toml(layout: Layout, party: PartyPlan) -> str:
    """The datasets of a party's node, as more of its node.toml."""
    service = any(dataset.file is None for dataset in party.datasets)
    lines = ["[eaas]", f"enabled = {'true' if service else 'false'}"]
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
        f"keys = [{', '.join(_text(name) for name in plan.keys)}]",
    ]
    for column in plan.columns:
        lines += [
            "",
            "[[dataset.source.columns]]",
            f"name = {_text(column.name)}",
            f"type = {_text(column.type)}",
            f"grade = {_text(column.grade)}",
            f"description = {_text(column.description)}",
            *(["nullable = true"] if column.nullable else []),
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
    config = folder / "node.toml"
    if not config.exists():
        # Keys without a configuration: a first start was cut off, and nobody knows these keys yet.
        (folder / "keys.sealed").unlink(missing_ok=True)
        commands.run(
            [
                *("-m", "compute.node", "init", "--home", str(folder), "--name", party.name),
                *("--roles", ",".join(party.roles), "--passphrase-file", str(folder / "passphrase")),
                *("--listen", f"127.0.0.1:{layout.ports[party.key]}", "--url", layout.url(party.key)),
                *("--rpc-url", chain["rpc_url"], "--address-book", chain["address_book"]),
                *("--portal-address", portal_address, "--allow-peer", "127.0.0.1:*"),
            ],
            environment,
            f"making the node of {party.name}",
            log,
        )
    text = config.read_text()
    if "[[dataset]]" not in text:
        write_atomically(config, text + "\n" + dataset_toml(layout, party), mode=0o600)
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
