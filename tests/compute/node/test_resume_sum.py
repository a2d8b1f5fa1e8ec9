"""A sum over an intersection: the node that encrypts is killed in the middle of it, the sums hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compute.node import setup
from tests.chain_lab import Lab
from tests.compute.node.conftest import make_node
from tests.compute.node.rig import (
    FINAL,
    Consumer,
    Portal,
    RunningNode,
    patients_csv,
    start_and_register,
    table_toml,
    wait_for,
)

ROWS = 30_000  # four stretches of ciphertexts
pytestmark = pytest.mark.slow


@pytest.fixture
def pair(lab: Lab, portal: Portal, tmp_path: Path) -> Iterator[tuple[RunningNode, RunningNode]]:
    ids = [f"p{i:06d}" for i in range(ROWS)]
    # Ages are graded so that they may be added.
    patients_csv(tmp_path / "values" / "patients.csv", ids)
    toml = table_toml(setup.new_id(), "patients.csv").replace('grade = "L4"', 'grade = "L3"')
    values = RunningNode(tmp_path / "values", lab, portal, "Values", toml)
    members = make_node(tmp_path / "members", lab, portal, "Members", [*ids[ROWS // 3 :], "q1", "q2"])
    for node in (values, members):
        node.environment = {
            "LIUTONG_NODE__LIMITS__MEMORY_BYTES": str(16 << 20),
            "LIUTONG_NODE__LIMITS__WORKERS": "1",
        }
    try:
        start_and_register(values, members)
        yield values, members
    finally:
        values.stop()
        members.stop()


def test_a_sum_outlives_a_kill(consumer: Consumer, pair: tuple[RunningNode, RunningNode]) -> None:
    values, members = pair
    grants = [node.grant(consumer, quota=200_000) for node in pair]
    params = {
        "keys": {"values": ["patient_id"], "members": ["patient_id"]},
        "values": ["age"],
        "key_bits": 2048,
    }
    order = consumer.order("psi.sum", params, list(zip(("values", "members"), grants, strict=True)))
    for node in pair:
        node.portal.submit(order.submission)

    def in_the_middle() -> bool:
        status = values.portal.job(order.job)
        assert status.state not in FINAL, status
        # Points, no repeats, tags, and the first stretch of ciphertexts.
        return bool(list((values.home / "work" / order.job / "whole").glob("run.checkpoint.4")))

    wait_for(in_the_middle, 120, values.log)
    values.kill()
    values.start()
    for node in pair:
        status = node.wait_final(order.job, 120)
        assert status.state == "completed", (status, node.log())
        assert status.attempts >= 2
    first, second = (node.receipt_of(order.job) for node in pair)
    assert first.transcript == second.transcript
    payload = members.portal.result(order.job)
    assert payload is not None
    assert order.open({"members": payload}) == {
        "count": ROWS - ROWS // 3,
        "rows": ROWS - ROWS // 3,
        "sums": {"age": float(sum(30 + i % 50 for i in range(ROWS // 3, ROWS)))},
    }
    for node in pair:
        node.forgets(order.job)
