"""What a peer provokes, a full disk, a full memory: a typed end at both nodes, receipts that say why, a
charge for what was sent, and no half-written result."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Iterator

import msgspec
import pytest

from compute.data.results import ResultStore
from compute.errors import PeerLost, ProtocolAbort
from compute.protocols.checkpoints import Journal, inputs_of
from compute.protocols.protocol import Send, Steps, receive
from compute.protocols.runner import run_resumable
from compute.protocols.workspace import MemoryWorkspace
from compute.wire.binding import session_binding
from compute.wire.canonical import from_hex
from tests.chain_lab import Lab
from tests.compute.node import bucket_kinds
from tests.compute.node.bucket_kinds import POISON, Share
from tests.compute.node.conftest import make_node
from tests.compute.node.rig import Consumer, Order, Portal, RunningNode, start_and_register, wait_for
from tests.compute.node.test_consumer_role import reach

BUCKETS = 4
LIMIT = 6 << 20

Pair = tuple[RunningNode, RunningNode]


@pytest.fixture(scope="module", autouse=True)
def _kinds() -> Iterator[None]:
    with bucket_kinds.known():
        yield


@pytest.fixture(scope="module")
def pair(lab: Lab, portal: Portal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    home = tmp_path_factory.mktemp("misfortunes")
    ids = [f"p{i}" for i in range(60)]
    left = make_node(home / "left", lab, portal, "Left", ids, module=bucket_kinds.__name__)
    right = make_node(home / "right", lab, portal, "Right", ids, module=bucket_kinds.__name__)
    try:
        start_and_register(left, right)
        yield left, right
    finally:
        left.stop()
        right.stop()


@pytest.fixture
def small_disk(pair: Pair) -> Iterator[None]:
    """The left node's files may be a few megabytes long: the kernel stops it as a full disk would."""
    process = pair[0].process
    assert process is not None
    before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)


def run(consumer: Consumer, pair: Pair, **params: int) -> Order:
    parts = list(zip(("left", "right"), (node.grant(consumer) for node in pair), strict=True))
    order = consumer.order("test.buckets", {"buckets": BUCKETS, **params}, parts)
    for node in pair:
        node.portal.submit(order.submission)
    return order


def ended_for_good(order: Order, node: RunningNode, reason: str, units: int) -> None:
    """Failed for this reason, with a receipt that says so, and nothing of a result anywhere."""
    status = node.wait_final(order.job, 60)
    assert (status.state, status.reason) == ("failed", reason), (status, node.log())
    receipt = node.receipt_of(order.job)
    assert (receipt.detail.reason, receipt.units) == (reason, units)
    assert node.portal.result(order.job) is None
    store = ResultStore(node.config.path(node.config.results))
    assert order.job not in [stored.job for stored in store.stored()]
    assert not list(node.config.path(node.config.results).glob(f".{order.job}*"))
    node.forgets(order.job)
    node.commit_all()


def test_a_full_disk_in_the_middle_ends_both_and_receipts_say_why(
    consumer: Consumer, pair: Pair, small_disk: None
) -> None:
    order = run(consumer, pair, weight_kib=2048)
    ended_for_good(order, pair[0], "data.disk_full", 0)
    ended_for_good(order, pair[1], "protocol.abort", 0)
    metrics = pair[0].receipt_of(order.job).detail.metrics
    assert metrics["bytes_out"] > 0, "a receipt of a failure counts what crossed as well"
    assert "left" in pair[1].portal.job(order.job).message


def test_a_result_that_has_no_room_is_none_and_the_receipt_says_why(
    consumer: Consumer, pair: Pair, small_disk: None
) -> None:
    order = run(consumer, pair, row_kib=2048)
    ended_for_good(order, pair[0], "data.disk_full", 0)


