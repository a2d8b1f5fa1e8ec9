"""What a protocol is: pure roles that exchange typed messages, and a registry of job kinds.

A role is a generator. It yields *effects* (`Send`, `Receive`, `Progress`, `Compute`, `Checkpoint`) and ends
by returning an `Output`. It does no input or output of its own but through `Session.workspace` and
`Session.cache`, so the same code runs in a unit test, between two node processes, through a relay and from
recorded vectors; a runner (`compute.protocols.runner`) performs the effects. Between two yields a role may
compute as long as it likes: runners step it in a worker thread.

    def sender(session: Session, items: Sequence[bytes]) -> Steps:
        blinded = ...
        yield Send("receiver", Blinded(points=blinded))
        reply = yield from receive("receiver", DoubleBlinded)
        return Output(units=1)
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import pyarrow as pa

from compute.errors import BadInput, ProtocolAbort
from compute.protocols.workspace import Cache, MemoryCache, MemoryWorkspace, Workspace
from compute.wire.messages import JobSpec

# os.urandom in production, a seeded stream in vectors and tests.
Rng = Callable[[int], bytes]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="t"):
    """Base of every protocol message. Subclasses set ``tag="kind.name"`` and annotate limits with Meta."""


M = TypeVar("M", bound=Message)
P = TypeVar("P")


@dataclass(frozen=True)
class Send:
    """Give a message to the peer in ``role``. It may wait for room on the line, never for a peer to read
    in a certain order: roles may send as much as they like before they receive."""

    role: str
    message: Message


@dataclass(frozen=True)
class Receive:
    """Wait for the next message of ``role``, which must be of this type: the runner decodes strictly."""

    role: str
    type: type[Message]


@dataclass(frozen=True)
class Progress:
    """How far a phase is (``total`` 0: unknown). The portal translates phase names: keep them stable."""

    phase: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True, repr=False)  # holds secrets: keep it out of logs
class Call:
    """One piece of heavy work: a function that is importable by name, of plain arguments and NumPy arrays.

    It depends on nothing but its arguments (randomness is one of them), so a runner may do it in this
    thread, in several, or on another machine of the party, and do it again if that machine dies.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True, repr=False)
class Compute:
    """Do these calls, in any order or at once; the role gets their results in the order of the calls."""

    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Checkpoint:
    """All up to here is done and lies in the workspace; counted 1, 2, … by every role of the job alike.

    The runner agrees with every peer on what passed so far and keeps that. A job that was cut starts again
    with ``Session.resumed`` at the last checkpoint that all its roles have.
    """

    index: int


@dataclass(frozen=True, repr=False)  # holds results: keep it out of logs
class Output:
    """What a role ends with.

    ``sealed``: payload for the consumer, sealed to its key by the node before it leaves the process.
    ``rows``: a table for the node's own result store (never sent anywhere).
    ``units``: what is charged to this role's grant; at most what was reserved.
    ``metrics``: public quantities for the receipt.
    """

    sealed: bytes | None = None
    rows: pa.Table | None = None
    units: int = 0
    metrics: Mapping[str, int] = field(default_factory=dict)


Effect = Send | Receive | Progress | Compute | Checkpoint
# What an effect gives back: a message, the results of calls, or nothing.
Reply = Message | tuple[Any, ...] | None
Steps = Generator[Effect, Reply, Output]
# A piece of a role that gives a value: ``value = yield from part(...)``.
Part = Generator[Effect, Reply, P]


def compute(calls: Iterable[Call]) -> Part[tuple[Any, ...]]:
    """Have calls done: ``left, right = yield from compute([Call(f, (a,)), Call(f, (b,))])``."""
    results = yield Compute(tuple(calls))
    if not isinstance(results, tuple):
        raise TypeError("a runner answers Compute with the results of the calls")
    return results


def receive(role: str, message_type: type[M]) -> Part[M]:
    """Wait for one typed message: ``reply = yield from receive("sender", Reply)``."""
    message = yield Receive(role, message_type)
    if not isinstance(message, message_type):
        raise ProtocolAbort(f"{role} sent an unexpected message")
    return message


