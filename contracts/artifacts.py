"""The compiled contracts as committed under ``contracts/artifacts``: ABI, bytecode, storage layout."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from contracts.errors import BuildFailed

DIRECTORY = Path(__file__).resolve().parent / "artifacts"


@dataclass(frozen=True)
class Artifact:
    """One compiled contract. ``slots`` maps a state variable to its storage slot."""

    name: str
    abi: tuple[dict[str, Any], ...]
    bytecode: bytes
    slots: dict[str, int]


@cache
def load(name: str) -> Artifact:
    """The artifact of a contract; raises BuildFailed if it is missing or not an artifact."""
    path = DIRECTORY / f"{name}.json"
    try:
        document = json.loads(path.read_text("utf-8"))
        return Artifact(
            name=document["contract"],
            abi=tuple(document["abi"]),
            bytecode=bytes.fromhex(document["bytecode"].removeprefix("0x")),
            slots={entry["label"]: entry["slot"] for entry in document["storageLayout"]},
        )
    except (OSError, ValueError, KeyError) as error:
        raise BuildFailed(f"no usable artifact {path.name}; run python -m contracts.build") from error
