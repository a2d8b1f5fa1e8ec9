"""Two small job kinds for tests of nodes: buckets one after the other, slowly, with a checkpoint after each.

``test.buckets`` is resumable, ``test.once`` is not. A node's process knows them if it is started as
``python -m tests.compute.node.bucket_kinds serve``, a test's own while `known` holds. What a job leaves in
the node's own results tells which process did which bucket.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import pyarrow as pa
from msgspec import Meta

from accel.errors import InvalidPoint
from compute.node.__main__ import main
from compute.protocols import protocol
from compute.protocols.protocol import (
    Checkpoint,
    JobKind,
    Message,
    Output,
    Progress,
    Send,
    Session,
    Steps,
    receive,
    register,
)
from compute.wire.messages import JobSpec

ROLES = ("left", "right")
# Data that no point is encoded as.
POISON = b"\xff" * 16


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    buckets: Annotated[int, Meta(ge=1, le=100)]
    pause_ms: Annotated[int, Meta(ge=0, le=10_000)] = 0
    # What the left role spills for each bucket, and what it puts into its result's rows.
    weight_kib: Annotated[int, Meta(ge=0)] = 0
    row_kib: Annotated[int, Meta(ge=0)] = 0


class Share(Message, frozen=True, tag="test.share"):
    bucket: int
    data: Annotated[bytes, Meta(min_length=16, max_length=16)]


def start(session: Session, table: pa.Table | None) -> Steps:
    assert table is not None
    peer = ROLES[1 - ROLES.index(session.role)]
    params: Params = session.params
    for bucket in range(session.resumed, params.buckets):
        yield Progress("test.bucket", bucket, params.buckets)
        time.sleep(params.pause_ms / 1000)
        yield Send(peer, Share(bucket, session.rng(16)))
        share = yield from receive(peer, Share)
        assert share.bucket == bucket
        if share.data == POISON:
            raise InvalidPoint("point 0 is off the curve", index=0)
        if session.role == "left":
            session.workspace.append("weight", bytes(params.weight_kib << 10))
        session.workspace.write(f"bucket.{bucket}", json.dumps([bucket, os.getpid()]).encode())
        session.workspace.append("spill", bytes([bucket]))
        yield Checkpoint(bucket + 1)
    done = [json.loads(bytes(session.workspace.read(f"bucket.{index}"))) for index in range(params.buckets)]
    assert bytes(session.workspace.read("spill")) == bytes(range(params.buckets))
    columns: dict[str, list[Any]] = {
        "bucket": [row[0] for row in done],
        "process": [row[1] for row in done],
    }
    if session.role == "left" and params.row_kib:
        columns["weight"] = [os.urandom(params.row_kib << 10) for _ in done]
    rows = pa.table(columns)
    return Output(
        sealed=json.dumps(len(done)).encode(), rows=rows, units=params.buckets, metrics={"buckets": len(done)}
    )


def open_result(session: Session, payloads: dict[str, bytes]) -> Any:
    return {role: json.loads(payload) for role, payload in payloads.items()}


def roles(spec: JobSpec, params: Params) -> tuple[str, ...]:
    return ROLES


KINDS = tuple(
    JobKind(
        name=name,
        operation="psi",
        params=Params,
        roles=roles,
        columns=lambda spec, params, role: ("patient_id",),
        units=lambda spec, params, role: params.buckets,
        start=start,
        open_result=open_result,
        result_roles=ROLES,
        resumable=resumable,
    )
    for name, resumable in (("test.buckets", True), ("test.once", False))
)


@contextmanager
def known() -> Iterator[None]:
    """Other tests hold the catalogue to what is registered: take the kinds away again."""
    for kind in KINDS:
        register(kind)
    try:
        yield
    finally:
        for kind in KINDS:
            del protocol._KINDS[kind.name]


if __name__ == "__main__":
    with known():
        main()
