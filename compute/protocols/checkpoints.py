"""Checkpoints: what a runner keeps of a job over a cut, and how the roles agree where to go on.

At `Checkpoint(k)` every role tells every peer k and the digest of all that passed between the two (`Marked`);
if they agree, each settles its workspace and keeps its transcript there under ``run.checkpoint.k``. A role
marks k+1 only after it kept k, so two roles are never further apart than one; each keeps the last two, and
0 stands for the start. Who was once at checkpoint 2 never begins anew, also after it went back to 1.

An attempt at the job begins with `Resuming`: the job's binding, the digest of the sender's input, and the
checkpoints it holds. The roles go on from the highest that all hold, and confirm it (`Agreed`). Who names
another job or input, a checkpoint that cannot be, or other digests than we saw is a ProtocolAbort: no
secret of one input is used with another, and nobody can wind a peer back by more than what one checkpoint
covers. These messages are no part of the transcript: it is the same however often the job was cut.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from compute.errors import DataError, ProtocolAbort
from compute.protocols.protocol import Message
from compute.protocols.workspace import RUNNER, Workspace
from compute.wire.messages import JobSpec
from compute.wire.transcript import Transcript

_PREFIX = f"{RUNNER}checkpoint."
# There is no way back to the start for the input that this names.
_PASSED = f"{RUNNER}passed"
_INPUT = b"liutong/run/input/v1\x00"
_MAX_INDEX = 1 << 40
START = bytes(32)
_NONE = "0x" + "00" * 32

Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
Index = Annotated[int, Meta(ge=0, le=_MAX_INDEX)]


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One checkpoint: its index and the digest of what passed between two roles up to it."""

    index: Index
    transcript: Digest


class Marked(Message, frozen=True, tag="run.marked"):
    """The sender has reached a checkpoint."""

    mark: Mark


class Resuming(Message, frozen=True, tag="run.resuming"):
    """First message of an attempt: the job, the sender's input, and the checkpoints it holds, ascending."""

    binding: Digest
    inputs: Digest
    marks: Annotated[tuple[Mark, ...], Meta(min_length=1, max_length=2)]


