"""The runner: same messages, same transcript at both ends, and a typed end for everything that goes wrong."""

import asyncio
import contextlib
import dataclasses
import errno
import os
from collections.abc import AsyncIterator, Generator, Mapping
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.errors import (
    BackendUnavailable,
    BadEncoding,
    DeviceOutOfMemory,
    InvalidCiphertext,
    InvalidPoint,
    SelfTestFailed,
)
from compute.disk import typed
from compute.errors import (
    BadMessage,
    CancelledElsewhere,
    CohortTooSmall,
    DataError,
    DiskFull,
    JobCancelled,
    OutOfMemory,
    PeerLost,
    ProtocolAbort,
)
from compute.protocols.checkpoints import Journal, Mark, Resuming, State
from compute.protocols.directory import DirectoryWorkspace
from compute.protocols.lines import Room
from compute.protocols.local import run_local
from compute.protocols.protocol import (
    Call,
    Checkpoint,
    Message,
    Output,
    Progress,
    Send,
    Steps,
    compute,
    receive,
)
from compute.protocols.runner import Finished, Traffic, run, run_resumable
from compute.protocols.workspace import MemoryWorkspace, Workspace
from compute.wire import codec
from compute.wire.channel import MemoryChannel, memory_channels
from compute.wire.records import ChannelLimits, RecordKey, SecureChannel
from compute.wire.transport import memory_transports

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


# Small lines, so that a few megabytes are much.
TIGHT = Room(memory_bytes=1 << 18)


@contextlib.asynccontextmanager
async def wired(*pairs: tuple[str, str]) -> AsyncIterator[dict[str, dict[str, SecureChannel]]]:
    """Real channels with small buffers between these roles, over lines that take a few frames."""
    limits = ChannelLimits(max_message_bytes=1 << 20, max_buffered_bytes=1 << 18)
    ends: dict[str, dict[str, SecureChannel]] = {role: {} for pair in pairs for role in pair}
    for one, other in pairs:
        keys = {one: os.urandom(32), other: os.urandom(32)}
        for (role, peer), transport in zip(
            ((one, other), (other, one)), memory_transports(capacity=2), strict=True
        ):
            ends[role][peer] = SecureChannel(
                transport,
                sending=RecordKey(keys[role]),
                receiving=RecordKey(keys[peer]),
                peer_party="0x" + "bb" * 32,
                peer_role=peer,
                limits=limits,
            )
    try:
        yield ends
    finally:
        for channels in ends.values():
            for channel in channels.values():
                await channel.close()


async def test_two_roles_that_both_send_a_hundred_megabytes_first_do_not_wait_for_each_other(
    tmp_path: Path,
) -> None:
    room = dataclasses.replace(TIGHT, folder=tmp_path)
    async with wired(("ping", "pong")) as ends, asyncio.timeout(60):
        one, other = await asyncio.gather(
            run(shouting("pong", 1600), ends["ping"], role="ping", binding=BINDING, room=room),
            run(shouting("ping", 1600), ends["pong"], role="pong", binding=BINDING, room=room),
        )
    assert one.transcript == other.transcript
    assert one.bytes_out > 100 << 20
    assert list(tmp_path.iterdir()) == [], "what was sent ahead has no name"


async def test_a_ring_of_roles_that_each_wait_for_another_goes_on() -> None:
    """Each one's peer waits for the third: who waits must listen to all, not only to whom it waits for."""

    def ringed(to: str, of: str) -> Steps:
        for index in range(40):
            yield Send(to, Ball(index, bytes(1 << 16)))
        yield Send(of, Ball(1))
        yield from receive(to, Ball)
        for index in range(40):
            assert (yield from receive(of, Ball)).hits == index
        return Output()

    async with wired(("ping", "pong"), ("pong", "pang"), ("pang", "ping")) as ends, asyncio.timeout(30):
        results = await asyncio.gather(
            *(
                run(ringed(to, of), ends[role], role=role, binding=BINDING, room=TIGHT)
                for role, to, of in (
                    ("ping", "pong", "pang"),
                    ("pong", "pang", "ping"),
                    ("pang", "ping", "pong"),
                )
            )
        )
    assert len(results) == 3


