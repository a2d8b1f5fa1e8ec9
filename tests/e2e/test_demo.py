"""The whole story in one run: `make demo` as a user starts it, and its report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from compute.demo.market_process import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


def test_the_demo_story_holds_from_registration_to_audit(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "compute.demo", "--home", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    report = json.loads((tmp_path / "report.json").read_text())
    assert set(report) == {
        *("ok", "steps", "receipts", "refusals", "statistics"),
        *("psi", "psi_many", "pir", "member", "flights", "fl", "reconcile", "evidence"),
    }
    assert report["ok"] is True
    assert all(step["ok"] for step in report["steps"])
    assert report["psi"]["found"] == report["psi"]["expected"] > 0
    assert report["psi_many"]["parties"] == 3
    assert report["psi_many"]["found"] == report["psi_many"]["expected"] > 0
    assert report["pir"]["found"] == report["pir"]["expected"]
    assert report["member"]["found"] == [True, False]
    assert report["flights"]["rows"] == 336_776
    first, second = report["flights"]["lookups"]
    assert len(first["found"]) == 1
    assert len(second["found"]) == 2
    assert first["hint_bytes"] > 0
    assert second["hint_bytes"] == 0
    assert report["statistics"]
    for name, pair in report["statistics"].items():
        assert pair["federated"] == pytest.approx(pair["plaintext"], rel=1e-9), name
    assert report["fl"]["federated_auc"] == pytest.approx(report["fl"]["centralised_auc"], abs=1e-6)
    assert {item["what"] for item in report["refusals"]} == {
        "quota exhausted",
        "element budget exceeded",
        "purpose changed",
        "grant revoked",
        "request replayed",
        "portal table tampered",
    }
    assert all(item["state"] == "anchored" for item in report["receipts"])
    assert report["reconcile"]["exit_code"] == 0
    assert report["evidence"]["receipts"] == len(report["receipts"])
