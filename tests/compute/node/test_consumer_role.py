"""A consumer that runs a role itself dials the node, and pays for what it was sent if it hangs up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from compute.client import StatementKey
from compute.errors import HandshakeFailed, PeerLost, PeerRefused
from compute.node.peers import PeerNotReady
from compute.protocols import runner
from compute.protocols.protocol import Session, job_kind
from compute.wire.binding import session_binding
from compute.wire.canonical import from_hex
from compute.wire.handshake import Meeting, dial
from compute.wire.records import SecureChannel
from compute.wire.websocket import connect_websocket
from tests.chain_lab import Lab
from tests.compute.node.rig import Consumer, Granted, Order, RunningNode

PIR = {"columns": ["diagnosis"], "rows": [1, 4]}


def ask(consumer: Consumer, granted: Granted) -> Order:
    server = granted.participant("server")
    client = msgspec.structs.replace(
        server, role="client", party=consumer.id, grant=None, dataset=None, commitment=None, columns=()
    )
    return consumer.order("pir.row", PIR, [("server", granted)], participants=(server, client))


async def reach(order: Order, node: RunningNode, key: bytes | None = None, **changes: str) -> SecureChannel:
    """Dial the node for the consumer's role, again and again until the job is open there."""
    meeting = Meeting(
        **{
            "job": order.job,
            "dialler": order.consumer.id,
            "dialler_role": "client",
            "acceptor": node.party,
            "acceptor_role": "server",
            **changes,
        }
    )
    address = node.portal.identity().address
    signer = StatementKey(key or order.consumer.party.key)
    for _ in range(100):
        try:
            transport = await connect_websocket(node.url)
            return await dial(transport, meeting, signer, lambda party: {address})
        except PeerRefused as error:
            if error.detail["peer_code"] != PeerNotReady.code:
                raise
            await asyncio.sleep(0.1)
    raise AssertionError("the node never opened the job")


async def play(order: Order, channel: SecureChannel) -> Any:
    spec = order.submission.spec
    kind = job_kind(spec.kind)
    binding = session_binding(from_hex(order.job), from_hex(order.submission.request.spec_hash))
    session = Session("client", spec, kind.parse(spec), binding, 2, os.urandom, order.kept)
    steps = kind.start(session, None)
    result = await runner.run(steps, {"server": channel}, role="client", binding=binding)
    assert result.output.sealed is not None
    return kind.open_result(session, {"client": result.output.sealed})


async def in_time(work: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(60):
        return await work()


async def test_a_consumer_fetches_rows_and_is_charged_its_queries(
    east: RunningNode, consumer: Consumer
) -> None:
    granted = east.grant(consumer)
    order = ask(consumer, granted)
    await asyncio.to_thread(east.portal.submit, order.submission)
    channel = await in_time(lambda: reach(order, east))
    result = await in_time(lambda: play(order, channel))
    assert [answer["found"] for answer in result["answers"]] == [True, True]
    assert result["answers"][0]["records"] == [{"diagnosis": "M"}]
    status = await asyncio.to_thread(east.wait_final, order.job)
    assert status.state == "completed", status
    assert east.receipt_of(order.job).units == 2
    east.commit_all()
    record = consumer.lab.chain.grant(from_hex(granted.grant))
    assert record is not None
    assert (record.used, record.reserved) == (2, 0)


async def test_a_consumer_that_hangs_up_after_an_answer_is_charged_all_it_reserved(
    east: RunningNode, consumer: Consumer
) -> None:
    granted = east.grant(consumer)
    order = ask(consumer, granted)
    await asyncio.to_thread(east.portal.submit, order.submission)
    channel = await in_time(lambda: reach(order, east))
    first = await in_time(channel.receive)
    assert first
    await channel.close("wire.peer_lost")
    status = await asyncio.to_thread(east.wait_final, order.job)
    assert status.state == "failed"
    assert east.receipt_of(order.job).units == 2
    east.commit_all()
    assert order.reservation_state(granted.grant) == "SETTLED"


async def test_a_proven_peer_that_sends_garbage_ends_the_job_with_a_typed_error(
    east: RunningNode, consumer: Consumer
) -> None:
    order = ask(consumer, east.grant(consumer))
    await asyncio.to_thread(east.portal.submit, order.submission)
    channel = await in_time(lambda: reach(order, east))
    await channel.send(b"\xc1 this is no message")
    status = await asyncio.to_thread(east.wait_final, order.job)
    assert (status.state, status.reason) == ("failed", "wire.bad_message")
    await channel.close()
    east.commit_all()
    assert east.portal.health().status == "ok"


async def test_nobody_takes_the_consumers_role(east: RunningNode, consumer: Consumer, lab: Lab) -> None:
    order = ask(consumer, east.grant(consumer))
    await asyncio.to_thread(east.portal.submit, order.submission)
    mallory = Consumer(lab)
    # In its own name it is not expected; in the consumer's name it cannot prove the key.
    with pytest.raises(PeerRefused):
        await in_time(lambda: reach(order, east, mallory.party.key, dialler=mallory.id))
    with pytest.raises((HandshakeFailed, PeerLost)):
        await in_time(lambda: reach(order, east, mallory.party.key))
    assert east.portal.job(order.job).state == "running"
    assert east.portal.cancel(order.job).state == "cancelled"
    assert east.receipt_of(order.job).units == 0
    with pytest.raises(PeerRefused):
        await in_time(lambda: reach(order, east))
