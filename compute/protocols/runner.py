"""Performs the effects of a role over channels to its peers.

At the end of a run both ends of every channel exchange the digest of what passed between them. So a role
completes only if its peers saw the same messages, and two receipts of a job carry comparable transcripts.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from msgspec import Meta

from compute.errors import (
    BadMessage,
    CohortTooSmall,
    ComputeError,
    JobCancelled,
    PeerLost,
    ProtocolAbort,
)
from compute.protocols.protocol import (
    Checkpoint,
    Compute,
    Effect,
    Message,
    Output,
    Progress,
    Receive,
    Reply,
    Send,
    Steps,
)
from compute.wire import codec
from compute.wire.channel import Channel
from compute.wire.transcript import Transcript

T = TypeVar("T")

# A peer may compute for minutes between two messages (a hint, a batch of encryptions).
DEFAULT_TIMEOUT_S = 600.0


class Finished(Message, frozen=True, tag="run.finished"):
    """Last message in each direction of a channel: the sender's digest of all that passed on it."""

    transcript: Annotated[bytes, Meta(min_length=32, max_length=32)]


@dataclass(frozen=True, repr=False)  # holds results: keep it out of logs
class RunResult:
    """What a node gets out of a finished role.

    ``transcript`` is the digest for the receipt, ``peer_transcripts`` the digest per peer (equal at both
    ends), ``bytes_in`` and ``bytes_out`` the protocol bytes before framing and encryption.
    """

    output: Output
    transcript: bytes
    peer_transcripts: Mapping[str, bytes]
    bytes_in: int
    bytes_out: int


async def run(
    steps: Steps,
    channels: Mapping[str, Channel],
    *,
    role: str,
    binding: bytes,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    cancel: asyncio.Event | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    executor: Executor | None = None,
) -> RunResult:
    """Drive one role to its end over the channels to its peers, keyed by their role names.

    The role computes in ``executor`` (None: the loop's default threads), so the loop stays free. Every
    message is decoded to exactly the type the role waits for. ``timeout_s`` bounds each wait for a peer.
    The channels are closed in every case; a peer learns our error's code and nothing more.

    Raises what the role raises; BadMessage for anything undecodable; PeerLost, ProtocolAbort or
    CohortTooSmall if a peer went away or stopped for that reason; JobCancelled once ``cancel`` is set.
    """
    driver = _Driver(channels, Transcript(role, binding), cancel or asyncio.Event(), timeout_s, executor)
    code = ComputeError.code
    try:
        output = await driver.drive(steps, on_progress)
        await driver.finish()
        code = ""
    except ComputeError as error:
        code = error.code
        raise
    except asyncio.CancelledError:
        code = JobCancelled.code
        raise
    finally:
        await driver.close(code)
    transcript = driver.transcript
    return RunResult(
        output=output,
        transcript=transcript.digest(),
        peer_transcripts={peer: transcript.peer_digest(peer) for peer in transcript.peers()},
        bytes_in=driver.bytes_in,
        bytes_out=driver.bytes_out,
    )


@dataclass(frozen=True, repr=False)
class Ended:
    """A role's end, as a value."""

    output: Output


def advance(steps: Steps, message: Reply) -> Effect | Ended:
    """Let a role compute up to its next effect."""
    # A StopIteration must not cross a future, so the end of a role becomes a value.
    try:
        return steps.send(message)
    except StopIteration as stop:
        return Ended(stop.value)


def _compute(effect: Compute) -> tuple[Any, ...]:
    return tuple(call.function(*call.arguments) for call in effect.calls)