async def test_a_role_that_sends_to_a_peer_that_takes_nothing_holds_a_bounded_part_of_it() -> None:
    sent: list[int] = []

    def sending() -> Steps:
        for index in range(1000):
            sent.append(index)
            yield Send("pong", Ball(index, bytes(1 << 16)))
        return Output()

    async with wired(("ping", "pong")) as ends:
        with pytest.raises(PeerLost, match="took nothing"):
            await run(sending(), ends["ping"], role="ping", binding=BINDING, room=TIGHT, timeout_s=0.5)
    # The line's own queue, two frames, the peer's buffer, and one message on the way at each of them.
    assert len(sent) <= 2 * (1 << 18) // (1 << 16) + 2 + 4


async def test_a_peer_that_sends_more_ahead_than_the_disk_may_hold_is_an_abort(tmp_path: Path) -> None:
    room = Room(memory_bytes=1 << 18, disk_bytes=1 << 20, folder=tmp_path)
    async with wired(("ping", "pong"), ("pang", "ping")) as ends:

        async def flood() -> None:
            with contextlib.suppress(PeerLost):
                while True:
                    await ends["pang"]["ping"].send(bytes(1 << 16))

        flooding = asyncio.create_task(flood())
        with pytest.raises(ProtocolAbort, match="pang sent more than"):
            await run(pong_first(), ends["ping"], role="ping", binding=BINDING, room=room, timeout_s=20)
        with pytest.raises(PeerLost) as caught:
            await ends["pong"]["ping"].receive()
        assert caught.value.detail["peer_code"] == ProtocolAbort.code
        await flooding


async def test_a_message_that_the_channel_does_not_take_ends_both_sides_at_once() -> None:
    def asks() -> Steps:
        yield Send("pong", Ball(1, bytes(2000)))
        yield from receive("pong", Ball)
        return Output()

    def answers() -> Steps:
        yield from receive("ping", Ball)
        yield Send("ping", Ball(2))
        return Output()

    left, right = memory_channels(max_message_bytes=1000)
    async with asyncio.timeout(10):
        one, other = await asyncio.gather(
            run(asks(), {"pong": left}, role="ping", binding=BINDING),
            run(answers(), {"ping": right}, role="pong", binding=BINDING),
            return_exceptions=True,
        )
    assert type(one) is BadMessage
    assert type(other) is ProtocolAbort


async def test_no_room_for_what_a_peer_sends_ahead_is_a_typed_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, data: bytes) -> None:
        with typed("messages"):
            raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr("compute.protocols.lines._Spill.push", full)
    room = dataclasses.replace(TIGHT, folder=tmp_path)
    async with wired(("ping", "pong")) as ends, asyncio.timeout(30):
        one, other = await asyncio.gather(
            run(shouting("pong", 200), ends["ping"], role="ping", binding=BINDING, room=room),
            run(shouting("ping", 200), ends["pong"], role="pong", binding=BINDING, room=Room()),
            return_exceptions=True,
        )
    assert type(one) is DiskFull
    assert type(other) is ProtocolAbort
    assert other.detail["peer_code"] == DiskFull.code


UNFIT = [
    InvalidPoint("point 3 is off the curve"),
    BadEncoding("truncated"),
    InvalidCiphertext("outside its group"),
    ValueError("cannot reshape array of size 7 into shape (4,)"),
    OverflowError("int too large to convert"),
    IndexError("index 9 is out of bounds"),
]


@pytest.mark.parametrize("error", UNFIT, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["step", "call"])
async def test_what_a_peer_sent_that_makes_a_step_fail_is_an_abort_that_names_it(
    error: Exception, where: str
) -> None:
    def calling() -> Steps:
        yield from receive("ping", Ball)
        yield from compute([Call(raising, (error,))])
        return Output()

    one, other = await play(ping(3), failing(error) if where == "step" else calling())
    assert type(other) is ProtocolAbort
    assert other.message == "what ping sent cannot be processed"
    assert other.__cause__ is error
    assert type(one) is ProtocolAbort
    assert str(error) not in str(one)


