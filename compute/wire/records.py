"""The encrypted channel: AES-256-GCM records over a transport, after a handshake.

Each direction has its own key and a record counter as nonce, so a record that is altered, repeated, dropped,
reordered or reflected fails to open and ends the channel. A long message travels as a first record that
names its total length and further records of `CHUNK_BYTES`; the length is checked before anything is
kept. Heartbeats are records too, so an outsider cannot keep a dead job alive; so is the closing word,
which tells an orderly end from a cut line.

Sizes and timing of messages are visible to whoever carries them. Source: NIST SP 800-38D; one key seals
fewer than 2^32 records.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections import deque
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from compute.errors import BadMessage, ComputeError, PeerLost
from compute.wire.channel import IDLE_TIMEOUT_S, MAX_MESSAGE_BYTES, check_length, peer_closed, weight
from compute.wire.transport import CHUNK_BYTES, Transport

_FIRST, _NEXT, _HEARTBEAT, _CLOSE = 1, 2, 3, 4
_MAX_RECORDS = 1 << 32
_MAX_CLOSE_BYTES = 600
_CLOSE_TIMEOUT_S = 2.0
HEARTBEAT_S = 15.0


@dataclass(frozen=True)
class ChannelLimits:
    """What one end of a channel tolerates. The defaults suit nodes; tests make them small.

    ``max_buffered_bytes`` is how much the peer may send ahead of our reading before we stop taking it in.
    """

    max_message_bytes: int = MAX_MESSAGE_BYTES
    max_buffered_bytes: int = 4 * MAX_MESSAGE_BYTES
    idle_timeout_s: float = IDLE_TIMEOUT_S
    heartbeat_s: float = HEARTBEAT_S
    chunk_bytes: int = CHUNK_BYTES


class RecordKey:
    """One direction's key and counter. Has no repr of its own: it holds a secret."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self._counter = 0

    def seal(self, plaintext: bytes) -> bytes:
        """The next record of this direction."""
        return self._aead.encrypt(self._nonce(), plaintext, None)

    def open(self, record: bytes) -> bytes:
        """The plaintext of the next record; raises BadMessage without saying why it does not open."""
        try:
            return self._aead.decrypt(self._nonce(), record, None)
        except (InvalidTag, ValueError, OverflowError):
            raise BadMessage("a record from the peer does not open") from None

    def _nonce(self) -> bytes:
        if self._counter >= _MAX_RECORDS:
            raise PeerLost("the channel has carried its last record: open a new one", peer_code="")
        nonce = struct.pack(">4xQ", self._counter)
        self._counter += 1
        return nonce