def test_a_computation_beyond_the_memory_ends_both(consumer: Consumer, pair: Pair) -> None:
    order = run(consumer, pair, weight_kib=1 << 52)
    ended_for_good(order, pair[0], "compute.out_of_memory", 0)
    ended_for_good(order, pair[1], "protocol.abort", 0)


def test_an_ending_that_the_full_disk_does_not_take_is_written_when_there_is_room(
    consumer: Consumer, pair: Pair
) -> None:
    left = pair[0]
    order = run(consumer, pair, pause_ms=1000)
    wait_for(lambda: left.portal.job(order.job).done >= 1, 60, left.log)
    assert left.process is not None
    before = resource.prlimit(left.process.pid, resource.RLIMIT_FSIZE)
    # Not even the database can be written, and so no request be answered.
    resource.prlimit(left.process.pid, resource.RLIMIT_FSIZE, (1 << 12, before[1]))
    try:
        assert pair[1].wait_final(order.job, 60).reason == "protocol.abort"
        time.sleep(3)
    finally:
        resource.prlimit(left.process.pid, resource.RLIMIT_FSIZE, before)
    ended_for_good(order, left, "data.disk_full", 0)


def consumer_plays_right(consumer: Consumer, node: RunningNode) -> Order:
    granted = node.grant(consumer)
    left = granted.participant("left")
    right = msgspec.structs.replace(
        left, role="right", party=consumer.id, grant=None, dataset=None, commitment=None, columns=()
    )
    order = consumer.order(
        "test.buckets", {"buckets": BUCKETS}, [("left", granted)], participants=(left, right)
    )
    node.portal.submit(order.submission)
    return order


async def play_right(order: Order, node: RunningNode, role: Steps) -> Exception:
    """The consumer's side of one attempt, from the beginning; why it ended."""
    channel = await reach(order, node, dialler_role="right", acceptor_role="left")
    spec = order.submission.spec
    binding = session_binding(from_hex(order.job), from_hex(order.submission.request.spec_hash))
    journal = Journal(MemoryWorkspace(), "right", binding, inputs_of(spec, binding))
    with pytest.raises((PeerLost, ProtocolAbort)) as caught:
        await run_resumable(lambda resumed: role, {"left": channel}, journal=journal)
    return caught.value


def sends(share: Share) -> Steps:
    yield from receive("left", Share)
    yield Send("left", share)
    yield from receive("left", Share)
    raise AssertionError("the node took it")


@pytest.mark.parametrize(
    ("share", "reason", "told"),
    [(Share(0, POISON), "protocol.abort", ProtocolAbort), (Share(9, bytes(16)), "node.internal", PeerLost)],
    ids=["a kernel raises", "a bug"],
)
async def test_a_consumer_that_makes_the_node_fail_after_it_was_sent_something_pays_for_it(
    consumer: Consumer, pair: Pair, share: Share, reason: str, told: type[Exception]
) -> None:
    left = pair[0]
    order = await asyncio.to_thread(consumer_plays_right, consumer, left)
    assert type(await play_right(order, left, sends(share))) is told
    await asyncio.to_thread(ended_for_good, order, left, reason, BUCKETS)
    if reason == ProtocolAbort.code:
        assert left.receipt_of(order.job).detail.message == "what right sent cannot be processed"


async def test_a_consumer_that_cuts_the_line_again_and_again_sees_a_bucket_a_bounded_number_of_times(
    consumer: Consumer, pair: Pair
) -> None:
    def hangs_up() -> Steps:
        yield from receive("left", Share)
        raise PeerLost("that is all", peer_code="")

    left = pair[0]
    order = await asyncio.to_thread(consumer_plays_right, consumer, left)
    assert left.config.peers.max_repeats == 2
    for _ in range(3):
        assert "that is all" in str(await play_right(order, left, hangs_up()))
    assert type(await play_right(order, left, hangs_up())) is ProtocolAbort
    await asyncio.to_thread(ended_for_good, order, left, "protocol.abort", BUCKETS)