def raising(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("error", [*UNFIT, BackendUnavailable("no GPU here"), SelfTestFailed("wrong answer")])
async def test_what_fails_before_a_peer_was_heard_or_on_this_machine_is_our_own(error: Exception) -> None:
    def early() -> Steps:
        if isinstance(error, BackendUnavailable | SelfTestFailed):
            yield from receive("ping", Ball)
        yield Progress("begin")
        raise error

    _, other = await play(ping(3), early())
    assert other is error


async def test_traffic_is_known_also_of_a_run_that_ends_early() -> None:
    left, right = memory_channels()
    traffic = Traffic()
    await asyncio.gather(
        run(ping(3), {"pong": left}, role="ping", binding=BINDING, traffic=traffic),
        run(failing(RuntimeError("a bug")), {"ping": right}, role="pong", binding=BINDING),
        return_exceptions=True,
    )
    assert (traffic.bytes_in, traffic.bytes_out) == (0, len(codec.encode(Ball(1))))


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (ProtocolAbort("bad point"), ProtocolAbort),
        (BadMessage("garbage"), ProtocolAbort),
        (CohortTooSmall("three rows"), CohortTooSmall),
        (RuntimeError("a bug"), PeerLost),
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
        with pytest.raises(CancelledElsewhere, match="ping cancelled its part"):
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


# ---- checkpoints

INPUTS = {"ping": b"\x0a" * 32, "pong": b"\x0b" * 32, "pang": b"\x0c" * 32}
PAIR, TRIO = ("ping", "pong"), ("ping", "pong", "pang")


class Frayed:
    """A channel whose line breaks for both ends after so many messages sent on this side."""

    def __init__(self, channel: MemoryChannel, left: int) -> None:
        self._channel = channel
        self.left = left

    async def send(self, message: bytes) -> None:
        if self.left <= 0:
            # As a socket that broke: the other end learns no code.
            await self._channel.close("")
            raise PeerLost("cut", peer_code="")
        self.left -= 1
        await self._channel.send(message)

    async def receive(self) -> bytes:
        return await self._channel.receive()

    async def close(self, code: str = "", reason: str = "") -> None:
        await self._channel.close(code, reason)


def bucketed(role: str, roles: tuple[str, ...], buckets: int, log: list[int], workspace: Workspace):
    """Works through buckets with all peers; keeps each bucket's result; fresh randomness in every message."""

    def start(resumed: int) -> Steps:
        assert set(workspace.names()) >= {f"bucket.{done}" for done in range(resumed)}
        for bucket in range(resumed, buckets):
            for peer in roles:
                if peer != role:
                    yield Send(peer, Ball(bucket, os.urandom(9)))
            total = 0
            for peer in roles:
                if peer != role:
                    ball = yield from receive(peer, Ball)
                    assert ball.hits == bucket
                    total += ball.hits + 1
            workspace.append("spill", bytes([bucket]))
            workspace.write(f"bucket.{bucket}", bytes([total]))
            log.append(bucket)
            yield Checkpoint(bucket + 1)
        assert bytes(workspace.read("spill")) == bytes(range(buckets)), "settled spills go on"
        return Output(units=sum(workspace.read(f"bucket.{index}")[0] for index in range(buckets)))

    return start


def journal_of(role: str, workspace: Workspace, **changes: object) -> Journal:
    return Journal(**{"workspace": workspace, "role": role, "binding": BINDING, "inputs": INPUTS} | changes)


async def attempt(
    roles: tuple[str, ...],
    starts: Mapping[str, object],
    journals: Mapping[str, Journal],
    cut: Mapping[tuple[str, str], int],
):
    """All roles once, over fresh channels, some of which break."""
    ends: dict[str, dict[str, Frayed]] = {role: {} for role in roles}
    for index, one in enumerate(roles):
        for other in roles[:index]:
            left, right = memory_channels()
            ends[one][other] = Frayed(left, cut.get((one, other), 1 << 30))
            ends[other][one] = Frayed(right, cut.get((other, one), 1 << 30))
    results = await asyncio.gather(
        *(
            run_resumable(starts[role], ends[role], journal=journals[role], timeout_s=5)  # type: ignore[arg-type]
            for role in roles
        ),
        return_exceptions=True,
    )
    return dict(zip(roles, results, strict=True))


@pytest.mark.parametrize("roles", [PAIR, TRIO])
@pytest.mark.parametrize("on_disk", [False, True])
async def test_cut_at_every_message_and_resumed_gives_equal_transcripts_without_redoing(
    roles: tuple[str, ...], on_disk: bool, tmp_path: Path
) -> None:
    buckets = 3
    # Per peer: resuming, agreed, then a ball and a mark per bucket, and the end.
    for allowed in range(2 + 2 * buckets + 1):
        spaces: dict[str, Workspace] = {
            role: DirectoryWorkspace(tmp_path / f"{allowed}.{role}") if on_disk else MemoryWorkspace()
            for role in roles
        }
        logs: dict[str, list[int]] = {role: [] for role in roles}
        starts = {role: bucketed(role, roles, buckets, logs[role], spaces[role]) for role in roles}
        journals = {role: journal_of(role, spaces[role]) for role in roles}
        first = await attempt(roles, starts, journals, {("ping", "pong"): allowed})
        assert any(isinstance(result, PeerLost) for result in first.values())
        done = {role: sum(n.startswith("run.checkpoint.") for n in spaces[role].names()) for role in roles}
        assert max(done.values()) - min(done.values()) <= 1
        if any(not isinstance(result, PeerLost) for result in first.values()):
            # The last word was lost: one side has ended. Nothing can mend that, and nothing is redone.
            assert allowed == 2 + 2 * buckets
            continue
        results = await attempt(roles, starts, journals, {})
        assert not [result for result in results.values() if isinstance(result, Exception)], results
        for role in roles:
            assert results[role].output.units == buckets * (buckets + 1) // 2 * (len(roles) - 1)
            assert len(logs[role]) <= buckets + 1, "at most one finished bucket is done again"
            for peer in set(roles) - {role}:
                mine, theirs = results[role].peer_transcripts[peer], results[peer].peer_transcripts[role]
                assert mine == theirs
        if len(roles) == 2:
            assert results["ping"].transcript == results["pong"].transcript
            assert results["ping"].bytes_in == results["pong"].bytes_out
        # What counted is in it once: a run without a cut exchanges as much.
        assert results["ping"].bytes_out == (len(roles) - 1) * sum(
            len(codec.encode(Ball(bucket, bytes(9)))) for bucket in range(buckets)
        )


@given(st.lists(st.tuples(st.sampled_from(PAIR), st.integers(0, 12)), max_size=5), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_any_number_of_cuts_ends_in_equal_transcripts(cuts: list[tuple[str, int]], buckets: int) -> None:
    async def job() -> None:
        spaces = {role: MemoryWorkspace() for role in PAIR}
        logs: dict[str, list[int]] = {role: [] for role in PAIR}
        starts = {role: bucketed(role, PAIR, buckets, logs[role], spaces[role]) for role in PAIR}
        if buckets == 0:
            starts = dict.fromkeys(PAIR, lambda resumed: ended_quietly())
        journals = {role: journal_of(role, spaces[role]) for role in PAIR}
        for who, allowed in cuts:
            other = PAIR[1 - PAIR.index(who)]
            results = await attempt(PAIR, starts, journals, {(who, other): allowed})
            if any(not isinstance(result, PeerLost) for result in results.values()):
                return
        results = await attempt(PAIR, starts, journals, {})
        assert results["ping"].transcript == results["pong"].transcript
        assert all(len(log) <= buckets + len(cuts) for log in logs.values())

    asyncio.run(job())


def ended_quietly() -> Steps:
    yield Progress("nothing")
    return Output()


class Liar(Journal):
    """Announces what a test makes of it."""

    def announce(self, states: Mapping[int, State], peer: str) -> Resuming:
        return self.lie(super().announce(states, peer))

    def lie(self, truth: Resuming) -> Resuming:
        raise NotImplementedError


LIES = {
    "another job": lambda m: msgspec.structs.replace(m, binding=bytes(32)),
    "another input": lambda m: msgspec.structs.replace(m, inputs=bytes(32)),
    "a checkpoint far ahead": lambda m: msgspec.structs.replace(m, marks=(Mark(7, bytes(32)),)),
    "a lost workspace": lambda m: msgspec.structs.replace(m, marks=(Mark(0, bytes(32)),)),
    "a gap": lambda m: msgspec.structs.replace(m, marks=(Mark(1, bytes(32)), Mark(3, bytes(32)))),
    "backwards": lambda m: msgspec.structs.replace(m, marks=tuple(reversed(m.marks))),
    "twice the same": lambda m: msgspec.structs.replace(m, marks=(m.marks[0], m.marks[0])),
    "another history": lambda m: msgspec.structs.replace(
        m, marks=tuple(Mark(mark.index, bytes(31) + b"\x01") for mark in m.marks)
    ),
}


@pytest.mark.parametrize("what", LIES)
async def test_a_peer_that_resumes_something_else_is_an_abort(what: str) -> None:
    spaces = {role: MemoryWorkspace() for role in PAIR}
    logs: dict[str, list[int]] = {role: [] for role in PAIR}
    starts = {role: bucketed(role, PAIR, 3, logs[role], spaces[role]) for role in PAIR}
    journals = {role: journal_of(role, spaces[role]) for role in PAIR}
    # Both keep checkpoints 1 and 2, then the line breaks.
    await attempt(PAIR, starts, journals, {("ping", "pong"): 2 + 2 * 2})
    before = {name: bytes(spaces["ping"].read(name)) for name in spaces["ping"].names()}
    assert {"run.checkpoint.1", "run.checkpoint.2"} <= set(before)
    computed = list(logs["ping"])

    class This(Liar):
        def lie(self, truth: Resuming) -> Resuming:
            return LIES[what](truth)

    lying = This(spaces["pong"], "pong", BINDING, INPUTS)
    results = await attempt(PAIR, starts, {"ping": journals["ping"], "pong": lying}, {})
    assert type(results["ping"]) is ProtocolAbort
    assert isinstance(results["pong"], ProtocolAbort)
    assert {name: bytes(spaces["ping"].read(name)) for name in spaces["ping"].names()} == before
    assert logs["ping"] == computed, "nothing was computed with it"


@pytest.mark.parametrize("on_disk", [False, True])
async def test_nobody_is_taken_back_twice_not_even_to_the_start(on_disk: bool, tmp_path: Path) -> None:
    """At the start we would draw other secrets, for a peer that may have seen what followed checkpoint 2."""
    space: Workspace = DirectoryWorkspace(tmp_path) if on_disk else MemoryWorkspace()
    spaces: dict[str, Workspace] = {"ping": space, "pong": MemoryWorkspace()}
    logs: dict[str, list[int]] = {role: [] for role in PAIR}
    starts = {role: bucketed(role, PAIR, 3, logs[role], spaces[role]) for role in PAIR}
    journals = {role: journal_of(role, spaces[role]) for role in PAIR}
    await attempt(PAIR, starts, journals, {("ping", "pong"): 2 + 2 * 2})
    assert set(journals["ping"].held()) == {1, 2}
    # The peer has "lost" the second checkpoint, then the first as well.
    journals["pong"].go_back(1)
    spaces["pong"].remove("run.passed")
    await attempt(PAIR, starts, journals, {("ping", "pong"): 2})
    assert set(journals["ping"].held()) == {1}
    before = list(logs["ping"])
    forgetful = MemoryWorkspace()
    starts["pong"] = bucketed("pong", PAIR, 3, [], forgetful)
    results = await attempt(PAIR, starts, journals | {"pong": journal_of("pong", forgetful)}, {})
    assert type(results["ping"]) is ProtocolAbort
    assert logs["ping"] == before
    # With the checkpoint that both have, the job still comes to its end.
    starts["pong"] = bucketed("pong", PAIR, 3, [], spaces["pong"])
    results = await attempt(PAIR, starts, journals, {})
    assert results["ping"].transcript == results["pong"].transcript


async def test_own_checkpoints_of_another_input_are_none() -> None:
    spaces = {role: MemoryWorkspace() for role in PAIR}
    logs: dict[str, list[int]] = {role: [] for role in PAIR}
    starts = {role: bucketed(role, PAIR, 2, logs[role], spaces[role]) for role in PAIR}
    journals = {role: journal_of(role, spaces[role]) for role in PAIR}
    await attempt(PAIR, starts, journals, {("ping", "pong"): 2 + 2})
    assert set(journals["ping"].held()) == {0, 1}
    other = INPUTS | {"ping": b"\x77" * 32}
    changed = journal_of("ping", spaces["ping"], inputs=other)
    assert set(changed.held()) == {0}
    # A peer that knows what to expect goes back to the start with it, and nothing old is left.
    both = {"ping": changed, "pong": journal_of("pong", spaces["pong"], inputs=other)}
    results = await attempt(PAIR, starts, both, {})
    assert results["ping"].transcript == results["pong"].transcript
    assert logs["ping"][-2:] == [0, 1]


async def test_a_role_that_miscounts_its_checkpoints_is_an_abort() -> None:
    def miscounting(resumed: int) -> Steps:
        yield Checkpoint(2)
        return Output()

    journals = {role: journal_of(role, MemoryWorkspace()) for role in PAIR}
    results = await attempt(PAIR, dict.fromkeys(PAIR, miscounting), journals, {})
    assert all(isinstance(result, ProtocolAbort) for result in results.values())


async def test_a_damaged_checkpoint_is_a_data_error() -> None:
    spaces = {role: MemoryWorkspace() for role in PAIR}
    spaces["ping"].write("run.checkpoint.1", b"\xc1")
    starts = dict.fromkeys(PAIR, lambda resumed: ended_quietly())
    journals = {role: journal_of(role, spaces[role]) for role in PAIR}
    results = await attempt(PAIR, starts, journals, {})
    assert type(results["ping"]) is DataError
    assert isinstance(results["pong"], ProtocolAbort)


async def test_without_a_journal_checkpoints_change_no_byte() -> None:
    def with_checkpoints(steps: Steps) -> Steps:
        yield Checkpoint(1)
        output = yield from steps
        yield Checkpoint(2)
        return output

    plain, _ = await play(ping(3), pong(3))
    marked, _ = await play(with_checkpoints(ping(3)), with_checkpoints(pong(3)))
    assert marked.transcript == plain.transcript
    assert (marked.bytes_in, marked.bytes_out) == (plain.bytes_in, plain.bytes_out)


@pytest.mark.parametrize("error", [MemoryError(), DeviceOutOfMemory("the GPU is full"), DiskFull("no room")])
async def test_no_room_is_a_typed_end_on_both_sides(error: Exception) -> None:
    one, other = await play(ping(3), failing(error))
    assert type(other) is (DiskFull if isinstance(error, DiskFull) else OutOfMemory)
    assert type(one) is ProtocolAbort
    assert one.detail["peer_code"] == other.code


async def test_calls_are_done_where_the_caller_says() -> None:
    done: list[int] = []

    def elsewhere(calls: tuple[Call, ...]) -> tuple[object, ...]:
        done.append(len(calls))
        return tuple(call.function(*call.arguments) for call in calls)

    def asking() -> Steps:
        one, two = yield from compute([Call(max, (1, 2)), Call(min, (1, 2))])
        return Output(units=10 * one + two)

    result = await run(asking(), {}, role="ping", binding=BINDING, calls=elsewhere)
    assert result.output.units == 21
    assert done == [2]
