"""A runner's line to one peer: what goes out waits its turn, what comes in to be asked for; both bounded.

A role may send much before it reads, and so may its peer: if both only pushed, two full lines would wait for
each other for ever. So a runner that waits for anything of a peer takes in what *all* of them send, into
memory up to a bound and then into a file without a name. Whoever waits for room thus gets it as soon as its
peer waits for something too, in whatever order the two send and read, and with any number of roles. While a
role computes nothing is taken in, so the channel holds back a peer that is faster than we are.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from compute.disk import typed
from compute.errors import ComputeError, DataError, PeerLost, ProtocolAbort
from compute.wire.channel import Channel, weight

_SEGMENT_BYTES = 256 << 20
_LAST_WORD_S = 2.0


@dataclass(frozen=True)
class Room:
    """What one line may hold.

    ``memory_bytes`` bounds each direction (one message always fits), ``disk_bytes`` what a peer sent ahead of
    what we asked for beyond that, in a file in ``folder`` (None: where the system keeps temporary files).
    """

    memory_bytes: int = 128 << 20
    disk_bytes: int = 16 << 30
    folder: Path | None = None


class Line:
    """A channel to one peer with a queue on either side. One task uses it.

    Messages come in while ``open_ears`` is set. ``fail`` is told at once what makes the line useless although
    nobody asks for its messages yet: DiskFull, DataError, ProtocolAbort if the peer sends too much ahead, or
    BadMessage if one of ours is longer than the channel takes.
    """

    def __init__(
        self,
        role: str,
        channel: Channel,
        room: Room,
        open_ears: asyncio.Event,
        fail: Callable[[ComputeError], None],
    ) -> None:
        self._role, self._channel, self._room = role, channel, room
        self._open_ears, self._fail = open_ears, fail
        self._outgoing: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._outgoing_bytes = 0
        self._moved = asyncio.Event()
        self._incoming: deque[bytes] = deque()
        self._incoming_bytes = 0
        self._spill = _Spill(room.folder)
        self._spilling = asyncio.Lock()
        self._arrived = asyncio.Event()
        self._ended: Exception | None = None
        self._sender = asyncio.create_task(self._push())
        self._taker = asyncio.create_task(self._pull())

    def put(self, data: bytes) -> None:
        """Give a message to the line; `drained` waits until there is room for the next."""
        self._outgoing_bytes += weight(data)
        self._outgoing.put_nowait(data)

    @property
    def full(self) -> bool:
        """Whether more waits to be sent than may."""
        return self._outgoing_bytes > self._room.memory_bytes

    async def drained(self, timeout_s: float) -> None:
        """Wait until no more than the bound waits to be sent.

        Raises what the channel raised, TimeoutError if the peer took no message for so long.
        """
        while self.full:
            self._moved.clear()
            moved = asyncio.ensure_future(self._moved.wait())
            await asyncio.wait({moved, self._sender}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            late = not moved.done()
            moved.cancel()
            if self._sender.done():
                await self._sent()
            elif late:
                raise TimeoutError

    async def flush(self, timeout_s: float) -> None:
        """Wait until all is with the channel, and send no more; raises as `drained` does."""
        self._outgoing.put_nowait(None)
        if not (await asyncio.wait({self._sender}, timeout=timeout_s))[0]:
            raise TimeoutError
        await self._sent()

    async def take(self) -> bytes:
        """The peer's next message; raises what the channel raised."""
        while True:
            if self._incoming:
                data = self._incoming.popleft()
                self._incoming_bytes -= weight(data)
                return data
            if self._spill:
                async with self._spilling:
                    return await asyncio.to_thread(self._spill.pop)
            if self._ended is not None:
                raise self._ended
            self._arrived.clear()
            await self._arrived.wait()

    async def abandon(self) -> None:
        """Let go of all that waits."""
        self._sender.cancel()
        self._taker.cancel()
        await asyncio.gather(self._sender, self._taker, return_exceptions=True)
        self._spill.close()

    async def _sent(self) -> None:
        """Raise why sending ended, if it did: a peer that leaves says so before it takes no more."""
        try:
            self._sender.result()
        except PeerLost as error:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORD_S):
                    while self._ended is None:
                        self._arrived.clear()
                        await self._arrived.wait()
            raise self._ended or error from error

    async def _push(self) -> None:
        while (data := await self._outgoing.get()) is not None:
            try:
                await self._channel.send(data)
            except PeerLost:
                # Receiving ends as well, and knows more of why.
                raise
            except ComputeError as error:
                # Longer than a channel takes: both sides would wait for each other.
                self._fail(error)
                raise
            self._outgoing_bytes -= weight(data)
            self._moved.set()

    async def _pull(self) -> None:
        try:
            while True:
                await self._open_ears.wait()
                await self._keep(await self._channel.receive())
                self._arrived.set()
        except Exception as error:  # noqa: BLE001 - whoever asks for a message gets it
            self._ended = error
            self._arrived.set()

    async def _keep(self, data: bytes) -> None:
        fits = not self._incoming or self._incoming_bytes + weight(data) <= self._room.memory_bytes
        if fits and not self._spill:
            self._incoming.append(data)
            self._incoming_bytes += weight(data)
            return
        try:
            if self._spill.size + weight(data) > self._room.disk_bytes:
                most = self._room.disk_bytes
                raise ProtocolAbort(f"{self._role} sent more than {most} bytes before the job asked for them")
            async with self._spilling:
                await asyncio.to_thread(self._spill.push, data)
        except ComputeError as error:
            self._fail(error)
            raise


class _Segment:
    """A file that is written once from the beginning to its end, and read once."""

    def __init__(self, folder: Path | None) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        self.lengths: deque[int] = deque()
        self.start = self.end = 0


class _Spill:
    """Messages in files, first in, first out. They have no names: nothing is left, whatever ends us."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._segments: deque[_Segment] = deque()
        self.size = 0

    def __bool__(self) -> bool:
        return self.size > 0

    def push(self, data: bytes) -> None:
        with typed("messages that a peer sent ahead cannot be kept"):
            # One file that is never read to its end would keep all that ever passed.
            if not self._segments or self._segments[-1].end >= _SEGMENT_BYTES:
                self._segments.append(_Segment(self._folder))
            segment = self._segments[-1]
            segment.file.seek(segment.end)
            left = memoryview(data)
            while left:
                left = left[segment.file.write(left) :]
        segment.lengths.append(len(data))
        segment.end += len(data)
        self.size += weight(data)

    def pop(self) -> bytes:
        segment = self._segments[0]
        length = segment.lengths.popleft()
        with typed("messages that a peer sent ahead cannot be read"):
            segment.file.seek(segment.start)
            data = segment.file.read(length)
        if len(data) != length:
            raise DataError("messages that a peer sent ahead are damaged: check the disk")
        segment.start += length
        self.size -= weight(data)
        if not segment.lengths:
            self._segments.popleft().file.close()
        return data

    def close(self) -> None:
        for segment in self._segments:
            segment.file.close()
