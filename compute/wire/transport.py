"""A transport moves frames: byte strings of bounded length, in order, with no promise of secrecy.

`compute.wire.records` puts encryption, long messages and heartbeats on top. Transports exist over a
WebSocket (`compute.wire.websocket`) and in memory, for tests.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from compute.errors import BadMessage, PeerLost

# A record's plaintext chunk; WebSocket servers and relays accept frames of this size without tuning.
CHUNK_BYTES = 8 << 20
# Room for record type, length and authentication tag.
MAX_FRAME_BYTES = CHUNK_BYTES + 256


class Transport(Protocol):
    """One end of a transport."""

    async def send_frame(self, frame: bytes) -> None:
        """Give one frame; may wait for the other side to read. Raises PeerLost."""

    async def receive_frame(self) -> bytes:
        """The next frame. Raises PeerLost if the other side is gone, BadMessage for a frame too long."""

    async def close(self) -> None:
        """Let go of the connection. Safe to repeat."""


class MemoryTransport:
    """A transport inside one process, for tests; made in pairs by `memory_transports`."""

    def __init__(self, capacity: int) -> None:
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue(capacity)
        self._peer: MemoryTransport = self
        self._closed = asyncio.Event()

    async def send_frame(self, frame: bytes) -> None:
        """See `Transport.send_frame`."""
        putting = asyncio.ensure_future(self._peer._inbox.put(bytes(frame)))
        if not await self._unless_closed(putting):
            raise PeerLost("the connection is closed", peer_code="")

    async def receive_frame(self) -> bytes:
        """See `Transport.receive_frame`."""
        if self._inbox.empty():
            getting = asyncio.ensure_future(self._inbox.get())
            if not await self._unless_closed(getting):
                raise PeerLost("the connection is closed", peer_code="")
            frame = getting.result()
        else:
            frame = self._inbox.get_nowait()
        if frame is None:
            raise PeerLost("the connection is closed", peer_code="")
        if len(frame) > MAX_FRAME_BYTES:
            raise BadMessage(f"a frame is longer than {MAX_FRAME_BYTES} bytes")
        return frame

    async def close(self) -> None:
        """See `Transport.close`."""
        self._closed.set()
        self._peer._closed.set()

    async def _unless_closed(self, work: asyncio.Future[bytes | None] | asyncio.Future[None]) -> bool:
        closing = asyncio.ensure_future(self._closed.wait())
        try:
            done, _ = await asyncio.wait({work, closing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            closing.cancel()
            if not work.done():
                work.cancel()
        return work in done


def memory_transports(*, capacity: int = 16) -> tuple[MemoryTransport, MemoryTransport]:
    """Two ends of a transport in memory; each direction holds ``capacity`` frames before a sender waits."""
    one, other = MemoryTransport(capacity), MemoryTransport(capacity)
    one._peer, other._peer = other, one
    return one, other
