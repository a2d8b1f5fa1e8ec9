"""Runs the roles of a resumable job over channels that break, attempt after attempt, as nodes do."""

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any

from compute.errors import PeerLost
from compute.protocols.checkpoints import Journal, inputs_of
from compute.protocols.protocol import Checkpoint, Message, Reply, Send, Steps
from compute.protocols.runner import RunResult, run_resumable
from compute.protocols.workspace import MemoryWorkspace, Workspace
from compute.wire.channel import MemoryChannel, memory_channels
from tests.compute.protocols.jobs import Job, seeded


def cut_after(steps: Steps, index: int) -> Steps:
    """A role whose process dies right after a checkpoint."""
    reply = None
    while True:
        try:
            effect = steps.send(reply)
        except StopIteration as stop:
            return stop.value
        reply = yield effect
        if isinstance(effect, Checkpoint) and effect.index == index:
            raise PeerLost("cut")


class Frayed:
    """A channel whose line breaks for both ends after so many messages sent on this side."""

    def __init__(self, channel: MemoryChannel, left: int) -> None:
        self._channel = channel
        self._left = left

    async def send(self, message: bytes) -> None:
        if self._left <= 0:
            await self._channel.close("")
            raise PeerLost("cut", peer_code="")
        self._left -= 1
        await self._channel.send(message)

    async def receive(self) -> bytes:
        return await self._channel.receive()

    async def close(self, code: str = "", reason: str = "") -> None:
        await self._channel.close(code, reason)


class Interrupted:
    """A two-role job with what its roles keep between attempts, and all they sent in any of them."""

    def __init__(self, job: Job, spaces: Mapping[str, Workspace] | None = None) -> None:
        self.job = job
        self.spaces = dict(spaces or {role: MemoryWorkspace() for role in job.roles})
        self.sent: dict[str, list[Message]] = {role: [] for role in job.roles}
        self.resumed: list[int] = []

    def attempt(self, cut: Mapping[str, int] | None = None) -> dict[str, RunResult | BaseException]:
        """Both roles once; the line of a role in ``cut`` breaks after so many messages."""
        return asyncio.run(self._attempt(dict(cut or {})))

    async def _attempt(self, cut: dict[str, int]) -> dict[str, RunResult | BaseException]:
        number = len(self.resumed)
        ends: Any = dict(zip(self.job.roles, memory_channels(), strict=True))
        lines = {role: Frayed(end, cut.get(role, 1 << 30)) for role, end in ends.items()}

        def start(role: str) -> Any:
            def begin(resumed: int) -> Steps:
                self.resumed.append(resumed)
                # A process that was started again has other randomness.
                session = dataclasses.replace(
                    self.job.session(role),
                    workspace=self.spaces[role],
                    resumed=resumed,
                    rng=seeded(f"{role} {number}"),
                )
                return self._watched(role, self.job.kind.start(session, self.job.tables[role]))

            return begin

        def journal(role: str) -> Journal:
            inputs = inputs_of(self.job.spec, self.job.binding)
            return Journal(self.spaces[role], role, self.job.binding, inputs)

        one, other = self.job.roles
        results = await asyncio.gather(
            run_resumable(start(one), {other: lines[one]}, journal=journal(one), timeout_s=20),
            run_resumable(start(other), {one: lines[other]}, journal=journal(other), timeout_s=20),
            return_exceptions=True,
        )
        return dict(zip(self.job.roles, results, strict=True))

    def _watched(self, role: str, steps: Steps) -> Steps:
        reply: Reply = None
        while True:
            try:
                effect = steps.send(reply)
            except StopIteration as stop:
                return stop.value
            if isinstance(effect, Send):
                self.sent[role].append(effect.message)
            reply = yield effect
