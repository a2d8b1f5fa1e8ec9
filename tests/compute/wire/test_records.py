"""Encrypted records: long messages, limits, and what any meddling on the line leads to."""

from __future__ import annotations

import asyncio
import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compute.errors import BadMessage, PeerLost
from compute.wire.channel import LEAST_WEIGHT
from compute.wire.records import ChannelLimits, RecordKey, SecureChannel
from compute.wire.transport import memory_transports

LIMITS = ChannelLimits(
    max_message_bytes=1000, max_buffered_bytes=2000, idle_timeout_s=0.4, heartbeat_s=0.1, chunk_bytes=100
)
KEY_A, KEY_B = b"a" * 32, b"b" * 32


@contextlib.asynccontextmanager
async def one_end(limits=LIMITS, capacity=16):
    """A channel, the bare transport of its peer, and the peer's keys: (sending, receiving)."""
    ours, theirs = memory_transports(capacity=capacity)
    channel = SecureChannel(
        ours,
        sending=RecordKey(KEY_A),
        receiving=RecordKey(KEY_B),
        peer_party="0x" + "bb" * 32,
        peer_role="right",
        limits=limits,
    )
    try:
        yield channel, theirs, RecordKey(KEY_B), RecordKey(KEY_A)
    finally:
        await channel.close()


@contextlib.asynccontextmanager
async def both_ends(limits=LIMITS, capacity=16):
    ours, theirs = memory_transports(capacity=capacity)
    channels = [
        SecureChannel(
            transport,
            sending=RecordKey(mine),
            receiving=RecordKey(yours),
            peer_party="0x" + "bb" * 32,
            peer_role=role,
            limits=limits,
        )
        for transport, mine, yours, role in [(ours, KEY_A, KEY_B, "right"), (theirs, KEY_B, KEY_A, "left")]
    ]
    try:
        yield channels
    finally:
        await asyncio.gather(*(channel.close() for channel in channels))


def first(total, chunk):
    return struct.pack(">BQ", 1, total) + chunk


@pytest.mark.parametrize("length", [0, 1, 99, 100, 101, 200, 999, 1000])
async def test_messages_of_every_length_arrive_whole(length):
    message = bytes(index % 251 for index in range(length))
    async with both_ends() as (left, right):
        await left.send(message)
        await left.send(b"next")
        assert await right.receive() == message
        assert await right.receive() == b"next"


async def test_a_message_above_the_limit_is_not_sent():
    async with both_ends() as (left, _):
        with pytest.raises(BadMessage, match="1001 bytes"):
            await left.send(b"x" * 1001)


async def test_both_may_send_much_before_either_reads():
    """Reading ahead keeps two eager senders from waiting for each other."""
    async with both_ends(capacity=2) as (left, right):

        async def talk(channel):
            for number in range(4):
                await channel.send(bytes([number]) * 400)
            return [await channel.receive() for _ in range(4)]

        answers = await asyncio.gather(talk(left), talk(right))
    assert answers == [[bytes([number]) * 400 for number in range(4)]] * 2


async def test_a_peer_that_never_reads_is_given_up_on():
    async with one_end(capacity=2) as (channel, _, _, _):
        with pytest.raises(PeerLost, match="took nothing"):
            await channel.send(b"x" * 1000)


async def test_a_peer_that_computes_for_long_with_full_buffers_is_waited_for():
    """It reads nothing, but its heart beats; and when it reads again it has not missed ours."""
    async with both_ends(capacity=1) as (left, right):

        async def talk(channel):
            for number in range(12):
                await channel.send(bytes([number]) * 900)

        talking = [asyncio.create_task(talk(channel)) for channel in (left, right)]
        await asyncio.sleep(3 * LIMITS.idle_timeout_s)
        assert not any(task.done() for task in talking), "both are held back"
        for channel in (left, right):
            assert [(await channel.receive())[0] for _ in range(12)] == list(range(12))
        await asyncio.gather(*talking)


TAMPERED = {
    "a flipped bit": lambda record: record[:-1] + bytes([record[-1] ^ 1]),
    "a flipped bit in the length": lambda record: bytes([record[0] ^ 1]) + record[1:],
    "cut short": lambda record: record[:-1],
    "cut to nothing": lambda record: b"",
    "made longer": lambda record: record + b"\x00",
    "garbage": lambda record: bytes(len(record)),
}


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED.keys())
async def test_a_tampered_record_ends_the_channel(tamper):
    async with one_end() as (channel, line, sealing, _):
        await line.send_frame(tamper(sealing.seal(first(2, b"hi"))))
        with pytest.raises(BadMessage):
            await channel.receive()
        with pytest.raises(BadMessage):
            await channel.send(b"anything")
        assert channel.lost.is_set()


