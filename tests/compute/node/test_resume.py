"""Resumable jobs outlive kills, stops and cuts: they go on from their checkpoint, and both receipts agree."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
import threading
from collections.abc import Iterator

import msgspec
import pyarrow as pa
import pytest

from compute.data.results import ResultStore
from compute.errors import PeerLost
from compute.keys.signer import NodeSigner
from compute.node.store import Store
from compute.protocols.checkpoints import Journal, inputs_of
from compute.protocols.protocol import Checkpoint, Send, Session, Steps, job_kind, receive
from compute.protocols.runner import run_resumable
from compute.protocols.workspace import MemoryWorkspace
from compute.sdk.consumer_role import run_consumer_role
from compute.sdk.identity import Identity
from compute.wire.binding import session_binding
from compute.wire.canonical import from_hex
from compute.wire.messages import JobStatus
from tests.chain_lab import Lab
from tests.compute.node import bucket_kinds
from tests.compute.node.conftest import make_node
from tests.compute.node.rig import (
    FINAL,
    Consumer,
    Granted,
    Order,
    Portal,
    RunningNode,
    patients_csv,
    start_and_register,
    wait_for,
)
from tests.compute.node.test_consumer_role import reach

BUCKETS = 10
SLOW = {"buckets": BUCKETS, "pause_ms": 300}
IDS = [f"p{i}" for i in range(60)]

Pair = tuple[RunningNode, RunningNode]


class Proxy:
    """What lies between two nodes: passes bytes on until it is cut, wholly or for the dialling side alone."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.meetings = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, *, dialler_only: bool = False) -> None:
        for near, far in self._pairs:
            for end in (near,) if dialler_only else (near, far):
                end.shutdown(socket.SHUT_RDWR)
        self._pairs = []

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self.meetings += 1
            self._pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        # An end that closed is not told to the other: that is what `cut` is for.
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
        except OSError:
            return


@pytest.fixture(scope="module", autouse=True)
def _slow_kinds() -> Iterator[None]:
    with bucket_kinds.known():
        yield


