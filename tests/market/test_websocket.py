"""Live progress over the WebSocket: the whole timeline once, then the end; nothing for strangers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator

from market.parties import services as parties
from tests.chain_lab import Lab
from tests.market.parties import SYSTEM, Member, Stage

pytestmark = pytest.mark.django_db(transaction=True)


def token(member: Member) -> bytes:
    _key, made = parties.create_api_key(party=member.row, name="ws", scopes=["read"], actor=SYSTEM)
    return made.encode()


class Socket(ApplicationCommunicator):  # type: ignore[misc]
    """A WebSocket to the portal's ASGI application (the one of channels.testing needs daphne)."""

    def __init__(
        self,
        job_id: str,
        secret: bytes | None = None,
        *,
        query: bytes = b"",
        origin: bytes | None = None,
    ) -> None:
        from market.asgi import application

        headers = [(b"host", b"localhost")]
        if secret is None:
            headers.append((b"origin", origin or b"http://localhost"))
        if secret is not None:
            headers.append((b"authorization", b"Bearer " + secret))
        scope = {"type": "websocket", "path": f"/ws/jobs/{job_id}", "query_string": query, "headers": headers}
        super().__init__(application, scope)

    async def connect(self) -> bool:
        """Whether the application takes the connection."""
        await self.send_input({"type": "websocket.connect"})
        return bool((await self.receive_output(timeout=5))["type"] == "websocket.accept")

    async def read_to_the_end(self) -> tuple[list[dict[str, Any]], int]:
        """Every message until the application closes, and its close code."""
        messages = []
        while True:
            answer = await self.receive_output(timeout=5)
            if answer["type"] == "websocket.close":
                return messages, answer["code"]
            messages.append(json.loads(answer["text"]))


@pytest.fixture
def scene(transactional_db: None, market_lab: Lab, request: pytest.FixtureRequest) -> Stage:
    return request.getfixturevalue("stage")


async def test_the_timeline_arrives_once_and_the_socket_closes(scene: Stage, cast: Any, grant: Any) -> None:
    job = await sync_to_async(scene.submit)(cast.bob, {"left": (grant, 5)})
    socket = Socket(job.job_id, await sync_to_async(token)(cast.bob))
    assert await socket.connect()
    await sync_to_async(scene.round)(4)
    messages, code = await socket.read_to_the_end()
    assert code == 1000
    ids = [message["event"]["id"] for message in messages if message["type"] == "event"]
    assert ids == sorted(set(ids))
    phases = [message["event"]["phase"] for message in messages if message["type"] == "event"]
    assert phases[0] == "submitted"
    assert phases[-1] == "settled"
    states = [message["job"]["state"] for message in messages if message["type"] == "job"]
    assert states[-1] == "settled"
    late = Socket(job.job_id, await sync_to_async(token)(cast.bob), query=b"after=%d" % ids[-2])
    await late.connect()
    messages, _code = await late.read_to_the_end()
    assert [m["event"]["id"] for m in messages if m["type"] == "event"] == [ids[-1]]


async def test_strangers_learn_nothing(scene: Stage, cast: Any, grant: Any) -> None:
    job = await sync_to_async(scene.submit)(cast.bob, {"left": (grant, 5)})
    for secret, expected in (
        (None, 4401),
        (b"lt_000000000000_" + b"A" * 43, 4401),
        (await sync_to_async(token)(cast.charlie), 4404),
    ):
        socket = Socket(job.job_id, secret)
        await socket.connect()
        messages, code = await socket.read_to_the_end()
        assert (messages, code) == ([], expected)
    await sync_to_async(scene.settle)()


async def test_another_origin_is_turned_away(scene: Stage) -> None:
    assert not await Socket("0x00", origin=b"http://evil.example").connect()
