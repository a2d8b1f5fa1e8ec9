"""Builds specs, sessions and whole runs for the tests of every protocol."""

import asyncio
import hashlib
import random
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

import compute.protocols.kinds
from compute.errors import BadMessage
from compute.protocols.local import LocalRun, run_local
from compute.protocols.protocol import Message, Rng, Session, Steps, job_kind
from compute.protocols.runner import RunResult, run
from compute.wire import codec
from compute.wire.channel import MemoryChannel, memory_channels
from compute.wire.messages import JobSpec, Participant

BINDING = hashlib.sha256(b"a job and its spec").digest()
CONSUMER = "0x" + "c0" * 32
__all__ = ["BINDING", "CONSUMER", "compute"]


def seeded(seed: int | str) -> Rng:
    return random.Random(seed).randbytes


def spec_of(kind: str, params: dict[str, Any], roles: tuple[str, ...]) -> JobSpec:
    consumer_role = job_kind(kind).consumer_role
    participants = []
    for index, role in enumerate(roles):
        if role == consumer_role:
            participants.append(Participant(role=role, party=CONSUMER))
        else:
            ident = "0x" + f"{index + 1:02x}" * 32
            participants.append(
                Participant(role=role, party=ident, grant=ident, dataset=ident, commitment=ident)
            )
    return JobSpec(
        kind=kind,
        purpose="research",
        consumer=CONSUMER,
        result_key="0x" + "aa" * 32,
        participants=tuple(participants),
        params=params,
    )


class Job:
    """One job: prepared as the SDK does it, with a table per data role."""

    def __init__(
        self,
        kind: str,
        params: dict[str, Any],
        tables: Mapping[str, pa.Table],
        *,
        floor: int = 0,
        seed: int | str = 0,
        binding: bytes = BINDING,
        storage: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        """``storage``: per role more fields of its `Session`, such as workspace, cache or memory_bytes."""
        self.kind = job_kind(kind)
        self.tables = dict(tables)
        self.floor = floor
        self.seed = seed
        self.binding = binding
        self.storage = dict(storage or {})
        roles = (*tables, self.kind.consumer_role) if self.kind.consumer_role else tuple(tables)
        final, self.secrets = self.kind.prepare(params, seeded(f"{seed} prepare"))
        self.spec = spec_of(kind, final, roles)
        self.params = self.kind.parse(self.spec)
        self.roles = self.kind.roles(self.spec, self.params)

    def session(self, role: str) -> Session:
        secrets = self.secrets if role == (self.kind.consumer_role or "") else {}
        rng = seeded(f"{self.seed} {role}")
        secret = hashlib.sha256(f"version of {role}".encode()).digest() if role in self.tables else b""
        return Session(
            role,
            self.spec,
            self.params,
            self.binding,
            self.floor,
            rng,
            secrets,
            version_secret=secret,
            **self.storage.get(role, {}),
        )

    def consumer(self) -> Session:
        return Session("", self.spec, self.params, self.binding, self.floor, seeded("open"), self.secrets)

    def steps(self, role: str) -> Steps:
        return self.kind.start(self.session(role), self.tables.get(role))

    def run(self) -> LocalRun:
        return run_local({role: self.steps(role) for role in self.roles}, binding=self.binding)

    def open(self, result: LocalRun) -> Any:
        payloads = {role: out.sealed for role, out in result.outputs.items() if out.sealed is not None}
        return self.kind.open_result(self.consumer(), payloads)

    def result(self) -> Any:
        return self.open(self.run())

    def run_async(self, hostile: Mapping[str, Steps] | None = None) -> dict[str, RunResult | BaseException]:
        """Every role in its own task over memory channels; ``hostile`` replaces the steps of a role."""
        return asyncio.run(self._run_async(dict(hostile or {})))

    async def _run_async(self, hostile: dict[str, Steps]) -> dict[str, RunResult | BaseException]:
        ends: dict[str, dict[str, MemoryChannel]] = {role: {} for role in self.roles}
        for index, one in enumerate(self.roles):
            for other in self.roles[:index]:
                ends[one][other], ends[other][one] = memory_channels()
        results = await asyncio.gather(
            *(
                run(
                    hostile.get(role) or self.steps(role),
                    ends[role],
                    role=role,
                    binding=self.binding,
                    timeout_s=20,
                )
                for role in self.roles
            ),
            return_exceptions=True,
        )
        return dict(zip(self.roles, results, strict=True))


def crossed(run: LocalRun, kind: type[Message], sender: str = "") -> list[Any]:
    """The messages of a type that crossed, from one role or from all."""
    found = []
    for message in run.wire:
        if sender in ("", message.sender):
            try:
                found.append(codec.decode(kind, message.data))
            except BadMessage:
                continue
    return found
