"""The channel over a real WebSocket between two event loops: a Starlette node and a dialling client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

import pytest
import uvicorn
import websockets
from starlette.applications import Starlette
from starlette.responses import RedirectResponse
from starlette.routing import Route, WebSocketRoute

from compute.errors import BadInput, BadMessage, ComputeError, PeerLost, PeerRefused
from compute.wire.handshake import Meeting, accept, dial
from compute.wire.records import ChannelLimits
from compute.wire.transport import MAX_FRAME_BYTES
from compute.wire.websocket import PEER_PATH, StarletteTransport, connect_websocket, peer_url
from tests.compute.wire.parties import ALICE, BOB, directory

MEETING = Meeting("0x" + "11" * 32, ALICE.id, "left", BOB.id, "right")


class Node:
    """A node that echoes messages and remembers how its channels ended."""

    def __init__(self):
        self.ended: list[ComputeError] = []
        self.limits = ChannelLimits(idle_timeout_s=2)
        app = Starlette(
            routes=[
                WebSocketRoute(PEER_PATH, self.peer),
                Route("/elsewhere" + PEER_PATH, lambda request: RedirectResponse(PEER_PATH)),
            ]
        )
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        config = uvicorn.Config(app, log_level="error", ws_ping_interval=None, lifespan="off")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})

    async def peer(self, websocket):
        await websocket.accept()

        async def admit(meeting):
            if meeting.job != MEETING.job:
                raise PeerRefused("no such job here")

        try:
            _, channel = await accept(
                StarletteTransport(websocket),
                BOB.id,
                BOB,
                directory,
                admit,
                limits=self.limits,
                timeout_s=2,
            )
        except ComputeError as error:
            self.ended.append(error)
            return
        try:
            while True:
                message = await channel.receive()
                if message == b"close, please":
                    await channel.close("protocol.abort", "as you wish")
                    return
                await channel.send(message)
        except ComputeError as error:
            self.ended.append(error)
        finally:
            await channel.close()


@pytest.fixture
def node():
    node = Node()
    node.thread.start()
    yield node
    node.server.should_exit = True
    node.thread.join(10)
    node.socket.close()


@contextlib.asynccontextmanager
async def channel_to(node, meeting=MEETING):
    transport = await connect_websocket(node.url)
    channel = await dial(transport, meeting, ALICE, directory, limits=node.limits, timeout_s=2)
    try:
        yield channel
    finally:
        await channel.close()


async def ended(node):
    for _ in range(200):
        if node.ended:
            return node.ended[0]
        await asyncio.sleep(0.01)
    raise AssertionError("the node did not notice")


async def test_messages_small_and_large_pass_a_real_socket(node):
    async with channel_to(node) as channel:
        for length in (0, 1, 100_000, (8 << 20) + 1, 20 << 20):
            message = bytes(length)
            await channel.send(message)
            assert await channel.receive() == message


async def test_the_closing_word_passes_a_real_socket(node):
    async with channel_to(node) as channel:
        await channel.send(b"close, please")
        with pytest.raises(PeerLost) as caught:
            await channel.receive()
        assert caught.value.detail["peer_code"] == "protocol.abort"
    async with channel_to(node) as channel:
        await channel.close("job.cancelled")
    assert (await ended(node)).detail["peer_code"] == "job.cancelled"


async def test_a_refused_meeting_is_a_refusal_over_a_real_socket(node):
    transport = await connect_websocket(node.url)
    other = Meeting("0x" + "22" * 32, ALICE.id, "left", BOB.id, "right")
    with pytest.raises(PeerRefused, match="no such job"):
        await dial(transport, other, ALICE, directory)


async def test_a_peer_that_dies_is_lost_without_a_code(node):
    async with channel_to(node) as channel:
        await channel.send(b"x")
        await channel.receive()
        channel._transport._connection.transport.abort()
        with pytest.raises(PeerLost):
            await channel.receive()
    lost = await ended(node)
    assert isinstance(lost, PeerLost)
    assert lost.detail["peer_code"] == ""


@pytest.mark.parametrize(
    ("frames", "error"),
    [
        ([b"garbage"], BadMessage),
        ([""], BadMessage),
        (["text"], BadMessage),
        ([bytes(5000)], BadMessage),
        ([bytes(MAX_FRAME_BYTES + 1)], BadMessage),
        ([bytes(17 << 20)], ComputeError),
        ([], PeerLost),
    ],
    ids=["garbage", "empty text", "text", "long", "too long", "above the server's limit", "nothing"],
)
async def test_a_stranger_who_sends_rubbish_gets_nothing_and_harms_nothing(node, frames, error):
    url = node.url.replace("http", "ws") + PEER_PATH
    with contextlib.suppress(websockets.ConnectionClosed):
        async with websockets.connect(url, max_size=None) as stranger:
            for frame in frames:
                await stranger.send(frame)
            if frames:
                await stranger.recv()
    assert isinstance(await ended(node), error)
    async with channel_to(node) as channel:
        await channel.send(b"still here")
        assert await channel.receive() == b"still here"


async def test_nobody_there_is_a_lost_peer():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(PeerLost, match=str(port)):
        await connect_websocket(f"http://127.0.0.1:{port}", open_timeout_s=1)


async def test_a_redirect_is_not_followed(node):
    """Else an allowed peer could send us on to an address that our allow-list forbids."""
    with pytest.raises(PeerLost):
        await connect_websocket(node.url + "/elsewhere", open_timeout_s=2)


def test_peer_urls():
    assert peer_url("http://127.0.0.1:8611") == "ws://127.0.0.1:8611/v1/peer"
    assert peer_url("https://node.example/liutong/") == "wss://node.example/liutong/v1/peer"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8611",
        "ftp://host",
        "file:///etc/passwd",
        "http://",
        "http://user:word@host",
        "http://host/?q",
        "http://host/#f",
        "http://host:99999",
    ],
)
def test_what_is_no_node_address_is_refused(url):
    with pytest.raises(BadInput):
        peer_url(url)
