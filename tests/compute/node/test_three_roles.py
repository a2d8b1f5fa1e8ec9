"""Three roles, all pairs connected: two nodes and a coordinating consumer fit one model."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from compute.node import setup
from compute.protocols import runner
from compute.protocols.protocol import Session, job_kind
from compute.wire.binding import session_binding
from compute.wire.canonical import from_hex
from tests.chain_lab import Lab
from tests.compute.node.rig import Consumer, Portal, RunningNode, start_and_register
from tests.compute.node.test_consumer_role import reach

COLUMNS = ("radius", "texture", "malignant")


def toml() -> str:
    columns = "".join(
        f'[[dataset.source.columns]]\nname = "{name}"\ntype = "{kind}"\n'
        for name, kind in zip(COLUMNS, ("number", "number", "boolean"), strict=True)
    )
    return (
        f'[[dataset]]\nid = "{setup.new_id()}"\nname = "Tumours"\n[dataset.source]\nkind = "csv"\n'
        f'path = "tumours.csv"\n{columns}[dataset.ceiling]\noperations = ["fl", "stats"]\nmin_cohort = 5\n'
    )


@pytest.fixture
def hospitals(lab: Lab, portal: Portal, tmp_path: Path) -> Iterator[list[RunningNode]]:
    rng = random.Random(7)
    nodes = []
    for name in ("North", "South"):
        home = tmp_path / name
        home.mkdir()
        rows = [(rng.gauss(14, 3), rng.gauss(19, 4)) for _ in range(80)]
        lines = [f"{r:.6f},{t:.6f},{str(r + rng.gauss(0, 2) > 15).lower()}" for r, t in rows]
        (home / "tumours.csv").write_text("\n".join([",".join(COLUMNS), *lines]) + "\n")
        nodes.append(RunningNode(home, lab, portal, name, toml()))
    try:
        start_and_register(*nodes)
        yield nodes
    finally:
        for node in nodes:
            node.stop()


async def test_two_hospitals_and_a_consumer_fit_a_model(
    hospitals: list[RunningNode], consumer: Consumer
) -> None:
    granted = [node.grant(consumer, columns=COLUMNS) for node in hospitals]
    parts = [("p1", granted[0]), ("p2", granted[1])]
    participants = tuple(grant.participant(role) for role, grant in parts)
    coordinator = msgspec.structs.replace(
        participants[0],
        role="coordinator",
        party=consumer.id,
        grant=None,
        dataset=None,
        commitment=None,
        columns=(),
    )
    params = {
        "features": ["radius", "texture"],
        "label": "malignant",
        "positive": "true",
        "l2": "1.0",
        "max_rounds": 20,
    }
    order = consumer.order("fl.logistic", params, parts, participants=(*participants, coordinator))
    for node in hospitals:
        await asyncio.to_thread(node.portal.submit, order.submission)
    async with asyncio.timeout(90):
        channels = {
            role: await reach(order, node, dialler_role="coordinator", acceptor_role=role)
            for role, node in zip(("p1", "p2"), hospitals, strict=True)
        }
        spec = order.submission.spec
        kind = job_kind(spec.kind)
        binding = session_binding(from_hex(order.job), from_hex(order.submission.request.spec_hash))
        session = Session("coordinator", spec, kind.parse(spec), binding, 5, os.urandom, order.kept)
        result = await runner.run(kind.start(session, None), channels, role="coordinator", binding=binding)
    assert result.output.sealed is not None
    model = kind.open_result(session, {"coordinator": result.output.sealed})
    assert model["converged"]
    assert model["rows"] == 160
    assert model["coefficients"]["radius"] > 0
    for node in hospitals:
        status = await asyncio.to_thread(node.wait_final, order.job)
        assert status.state == "completed", status
        assert node.receipt_of(order.job).units == model["rounds"]
