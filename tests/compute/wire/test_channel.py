"""A channel in memory behaves like a real one: order, limits, silence and closing."""

from __future__ import annotations

import asyncio

import pytest

from compute.errors import BadMessage, PeerLost
from compute.wire.channel import memory_channels


async def test_messages_arrive_in_order_and_both_ways():
    left, right = memory_channels()
    await left.send(b"1")
    await left.send(b"2")
    await right.send(b"3")
    assert [await right.receive(), await right.receive(), await left.receive()] == [b"1", b"2", b"3"]


async def test_a_message_above_the_limit_is_not_sent():
    left, _ = memory_channels(max_message_bytes=10)
    await left.send(b"x" * 10)
    with pytest.raises(BadMessage, match="11 bytes"):
        await left.send(b"x" * 11)


async def test_a_silent_peer_is_lost():
    left, _ = memory_channels(idle_timeout_s=0.05)
    with pytest.raises(PeerLost, match="silent"):
        await left.receive()


async def test_what_was_sent_before_closing_still_arrives_and_then_the_code():
    left, right = memory_channels()
    await left.send(b"last words")
    await left.close("job.cancelled", "the consumer cancelled")
    await left.close()
    assert await right.receive() == b"last words"
    for _ in range(2):
        with pytest.raises(PeerLost) as caught:
            await right.receive()
        assert caught.value.detail["peer_code"] == "job.cancelled"
    with pytest.raises(PeerLost):
        await right.send(b"too late")


async def test_closing_wakes_a_waiting_receiver():
    left, right = memory_channels()
    waiting = asyncio.create_task(right.receive())
    await asyncio.sleep(0)
    await left.close()
    with pytest.raises(PeerLost) as caught:
        await waiting
    assert caught.value.detail["peer_code"] == ""
