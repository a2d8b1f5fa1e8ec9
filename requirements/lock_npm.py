"""Write package-lock.json afresh, complete for every platform: `python requirements/lock_npm.py`.

npm leaves an optional dependency out of the lock when the registry it asks does not carry that
platform's package, and `npm ci` then refuses the lock as out of step. Such packages are entered by name,
version and platform, without a digest: they are skipped wherever the platform differs, which is everywhere
the registry in use did not have them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CPUS = {"amd64": "x64", "x64": "x64", "arm64": "arm64"}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", ".npmrc"):
            shutil.copy(ROOT / name, folder)
        subprocess.run(
            ["npm", "install", "--package-lock-only", "--no-progress", "--silent"], cwd=folder, check=True
        )
        lock = json.loads((Path(folder) / "package-lock.json").read_text())
    complete(lock["packages"])
    (ROOT / "package-lock.json").write_text(json.dumps(lock, indent=2, ensure_ascii=False) + "\n")


def complete(packages: dict[str, Any]) -> None:
    """Enter every optional dependency that the lock names and does not hold."""
    for entry in list(packages.values()):
        for name, version in entry.get("optionalDependencies", {}).items():
            place = f"node_modules/{name}"
            if place in packages:
                continue
            system, cpu = name.rsplit("-", 2)[1:]
            packages[place] = {
                "version": version,
                "cpu": [CPUS[cpu]],
                "optional": True,
                "os": [system],
            }
    ordered = {place: packages[place] for place in sorted(packages)}
    packages.clear()
    packages.update(ordered)


if __name__ == "__main__":
    main()
