"""Live progress of one job over a WebSocket.

The database is the only source: events are read by their growing id, so nothing is missed and nothing is sent
twice, whichever process wrote them and whether or not Redis is there.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from market.api.serializers import JobEventSerializer, JobSummarySerializer
from market.errors import MarketError, NotFound, Unauthenticated
from market.jobs.models import JobEvent
from market.jobs.services import find_job
from market.parties import services as parties
from market.parties.actor import Actor

_LOOK_EVERY_S = 0.3
_EVENTS_PER_LOOK = 200
NOT_SIGNED_IN, NOT_VISIBLE = 4401, 4404


class JobProgress(AsyncJsonWebsocketConsumer):
    """Sends {"type": "job"} on every change and {"type": "event"} per timeline line; closes at the end.

    ``?after=ID`` continues after an event that the page has already.
    """

    tail: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        job_id = self.scope["url_route"]["kwargs"]["job_id"]
        await self.accept()
        try:
            actor = await _actor(self.scope)
            await _look(job_id, actor, 0)
        except Unauthenticated:
            await self.close(NOT_SIGNED_IN)
            return
        except NotFound:
            await self.close(NOT_VISIBLE)
            return
        self.tail = asyncio.create_task(self._follow(job_id, actor, _after(self.scope)))

    async def disconnect(self, code: int) -> None:
        if self.tail is not None:
            self.tail.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.tail

    async def receive_json(self, content: Any, **unused: Any) -> None:
        """Nothing is expected from the page; what comes is not looked at."""

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        return None

    async def _follow(self, job_id: str, actor: Actor, after: int) -> None:
        shown: Any = None
        while True:
            try:
                job, events, final = await _look(job_id, actor, after)
            except MarketError:
                await self.close(NOT_VISIBLE)
                return
            for event in events:
                await self.send_json({"type": "event", "event": event})
                after = event["id"]
            if job != shown:
                await self.send_json({"type": "job", "job": job})
                shown = job
            if len(events) == _EVENTS_PER_LOOK:
                continue
            if final:
                await self.close(1000)
                return
            await asyncio.sleep(_LOOK_EVERY_S)


def _after(scope: dict[str, Any]) -> int:
    name, _, value = scope.get("query_string", b"").decode("ascii", "replace").partition("=")
    return int(value) if name == "after" and value.isascii() and value.isdecimal() and len(value) < 16 else 0


@database_sync_to_async
def _actor(scope: dict[str, Any]) -> Actor:
    """The browser's session, or an API key in the Authorization header; raises Unauthenticated."""
    for name, value in scope.get("headers", []):
        if name == b"authorization":
            token = value.decode("latin-1").partition(" ")[2].strip()
            return Actor.for_api_key(parties.authenticate_api_key(token))
    session = scope.get("session")
    actor = parties.actor_of(scope.get("user"), session.get("membership") if session else None)
    if actor is None:
        raise Unauthenticated()
    return actor


@database_sync_to_async
def _look(job_id: str, actor: Actor, after: int) -> tuple[dict[str, Any], list[dict[str, Any]], bool]:
    """The job without its documents, the timeline lines after an id, and whether it is over."""
    job = find_job(job_id, actor)
    # Read the events after the state: a job that is final then has all its lines here.
    summary = dict(JobSummarySerializer(job).data)
    events = JobEvent.objects.filter(job_id=job_id, id__gt=after).order_by("id")[:_EVENTS_PER_LOOK]
    return (
        _json(summary),
        [_json(dict(row)) for row in JobEventSerializer(events, many=True).data],
        job.is_final,
    )


def _json(value: Any) -> Any:
    import json

    from rest_framework.utils.encoders import JSONEncoder

    return json.loads(json.dumps(value, cls=JSONEncoder))
