"""Performs the effects of a role over channels to its peers.

At the end of a run both ends of every channel exchange the digest of what passed between them. So a role
completes only if its peers saw the same messages, and two receipts of a job carry comparable transcripts.
`run_resumable` does the same for a job that may be cut: it agrees with the peers on a checkpoint to go on
from, and keeps checkpoints on the way (`compute.protocols.checkpoints`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from msgspec import Meta

from accel.errors import AccelError, BackendUnavailable, DeviceOutOfMemory, SelfTestFailed
from compute.errors import (
    BadInput,
    BadMessage,
    CancelledElsewhere,
    CohortTooSmall,
    ComputeError,
    DataError,
    DiskFull,
    JobCancelled,
    OutOfMemory,
    PeerLost,
    ProtocolAbort,
)
from compute.protocols import checkpoints
from compute.protocols.checkpoints import Agreed, Journal, Mark, Marked, Resuming, State
from compute.protocols.lines import Line, Room
from compute.protocols.protocol import (
    Call,
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

log = logging.getLogger(__name__)
T = TypeVar("T")
# Does calls in worker threads of ours and gives their results in order: see `compute.protocols.executors`.
DoCalls = Callable[[tuple[Call, ...]], tuple[Any, ...]]

# A peer may compute for minutes between two messages (a hint, a batch of encryptions).
DEFAULT_TIMEOUT_S = 600.0


class Finished(Message, frozen=True, tag="run.finished"):
    """Last message in each direction of a channel: the sender's digest of all that passed on it."""

    transcript: Annotated[bytes, Meta(min_length=32, max_length=32)]


@dataclass
class Traffic:
    """Protocol bytes so far, before framing and encryption, for the account of a job that ends early."""

    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(frozen=True, repr=False)  # holds results: keep it out of logs
class RunResult:
    """What a node gets out of a finished role.

    ``transcript`` is the digest for the receipt, ``peer_transcripts`` the digest per peer (equal at both
    ends), ``bytes_in`` and ``bytes_out`` the protocol bytes before framing and encryption. All of them are
    about what counted: what was sent again after a cut is in them once. ``checkpoints``: how many were kept.
    """

    output: Output
    transcript: bytes
    peer_transcripts: Mapping[str, bytes]
    bytes_in: int
    bytes_out: int
    checkpoints: int = 0


def do_calls(calls: tuple[Call, ...]) -> tuple[Any, ...]:
    """Do calls one after the other in this thread."""
    return tuple(call.function(*call.arguments) for call in calls)


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
    calls: DoCalls = do_calls,
    interrupted: Callable[[], str] = lambda: JobCancelled.code,
    room: Room = Room(),  # noqa: B008 - frozen
    traffic: Traffic | None = None,
) -> RunResult:
    """Drive one role to its end over the channels to its peers, keyed by their role names.

    The role computes in ``executor`` (None: the loop's default threads), so the loop stays free; ``calls``
    does what it wants computed elsewhere. Every message is decoded to exactly the type the role waits for.
    ``timeout_s`` bounds each wait for a peer, ``room`` what each line to one may hold; ``traffic`` is kept
    up to date. The channels are closed in every case; a peer learns our error's code and nothing more
    (``interrupted``: the code if our task is cancelled).

    Raises what the role raises; BadMessage for anything undecodable; ProtocolAbort naming the peer if the
    role cannot process what one sent; PeerLost, ProtocolAbort or CohortTooSmall if a peer went away or
    stopped for that reason; JobCancelled once ``cancel`` is set; OutOfMemory where Python raises MemoryError
    or a GPU has no room; DiskFull if what peers send ahead has none.
    """
    transcript = Transcript(role, binding)
    driver = _Driver(channels, transcript, cancel, timeout_s, executor, calls, room, traffic or Traffic())

    async def begin() -> Steps:
        return steps

    return await _finished(driver, begin, on_progress, interrupted)


async def run_resumable(
    start: Callable[[int], Steps],
    channels: Mapping[str, Channel],
    *,
    journal: Journal,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    cancel: asyncio.Event | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    executor: Executor | None = None,
    calls: DoCalls = do_calls,
    interrupted: Callable[[], str] = lambda: JobCancelled.code,
    room: Room = Room(),  # noqa: B008 - frozen
    traffic: Traffic | None = None,
) -> RunResult:
    """One attempt at a resumable role: agree with all peers on a checkpoint, then `run` from there.

    ``start`` makes the role for the checkpoint agreed (0: from the start). The job's workspace is put back
    to that checkpoint before. After PeerLost the caller may try again over new channels with the same
    journal: nothing of the role runs any more then. Raises what `run` raises, and ProtocolAbort if a peer
    announces another job, another input or a checkpoint that cannot be.
    """
    transcript = Transcript(journal.role, journal.binding)
    traffic = traffic or Traffic()
    driver = _Driver(channels, transcript, cancel, timeout_s, executor, calls, room, traffic, journal)

    async def begin() -> Steps:
        return start(await driver.agree(journal))

    return await _finished(driver, begin, on_progress, interrupted)


