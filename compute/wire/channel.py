"""A channel: ordered, reliable messages between two roles of one job; and one in memory for tests.

Between processes the channel is `compute.wire.records.SecureChannel`, which `compute.wire.handshake`
builds over a WebSocket. A message is at most `MAX_MESSAGE_BYTES`; the channel cuts it into frames.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from compute.errors import BadMessage, PeerLost

MAX_MESSAGE_BYTES = 64 << 20
# A peer that says nothing, not even a heartbeat, for this long is gone.
IDLE_TIMEOUT_S = 60.0
LEAST_WEIGHT = 64


class Channel(Protocol):
    """One end of a channel. One task may send while another receives."""

    async def send(self, message: bytes) -> None:
        """Give one message to the peer. Raises BadMessage if it is too long, PeerLost if the peer is gone."""

    async def receive(self) -> bytes:
        """The peer's next message.

        Raises PeerLost if the peer closed (``detail["peer_code"]`` is the code it gave, empty if it was
        cut off) or stayed silent past the timeout; BadMessage if what came cannot be a message.
        """

    async def close(self, code: str = "", reason: str = "") -> None:
        """End the channel and tell the peer a stable error code (empty: all went well). Safe to repeat."""


class MemoryChannel:
    """A channel inside one process, for tests; made in pairs by `memory_channels`."""

    def __init__(self, *, max_message_bytes: int, idle_timeout_s: float) -> None:
        self._inbox: asyncio.Queue[bytes | PeerLost] = asyncio.Queue()
        self._peer: MemoryChannel = self
        self._closed = False
        self._lost: PeerLost | None = None
        self._max_message_bytes = max_message_bytes
        self._idle_timeout_s = idle_timeout_s

    async def send(self, message: bytes) -> None:
        """See `Channel.send`."""
        check_length(len(message), self._max_message_bytes)
        if self._closed:
            raise PeerLost("this channel is closed", peer_code="")
        if self._peer._closed:
            raise PeerLost("the peer closed the channel", peer_code="")
        self._peer._inbox.put_nowait(bytes(message))
        # Give the other side a turn, as a socket would.
        await asyncio.sleep(0)

    async def receive(self) -> bytes:
        """See `Channel.receive`."""
        if self._lost is not None:
            raise self._lost
        if self._closed:
            raise PeerLost("this channel is closed", peer_code="")
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                item = await self._inbox.get()
        except TimeoutError:
            raise PeerLost(f"the peer was silent for {self._idle_timeout_s:g} s", peer_code="") from None
        if isinstance(item, PeerLost):
            self._lost = item
            raise item
        return item

    async def close(self, code: str = "", reason: str = "") -> None:
        """See `Channel.close`."""
        if self._closed:
            return
        self._closed = True
        self._peer._inbox.put_nowait(peer_closed(code, reason))


def memory_channels(
    *, max_message_bytes: int = MAX_MESSAGE_BYTES, idle_timeout_s: float = IDLE_TIMEOUT_S
) -> tuple[MemoryChannel, MemoryChannel]:
    """Two ends of one channel in memory, with the limits of a real one and no encryption. For tests."""
    one = MemoryChannel(max_message_bytes=max_message_bytes, idle_timeout_s=idle_timeout_s)
    other = MemoryChannel(max_message_bytes=max_message_bytes, idle_timeout_s=idle_timeout_s)
    one._peer, other._peer = other, one
    return one, other


def check_length(length: int, limit: int) -> None:
    """Raise BadMessage if a message of this length may not pass."""
    if length > limit:
        raise BadMessage(f"a message of {length} bytes is above the limit of {limit}: send it in parts")


def weight(message: bytes) -> int:
    """What a message counts for where bytes are bounded: a short one takes more memory than its bytes."""
    return max(len(message), LEAST_WEIGHT)


def peer_closed(code: str, reason: str) -> PeerLost:
    """The error of a receiver whose peer ended the channel in order."""
    said = f" ({code}: {reason})" if code else ""
    return PeerLost(f"the peer closed the channel{said}", peer_code=code, peer_reason=reason)
