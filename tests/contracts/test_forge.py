"""The Solidity tests (unit, fuzz, invariants) pass and the gas of every call is what the tree says."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.chain_lab import REPOSITORY


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_solidity_tests_and_gas_snapshot() -> None:
    found = sorted((REPOSITORY / "node_modules" / "@foundry-rs").glob("forge-*/bin/forge"))
    if not found:
        if os.environ.get("CI") == "true":
            pytest.fail("forge is not installed: run npm ci")
        pytest.skip("forge is not installed: run npm ci")
    done = subprocess.run(
        [str(found[0]), "test"],
        cwd=REPOSITORY,
        # To accept new figures run `FORGE_SNAPSHOT_CHECK=false node_modules/.bin/forge test`.
        env={**os.environ, "FORGE_SNAPSHOT_CHECK": "true", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " 0 failed" in done.stdout