async def _finished(
    driver: _Driver,
    begin: Callable[[], Awaitable[Steps]],
    on_progress: Callable[[Progress], None],
    interrupted: Callable[[], str],
) -> RunResult:
    code = ComputeError.code
    try:
        output = await driver.drive(await begin(), on_progress)
        await driver.finish()
        code = ""
    except ComputeError as error:
        code = error.code
        raise
    except (MemoryError, DeviceOutOfMemory) as error:
        code = OutOfMemory.code
        raise OutOfMemory(
            "the computation does not fit the memory: lower memory_bytes of the node"
        ) from error
    except asyncio.CancelledError:
        code = interrupted()
        raise
    finally:
        await driver.close(code)
    transcript = driver.transcript
    return RunResult(
        output=output,
        transcript=transcript.digest(),
        peer_transcripts={peer: transcript.peer_digest(peer) for peer in transcript.peers()},
        bytes_in=driver.traffic.bytes_in,
        bytes_out=driver.traffic.bytes_out,
        checkpoints=driver.checkpoint,
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


class _Driver:
    def __init__(
        self,
        channels: Mapping[str, Channel],
        transcript: Transcript,
        cancel: asyncio.Event | None,
        timeout_s: float,
        executor: Executor | None,
        calls: DoCalls,
        room: Room,
        traffic: Traffic,
        journal: Journal | None = None,
    ) -> None:
        self._channels = channels
        self._listening = asyncio.Event()
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines = {
            role: Line(role, channel, room, self._listening, self._break)
            for role, channel in channels.items()
        }
        self._cancelled = asyncio.ensure_future((cancel or asyncio.Event()).wait())
        self._timeout_s = timeout_s
        self._executor = executor
        self._calls = calls
        self._journal = journal
        self._heard = ""
        self.checkpoint = 0
        self.transcript = transcript
        self.traffic = traffic

    async def agree(self, journal: Journal) -> int:
        """Find with all peers the checkpoint to go on from, and go back to it."""
        states = await self._in_worker(journal.held)
        for peer, line in self._lines.items():
            line.put(codec.encode(journal.announce(states, peer)))
        announced: dict[str, Resuming] = {}
        for peer in self._channels:
            announced[peer] = codec.decode(Resuming, await self._raw(peer))
            journal.check(states, peer, announced[peer])
        state = checkpoints.common(states, announced)
        # Three roles can be told different things by a fourth: all must have come to the same.
        for line in self._lines.values():
            line.put(codec.encode(Agreed(state.index)))
        for peer in self._channels:
            if codec.decode(Agreed, await self._raw(peer)).index != state.index:
                raise ProtocolAbort(f"{peer} goes on from another checkpoint than {state.index}")
        await self._in_worker(journal.go_back, state.index)
        self.transcript, self.checkpoint = state.transcript, state.index
        self.traffic.bytes_in, self.traffic.bytes_out = state.bytes_in, state.bytes_out
        return state.index

    async def drive(self, steps: Steps, on_progress: Callable[[Progress], None]) -> Output:
        try:
            return await self._drive(steps, on_progress)
        finally:
            # After a cancel a thread may still be in it: that one ends its step, and nobody asks for another.
            with contextlib.suppress(ValueError):
                steps.close()

    async def _drive(self, steps: Steps, on_progress: Callable[[Progress], None]) -> Output:
        message: Reply = None
        while True:
            # After a cancel the thread finishes its step alone; nobody reads what it yields.
            effect = await self._step(advance, steps, message)
            message = None
            if isinstance(effect, Ended):
                return effect.output
            if isinstance(effect, Send):
                self._send(effect)
                if self._lines[effect.role].full:
                    await self._room(effect.role)
            elif isinstance(effect, Receive):
                message = await self._receive(effect)
            elif isinstance(effect, Compute):
                message = await self._step(self._calls, effect.calls)
            elif isinstance(effect, Checkpoint):
                if self._journal is not None:
                    await self._mark(effect.index, self._journal)
            else:
                on_progress(effect)

    async def _mark(self, index: int, journal: Journal) -> None:
        """Agree with every peer on what passed so far, and keep it."""
        if index != self.checkpoint + 1:
            raise ProtocolAbort(f"checkpoint {index} follows {self.checkpoint}: a role counts 1, 2, …")
        # No flush before it: a peer that saw the same digest has received all that we sent.
        for peer, line in self._lines.items():
            line.put(codec.encode(Marked(Mark(index, self.transcript.peer_digest(peer)))))
        for peer in self._channels:
            theirs = codec.decode(Marked, await self._raw(peer)).mark
            same = hmac.compare_digest(theirs.transcript, self.transcript.peer_digest(peer))
            if theirs.index != index or not same:
                raise ProtocolAbort(f"{peer} saw other messages than we did up to checkpoint {index}")
        await self._in_worker(
            journal.keep, State(index, self.transcript, self.traffic.bytes_in, self.traffic.bytes_out)
        )
        self.checkpoint = index

    async def _step(self, function: Callable[..., T], *arguments: object) -> T:
        """Compute a part of the role. Once a peer was heard, values that do not fit are what it sent."""
        try:
            return await self._in_worker(function, *arguments)
        except _OUR_OWN:
            raise
        except _UNFIT as error:
            if not self._heard:
                raise
            # The log has the reason. A peer that chose its bytes would learn from it.
            log.warning("a step failed after a message of %s", self._heard, exc_info=error)
            raise ProtocolAbort(f"what {self._heard} sent cannot be processed") from error

    async def _in_worker(self, function: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        return await self._unless_cancelled(loop.run_in_executor(self._executor, function, *arguments))

    async def finish(self) -> None:
        """Agree with every peer on what passed. Raises ProtocolAbort if a peer saw something else."""
        peers = self.transcript.peers()
        for peer in peers:
            self._lines[peer].put(codec.encode(Finished(self.transcript.peer_digest(peer))))
        for peer in peers:
            theirs = codec.decode(Finished, await self._raw(peer))
            if not hmac.compare_digest(theirs.transcript, self.transcript.peer_digest(peer)):
                raise ProtocolAbort(f"{peer} saw other messages than we did")
        for role, line in self._lines.items():
            await self._of_peer(role, line.flush(self._timeout_s), "took nothing")

    async def close(self, code: str) -> None:
        self._cancelled.cancel()
        if not self._broken.cancel():
            self._broken.exception()
        for role, channel in self._channels.items():
            await self._lines[role].abandon()
            # The outcome is decided; a peer that is gone already cannot change it.
            try:
                await channel.close(code)
            except PeerLost:
                continue

    def _send(self, effect: Send) -> None:
        if effect.role not in self._lines:
            raise ProtocolAbort(f"there is no channel to the role {effect.role}")
        data = codec.encode(effect.message)
        self.transcript.sent(effect.role, data)
        self.traffic.bytes_out += len(data)
        self._lines[effect.role].put(data)

    async def _receive(self, effect: Receive) -> Message:
        if effect.role not in self._channels:
            raise ProtocolAbort(f"there is no channel to the role {effect.role}")
        data = await self._raw(effect.role)
        message = codec.decode(effect.type, data)
        self._heard = effect.role
        self.transcript.received(effect.role, data)
        self.traffic.bytes_in += len(data)
        return message

    async def _room(self, role: str) -> None:
        await self._of_peer(role, self._lines[role].drained(self._timeout_s), "took nothing")

    async def _raw(self, role: str) -> bytes:
        return await self._of_peer(role, self._lines[role].take(), "sent nothing", self._timeout_s)

    async def _of_peer(
        self, role: str, what: Coroutine[Any, Any, T], lacking: str, timeout_s: float | None = None
    ) -> T:
        """Wait for something of a peer, and take in what all of them send meanwhile."""
        self._listening.set()
        try:
            return await self._unless_cancelled(asyncio.ensure_future(what), timeout_s)
        except TimeoutError:
            raise PeerLost(f"{role} {lacking} for {self._timeout_s:g} s", peer_code="") from None
        except PeerLost as error:
            raise _stopped_by(role, error) from error
        finally:
            self._listening.clear()

    def _break(self, error: ComputeError) -> None:
        if not self._broken.done():
            self._broken.set_exception(error)

    async def _unless_cancelled(self, work: asyncio.Future[T], timeout_s: float | None = None) -> T:
        either: set[asyncio.Future[Any]] = {work, self._cancelled, self._broken}
        await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if work.done() and not self._cancelled.done() and not self._broken.done():
            return work.result()
        work.cancel()
        # Its result or error no longer matters, but must be looked at.
        work.add_done_callback(lambda future: future.cancelled() or future.exception())
        if self._cancelled.done():
            raise JobCancelled("the job was cancelled")
        if self._broken.done():
            self._broken.result()
        raise TimeoutError


# What Python and accel raise for values that do not fit. Before the first message of a peer they are ours.
_UNFIT = (AccelError, ValueError, ArithmeticError, LookupError)
# What no message can bring about (or, for memory, what has a name of its own).
_OUR_OWN = (ComputeError, BackendUnavailable, SelfTestFailed, DeviceOutOfMemory)

# The line to the peer was not lost: its input may not enter the job (a set beyond its budget) or cannot be
# read, or it has no room for the job.
_CANNOT_GO_ON = (BadInput.code, DataError.code, DiskFull.code, OutOfMemory.code)


def _stopped_by(role: str, error: PeerLost) -> ComputeError:
    """The same ending on both sides: a peer's code decides how our part ends."""
    code = str(error.detail.get("peer_code", ""))
    if code == CohortTooSmall.code:
        return CohortTooSmall(f"{role} stopped: a group is below the floor of the grant", peer_code=code)
    if code in (ProtocolAbort.code, BadMessage.code):
        return ProtocolAbort(f"{role} stopped the protocol", peer_code=code)
    if code in _CANNOT_GO_ON:
        return ProtocolAbort(f"{role} cannot go on ({code})", peer_code=code)
    if code in (JobCancelled.code, CancelledElsewhere.code):
        return CancelledElsewhere(f"{role} cancelled its part: no result is given out", peer_code=code)
    return PeerLost(f"{role}: {error.message}", **error.detail)
