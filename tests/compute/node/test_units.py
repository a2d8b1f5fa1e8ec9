"""Receipts of real nodes: what they count crossed and was processed; a set beyond its budget ends both."""

from __future__ import annotations

from tests.compute.node.rig import Consumer, RunningNode

PSI = {"keys": {"left": ["patient_id"], "right": ["patient_id"]}, "output_to": ["left"]}


def test_receipts_count_what_crossed_and_what_was_compared(
    east: RunningNode, laboratory: RunningNode, consumer: Consumer
) -> None:
    grants = [("left", east.grant(consumer)), ("right", laboratory.grant(consumer))]
    order = consumer.order("psi", PSI | {"max_elements": 100}, grants)
    for node in (east, laboratory):
        node.portal.submit(order.submission)
    for node in (east, laboratory):
        assert node.wait_final(order.job).state == "completed"
    left, right = east.receipt_of(order.job), laboratory.receipt_of(order.job)
    one, other = left.detail.metrics, right.detail.metrics
    assert one["bytes_in"] == other["bytes_out"] > 0
    assert one["bytes_out"] == other["bytes_in"] > 0
    assert (one["elements"], one["peer_elements"], one["rows"]) == (60, 79, 60)
    assert (other["elements"], other["peer_elements"], other["rows"]) == (79, 60, 79)
    assert (left.units, right.units) == (one["elements"], other["elements"])
    assert left.transcript == right.transcript


def test_a_set_beyond_the_budget_fails_at_both_nodes_and_both_receipts_say_why(
    east: RunningNode, laboratory: RunningNode, consumer: Consumer
) -> None:
    grants = [("left", east.grant(consumer)), ("right", laboratory.grant(consumer))]
    # The laboratory has 79 keys, the hospital 60.
    order = consumer.order("psi", PSI | {"max_elements": 70}, grants)
    for node in (east, laboratory):
        node.portal.submit(order.submission)
    for node in (east, laboratory):
        assert node.wait_final(order.job).state == "failed"
    left, right = east.receipt_of(order.job), laboratory.receipt_of(order.job)
    assert (left.outcome, left.detail.reason, left.units) == ("failed", "protocol.abort", 0)
    assert (right.outcome, right.detail.reason, right.units) == ("failed", "input.invalid", 0)
    assert east.portal.result(order.job) is None