class Agreed(Message, frozen=True, tag="run.agreed"):
    """The checkpoint the sender goes on from."""

    index: Index


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A checkpoint as it lies in the workspace."""

    binding: Digest
    inputs: Digest
    chains: tuple[tuple[str, str, Digest, Annotated[int, Meta(ge=0)]], ...]
    bytes_in: Annotated[int, Meta(ge=0)]
    bytes_out: Annotated[int, Meta(ge=0)]


def input_digest(binding: bytes, role: str, commitment: bytes) -> bytes:
    """What a role announces as its input: its dataset version (32 zero bytes: none), bound to the job."""
    name = role.encode()
    return hashlib.sha256(_INPUT + binding + len(name).to_bytes(4, "big") + name + commitment).digest()


def inputs_of(spec: JobSpec, binding: bytes) -> dict[str, bytes]:
    """What each role of a job has to announce."""
    return {
        item.role: input_digest(binding, item.role, bytes.fromhex((item.commitment or _NONE)[2:]))
        for item in spec.participants
    }


@dataclass(frozen=True)
class State:
    """What the runner knows at a checkpoint."""

    index: int
    transcript: Transcript
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(frozen=True, repr=False)
class Journal:
    """One role's checkpoints of one job. ``inputs`` maps every role to the digest it has to announce."""

    workspace: Workspace
    role: str
    binding: bytes
    inputs: Mapping[str, bytes]

    def held(self) -> dict[int, State]:
        """The checkpoints that are here, at most two, by index; 0 (the start) while it is one of them.

        Checkpoints of another input are none. Raises DataError for a damaged one.
        """
        indices = sorted(self._indices())
        states = {index: state for index in indices if (state := self._load(index)) is not None}
        # A peer that takes us back from 2 to 1 must not take us on to 0, where we would use another secret.
        if max(states, default=0) <= 1 and not self._passed:
            states[0] = State(0, Transcript(self.role, self.binding))
        if not states:
            raise DataError("the checkpoints in the job's workspace are missing")
        return states

    def keep(self, state: State) -> None:
        """Keep a checkpoint, on disk when this returns; the one before it stays, older ones go."""
        self.workspace.settle(state.index)
        if state.index > 1 and not self._passed:
            self.workspace.write(_PASSED, self.binding + self.inputs[self.role])
        kept = _Kept(
            self.binding,
            self.inputs[self.role],
            state.transcript.chains(),
            state.bytes_in,
            state.bytes_out,
        )
        self.workspace.write(f"{_PREFIX}{state.index}", msgspec.msgpack.encode(kept))
        for index in self._indices():
            if index < state.index - 1:
                self.workspace.remove(f"{_PREFIX}{index}")

    def go_back(self, index: int) -> None:
        """Put the workspace back to a checkpoint that `held` gave (0: empty)."""
        self.workspace.rewind(index)
        for later in self._indices():
            if later > index or index == 0:
                self.workspace.remove(f"{_PREFIX}{later}")

    def announce(self, states: Mapping[int, State], peer: str) -> Resuming:
        """Our first message to a peer."""
        marks = tuple(Mark(index, _seen(states[index], peer)) for index in sorted(states))
        return Resuming(self.binding, self.inputs[self.role], marks)

    def check(self, states: Mapping[int, State], peer: str, theirs: Resuming) -> None:
        """Whether a peer's first message can be true; raises ProtocolAbort."""
        if not hmac.compare_digest(theirs.binding, self.binding):
            raise ProtocolAbort(f"{peer} runs another job or specification")
        if not hmac.compare_digest(theirs.inputs, self.inputs[peer]):
            raise ProtocolAbort(f"{peer} announces another input than the job names")
        indices = [mark.index for mark in theirs.marks]
        if indices[-1] != indices[0] + len(indices) - 1:
            raise ProtocolAbort(f"{peer} announces checkpoints that cannot be: {indices}")
        if abs(indices[-1] - max(states)) > 1:
            raise ProtocolAbort(
                f"{peer} is at checkpoint {indices[-1]} and we are at {max(states)}: a workspace is lost"
            )
        for mark in theirs.marks:
            ours = states.get(mark.index)
            if ours is not None and not hmac.compare_digest(mark.transcript, _seen(ours, peer)):
                raise ProtocolAbort(f"{peer} saw other messages than we did up to checkpoint {mark.index}")

    @property
    def _passed(self) -> bool:
        if _PASSED not in self.workspace.names():
            return False
        return bytes(self.workspace.read(_PASSED)) == self.binding + self.inputs[self.role]

    def _indices(self) -> list[int]:
        found = (name.removeprefix(_PREFIX) for name in self.workspace.names() if name.startswith(_PREFIX))
        return [int(text) for text in found if text.isdigit()]

    def _load(self, index: int) -> State | None:
        name = f"{_PREFIX}{index}"
        try:
            kept = msgspec.msgpack.decode(self.workspace.read(name), type=_Kept, strict=True)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DataError(f"{name} in the job's workspace is damaged") from error
        if kept.binding != self.binding or kept.inputs != self.inputs[self.role]:
            return None
        transcript = Transcript(self.role, self.binding)
        transcript.restore(kept.chains)
        return State(index, transcript, kept.bytes_in, kept.bytes_out)


def common(states: Mapping[int, State], announced: Mapping[str, Resuming]) -> State:
    """The highest checkpoint that all roles hold; raises ProtocolAbort if there is none."""
    shared = set(states)
    for theirs in announced.values():
        shared &= {mark.index for mark in theirs.marks}
    if not shared:
        raise ProtocolAbort("the roles hold no common checkpoint")
    return states[max(shared)]


def _seen(state: State, peer: str) -> bytes:
    return START if state.index == 0 else state.transcript.peer_digest(peer)
