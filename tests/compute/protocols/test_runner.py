"""The runner: same messages, same transcript at both ends, and a typed end for everything that goes wrong."""

import asyncio
from collections.abc import Generator

import pytest

from compute.errors import BadMessage, CohortTooSmall, JobCancelled, PeerLost, ProtocolAbort
from compute.protocols.local import run_local
from compute.protocols.protocol import Message, Output, Progress, Send, Steps, receive
from compute.protocols.runner import Finished, run
from compute.wire import codec
from compute.wire.channel import MemoryChannel, memory_channels

BINDING = b"\x01" * 32


class Ball(Message, frozen=True, tag="test.ball"):
    hits: int
    weight: bytes = b""


def ping(rounds: int, weight: bytes = b"") -> Steps:
    hits = 0
    for index in range(rounds):
        yield Progress("play", index, rounds)
        yield Send("pong", Ball(hits + 1, weight))
        hits = (yield from receive("pong", Ball)).hits
    return Output(units=hits)


def pong(rounds: int) -> Steps:
    hits = 0
    for _ in range(rounds):
        hits = (yield from receive("ping", Ball)).hits
        yield Send("ping", Ball(hits + 1))
    return Output(units=hits)


def failing(error: Exception) -> Steps:
    yield from receive("ping", Ball)
    raise error


def greedy() -> Steps:
    for _ in range(1000):
        yield from receive("ping", Ball)
    return Output()


def shouting(peer: str, count: int) -> Steps:
    """Sends everything before it reads anything."""
    for index in range(count):
        yield Send(peer, Ball(index, bytes(1 << 16)))
    for index in range(count):
        assert (yield from receive(peer, Ball)).hits == index
    return Output()


async def play(one: Steps, other: Steps, **options: object):
    left, right = memory_channels()
    return await asyncio.gather(
        run(one, {"pong": left}, role="ping", binding=BINDING, **options),
        run(other, {"ping": right}, role="pong", binding=BINDING, **options),
        return_exceptions=True,
    )


async def test_both_ends_get_output_and_the_same_transcript() -> None:
    seen: list[Progress] = []
    one, other = await play(ping(3), pong(3), on_progress=seen.append)
    assert (one.output.units, other.output.units) == (6, 5)
    assert one.transcript == other.transcript
    assert one.peer_transcripts["pong"] == other.peer_transcripts["ping"]
    assert (one.bytes_in, one.bytes_out) == (other.bytes_out, other.bytes_in)
    assert [step.done for step in seen] == [0, 1, 2]


async def test_local_and_channel_runs_give_the_same_transcript() -> None:
    one, _ = await play(ping(2), pong(2))
    local = run_local({"ping": ping(2), "pong": pong(2)}, binding=BINDING)
    assert local.transcripts["ping"].digest() == local.transcripts["pong"].digest() == one.transcript
    assert local.bytes_sent("ping") == one.bytes_out


async def test_two_roles_that_both_send_first_do_not_block_each_other() -> None:
    one, other = await play(shouting("pong", 50), shouting("ping", 50))
    assert isinstance(one.output, Output)
    assert isinstance(other.output, Output)


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (ProtocolAbort("bad point"), ProtocolAbort),
        (BadMessage("garbage"), ProtocolAbort),
        (CohortTooSmall("three rows"), CohortTooSmall),
        (ZeroDivisionError("a bug"), PeerLost),
    ],
)
async def test_an_error_of_one_role_ends_both(error: Exception, seen: type[Exception]) -> None:
    one, other = await play(ping(3), failing(error))
    assert other is error
    assert type(one) is seen
    assert "bad point" not in str(one), "a peer learns the code, not the reason"


async def test_garbage_and_wrong_type_are_bad_messages() -> None:
    for data in (b"", b"\xff\xff", codec.encode(Finished(bytes(32))), b"\x93" * 100_000):
        left, right = memory_channels()
        await right.send(data)
        with pytest.raises(BadMessage):
            await run(ping(1), {"pong": left}, role="ping", binding=BINDING)
        await right.receive()
        with pytest.raises(PeerLost) as caught:
            await right.receive()
        assert caught.value.detail["peer_code"] == BadMessage.code


async def test_a_peer_with_another_transcript_is_an_abort() -> None:
    left, right = memory_channels()

    async def liar(channel: MemoryChannel) -> None:
        await channel.receive()
        await channel.send(codec.encode(Ball(2)))
        await channel.send(codec.encode(Finished(bytes(32))))

    honest, _ = await asyncio.gather(
        run(ping(1), {"pong": left}, role="ping", binding=BINDING), liar(right), return_exceptions=True
    )
    assert type(honest) is ProtocolAbort


async def test_a_peer_that_ends_early_is_an_abort() -> None:
    one, _ = await play(ping(3), pong(2))
    assert isinstance(one, BadMessage | ProtocolAbort)


async def test_silence_is_peer_lost() -> None:
    left, _right = memory_channels()
    with pytest.raises(PeerLost):
        await run(ping(1), {"pong": left}, role="ping", binding=BINDING, timeout_s=0.05)


async def test_cancel_ends_a_waiting_and_a_computing_role_and_its_peer() -> None:
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def busy() -> Generator[Send, None, Output]:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(timeout=5)
        yield Send("pong", Ball(1))
        return Output()

    slow = busy()
    for steps in (pong_first(), slow):
        cancel = asyncio.Event()
        left, right = memory_channels()
        task = asyncio.create_task(run(steps, {"pong": left}, role="ping", binding=BINDING, cancel=cancel))
        peer = asyncio.create_task(run(greedy(), {"ping": right}, role="pong", binding=BINDING))
        await asyncio.sleep(0.02)
        cancel.set()
        with pytest.raises(JobCancelled):
            await task
        if steps is slow:
            release.set()
        with pytest.raises(JobCancelled):
            await peer


async def test_a_role_without_channel_is_an_abort() -> None:
    with pytest.raises(ProtocolAbort):
        await run(ping(1), {}, role="ping", binding=BINDING)


def test_local_deadlock_and_unread_messages_are_aborts() -> None:
    with pytest.raises(ProtocolAbort, match="no role can go on"):
        run_local({"ping": pong_first(), "pong": pong(1)})
    with pytest.raises(ProtocolAbort, match="ended before"):
        run_local({"ping": ping(1), "pong": ended()})


def pong_first() -> Steps:
    yield from receive("pong", Ball)
    return Output()


def ended() -> Steps:
    yield Send("ping", Ball(1))
    return Output()