async def test_a_replayed_record_does_not_open():
    async with one_end() as (channel, line, sealing, _):
        record = sealing.seal(first(2, b"hi"))
        await line.send_frame(record)
        await line.send_frame(record)
        assert await channel.receive() == b"hi"
        with pytest.raises(BadMessage):
            await channel.receive()


async def test_a_dropped_record_is_noticed():
    async with one_end() as (channel, line, sealing, _):
        sealing.seal(first(4, b"lost"))
        await line.send_frame(sealing.seal(first(2, b"hi")))
        with pytest.raises(BadMessage):
            await channel.receive()


async def test_our_own_record_sent_back_does_not_open():
    async with one_end() as (channel, line, _, _):
        await channel.send(b"hi")
        await line.send_frame(await line.receive_frame())
        with pytest.raises(BadMessage):
            await channel.receive()


LIES = {
    "a length above the limit": [first(1001, b"x" * 100)],
    "a length of 2^64 - 1": [first((1 << 64) - 1, b"x" * 100)],
    "more than was announced": [first(2, b"three")],
    "less than a full chunk": [first(300, b"x" * 99)],
    "an empty chunk": [first(300, b"x" * 100), b"\x02"],
    "a chunk too long": [first(150, b"x" * 100), b"\x02" + b"x" * 51],
    "a continuation of nothing": [b"\x02abc"],
    "a new message within another": [first(150, b"x" * 100), first(2, b"hi")],
    "no length": [b"\x01\x00"],
    "an unknown kind": [b"\x09"],
    "an empty record": [b""],
    "a heartbeat with a body": [b"\x03x"],
    "an endless closing word": [b"\x04" + b"x" * 1000],
    "a closing word without its parts": [b"\x04code"],
}


@pytest.mark.parametrize("records", LIES.values(), ids=LIES.keys())
async def test_a_peer_that_lies_about_lengths_or_kinds_is_refused(records):
    """These records are properly sealed: the peer itself misbehaves."""
    async with one_end() as (channel, line, sealing, _):
        for record in records:
            await line.send_frame(sealing.seal(record))
        with pytest.raises(BadMessage):
            await channel.receive()


async def test_a_cut_line_is_told_from_an_orderly_end():
    async with one_end() as (channel, line, sealing, _):
        await line.send_frame(sealing.seal(first(2, b"hi")))
        await asyncio.sleep(0)
        assert await channel.receive() == b"hi"
        await line.close()
        with pytest.raises(PeerLost) as caught:
            await channel.receive()
        assert caught.value.detail["peer_code"] == ""

    async with both_ends() as (left, right):
        await left.send(b"result")
        await left.close("protocol.abort", "the cohort is too small")
        assert await right.receive() == b"result"
        with pytest.raises(PeerLost) as caught:
            await right.receive()
        assert caught.value.detail["peer_code"] == "protocol.abort"
        with pytest.raises(PeerLost):
            await right.send(b"too late")


async def test_a_message_cut_in_the_middle_is_never_given_out():
    async with one_end() as (channel, line, sealing, _):
        await line.send_frame(sealing.seal(first(150, b"x" * 100)))
        await asyncio.sleep(0.01)
        await line.close()
        with pytest.raises(PeerLost):
            await channel.receive()


async def test_a_silent_peer_is_lost():
    async with one_end() as (channel, _, _, _):
        with pytest.raises(PeerLost, match="silent"):
            await channel.receive()


async def test_a_peer_that_computes_for_long_is_not_lost():
    limits = ChannelLimits(idle_timeout_s=1.5, heartbeat_s=0.1)
    async with both_ends(limits) as (left, right):
        waiting = asyncio.create_task(right.receive())
        await asyncio.sleep(2)
        await left.send(b"done")
        assert await waiting == b"done"


async def test_a_lost_peer_is_noticed_without_receiving():
    async with both_ends() as (left, right):
        await left.close("job.cancelled")
        await asyncio.wait_for(right.lost.wait(), 1)