class _Outbox:
    """Sends in the background: two roles that both send much before they read must not block each other."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._drain())

    def put(self, data: bytes) -> None:
        self._queue.put_nowait(data)

    async def flush(self) -> None:
        """Wait until all is with the channel; raises what the channel raised."""
        self._queue.put_nowait(None)
        await self._task

    async def abandon(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _drain(self) -> None:
        while (data := await self._queue.get()) is not None:
            await self._channel.send(data)


class _Driver:
    def __init__(
        self,
        channels: Mapping[str, Channel],
        transcript: Transcript,
        cancel: asyncio.Event,
        timeout_s: float,
        executor: Executor | None,
    ) -> None:
        self._channels = channels
        self._outboxes = {role: _Outbox(channel) for role, channel in channels.items()}
        self._cancelled = asyncio.ensure_future(cancel.wait())
        self._timeout_s = timeout_s
        self._executor = executor
        self.transcript = transcript
        self.bytes_in = 0
        self.bytes_out = 0

    async def drive(self, steps: Steps, on_progress: Callable[[Progress], None]) -> Output:
        loop = asyncio.get_running_loop()
        message: Reply = None
        while True:
            # After a cancel the thread finishes its step alone; nobody reads what it yields.
            effect = await self._unless_cancelled(
                loop.run_in_executor(self._executor, advance, steps, message)
            )
            message = None
            if isinstance(effect, Ended):
                return effect.output
            if isinstance(effect, Send):
                self._send(effect)
            elif isinstance(effect, Receive):
                message = await self._receive(effect)
            elif isinstance(effect, Compute):
                message = await self._unless_cancelled(loop.run_in_executor(self._executor, _compute, effect))
            elif isinstance(effect, Checkpoint):
                continue
            else:
                on_progress(effect)

    async def finish(self) -> None:
        """Agree with every peer on what passed. Raises ProtocolAbort if a peer saw something else."""
        peers = self.transcript.peers()
        for peer in peers:
            self._outboxes[peer].put(codec.encode(Finished(self.transcript.peer_digest(peer))))
        for peer in peers:
            theirs = codec.decode(Finished, await self._raw(peer))
            if not hmac.compare_digest(theirs.transcript, self.transcript.peer_digest(peer)):
                raise ProtocolAbort(f"{peer} saw other messages than we did")
        for outbox in self._outboxes.values():
            await self._unless_cancelled(asyncio.ensure_future(outbox.flush()))

    async def close(self, code: str) -> None:
        self._cancelled.cancel()
        for role, channel in self._channels.items():
            await self._outboxes[role].abandon()
            # The outcome is decided; a peer that is gone already cannot change it.
            try:
                await channel.close(code)
            except PeerLost:
                continue

    def _send(self, effect: Send) -> None:
        if effect.role not in self._outboxes:
            raise ProtocolAbort(f"there is no channel to the role {effect.role}")
        data = codec.encode(effect.message)
        self.transcript.sent(effect.role, data)
        self.bytes_out += len(data)
        self._outboxes[effect.role].put(data)

    async def _receive(self, effect: Receive) -> Message:
        if effect.role not in self._channels:
            raise ProtocolAbort(f"there is no channel to the role {effect.role}")
        data = await self._raw(effect.role)
        message = codec.decode(effect.type, data)
        self.transcript.received(effect.role, data)
        self.bytes_in += len(data)
        return message

    async def _raw(self, role: str) -> bytes:
        waiting = asyncio.ensure_future(self._channels[role].receive())
        try:
            return await self._unless_cancelled(waiting, self._timeout_s)
        except TimeoutError:
            raise PeerLost(f"{role} sent nothing for {self._timeout_s:g} s", peer_code="") from None
        except PeerLost as error:
            raise _stopped_by(role, error) from error

    async def _unless_cancelled(self, work: asyncio.Future[T], timeout_s: float | None = None) -> T:
        either: set[asyncio.Future[Any]] = {work, self._cancelled}
        await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if self._cancelled.done():
            work.cancel()
            # Its result or error no longer matters, but must be looked at.
            work.add_done_callback(lambda future: future.cancelled() or future.exception())
            raise JobCancelled("the job was cancelled")
        if not work.done():
            work.cancel()
            raise TimeoutError
        return work.result()


def _stopped_by(role: str, error: PeerLost) -> ComputeError:
    """The same ending on both sides: a peer's code decides how our part ends."""
    code = str(error.detail.get("peer_code", ""))
    if code == CohortTooSmall.code:
        return CohortTooSmall(f"{role} stopped: a group is below the floor of the grant", peer_code=code)
    if code in (ProtocolAbort.code, BadMessage.code):
        return ProtocolAbort(f"{role} stopped the protocol", peer_code=code)
    if code == JobCancelled.code:
        return JobCancelled(f"{role} cancelled the job", peer_code=code)
    return PeerLost(f"{role}: {error.message}", **error.detail)
