"""Writes a party node's folder: configuration, passphrase, data. Keys are made by the node's own command.

The supervisor never sees a private key of a party: it writes a random passphrase to a file that belongs to
the node, and the node (or `liutong keys new`) makes and seals its keys itself.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

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
