"""Runs all roles of a job in one thread, through the same codec as between processes: tests and vectors."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from compute.errors import ProtocolAbort
from compute.protocols.protocol import Checkpoint, Compute, Output, Progress, Receive, Reply, Steps
from compute.protocols.runner import Ended, advance, do_calls
from compute.wire import codec
from compute.wire.transcript import Transcript


@dataclass(frozen=True)
class WireMessage:
    """One message as it crossed in a local run."""

    sender: str
    receiver: str
    data: bytes


@dataclass(frozen=True, repr=False)
class LocalRun:
    """A whole job that ran in this thread: outputs and transcripts by role, and all that crossed."""

    outputs: dict[str, Output]
    transcripts: dict[str, Transcript]
    wire: list[WireMessage]
    progress: dict[str, list[Progress]]

    def bytes_sent(self, role: str) -> int:
        """Protocol bytes that ``role`` sent."""
        return sum(len(message.data) for message in self.wire if message.sender == role)


def run_local(roles: Mapping[str, Steps], *, binding: bytes = b"") -> LocalRun:
    """Run all roles of a job in this thread, through the same codec as between processes.

    Raises what the first failing role raises, and ProtocolAbort if all roles wait for each other.
    """
    local = _Local(dict(roles), binding)
    while local.waiting or local.ready:
        local.turn()
    for (sender, receiver), queue in local.queues.items():
        if queue:
            raise ProtocolAbort(f"{receiver} ended before it read all that {sender} sent")
    return LocalRun(local.outputs, local.transcripts, local.wire, local.progress)


@dataclass(repr=False)
class _Local:
    ready: dict[str, Steps]
    binding: bytes
    waiting: dict[str, Receive] = field(default_factory=dict)
    outputs: dict[str, Output] = field(default_factory=dict)
    wire: list[WireMessage] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.steps = dict(self.ready)
        self.queues: dict[tuple[str, str], deque[bytes]] = {
            (a, b): deque() for a in self.steps for b in self.steps if a != b
        }
        self.transcripts = {role: Transcript(role, self.binding) for role in self.steps}
        self.progress: dict[str, list[Progress]] = {role: [] for role in self.steps}
        self.checkpoints: dict[str, list[int]] = {role: [] for role in self.steps}

    def turn(self) -> None:
        """Let every role run that can."""
        able = list(self.ready)
        self.ready = {}
        for role in able:
            self._run(role, None)
        moved = bool(able)
        for role, effect in list(self.waiting.items()):
            queue = self.queues.get((effect.role, role))
            if queue:
                data = queue.popleft()
                message = codec.decode(effect.type, data)
                self.transcripts[role].received(effect.role, data)
                del self.waiting[role]
                self._run(role, message)
                moved = True
        if not moved and self.waiting:
            stuck = ", ".join(f"{role} waits for {effect.role}" for role, effect in self.waiting.items())
            raise ProtocolAbort(f"no role can go on: {stuck}")

    def _run(self, role: str, message: Reply) -> None:
        while True:
            effect = advance(self.steps[role], message)
            message = None
            if isinstance(effect, Ended):
                self.outputs[role] = effect.output
                return
            if isinstance(effect, Receive):
                self.waiting[role] = effect
                return
            if isinstance(effect, Progress):
                self.progress[role].append(effect)
                continue
            if isinstance(effect, Compute):
                message = do_calls(effect.calls)
                continue
            if isinstance(effect, Checkpoint):
                self.checkpoints[role].append(effect.index)
                continue
            if (role, effect.role) not in self.queues:
                raise ProtocolAbort(f"there is no role {effect.role}")
            data = codec.encode(effect.message)
            self.queues[role, effect.role].append(data)
            self.transcripts[role].sent(effect.role, data)
            self.wire.append(WireMessage(role, effect.role, data))
