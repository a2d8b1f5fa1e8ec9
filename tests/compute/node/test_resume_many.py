"""Three nodes intersect in buckets, under little memory: one that is no output is killed, the join holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chain_lab import Lab
from tests.compute.node.conftest import make_node
from tests.compute.node.rig import FINAL, Consumer, Portal, RunningNode, start_and_register, wait_for

ROWS = 20_000
pytestmark = pytest.mark.slow


@pytest.fixture
def three(lab: Lab, portal: Portal, tmp_path: Path) -> Iterator[list[RunningNode]]:
    ids = [f"p{i:06d}" for i in range(ROWS)]
    sets = {"First": ids, "Second": [*ids[ROWS // 4 :], "q1", "q2"], "Third": ids[: ROWS // 2]}
    nodes = [make_node(tmp_path / name, lab, portal, name, some) for name, some in sets.items()]
    # The least that the configuration takes: four buckets, as the leader has half of it for each other.
    settings = {"MEMORY_BYTES": str(16 << 20), "WORKERS": "1"}
    for node in nodes:
        node.environment = {f"LIUTONG_NODE__LIMITS__{name}": value for name, value in settings.items()}
    try:
        start_and_register(*nodes)
        yield nodes
    finally:
        for node in nodes:
            node.stop()


def test_an_intersection_of_three_outlives_a_kill(consumer: Consumer, three: list[RunningNode]) -> None:
    roles = ("p1", "p2", "p3")
    grants = [node.grant(consumer, quota=200_000) for node in three]
    params = {
        "keys": {role: ["patient_id"] for role in roles},
        "output_to": ["p1", "p3"],
        # The slowest of the curves, so that there is a middle.
        "curve": "sm2",
    }
    order = consumer.order("psi.many", params, list(zip(roles, grants, strict=True)))
    for node in three:
        node.portal.submit(order.submission)
    killed = three[1]

    def in_the_middle() -> bool:
        status = killed.portal.job(order.job)
        assert status.state not in FINAL, status
        # Notes of finished buckets lie in the job's folder.
        return bool(list((killed.home / "work" / order.job / "whole").glob("run.checkpoint.1")))

    wait_for(in_the_middle, 120, killed.log)
    killed.kill()
    killed.start()
    for node in three:
        status = node.wait_final(order.job, 120)
        assert status.state == "completed", (status, node.log())
        assert status.attempts >= 2
    payloads = {role: node.portal.result(order.job) for role, node in zip(roles, three, strict=True)}
    assert payloads["p2"] is None
    result = order.open({role: payload for role, payload in payloads.items() if payload is not None})
    expected = [f"p{i:06d}" for i in range(ROWS // 4, ROWS // 2)]
    assert result["count"] == len(expected)
    for role in ("p1", "p3"):
        assert [row[0] for row in result[role]["rows"]] == expected
    for node in three:
        receipt = node.receipt_of(order.job)
        assert receipt.outcome == "completed"
        node.forgets(order.job)