@pytest.fixture(scope="module")
def pair(lab: Lab, portal: Portal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two nodes that know slow jobs. Each test leaves them running, with the same rows."""
    home = tmp_path_factory.mktemp("resuming")
    left = make_node(home / "left", lab, portal, "Left", IDS, module=bucket_kinds.__name__)
    right = make_node(home / "right", lab, portal, "Right", IDS, module=bucket_kinds.__name__)
    try:
        start_and_register(left, right)
        yield left, right
    finally:
        left.stop()
        right.stop()


def begin(
    consumer: Consumer, pair: Pair, *, after: int = 3, left_url: str = "", deadline_s: int = 600
) -> tuple[Order, Granted, Granted]:
    """Start a job and return once both nodes have done so many buckets."""
    grants = pair[0].grant(consumer), pair[1].grant(consumer)
    parts = list(zip(("left", "right"), grants, strict=True))
    order = consumer.order("test.buckets", SLOW, parts, deadline_s=deadline_s)
    if left_url:
        peers = {**order.submission.peers, "left": left_url}
        order.submission = msgspec.structs.replace(order.submission, peers=peers)
    for node in pair:
        node.portal.submit(order.submission)
    for node in pair:
        wait_for(lambda node=node: status_of(node, order).done >= after, 60, node.log)
    return order, *grants


def status_of(node: RunningNode, order: Order) -> JobStatus:
    status = node.portal.job(order.job)
    assert status.state not in FINAL, status
    return status


def reconnects(node: RunningNode, order: Order) -> None:
    wait_for(lambda: status_of(node, order).phase == "reconnecting", 60, node.log)


def processes(node: RunningNode, order: Order, role: str) -> list[int]:
    """Which process did each bucket."""
    rows = ResultStore(node.config.path(node.config.results)).get(order.job, role)
    assert rows.column("bucket").to_pylist() == list(range(BUCKETS))
    return list(rows.column("process").to_pylist())


def both_completed(pair: Pair, order: Order, grants: tuple[Granted, Granted], *, again: int = 2) -> None:
    """Completed with equal transcripts, charged once, settled on chain, and nothing is left lying about."""
    for node in pair:
        status = node.wait_final(order.job, 90)
        assert status.state == "completed", (status, node.log())
        assert status.attempts >= again
    left, right = (node.receipt_of(order.job) for node in pair)
    assert left.transcript == right.transcript != "0x" + "00" * 32
    assert left.units == right.units == BUCKETS
    assert left.detail.metrics["bytes_in"] == right.detail.metrics["bytes_out"]
    assert left.detail.metrics["attempts"] >= again
    for node, granted in zip(pair, grants, strict=True):
        node.commit_all()
        assert order.reservation_state(granted.grant) == "SETTLED"
        node.forgets(order.job)
        payload = node.portal.result(order.job)
        assert payload is not None
        role = ("left", "right")[pair.index(node)]
        assert order.open({role: payload}) == {role: BUCKETS}


@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_node_that_was_killed_or_stopped_goes_on_without_redoing_what_was_done(
    consumer: Consumer, pair: Pair, who: int, how: str
) -> None:
    order, *grants = begin(consumer, pair)
    victim, other = pair[who], pair[1 - who]
    assert victim.process is not None
    first = victim.process.pid
    getattr(victim, how)()
    reconnects(other, order)
    victim.start()
    assert victim.process is not None
    both_completed(pair, order, tuple(grants))
    by = processes(victim, order, ("left", "right")[who])
    redone = by.index(victim.process.pid)
    assert redone >= 3, "finished buckets are not done again"
    assert by == [first] * redone + [victim.process.pid] * (BUCKETS - redone)
    assert other.process is not None
    assert set(processes(other, order, ("left", "right")[1 - who])) == {other.process.pid}


def test_both_nodes_killed_at_once_go_on(consumer: Consumer, pair: Pair) -> None:
    order, *grants = begin(consumer, pair, after=2)
    for node in pair:
        node.kill()
    for node in pair:
        node.launch()
    for node in pair:
        node.wait_healthy()
    both_completed(pair, order, tuple(grants))


@pytest.mark.parametrize("dialler_only", [False, True], ids=["both ends", "one end"])
def test_a_cut_network_is_met_again_over_a_new_connection(
    consumer: Consumer, pair: Pair, dialler_only: bool
) -> None:
    proxy = Proxy(pair[0].port)
    try:
        order, *grants = begin(consumer, pair, after=1, left_url=proxy.url)
        for cuts in (1, 2):
            proxy.cut(dialler_only=dialler_only)
            wait_for(lambda cuts=cuts: proxy.meetings > cuts, 60, pair[1].log)
            at = status_of(pair[0], order).done
            wait_for(lambda at=at: status_of(pair[0], order).done > at, 60, pair[0].log)
        both_completed(pair, order, tuple(grants), again=3)
    finally:
        proxy.close()


def test_progress_has_a_rate_and_a_time_left(consumer: Consumer, pair: Pair) -> None:
    order, *_ = begin(consumer, pair, after=5)
    status = status_of(pair[0], order)
    assert status.total == BUCKETS
    assert status.rate_milli is not None
    # A bucket takes at least its pause, so no more than 1000 / 300 in a second.
    assert 0 < status.rate_milli <= 3400
    assert status.seconds_left is not None
    assert status.seconds_left >= (BUCKETS - status.done) * 0.29
    final = pair[0].wait_final(order.job, 60)
    assert (final.rate_milli, final.seconds_left, final.attempts) == (None, None, 1)
    assert "attempts" not in pair[0].receipt_of(order.job).detail.metrics


def test_an_input_that_changed_meanwhile_is_refused_and_ends_the_job_on_both_sides(
    consumer: Consumer, pair: Pair
) -> None:
    order, left_grant, right_grant = begin(consumer, pair)
    left, right = pair
    right.kill()
    try:
        patients_csv(right.home / "patients.csv", [*IDS[:-1], "somebody else"])
        right.start()
        status = right.wait_final(order.job)
        assert (status.state, status.rule) == ("refused", "dataset.content")
        status = left.wait_final(order.job)
        assert (status.state, status.reason) == ("failed", "wire.peer_refused")
        for node, granted in ((left, left_grant), (right, right_grant)):
            assert node.receipt_of(order.job).units == 0
            assert node.portal.result(order.job) is None
            node.forgets(order.job)
            node.commit_all()
            assert order.reservation_state(granted.grant) == "SETTLED"
    finally:
        patients_csv(right.home / "patients.csv", IDS)


def test_a_grant_that_was_revoked_while_the_node_was_down_ends_the_job(
    consumer: Consumer, pair: Pair
) -> None:
    order, *_ = begin(consumer, pair)
    left, right = pair
    left.kill()
    # Signed by the node itself earlier, as its own staff may with the command line: on record, not on chain.
    store = Store(left.config.path(left.config.database))
    with store.transaction() as db:
        db.execute(
            "UPDATE grants SET state = 'revoked' WHERE grant_id = ?",
            (order.submission.request.lines[0].grant,),
        )
    store.close()
    left.start()
    status = left.wait_final(order.job)
    assert (status.state, status.rule) == ("refused", "grant.revoked")
    assert right.wait_final(order.job).state == "failed"
    assert left.receipt_of(order.job).units == right.receipt_of(order.job).units == 0


@pytest.mark.parametrize("who", [0, 1])
def test_cancelling_while_the_peer_is_away_ends_the_job_there_too(
    consumer: Consumer, pair: Pair, who: int
) -> None:
    order, *_ = begin(consumer, pair)
    victim, other = pair[who], pair[1 - who]
    victim.kill()
    reconnects(other, order)
    status = consumer.client(other).cancel(order.job)
    assert (status.state, status.reason) == ("cancelled", "job.cancelled")
    victim.start()
    assert victim.wait_final(order.job).state == "cancelled"
    for node in pair:
        assert node.receipt_of(order.job).units == 0
        node.forgets(order.job)


def test_cancelling_in_the_middle_ends_both(consumer: Consumer, pair: Pair) -> None:
    order, *_ = begin(consumer, pair, after=1)
    assert pair[1].portal.cancel(order.job).state == "cancelled"
    assert pair[0].wait_final(order.job).state == "cancelled"
    pair[0].forgets(order.job)


def test_a_deadline_that_passes_while_the_peer_is_away_expires_the_job(
    consumer: Consumer, pair: Pair
) -> None:
    order, *_ = begin(consumer, pair, after=1, deadline_s=8)
    pair[1].kill()
    assert pair[0].wait_final(order.job, 30).state == "expired"
    pair[1].start()
    assert pair[1].wait_final(order.job, 30).state == "expired"


def test_settings_bound_how_often_and_how_long(consumer: Consumer, pair: Pair) -> None:
    left, right = pair
    for name, value in (("MAX_RECONNECTS", "0"), ("RECONNECT_TIMEOUT_S", "1")):
        left.stop()
        left.environment = {f"LIUTONG_NODE__PEERS__{name}": value}
        try:
            left.start()
            order, *_ = begin(consumer, pair, after=1)
            right.kill()
            status = left.wait_final(order.job, 30)
            assert (status.state, status.reason) == ("failed", "wire.peer_lost")
            right.start()
            # The way back is closed there, and it says so.
            assert right.wait_final(order.job, 30).reason == "wire.peer_refused"
        finally:
            left.environment = {}
            left.stop()
            left.start()


def test_what_a_killed_process_left_lying_about_is_swept_at_the_next_start(pair: Pair) -> None:
    left = pair[0]
    left.stop()
    orphan = left.home / "work" / ("0x" + "5a" * 32)
    orphan.mkdir()
    (orphan / "file").touch()
    left.start()
    assert not orphan.exists()


def test_paths_are_the_owners_only(consumer: Consumer, pair: Pair) -> None:
    order, *_ = begin(consumer, pair, after=1)
    for folder in ("work", "cache", "snapshots"):
        for path in [pair[0].home / folder, *(pair[0].home / folder).rglob("*")]:
            assert path.stat().st_mode & 0o077 == 0, path
    assert list((pair[0].home / "snapshots").glob("*.arrow"))
    assert pair[0].wait_final(order.job).state == "completed"


def consumer_plays_right(consumer: Consumer, node: RunningNode) -> tuple[Order, Granted]:
    granted = node.grant(consumer)
    left = granted.participant("left")
    right = msgspec.structs.replace(
        left, role="right", party=consumer.id, grant=None, dataset=None, commitment=None, columns=()
    )
    order = consumer.order("test.buckets", SLOW, [("left", granted)], participants=(left, right))
    return order, granted


async def play_until(order: Order, node: RunningNode, buckets: int | None) -> None:
    """Take the consumer's part for so many buckets (None: not even agree where to begin), then hang up."""
    channel = await reach(order, node, dialler_role="right", acceptor_role="left")
    if buckets is None:
        await channel.receive()
        await channel.close()
        return
    spec = order.submission.spec
    binding = session_binding(from_hex(order.job), from_hex(order.submission.request.spec_hash))
    journal = Journal(MemoryWorkspace(), "right", binding, inputs_of(spec, binding))

    def start(resumed: int) -> Steps:
        assert resumed == 0
        for bucket in range(buckets):
            yield Send("left", bucket_kinds.Share(bucket, bytes(16)))
            yield from receive("left", bucket_kinds.Share)
            yield Checkpoint(bucket + 1)
        raise PeerLost("that is all", peer_code="")

    with pytest.raises(PeerLost, match="that is all"):
        await run_resumable(start, {"left": channel}, journal=journal)


@pytest.mark.parametrize(("buckets", "charged"), [(None, 0), (2, BUCKETS)])
async def test_a_consumer_that_was_sent_buckets_before_a_restart_is_charged_after_it(
    consumer: Consumer, pair: Pair, buckets: int | None, charged: int
) -> None:
    left = pair[0]
    order, _ = consumer_plays_right(consumer, left)
    await asyncio.to_thread(left.portal.submit, order.submission)
    await play_until(order, left, buckets)
    await asyncio.to_thread(reconnects, left, order)
    await asyncio.to_thread(left.kill)
    await asyncio.to_thread(left.start)
    assert (await asyncio.to_thread(left.portal.cancel, order.job)).state == "cancelled"
    # Agreeing where to begin gives nothing away; a bucket does, whichever process sent it.
    assert left.receipt_of(order.job).units == charged


async def test_a_consumers_own_role_outlives_a_cut_as_well(consumer: Consumer, pair: Pair) -> None:
    left = pair[0]
    proxy = Proxy(left.port)
    try:
        order, _ = consumer_plays_right(consumer, left)
        await asyncio.to_thread(left.portal.submit, order.submission)
        spec, address = order.submission.spec, left.portal.identity().address
        kind = job_kind(spec.kind)
        binding = session_binding(from_hex(order.job), from_hex(order.submission.request.spec_hash))
        session = Session("right", spec, kind.parse(spec), binding, 2, os.urandom)
        identity = Identity(consumer.id, NodeSigner(consumer.party.key), consumer.party.box_private)
        table = pa.table({"patient_id": ["p1"]})
        playing = asyncio.create_task(
            run_consumer_role(
                dataclasses.replace(kind, start=lambda ours, _: kind.start(ours, table)),
                session,
                order.job,
                {"left": (left.party, proxy.url)},
                identity,
                lambda party: {address},
                deadline=order.submission.request.deadline,
                on_progress=lambda progress: None,
                cancel=asyncio.Event(),
            )
        )
        await asyncio.to_thread(
            wait_for, lambda: status_of(left, order).done >= 3 or playing.done(), 60, left.log
        )
        proxy.cut()
        result = await asyncio.wait_for(playing, 60)
        status = await asyncio.to_thread(left.wait_final, order.job)
        assert (status.state, status.attempts) == ("completed", 2)
        assert "0x" + result.transcript.hex() == left.receipt_of(order.job).transcript
        assert result.output.units == BUCKETS
    finally:
        proxy.close()
