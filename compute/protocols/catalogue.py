"""The kinds as data: a JSON schema per folder and one catalogue for programs that do not import this package.

``python -m compute.protocols.catalogue`` rewrites the files; a test compares them with the code.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from compute.protocols import kinds
from compute.protocols.protocol import JobKind

ROOT = Path(__file__).parent


def schema(kind: JobKind) -> dict[str, Any]:
    """JSON schema (2020-12) of the parameters as they are signed."""
    return msgspec.json.schema(kind.params)


def entry(kind: JobKind) -> dict[str, Any]:
    """A kind as the catalogue shows it.

    ``role_names`` in dialling order, where ``p*`` stands for p1…pN. ``example`` is what a user writes;
    ``prepare`` takes the fields ``takes`` away and fills in ``gives`` before the job is signed.
    """
    document = schema(kind)
    definition = document["$defs"][kind.params.__name__]
    fields, required = definition["properties"], definition.get("required", [])
    return {
        "name": kind.name,
        "operation": kind.operation,
        "role_names": list(kind.role_names),
        "consumer_role": kind.consumer_role,
        "result_roles": list(kind.result_roles),
        "unit": kind.unit,
        "example": dict(kind.example),
        "takes": sorted(set(kind.example) - set(fields)),
        "gives": sorted(set(required) - set(kind.example)),
        "schema": document,
    }


def files() -> dict[Path, str]:
    """What the generated files must hold."""
    by_folder: dict[Path, dict[str, Any]] = {}
    for kind in kinds.job_kinds():
        module = sys.modules[kind.start.__module__]
        folder = Path(str(module.__file__)).parent
        by_folder.setdefault(folder, {})[kind.name] = schema(kind)
    found = {folder / "schema.json": _text(schemas) for folder, schemas in by_folder.items()}
    found[ROOT / "catalogue.json"] = _text([entry(kind) for kind in kinds.job_kinds()])
    return found


def _text(document: Any) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
