"""Quotes: arithmetic on sizes that holds to what jobs send, and says what it does not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import compute.protocols.kinds  # noqa: F401 - registers every job kind
from compute.errors import BadInput, DataError
from compute.protocols import calibration as calibrations
from compute.protocols.calibrate import probes
from compute.protocols.calibration import Calibration
from compute.protocols.protocol import job_kinds
from compute.protocols.quote import Network, quotable, quote
from tests.compute.protocols.jobs import Job

TABLE = calibrations.shipped()
SIZES = {
    "psi": {"left": 5000, "right": 7001},
    "psi.cardinality": {"left": 500, "right": 701},
    "psi.sum": {"values": 500, "members": 701},
    "psi.many": {"p1": 500, "p2": 701, "p3": 12},
    "stats.vertical": {"values": 500, "members": 701},
    "stats.horizontal": {"p1": 100, "p2": 200},
    "pir.row": {"server": 1000, "record_bytes": 100},
    "pir.keyword": {"server": 1000, "record_bytes": 100},
    "pir.member": {"server": 1000},
    "fl.logistic": {"p1": 100, "p2": 200, "rounds": 5},
    "eaas": {},
}


def keys(count: int, start: int = 0) -> pa.Table:
    return pa.table({"i": [f"k{number}" for number in range(start, start + count)]})


@pytest.mark.parametrize("kind", [kind.name for kind in job_kinds()])
def test_every_kind_can_be_quoted_from_sizes_alone(kind: str) -> None:
    found = quote(kind, SIZES[kind], calibration=TABLE, prices={"": 3})
    assert found.units
    assert found.total_credits == 3 * sum(found.units.values())
    assert found.seconds >= found.seconds_at_best >= 0
    assert found.seconds == pytest.approx(found.compute_s + found.transfer_s + found.waiting_s)
    assert json.loads(msgspec.json.encode(found))["kind"] == kind
    if kind != "eaas":
        assert found.compute_s > 0
        assert found.rounds > 0
        assert sum(found.bytes_sent.values()) > 0


def test_kinds_that_can_be_quoted_are_kinds() -> None:
    assert set(quotable()) >= {kind.name for kind in job_kinds()}


PSI = {"keys": {"left": ["i"], "right": ["i"]}}


@pytest.mark.parametrize(
    ("params", "left", "right"),
    [
        (PSI, 300, 77),
        (PSI | {"output_to": ["left", "right"]}, 77, 300),
        (PSI | {"protocol": "rr22"}, 300, 77),
        (PSI | {"protocol": "ecdh", "curve": "sm2"}, 60, 77),
    ],
)
def test_bytes_and_protocol_are_those_of_the_job(params: dict[str, Any], left: int, right: int) -> None:
    found = quote("psi", {"left": left, "right": right}, params=params, calibration=TABLE)
    run = Job("psi", params, {"left": keys(left), "right": keys(right, 50)}).run()
    for role, expected in found.bytes_sent.items():
        assert run.bytes_sent(role) == pytest.approx(expected, rel=0.02), role
    assert found.units == {role: output.units for role, output in run.outputs.items()}


def test_the_protocol_that_auto_takes_is_told_with_its_reason() -> None:
    few = quote("psi", {"left": 100, "right": 100}, calibration=TABLE)
    assert few.protocol == "ecdh-curve25519"
    many = quote("psi", {"left": 1 << 20, "right": 1 << 20}, calibration=TABLE)
    assert many.protocol.startswith("rr22")
    lopsided = quote("psi", {"left": 1000, "right": 10_000_000}, calibration=TABLE)
    assert lopsided.protocol.startswith("unbalanced")
    assert all(found.reason for found in (few, many, lopsided))


@given(st.integers(1, 10**9), st.integers(1, 10**9))
@settings(max_examples=20, deadline=None)
def test_more_elements_never_cost_less(left: int, right: int) -> None:
    one = quote("psi.cardinality", {"left": left, "right": right}, calibration=TABLE)
    more = quote("psi.cardinality", {"left": left + 1, "right": right}, calibration=TABLE)
    assert more.seconds >= one.seconds
    assert sum(more.bytes_sent.values()) > sum(one.bytes_sent.values())


def test_a_faster_network_and_more_cores_take_their_part() -> None:
    sizes = {"left": 10_000, "right": 10_000}
    slow = quote("psi.cardinality", sizes, calibration=TABLE, cores=1, network=Network.parse("8mbit,200ms"))
    fast = quote("psi.cardinality", sizes, calibration=TABLE, cores=4, network=Network.parse("80Mbit,20ms"))
    assert slow.compute_s == pytest.approx(4 * fast.compute_s)
    assert slow.transfer_s == pytest.approx(10 * fast.transfer_s)
    assert slow.transfer_s == pytest.approx(sum(slow.bytes_sent.values()) / 1e6)
    assert slow.waiting_s == pytest.approx(slow.rounds * 0.1)


def test_prices_are_per_unit_and_role() -> None:
    sizes = {"left": 10, "right": 20}
    found = quote("psi.cardinality", sizes, calibration=TABLE, prices={"right": 2})
    assert (found.price_credits, found.total_credits) == ({"left": None, "right": 40}, 40)
    assert quote("psi.cardinality", sizes, calibration=TABLE).total_credits is None
    with pytest.raises(BadInput, match="no role"):
        quote("psi.cardinality", sizes, calibration=TABLE, prices={"ghost": 2})
    with pytest.raises(BadInput, match="negative"):
        quote("psi.cardinality", sizes, calibration=TABLE, prices={"": -1})


WRONG: list[tuple[str, dict[str, int], dict[str, Any], str]] = [
    ("magic", {}, {}, "no quote for 'magic': there is one for eaas, "),
    ("psi", {}, {}, "give the size of left: left=N, right=N"),
    ("psi", {"left": 1, "right": 1, "rounds": 1}, {}, "'rounds' is no size"),
    ("psi", {"left": -1, "right": 1}, {}, "between 0 and"),
    ("psi", {"left": 10**13, "right": 1}, {}, "between 0 and"),
    ("psi", {"left": 1, "right": 1}, {"params": {"keyz": 1}}, "params of psi"),
    ("psi", {"left": 1, "right": 1}, {"cores": 0}, "at least one core"),
    (
        "psi.cardinality",
        {"left": 1, "right": 1},
        {"backend": "abacus"},
        "not measured on 'abacus'; it was on cpu",
    ),
    ("psi.many", {"p1": 1, "p2": 1}, {}, "params name 3 parties, the sizes 2"),
    ("fl.logistic", {"p1": 1}, {}, "size of every party"),
    ("fl.logistic", {"p1": 1, "p3": 1}, {}, "give the size of p2"),
]


@pytest.mark.parametrize(
    ("kind", "sizes", "options", "said"),
    [case for case in WRONG if case[0] in {kind.name for kind in job_kinds()} or case[0] == "magic"],
)
def test_what_cannot_be_quoted_is_told(
    kind: str, sizes: dict[str, int], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        quote(kind, sizes, calibration=TABLE, **options)


@pytest.mark.parametrize(
    ("text", "bits", "wait"),
    [("100mbit,20ms", 1e8, 0.02), ("1Gbit", 1e9, 0.001), ("2.5gbit, 0.5s", 2.5e9, 0.5)],
)
def test_networks(text: str, bits: float, wait: float) -> None:
    assert Network.parse(text) == Network(pytest.approx(bits), pytest.approx(wait))


@pytest.mark.parametrize("text", ["", "100", "100mbit,20", "mbit,1ms", "0mbit", "-1mbit", "1mbit,1ms,1ms"])
def test_no_networks(text: str) -> None:
    with pytest.raises(BadInput, match="as in 100mbit,20ms"):
        Network.parse(text)


def test_every_operation_that_is_counted_is_measured() -> None:
    measured = {probe.operation for probe in probes()}
    assert set(TABLE.rates) == measured
    for kind in job_kinds():
        counted = quote(kind.name, SIZES[kind.name], calibration=TABLE).operations
        assert set(counted) <= measured, kind.name


def test_a_device_does_not_get_faster_by_more_cores() -> None:
    rates = {name: {"cpu": 1.0, "gpu": 100.0} for name in TABLE.rates}
    table = Calibration(machine="m", level="ifma", date="2026-11-21", cores=2, rates=rates)
    sizes = {"left": 1, "right": 1}
    one, many = (quote("psi.cardinality", sizes, calibration=table, cores=cores) for cores in (1, 8))
    assert one.compute_s == many.compute_s
    cpu = quote("psi.cardinality", sizes, calibration=table, cores=1, backend="cpu")
    assert cpu.compute_s == pytest.approx(100 * one.compute_s)


def test_the_users_own_calibration_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert calibrations.load().source == "shipped with the program"
    own = msgspec.structs.replace(TABLE, machine="mine", source="")
    path = calibrations.save(own)
    assert calibrations.load() == msgspec.structs.replace(own, source=str(path))
    assert "mine" in quote("eaas", {}).calibration
    for damaged in ("{}", "", '{"machine": 1}', path.read_text().replace('"cpu": ', '"cpu": -')):
        path.write_text(damaged)
        with pytest.raises(DataError, match="no calibration"):
            calibrations.load()


def test_an_operation_without_a_rate_is_told() -> None:
    bare = msgspec.structs.replace(TABLE, rates={})
    with pytest.raises(BadInput, match="run `liutong quote --calibrate`"):
        quote("psi.cardinality", {"left": 1, "right": 1}, calibration=bare)
