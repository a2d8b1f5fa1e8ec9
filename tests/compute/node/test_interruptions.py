"""Whatever happens in the middle of a job, it ends in a named state with a receipt at every node."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from compute.client import NodeUnreachable
from compute.wire.canonical import from_hex
from contracts.eip712 import Revocation
from tests.chain_lab import Anvil, Lab
from tests.compute.node import bucket_kinds
from tests.compute.node.conftest import make_node
from tests.compute.node.rig import (
    FINAL,
    Consumer,
    Granted,
    Order,
    Portal,
    RunningNode,
    start_and_register,
    wait_for,
)

MANY = 60
# What is in the middle of something is a slow job of a kind that cannot be taken up again.
SLOW = {"buckets": 12, "pause_ms": 300}


@pytest.fixture(scope="module", autouse=True)
def _slow_kinds() -> Iterator[None]:
    with bucket_kinds.known():
        yield


@pytest.fixture(scope="module")
def pair(
    lab: Lab, portal: Portal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningNode, RunningNode]]:
    """Two nodes that know slow jobs. Each test leaves them running."""
    home = tmp_path_factory.mktemp("pair")
    ids = [f"p{i}" for i in range(MANY)]
    left = make_node(home / "left", lab, portal, "Left", ids, module=bucket_kinds.__name__)
    right = make_node(home / "right", lab, portal, "Right", ids, module=bucket_kinds.__name__)
    try:
        start_and_register(left, right)
        yield left, right
    finally:
        left.stop()
        right.stop()


def begin(consumer: Consumer, left: RunningNode, right: RunningNode) -> tuple[Order, Granted, Granted]:
    """Start a job and return once both nodes compute."""
    grants = left.grant(consumer), right.grant(consumer)
    order = consumer.order("test.once", SLOW, list(zip(("left", "right"), grants, strict=True)))
    for node in (left, right):
        node.portal.submit(order.submission)
    for node in (left, right):
        wait_for(lambda node=node: computing(node, order.job), 40, node.log)
    return order, *grants


def computing(node: RunningNode, job: str) -> bool:
    status = node.portal.job(job)
    assert status.state not in FINAL, status
    return status.state == "running" and status.phase not in ("reading", "connecting")


def settled(order: Order, node: RunningNode, granted: Granted) -> None:
    node.commit_all()
    assert order.reservation_state(granted.grant) == "SETTLED"


def closes(socket: ClientConnection) -> bool:
    """Whether the node ends the connection."""
    while True:
        try:
            socket.recv(timeout=5)
        except ConnectionClosed:
            return True
        except TimeoutError:
            return False


def test_a_node_killed_in_the_middle_leaves_a_receipt_on_both_sides(
    consumer: Consumer, pair: tuple[RunningNode, RunningNode]
) -> None:
    left, right = pair
    order, left_grant, right_grant = begin(consumer, left, right)
    right.kill()
    status = left.wait_final(order.job)
    assert (status.state, status.reason) == ("failed", "wire.peer_lost")
    right.start()
    status = right.portal.job(order.job)
    assert (status.state, status.reason) == ("failed", "node.restarted")
    assert left.receipt_of(order.job).units == right.receipt_of(order.job).units == 0
    settled(order, left, left_grant)
    settled(order, right, right_grant)
    # The request is used up: sending it again changes nothing, and the node takes new jobs.
    assert right.portal.submit(order.submission) == status


@pytest.mark.parametrize("who", ["portal", "consumer"])
def test_cancel_ends_the_job_on_both_sides(
    consumer: Consumer, pair: tuple[RunningNode, RunningNode], who: str
) -> None:
    left, right = pair
    order, left_grant, right_grant = begin(consumer, left, right)
    client = left.portal if who == "portal" else consumer.client(left)
    status = client.cancel(order.job)
    assert (status.state, status.reason) == ("cancelled", "job.cancelled")
    assert client.cancel(order.job) == status
    assert "cancelled at this node by its consumer or through the portal" in status.message
    status = right.wait_final(order.job)
    assert (status.state, status.reason) == ("cancelled", "job.cancelled_elsewhere")
    assert "left cancelled its part" in status.message
    assert left.portal.result(order.job) is None
    settled(order, left, left_grant)
    settled(order, right, right_grant)


def test_revoking_in_the_middle_stops_the_job_before_it_releases_anything(
    consumer: Consumer, pair: tuple[RunningNode, RunningNode]
) -> None:
    left, right = pair
    order, left_grant, right_grant = begin(consumer, left, right)
    revocation = right.portal.revoke_grant(right_grant.grant)
    call = consumer.lab.chain.revoke_call(
        Revocation(from_hex(revocation.grant)), bytes.fromhex(revocation.signature[2:])
    )
    consumer.lab.send(call)
    status = right.wait_final(order.job)
    assert (status.state, status.rule) == ("refused", "grant.revoked")
    assert left.wait_final(order.job).state in ("failed", "cancelled")
    assert left.portal.result(order.job) is None
    settled(order, right, right_grant)
    settled(order, left, left_grant)


def test_a_stopped_node_ends_its_jobs_with_receipts(
    consumer: Consumer, pair: tuple[RunningNode, RunningNode]
) -> None:
    left, right = pair
    order, left_grant, _ = begin(consumer, left, right)
    left.stop()
    assert right.wait_final(order.job).state in ("failed", "cancelled")
    left.start()
    status = left.portal.job(order.job)
    # Its sockets close first, so it may notice the lost peer before it notices that it stops.
    assert (status.state, left.receipt_of(order.job).units) == ("failed", 0)
    settled(order, left, left_grant)


def test_a_peer_that_never_comes_fails_the_job_in_time(
    consumer: Consumer, east: RunningNode, laboratory: RunningNode
) -> None:
    grants = east.grant(consumer), laboratory.grant(consumer)
    params = {"keys": {"left": ["patient_id"], "right": ["patient_id"]}, "max_elements": 100}
    order = consumer.order("psi", params, list(zip(("left", "right"), grants, strict=True)))
    east.portal.submit(order.submission)
    status = east.wait_final(order.job, 20)
    assert (status.state, status.reason) == ("failed", "wire.peer_lost")
    assert "right" in status.message
    # The late node is told that the job is over, and does not wait for it.
    before = time.monotonic()
    laboratory.portal.submit(order.submission)
    status = laboratory.wait_final(order.job, 20)
    assert (status.state, status.reason) == ("failed", "wire.peer_refused")
    assert time.monotonic() - before < 5


def test_a_passed_deadline_expires_the_job(
    consumer: Consumer, east: RunningNode, laboratory: RunningNode
) -> None:
    grants = east.grant(consumer), laboratory.grant(consumer)
    params = {"keys": {"left": ["patient_id"], "right": ["patient_id"]}, "max_elements": 100}
    parts = list(zip(("left", "right"), grants, strict=True))
    order = consumer.order("psi", params, parts, deadline_s=3)
    east.portal.submit(order.submission)
    status = east.wait_final(order.job, 20)
    assert (status.state, status.reason) == ("expired", "job.deadline")
    settled(order, east, grants[0])


def test_garbage_on_the_peer_socket_harms_nothing(
    consumer: Consumer, east: RunningNode, laboratory: RunningNode
) -> None:
    url = east.url.replace("http://", "ws://") + "/v1/peer"
    for garbage in (b"", b"\x00" * 10, b"\xff" * 70_000, "text", b"\x81\xa1t\xafhandshake.hello"):
        with connect(url, proxy=None) as socket:
            socket.send(garbage)
            assert closes(socket)
    assert east.portal.health().status == "ok"
    grants = east.grant(consumer), laboratory.grant(consumer)
    params = {"keys": {"left": ["patient_id"], "right": ["patient_id"]}, "max_elements": 100}
    order = consumer.order("psi", params, list(zip(("left", "right"), grants, strict=True)))
    for node in (east, laboratory):
        node.portal.submit(order.submission)
    assert east.wait_final(order.job).state == "completed"


def test_without_a_chain_new_jobs_are_refused_and_running_ones_finish_when_it_is_back(
    portal: Portal, tmp_path: Path
) -> None:
    anvil = Anvil(tmp_path / "chain.json")
    anvil.start()
    left = right = None
    try:
        lab = Lab(anvil.url)
        consumer = Consumer(lab)
        ids = [f"p{i}" for i in range(MANY)]
        left = make_node(tmp_path / "left", lab, portal, "Left", ids, module=bucket_kinds.__name__)
        right = make_node(tmp_path / "right", lab, portal, "Right", ids, module=bucket_kinds.__name__)
        start_and_register(left, right)
        order, left_grant, _ = begin(consumer, left, right)
        other = consumer.order(
            "test.once", SLOW, [("left", left.grant(consumer)), ("right", right.grant(consumer))]
        )
        anvil.stop()
        with pytest.raises(NodeUnreachable) as caught:
            left.portal.submit(other.submission)
        assert caught.value.detail["code"] == "chain.unreachable"
        assert left.portal.health().chain == "unreachable"
        wait_for(lambda: left.portal.job(order.job).phase == "awaiting_chain", 40, left.log)
        assert left.portal.result(order.job) is None
        anvil.start()
        assert left.wait_final(order.job).state == "completed"
        assert right.wait_final(order.job).state == "completed"
        settled(order, left, left_grant)
        # What was refused for want of a chain left no trace and can be sent again.
        assert left.portal.submit(other.submission).state in ("accepted", "running")
    finally:
        for node in (left, right):
            if node is not None:
                node.stop()
        anvil.stop()


def test_a_node_that_lost_its_receipts_does_not_sign_on(
    lab: Lab, portal: Portal, consumer: Consumer, tmp_path: Path
) -> None:
    node = make_node(tmp_path / "forgetful", lab, portal, "Forgetful", [f"p{i}" for i in range(9)])
    try:
        node.start().register()
        granted = node.grant(consumer)
        order = consumer.order("eaas", {"calls": 1}, [("service", granted)], reserve=False)
        again = consumer.order("eaas", {"calls": 1}, [("service", granted)], reserve=False)
        assert node.portal.submit(order.submission).state == "refused"
        node.commit_all()
        node.stop()
        for file in node.home.glob("node.db*"):
            file.unlink()
        node.start()
        with pytest.raises(NodeUnreachable) as caught:
            node.portal.submit(again.submission)
        assert caught.value.detail["code"] == "node.store"
        assert node.portal.receipts() == []
    finally:
        node.stop()
