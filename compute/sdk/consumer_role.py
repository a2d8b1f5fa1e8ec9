"""Runs the role that a consumer takes itself (PIR client, FL coordinator) over channels that it dials.

The portal only says where the nodes listen; each must prove the key that the chain names for its party.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from compute.errors import HandshakeFailed, PeerLost, PeerRefused
from compute.protocols import runner
from compute.protocols.checkpoints import Journal, inputs_of
from compute.protocols.protocol import JobKind, Progress, Session
from compute.sdk.identity import Identity
from compute.wire import handshake
from compute.wire.channel import Channel
from compute.wire.handshake import Meeting
from compute.wire.identity import KeyDirectory
from compute.wire.websocket import connect_websocket

# A node admits its peers once it has the job itself, which the portal hands out one node after the other.
_REDIAL_PAUSE_S = 0.3
# The line was cut, the node lost another peer, or it stops and starts again.
_COMES_BACK = ("", PeerLost.code, "node.restarted")


async def run_consumer_role(
    kind: JobKind,
    session: Session,
    job: str,
    peers: Mapping[str, tuple[str, str]],
    identity: Identity,
    directory: KeyDirectory,
    *,
    deadline: int,
    on_progress: Callable[[Progress], None],
    cancel: asyncio.Event,
) -> runner.RunResult:
    """Dial every peer (role → (party, URL)), then drive the role to its end.

    A resumable kind whose line is cut is taken up again while this process lives. Raises PeerLost or
    PeerRefused if a node cannot be met before the deadline, and what the role raises.
    """
    meetings = {
        role: (Meeting(job, identity.party, session.role, party, role), url)
        for role, (party, url) in peers.items()
    }
    if not kind.resumable:
        return await runner.run(
            kind.start(session, None),
            await _meet(meetings, identity, directory, deadline, cancel),
            role=session.role,
            binding=session.binding,
            on_progress=on_progress,
            cancel=cancel,
        )
    inputs = inputs_of(session.spec, session.binding)
    journal = Journal(session.workspace, session.role, session.binding, inputs)
    while True:
        channels = await _meet(meetings, identity, directory, deadline, cancel)
        try:
            return await runner.run_resumable(
                lambda resumed: kind.start(replace(session, resumed=resumed), None),
                channels,
                journal=journal,
                on_progress=on_progress,
                cancel=cancel,
            )
        except PeerLost as error:
            if error.detail.get("peer_code", "") not in _COMES_BACK or time.time() >= deadline:
                raise
        await asyncio.sleep(_REDIAL_PAUSE_S)


async def _meet(
    meetings: Mapping[str, tuple[Meeting, str]],
    identity: Identity,
    directory: KeyDirectory,
    deadline: int,
    cancel: asyncio.Event,
) -> dict[str, Channel]:
    dialling: dict[str, asyncio.Task[Any]] = {
        role: asyncio.create_task(_dial(meeting, url, identity, directory, deadline))
        for role, (meeting, url) in meetings.items()
    }
    watching: asyncio.Task[Any] = asyncio.create_task(cancel.wait())
    try:
        waiting = set(dialling.values())
        while waiting:
            done, _ = await asyncio.wait({*waiting, watching}, return_when=asyncio.FIRST_COMPLETED)
            if watching in done:
                raise PeerLost("the job ended before every node could be met", peer_code="")
            for task in waiting & done:
                task.result()  # raises what the dialling raised
            waiting -= done
    except BaseException:
        for task in dialling.values():
            task.cancel()
            if task.done() and not task.cancelled() and task.exception() is None:
                await task.result().close(PeerLost.code)
        raise
    finally:
        watching.cancel()
    return {role: task.result() for role, task in dialling.items()}


async def _dial(
    meeting: Meeting, url: str, identity: Identity, directory: KeyDirectory, deadline: int
) -> Channel:
    while True:
        try:
            transport = await connect_websocket(url)
            return await handshake.dial(transport, meeting, identity.signer, directory)
        except HandshakeFailed:
            raise
        except (PeerLost, PeerRefused):
            if time.time() + _REDIAL_PAUSE_S >= deadline:
                raise
        await asyncio.sleep(_REDIAL_PAUSE_S)
