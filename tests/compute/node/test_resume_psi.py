"""The real intersection in buckets, under little memory: a node is killed in the middle, the join holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chain_lab import Lab
from tests.compute.node.conftest import make_node
from tests.compute.node.rig import FINAL, Consumer, Portal, RunningNode, start_and_register, wait_for

ROWS = 60_000
pytestmark = pytest.mark.slow


@pytest.fixture
def pair(lab: Lab, portal: Portal, tmp_path: Path) -> Iterator[tuple[RunningNode, RunningNode]]:
    ids = [f"p{i:06d}" for i in range(ROWS)]
    left = make_node(tmp_path / "left", lab, portal, "Left", ids)
    right = make_node(tmp_path / "right", lab, portal, "Right", [*ids[ROWS // 3 :], "q1", "q2"])
    # The least that the configuration takes: some four buckets.
    settings = {"MEMORY_BYTES": str(16 << 20), "WORKERS": "1"}
    for node in (left, right):
        node.environment = {f"LIUTONG_NODE__LIMITS__{name}": value for name, value in settings.items()}
    try:
        start_and_register(left, right)
        yield left, right
    finally:
        left.stop()
        right.stop()


def test_an_intersection_in_buckets_outlives_a_kill(
    consumer: Consumer, pair: tuple[RunningNode, RunningNode]
) -> None:
    left, right = pair
    grants = left.grant(consumer, quota=200_000), right.grant(consumer, quota=200_000)
    params = {
        "keys": {"left": ["patient_id"], "right": ["patient_id"]},
        "max_elements": 100_000,
        # The slowest of the protocols, so that there is a middle.
        "protocol": "ecdh",
        "curve": "sm2",
    }
    order = consumer.order("psi", params, list(zip(("left", "right"), grants, strict=True)))
    for node in pair:
        node.portal.submit(order.submission)

    def in_the_middle() -> bool:
        status = right.portal.job(order.job)
        assert status.state not in FINAL, status
        # Notes of finished buckets lie in the job's folder.
        return bool(list((right.home / "work" / order.job / "whole").glob("run.checkpoint.1")))

    wait_for(in_the_middle, 120, right.log)
    right.kill()
    right.start()
    for node in pair:
        status = node.wait_final(order.job, 120)
        assert status.state == "completed", (status, node.log())
        assert status.attempts >= 2
    first, second = (node.receipt_of(order.job) for node in pair)
    assert first.transcript == second.transcript
    payload = left.portal.result(order.job)
    assert payload is not None
    result = order.open({"left": payload})
    assert result["count"] == ROWS - ROWS // 3
    assert sorted(row[0] for row in result["left"]["rows"]) == [f"p{i:06d}" for i in range(ROWS // 3, ROWS)]
    for node in pair:
        node.forgets(order.job)