class SecureChannel:
    """A `compute.wire.channel.Channel` between two nodes; made by `compute.wire.handshake`.

    ``peer_party`` and ``peer_role`` are proven, not claimed. A task reads ahead all the time, so that a
    lost peer is noticed while a role computes (`lost`), and another sends heartbeats while it does.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        sending: RecordKey,
        receiving: RecordKey,
        peer_party: str,
        peer_role: str,
        limits: ChannelLimits,
    ) -> None:
        self.peer_party = peer_party
        self.peer_role = peer_role
        self.lost = asyncio.Event()
        self._transport = transport
        self._sending = sending
        self._receiving = receiving
        self._limits = limits
        self._send_lock = asyncio.Lock()
        self._inbox: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._changed = asyncio.Condition()
        self._held_up = False
        self._unsendable: PeerLost | None = None
        self._on_the_way: asyncio.Future[None] | None = None
        self._failure: ComputeError | None = None
        self._closed = False
        self._last_heard = self._last_sent = time.monotonic()
        self._tasks = [asyncio.create_task(self._read_ahead()), asyncio.create_task(self._beat())]

    async def send(self, message: bytes) -> None:
        """See `Channel.send`. Waits while the peer's buffer is full, as long as the peer's heart beats."""
        check_length(len(message), self._limits.max_message_bytes)
        chunk = self._limits.chunk_bytes
        async with self._send_lock:
            if self._closed:
                raise PeerLost("this channel is closed", peer_code="")
            if (over := self._failure or self._unsendable) is not None:
                raise over
            try:
                header = struct.pack(">BQ", _FIRST, len(message))
                await self._send_record(header + message[:chunk])
                for start in range(chunk, len(message), chunk):
                    await self._send_record(bytes([_NEXT]) + message[start : start + chunk])
            except asyncio.CancelledError:
                # Half a message may be out: nothing sensible can follow it but the closing word.
                await self._fail(PeerLost("sending was interrupted", peer_code=""))
                raise

    async def receive(self) -> bytes:
        """See `Channel.receive`. What arrived before the channel ended is still given out."""
        while True:
            async with self._changed:
                if self._closed:
                    raise PeerLost("this channel is closed", peer_code="")
                if self._inbox:
                    message = self._inbox.popleft()
                    self._buffered_bytes -= weight(message)
                    self._changed.notify_all()
                    return message
                if self._failure is not None:
                    raise self._failure
                if self._held_up:
                    await self._changed.wait()
                    continue
                patience = self._limits.idle_timeout_s - (time.monotonic() - self._last_heard)
                if patience > 0:
                    # Not wait_for: before Python 3.12 it loses a cancellation that meets the end of the wait.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(patience):
                            await self._changed.wait()
                    continue
            silent = PeerLost(f"the peer was silent for {self._limits.idle_timeout_s:g} s", peer_code="")
            await self._fail(silent)

    async def close(self, code: str = "", reason: str = "") -> None:
        """See `Channel.close`. Gives up telling the peer after two seconds."""
        if self._closed:
            return
        self._closed = True
        # Our own failed reading does not keep us from saying why we leave.
        with contextlib.suppress(ComputeError, TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S), self._send_lock:
                if self._on_the_way is not None:
                    # Of a send that was cancelled: without this record no later one opens.
                    await asyncio.wait({self._on_the_way})
                said = code.encode()[:100] + b"\x00" + reason.encode()[:400]
                await self._transport.send_frame(self._sending.seal(bytes([_CLOSE]) + said))
        left = [*self._tasks, *([self._on_the_way] if self._on_the_way is not None else [])]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        with contextlib.suppress(ComputeError, TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._transport.close()
        async with self._changed:
            self._changed.notify_all()

    async def _send_record(self, plaintext: bytes) -> None:
        idle_s = self._limits.idle_timeout_s
        sending = asyncio.ensure_future(self._transport.send_frame(self._sending.seal(plaintext)))
        self._on_the_way = sending
        try:
            # A peer that computes for long reads nothing meanwhile. Nor do we hear it while we do.
            while not (await asyncio.wait({sending}, timeout=idle_s))[0]:
                if not self._held_up and time.monotonic() - self._last_heard >= idle_s:
                    sending.cancel()
                    stuck = PeerLost(f"the peer took nothing for {idle_s:g} s", peer_code="")
                    await self._fail(stuck)
                    raise stuck
            sending.result()
        except PeerLost as error:
            # Receiving ends too, and may find the peer's closing word before: that one counts.
            self._unsendable = error
            raise
        self._last_sent = time.monotonic()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._limits.heartbeat_s)
            recently = time.monotonic() - self._last_sent < self._limits.heartbeat_s / 2
            if recently or self._send_lock.locked():
                continue
            async with self._send_lock:
                try:
                    await self._send_record(bytes([_HEARTBEAT]))
                except PeerLost:
                    return

    async def _read_ahead(self) -> None:
        parts: list[bytes] = []
        missing = 0
        try:
            while True:
                record = self._receiving.open(await self._transport.receive_frame())
                self._last_heard = time.monotonic()
                kind, body = record[:1], record[1:]
                if kind == bytes([_HEARTBEAT]) and not body:
                    async with self._changed:
                        self._changed.notify_all()
                    continue
                if kind == bytes([_CLOSE]):
                    await self._fail(_closing_word(body))
                    return
                if kind == bytes([_FIRST]) and not parts and len(body) >= 8:
                    missing = int.from_bytes(body[:8], "big")
                    check_length(missing, self._limits.max_message_bytes)
                    body = body[8:]
                elif kind != bytes([_NEXT]) or not parts:
                    raise BadMessage("the peer sent a record out of place")
                # Full chunks up to the last one: no endless trickle of empty records.
                if len(body) != min(missing, self._limits.chunk_bytes):
                    raise BadMessage("the peer sent a record of the wrong length")
                parts.append(body)
                missing -= len(body)
                if not missing:
                    await self._deliver(b"".join(parts))
                    parts = []
        except ComputeError as error:
            await self._fail(error)

    async def _deliver(self, message: bytes) -> None:
        async with self._changed:
            # One message always fits, else a peer could not send one that is as long as the buffer.
            while self._inbox and self._buffered_bytes + weight(message) > self._limits.max_buffered_bytes:
                self._held_up = True
                await self._changed.wait()
            if self._held_up:
                # It was we who did not listen.
                self._held_up, self._last_heard = False, time.monotonic()
            self._inbox.append(message)
            self._buffered_bytes += weight(message)
            self._changed.notify_all()

    async def _fail(self, error: ComputeError) -> None:
        async with self._changed:
            if self._failure is None:
                self._failure = error
            self.lost.set()
            self._changed.notify_all()


def _closing_word(body: bytes) -> ComputeError:
    code, nul, reason = body.partition(b"\x00")
    if len(body) > _MAX_CLOSE_BYTES or not nul or not code.isascii():
        return BadMessage("the peer's closing word cannot be read")
    return peer_closed(code.decode("ascii"), reason.decode("utf-8", "replace"))
