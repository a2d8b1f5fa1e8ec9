"""`liutong quote` needs no portal, no key and no data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from compute.cli import main
from compute.protocols import calibrate, calibration
from compute.protocols.calibrate import Probe
from compute.sdk import Liutong

SIZES = ["--size", "left=1_000,right=2000"]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["quote", *arguments])


def quoted(*arguments: str) -> dict[str, Any]:
    ended = run(*arguments, "--json")
    assert ended.exit_code == 0, ended.output
    value: dict[str, Any] = json.loads(ended.stdout)
    return value


def test_a_quote_says_time_bytes_price_and_why() -> None:
    found = quoted("psi", *SIZES, "--price", "3", "--network", "100mbit,20ms", "--cores", "4")
    assert found["sizes"] == {"left": 1000, "right": 2000}
    assert (found["units"], found["total_credits"]) == ({"left": 1000, "right": 2000}, 9000)
    assert found["network"] == {"bits_per_s": 1e8, "round_trip_s": 0.02}
    assert found["protocol"]
    assert found["reason"]
    shown = run("psi", *SIZES, "--price", "left=3").stdout
    for part in (
        "protocol",
        "time",
        "left sends",
        "left is charged",
        "3,000 credits",
        "rates from",
        "assumed",
    ):
        assert part in shown


def test_params_come_as_text_or_file(state: Path) -> None:
    params = {"keys": {"left": ["a"], "right": ["b"]}, "curve": "sm2"}
    (state / "params.json").write_text(json.dumps(params))
    as_text = quoted("psi.cardinality", *SIZES, "--params", json.dumps(params))
    assert as_text == quoted("psi.cardinality", *SIZES, "--params", f"@{state / 'params.json'}")
    assert "scalar_mult.sm2" in as_text["operations"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give KIND"),
        (["magic"], "no quote for"),
        (["psi"], "give the size of left"),
        (["psi", "--size", "left"], "write ROLE=N"),
        (["psi", "--size", "left=1,left=2"], "each role once"),
        (["psi", "--size", "left=many"], "not a number"),
        (["psi", *SIZES, "--network", "fast"], "as in 100mbit,20ms"),
        (["psi", *SIZES, "--price", "cheap"], "not a number"),
        (["psi", *SIZES, "--params", "[]"], "JSON object"),
        (["psi", *SIZES, "--params", "@nowhere"], "--params"),
        (["psi", *SIZES, "--offer", "7"], "--url"),
    ],
)
def test_what_does_not_fit_is_told(arguments: list[str], said: str) -> None:
    ended = run(*arguments)
    assert ended.exit_code == 2
    assert said in ended.stderr


def test_calibrating_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    every = calibration.shipped().rates
    monkeypatch.setattr(
        calibrate,
        "probes",
        lambda: [Probe(name, 10, lambda backend: sum(range(10_000)), ("cpu",)) for name in every],
    )
    found = quoted("--calibrate")
    assert Path(found["file"]) == calibration.user_file()
    assert set(found["rates"]) == set(every)
    assert str(calibration.user_file()) in quoted("psi", *SIZES)["calibration"]


def test_the_sdk_gives_the_same_quote() -> None:
    with Liutong("http://127.0.0.1:1", "lt_unused") as client:
        found = client.quote("psi", {"left": 1000, "right": 2000}, prices={"": 3})
    assert found.total_credits == quoted("psi", *SIZES, "--price", "3")["total_credits"]
