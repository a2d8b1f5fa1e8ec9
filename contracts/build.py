"""Compile the contracts and write ``contracts/artifacts/*.json``: ``python -m contracts.build [--check]``.

py-solc-x drives the npm compiler through ``solc-standard-json.js``. The output depends on the sources, the
compiler version and the settings below alone, so that a rebuild elsewhere compares byte for byte.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import solcx

from contracts.errors import BuildFailed

ROOT = Path(__file__).resolve().parent
ARTIFACTS = ROOT / "artifacts"
CONTRACTS = ("AddressBook", "PartyRegistry", "DatasetRegistry", "UsageLedger")

# Consortium chains lag behind the main net: paris is what all that we know of run.
EVM_VERSION = "paris"
_SETTINGS = {
    "evmVersion": EVM_VERSION,
    "optimizer": {"enabled": True, "runs": 200},
    # The metadata hash covers comments and paths: without it, code that does the same has the same bytes.
    "metadata": {"bytecodeHash": "none", "appendCBOR": False},
    "outputSelection": {
        "*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "storageLayout"]}
    },
}


def sources() -> dict[str, str]:
    """Path as the compiler sees it -> text, for every source of ours."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
        for path in sorted((ROOT / "src").rglob("*.sol"))
    }


def compile_all(node_modules: Path | None = None) -> dict[str, dict[str, Any]]:
    """Contract name -> artifact. Raises BuildFailed with the compiler's own words.

    ``node_modules`` holds ``solc`` and ``@openzeppelin/contracts``; default: beside this package.
    """
    modules = node_modules or ROOT.parent / "node_modules"
    files = sources()
    files.update(_openzeppelin(files, modules))
    request = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in files.items()},
        "settings": _SETTINGS,
    }
    try:
        output = solcx.compile_standard(request, solc_binary=ROOT / "solc-standard-json.js")
    except solcx.exceptions.SolcError as error:
        # The rest of the error repeats the whole output.
        raise BuildFailed(f"the contracts do not compile: {error.message}") from error
    except (OSError, json.JSONDecodeError) as error:
        raise BuildFailed(f"the Solidity compiler does not run (is `npm ci` done?): {error}") from error
    warnings = [w["formattedMessage"] for w in output.get("errors", []) if w["severity"] == "warning"]
    if warnings:
        raise BuildFailed("the Solidity compiler warns:\n" + "\n".join(warnings))
    return {name: _artifact(name, output) for name in CONTRACTS}


def serialise(artifact: dict[str, Any]) -> str:
    """The one spelling of an artifact on disk."""
    return json.dumps(artifact, indent=1, sort_keys=True) + "\n"


def _artifact(name: str, output: dict[str, Any]) -> dict[str, Any]:
    compiled = output["contracts"][f"src/{name}.sol"][name]
    layout = compiled["storageLayout"]
    return {
        "contract": name,
        "compiler": _compiler_version(),
        "evmVersion": EVM_VERSION,
        "abi": compiled["abi"],
        "bytecode": "0x" + compiled["evm"]["bytecode"]["object"],
        "deployedBytecode": "0x" + compiled["evm"]["deployedBytecode"]["object"],
        # Syntax tree numbers change with unrelated edits, and say nothing about the layout.
        "storageLayout": [
            {
                "label": entry["label"],
                "slot": int(entry["slot"]),
                "offset": entry["offset"],
                "type": re.sub(r"\)\d+_storage", ")_storage", entry["type"]),
            }
            for entry in layout["storage"]
        ],
    }


def _compiler_version() -> str:
    return str(solcx.wrapper.get_solc_version(ROOT / "solc-standard-json.js", with_commit_hash=True))


def _openzeppelin(files: dict[str, str], modules: Path) -> dict[str, str]:
    """Every OpenZeppelin file that our sources reach, by following import lines."""
    found: dict[str, str] = {}
    queue = list(files.items())
    while queue:
        name, text = queue.pop()
        for line in _imports(text):
            if line.startswith("."):
                if not name.startswith("@"):
                    continue
                target = _normalise(name, line)
            else:
                target = line
            if target in found or target in files:
                continue
            try:
                found[target] = (modules / target).read_text("utf-8")
            except OSError as error:
                raise BuildFailed(f"{name} imports {target}: not found; run `npm ci`") from error
            queue.append((target, found[target]))
    return found


def _imports(text: str) -> list[str]:
    statements = [part.split(";", 1)[0] for part in text.split("\nimport ")[1:]]
    return [statement.split('"')[1] for statement in statements]


def _normalise(importer: str, relative: str) -> str:
    parts = importer.split("/")[:-1]
    for step in relative.split("/"):
        if step == "..":
            parts.pop()
        elif step != ".":
            parts.append(step)
    return "/".join(parts)


def main(arguments: list[str]) -> int:
    """Write the artifacts, or with ``--check`` compare them; 1 if they differ."""
    stale = []
    for name, artifact in compile_all().items():
        path = ARTIFACTS / f"{name}.json"
        text = serialise(artifact)
        if "--check" in arguments:
            if not path.is_file() or path.read_text("utf-8") != text:
                stale.append(name)
        else:
            path.write_text(text, "utf-8")
    if stale:
        sys.stderr.write(f"stale artifacts: {', '.join(stale)}; run python -m contracts.build\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
