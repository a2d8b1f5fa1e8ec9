"""Transports over a WebSocket: the dialling side with `websockets`, the answering side in Starlette.

TLS here is optional: secrecy and identity come from `compute.wire.handshake`, so a relay or a proxy in
between sees ciphertext only. Connections follow no redirects and use no proxy from the environment: a peer
must not be able to point us at another address. The server should run uvicorn with
``ws_ping_interval=None`` and ``ws_max_size`` of at least `MAX_FRAME_BYTES`: heartbeats are ours.
"""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import urlsplit

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from compute.errors import BadInput, BadMessage, PeerLost
from compute.wire.transport import MAX_FRAME_BYTES, Transport

PEER_PATH = "/v1/peer"
_TOO_BIG = 1009  # RFC 6455, section 7.4.1


class _NoRedirect(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class WebSocketTransport:
    """The dialling end; made by `connect_websocket`."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send_frame(self, frame: bytes) -> None:
        """See `Transport.send_frame`."""
        try:
            await self._connection.send(frame)
        except (ConnectionClosed, OSError) as error:
            raise PeerLost("the connection to the peer is gone", peer_code="") from error

    async def receive_frame(self) -> bytes:
        """See `Transport.receive_frame`."""
        try:
            frame = await self._connection.recv()
        except ConnectionClosed as error:
            if error.sent is not None and error.sent.code == _TOO_BIG and error.rcvd_then_sent is not True:
                raise BadMessage(f"the peer sent a frame longer than {MAX_FRAME_BYTES} bytes") from None
            raise PeerLost("the connection to the peer is gone", peer_code="") from error
        if isinstance(frame, str):
            raise BadMessage("the peer sent text where bytes belong")
        return frame

    async def close(self) -> None:
        """See `Transport.close`."""
        await self._connection.close()


class StarletteTransport:
    """The answering end, around an accepted Starlette WebSocket."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def send_frame(self, frame: bytes) -> None:
        """See `Transport.send_frame`."""
        try:
            await self._websocket.send_bytes(frame)
        except (WebSocketDisconnect, RuntimeError, OSError) as error:  # RuntimeError: closed before
            raise PeerLost("the connection to the peer is gone", peer_code="") from error

    async def receive_frame(self) -> bytes:
        """See `Transport.receive_frame`."""
        try:
            message = await self._websocket.receive()
        except (WebSocketDisconnect, RuntimeError, OSError) as error:
            raise PeerLost("the connection to the peer is gone", peer_code="") from error
        if message["type"] != "websocket.receive":
            if message.get("code") == _TOO_BIG:
                raise BadMessage("the peer sent a frame longer than the server accepts")
            raise PeerLost("the connection to the peer is gone", peer_code="")
        frame = message.get("bytes")
        if not isinstance(frame, bytes):
            raise BadMessage("the peer sent text where bytes belong")
        if len(frame) > MAX_FRAME_BYTES:
            raise BadMessage(f"the peer sent a frame longer than {MAX_FRAME_BYTES} bytes")
        return frame

    async def close(self) -> None:
        """See `Transport.close`."""
        if self._websocket.application_state is not WebSocketState.DISCONNECTED:
            try:
                await self._websocket.close()
            except (WebSocketDisconnect, RuntimeError, OSError) as error:
                raise PeerLost("the connection to the peer is gone", peer_code="") from error


async def connect_websocket(
    base_url: str, *, open_timeout_s: float = 10.0, tls: ssl.SSLContext | None = None
) -> Transport:
    """Dial a node's peer endpoint (``base_url`` + `PEER_PATH`).

    Raises BadInput for a URL that is not plain http(s) or ws(s), PeerLost if nobody answers there. The
    caller has checked the URL against its allow-list.
    """
    url = peer_url(base_url)
    options: dict[str, Any] = {} if tls is None else {"ssl": tls}
    try:
        connection = await _NoRedirect(
            url,
            compression=None,  # compressing secrets beside chosen text leaks them, and ciphertext is dense
            proxy=None,
            open_timeout=open_timeout_s,
            ping_interval=None,
            close_timeout=2,
            max_size=MAX_FRAME_BYTES,
            **options,
        )
    except (WebSocketException, OSError, TimeoutError, ValueError) as error:
        raise PeerLost(f"no node answers at {base_url}", peer_code="") from error
    return WebSocketTransport(connection)


def peer_url(base_url: str) -> str:
    """The WebSocket URL of a node's peer endpoint; raises BadInput for anything but an origin and a path."""
    try:
        parts = urlsplit(base_url)
        _ = parts.port  # raises ValueError out of range
    except ValueError as error:
        raise BadInput(f"{base_url!r} is no URL") from error
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise BadInput(f"{base_url!r} is not the http(s) address of a node")
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}{PEER_PATH}"