@dataclass(frozen=True, repr=False)
class Session:
    """What a role may know besides its data.

    ``binding`` is SHA-256 over job id and spec hash; protocols mix it into every hash and proof so that a
    message of one job is worthless in another. ``min_cohort`` is the strictest floor of the job's grants.
    ``secrets`` is empty at nodes; in the SDK it holds the consumer's per-job secret state.

    ``workspace`` is this job's own storage: what does not fit the memory, and what outlives a cut. ``cache``
    outlives the job. ``version_secret`` is 32 bytes that stay the same for this node and dataset version
    (empty where there is no dataset): derive from it by purpose, never use it as it is. ``memory_bytes``
    bounds what the role holds at once, ``parallel`` says how many calls are worth asking for at once,
    ``resumed`` is the last checkpoint of all roles (0: from the start).
    """

    role: str
    spec: JobSpec
    params: Any
    binding: bytes
    min_cohort: int
    rng: Rng
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    workspace: Workspace = field(default_factory=MemoryWorkspace)
    cache: Cache = field(default_factory=MemoryCache)
    version_secret: bytes = b""
    memory_bytes: int = 1 << 30
    parallel: int = 1
    resumed: int = 0


def _as_written(params: dict[str, Any], rng: Rng) -> tuple[dict[str, Any], dict[str, bytes]]:
    return dict(params), {}


@dataclass(frozen=True)
class JobKind:
    """One kind of job: a folder under ``compute/protocols`` registers exactly one or several of these.

    ``roles(spec)`` names the roles in dialling order and validates that the spec's participants fit;
    ``consumer_role`` is the role that the consumer's SDK runs itself, or None if it may go off line.
    ``columns(spec, role)`` are the columns the role reads, all of which the grant must allow.
    ``units(spec, role)`` is what to reserve of that role's grant.
    ``start(session, table)`` builds the role's generator; ``table`` is None for the consumer.
    ``open_result(session, payloads)`` runs in the SDK on the unsealed payloads by role, gives plain JSON.
    ``prepare(params, rng)`` runs in the SDK before signing: returns (final params, secrets to keep);
    by default what the user wrote, and no secrets.
    ``result_roles`` are the nodes' roles that may deliver a payload (some only if the params say so).
    ``role_names`` are the roles as a form shows them, ``p*`` for p1…pN.
    ``unit`` says what one unit is, ``example`` is what a user writes as params before ``prepare``.
    ``resumable``: its roles yield `Checkpoint`, so a node takes a job up again after a cut or a restart.
    """

    name: str
    operation: str
    params: type[msgspec.Struct]
    roles: Callable[[JobSpec, Any], tuple[str, ...]]
    columns: Callable[[JobSpec, Any, str], tuple[str, ...]]
    units: Callable[[JobSpec, Any, str], int]
    start: Callable[[Session, pa.Table | None], Steps]
    open_result: Callable[[Session, Mapping[str, bytes]], Any]
    prepare: Callable[[dict[str, Any], Rng], tuple[dict[str, Any], dict[str, bytes]]] = _as_written
    consumer_role: str | None = None
    result_roles: tuple[str, ...] = ()
    role_names: tuple[str, ...] = ()
    unit: str = "job"
    example: Mapping[str, Any] = field(default_factory=dict)
    resumable: bool = False

    def parse(self, spec: JobSpec) -> Any:
        """The spec's params as this kind's type; raises BadInput naming the field that does not fit."""
        try:
            return msgspec.convert(spec.params, type=self.params, strict=True)
        except msgspec.ValidationError as error:
            raise BadInput(f"params of {self.name}: {error}") from error


_KINDS: dict[str, JobKind] = {}


def register(kind: JobKind) -> JobKind:
    """Make a job kind known; a name registers once."""
    if kind.name in _KINDS:
        raise ValueError(f"job kind {kind.name} is registered twice")
    _KINDS[kind.name] = kind
    return kind


def job_kind(name: str) -> JobKind:
    """The registered kind; raises BadInput listing what there is."""
    try:
        return _KINDS[name]
    except KeyError:
        raise BadInput(f"unknown job kind {name!r}: known are {', '.join(sorted(_KINDS))}") from None


def job_kinds() -> tuple[JobKind, ...]:
    """All registered kinds by name. Import `compute.protocols.kinds` first: it imports every folder."""
    return tuple(_KINDS[name] for name in sorted(_KINDS))
