"""A whole job over two node processes: computed, sealed to the consumer, receipted, settled on chain."""

from __future__ import annotations

from compute.wire.canonical import from_hex
from contracts.records import ReservationState
from tests.compute.node.rig import Consumer, RunningNode

PSI = {
    "keys": {"left": ["patient_id"], "right": ["patient_id"]},
    "output_to": ["left"],
    "output_columns": {"left": ["diagnosis"]},
    "max_elements": 100,
}


def test_a_two_node_psi_ends_with_a_result_only_the_consumer_opens_and_receipts_that_settle_on_chain(
    east: RunningNode, laboratory: RunningNode, consumer: Consumer
) -> None:
    grants = {"left": east.grant(consumer), "right": laboratory.grant(consumer)}
    order = consumer.order("psi", PSI, list(grants.items()))
    for node in (east, laboratory):
        assert node.portal.submit(order.submission).state in ("accepted", "running")
    for node in (east, laboratory):
        status = node.wait_final(order.job)
        assert status.state == "completed", status

    sealed = east.portal.result(order.job)
    assert sealed is not None
    assert laboratory.portal.result(order.job) is None
    assert b"p030" not in sealed
    result = order.open({"left": sealed})
    expected = sorted(f"p{i:03d}" for i in range(21, 60))
    assert result["count"] == len(expected)
    # In the order of digests, which tells nothing about the order of the table.
    assert sorted(row[0] for row in result["left"]["rows"]) == expected

    left, right = east.receipt_of(order.job), laboratory.receipt_of(order.job)
    assert left.transcript == right.transcript != "0x" + "00" * 32
    assert left.outcome == right.outcome == "completed"
    assert (left.units, right.units) == (60, 79)
    east.commit_all()
    laboratory.commit_all()
    for role, granted in grants.items():
        record = consumer.lab.chain.reservation(from_hex(order.job), from_hex(granted.grant))
        assert record is not None
        assert record.state == ReservationState.SETTLED, role
    record = consumer.lab.chain.grant(from_hex(grants["left"].grant))
    assert record is not None
    assert (record.used, record.reserved) == (60, 0)