async def test_an_interrupted_send_ends_the_channel_on_both_sides():
    """Half a message must not be followed by another as if nothing had happened."""
    async with both_ends(capacity=1) as (left, _):
        # The right side takes in two messages and then waits for somebody to read them.
        sending = asyncio.create_task(left.send(b"a" * 1000))
        for _ in range(4):
            done, _ = await asyncio.wait({sending}, timeout=0.3)
            if not done:
                break
            sending = asyncio.create_task(left.send(b"a" * 1000))
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        with pytest.raises(PeerLost):
            await left.send(b"more")


async def test_the_closing_word_can_be_read_after_an_interrupted_send():
    """A record that was sealed and not sent would make the next one look forged."""
    async with both_ends(capacity=1) as (left, right):
        sending = asyncio.create_task(left.send(b"a" * 1000))
        for _ in range(6):
            await asyncio.sleep(0.05)
            if sending.done():
                sending = asyncio.create_task(left.send(b"a" * 1000))
        assert not sending.done()
        sending.cancel()
        closing = asyncio.create_task(left.close("data.disk_full"))

        async def read_all():
            while True:
                await right.receive()

        with pytest.raises(PeerLost) as caught:
            await read_all()
        assert caught.value.detail["peer_code"] == "data.disk_full"
        await closing


async def test_the_closing_word_counts_also_for_who_was_sending():
    async with both_ends(capacity=1) as (left, right):

        async def talk():
            while True:
                await left.send(b"x" * 900)

        talking = asyncio.create_task(talk())
        await asyncio.sleep(0.05)
        await right.close("job.cancelled")
        with pytest.raises(PeerLost):
            await talking
        with pytest.raises(PeerLost) as caught:
            await left.receive()
        assert caught.value.detail["peer_code"] == "job.cancelled"


@pytest.mark.parametrize("direction", ["sending", "receiving"])
async def test_a_cancelled_task_ends_whenever_the_cancellation_comes(direction):
    async def for_ever(step):
        while True:
            await step()

    for turns in range(25):
        async with both_ends() as (left, right):
            tasks = [
                asyncio.create_task(for_ever(lambda channel=left: channel.send(b"x"))),
                asyncio.create_task(for_ever(right.receive)),
            ]
            ours = tasks[0] if direction == "sending" else tasks[1]
            for _ in range(turns):
                await asyncio.sleep(0)
            ours.cancel()
            await asyncio.wait({ours}, timeout=1)
            assert ours.cancelled(), f"after {turns} turns of the loop"
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=1)


async def test_a_channel_says_nothing_of_its_keys():
    async with one_end() as (channel, _, sealing, _):
        assert KEY_A.hex() not in repr(vars(channel))
        assert "aaaa" not in repr(channel) + repr(sealing)


async def test_closing_twice_and_using_a_closed_channel():
    async with both_ends() as (left, _):
        await left.close()
        await left.close("x")
        with pytest.raises(PeerLost):
            await left.send(b"x")
        with pytest.raises(PeerLost):
            await left.receive()


@pytest.mark.parametrize("length", [100, 1, 0])
async def test_a_flooding_peer_fills_a_bounded_buffer_and_then_waits(length: int):
    async with one_end(capacity=2) as (channel, line, sealing, _):

        async def flood():
            while True:
                await line.send_frame(sealing.seal(first(length, b"x" * length)))

        flooding = asyncio.create_task(flood())
        await asyncio.sleep(0.05)
        assert channel._buffered_bytes <= LIMITS.max_buffered_bytes
        assert len(channel._inbox) <= LIMITS.max_buffered_bytes // max(length, LEAST_WEIGHT)
        assert not flooding.done()
        # Reading makes room again, and nothing was lost on the way.
        for _ in range(100):
            assert await channel.receive() == b"x" * length
        flooding.cancel()


@given(st.lists(st.binary(max_size=120) | st.builds(first, st.integers(0, 1 << 63), st.binary(max_size=110))))
@settings(max_examples=60, deadline=None)
def test_no_sequence_of_sealed_records_does_anything_but_messages_and_typed_errors(records):
    async def run():
        async with one_end(capacity=1000) as (channel, line, sealing, _):
            for record in records:
                await line.send_frame(sealing.seal(record))
            await line.close()
            with contextlib.suppress(BadMessage, PeerLost):
                while True:
                    assert len(await channel.receive()) <= LIMITS.max_message_bytes

    asyncio.run(run())
