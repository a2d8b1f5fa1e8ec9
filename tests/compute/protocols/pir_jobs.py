"""Tables and jobs that the tests of retrieval share."""

import hashlib
from dataclasses import replace
from typing import Any

import msgspec
import pyarrow as pa

from compute.protocols.local import LocalRun
from compute.protocols.protocol import Session
from compute.protocols.workspace import Cache, MemoryCache
from tests.compute.protocols.jobs import Job

ABSENT = {"found": False, "records": []}


def table(count: int) -> pa.Table:
    return pa.table(
        {
            "pid": [f"P{i:04}" for i in range(count)],
            "size": [i * 1.5 for i in range(count)],
            "note": [f"记录 {i}" for i in range(count)],
        }
    )


def by_row(source: int | pa.Table, rows: list[int], **options: Any) -> Job:
    base = {"columns": ["size", "note"], "rows": rows}
    return job("pir.row", base, table(source) if isinstance(source, int) else source, options)


def by_keyword(source: int | pa.Table, keywords: list[list[str]], **options: Any) -> Job:
    base = {"columns": ["size", "note"], "key": ["pid"], "keywords": keywords}
    return job("pir.keyword", base, table(source) if isinstance(source, int) else source, options)


def membership(source: int | pa.Table, keywords: list[list[str]], **options: Any) -> Job:
    base = {"key": ["pid"], "keywords": keywords}
    return job("pir.member", base, table(source) if isinstance(source, int) else source, options)


def job(kind: str, params: dict[str, Any], source: pa.Table, options: dict[str, Any]) -> Job:
    """``options`` are those of `Job`; all others are parameters."""
    known = {name: options.pop(name) for name in ("floor", "seed", "storage", "binding") if name in options}
    return Job(kind, params | options, {"server": source}, **known)


def expected(row: int) -> dict[str, Any]:
    return {"found": True, "records": [{"size": row * 1.5, "note": f"记录 {row}"}]}


def shape(run: LocalRun) -> list[tuple[str, int]]:
    """Who sent how much, message by message: what everybody on the line sees."""
    return [(message.sender, len(message.data)) for message in run.wire]


class Versioned(Job):
    """A job on version ``number`` of the dataset, between parties that keep their caches."""

    def __init__(
        self, kind: str, params: dict[str, Any], source: pa.Table, parties: "Parties", number: int
    ) -> None:
        storage = {"server": {"cache": parties.server}, "client": {"cache": parties.client}}
        binding = hashlib.sha256(f"job {parties.jobs}".encode()).digest()
        super().__init__(
            kind, params, {"server": source}, storage=storage, seed=parties.jobs, binding=binding
        )
        parties.jobs += 1
        self.number = number
        server, client = self.spec.participants
        server = msgspec.structs.replace(server, commitment="0x" + f"{number + 16:02x}" * 32)
        self.spec = msgspec.structs.replace(self.spec, participants=(server, client))

    def session(self, role: str) -> Session:
        """The session of a node that has another secret for every version."""
        secret = hashlib.sha256(f"version {self.number}".encode()).digest() if role == "server" else b""
        return replace(super().session(role), version_secret=secret)


class Parties:
    """A provider's and a consumer's caches, over several jobs."""

    def __init__(self) -> None:
        self.server: Cache = MemoryCache()
        self.client: Cache = MemoryCache()
        self.jobs = 0

    def by_row(self, source: pa.Table, rows: list[int], number: int = 1, **params: Any) -> Versioned:
        base = {"columns": ["size", "note"], "rows": rows}
        return Versioned("pir.row", base | params, source, self, number)

    def by_keyword(self, source: pa.Table, words: list[str], number: int = 1, **params: Any) -> Versioned:
        base = {"columns": ["size", "note"], "key": ["pid"], "keywords": [[word] for word in words]}
        return Versioned("pir.keyword", base | params, source, self, number)

    def membership(self, source: pa.Table, words: list[str], number: int = 1, **params: Any) -> Versioned:
        base = {"key": ["pid"], "keywords": [[word] for word in words]}
        return Versioned("pir.member", base | params, source, self, number)
