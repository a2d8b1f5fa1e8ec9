"""What a receipt charges and counts is what was processed and what crossed, and a budget is kept first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from compute.errors import BadInput, ProtocolAbort
from compute.protocols.protocol import Output, Reply, Send, Steps, job_kind, job_kinds
from compute.protocols.runner import RunResult
from tests.compute.protocols.jobs import Job

# 7 distinct keys, one of them twice, and two rows without a key.
LEFT = pa.table({"i": ["a", "b", "b", "c", "d", "e", "f", "g", None, ""], "n": range(10)})
# 5 distinct keys.
RIGHT = pa.table({"i": ["a", "c", "x", "y", "z"], "n": range(5)})
ROWS = pa.table({"x": [1.0, 2.0, 3.0, 4.5], "y": [2.0, 1.0, 5.0, 4.5], "d": ["a", "b", "a", "b"]})

Counted = Mapping[str, tuple[int, Mapping[str, int]]]  # per role: units, and metrics that must be so
CASES: dict[str, tuple[dict[str, Any], dict[str, pa.Table], Counted]] = {
    "psi": (
        {"keys": {"left": ["i"], "right": ["i"]}, "output_to": ["left", "right"]},
        {"left": LEFT, "right": RIGHT},
        {
            "left": (7, {"elements": 7, "peer_elements": 5, "rows_repeated": 1, "rows_without_key": 2}),
            "right": (5, {"elements": 5, "peer_elements": 7, "rows_repeated": 0, "rows_without_key": 0}),
        },
    ),
    "psi.cardinality": (
        {"keys": {"left": ["i"], "right": ["i"]}},
        {"left": LEFT, "right": RIGHT},
        {"left": (7, {"elements": 7, "peer_elements": 5}), "right": (5, {"elements": 5, "peer_elements": 7})},
    ),
    "psi.sum": (
        {"keys": {"values": ["i"], "members": ["i"]}, "values": ["n"], "key_bits": 2048},
        {"values": LEFT, "members": RIGHT},
        {
            "values": (7, {"elements": 7, "peer_elements": 5}),
            "members": (5, {"elements": 5, "peer_elements": 7}),
        },
    ),
    "psi.many": (
        {"keys": {"p1": ["i"], "p2": ["i"], "p3": ["i"]}},
        {"p1": LEFT, "p2": RIGHT, "p3": LEFT},
        {"p1": (7, {"elements": 7}), "p2": (5, {"elements": 5}), "p3": (7, {"elements": 7})},
    ),
    "stats.vertical": (
        {"keys": {"values": ["i"], "members": ["i"]}, "value": "n", "key_bits": 2048},
        {"values": LEFT.slice(3, 5), "members": RIGHT},
        {
            "values": (1, {"elements": 5, "peer_elements": 5, "groups": 1}),
            "members": (1, {"elements": 5, "peer_elements": 5, "groups": 1}),
        },
    ),
    "stats.horizontal": (
        {"value": "x", "group_by": "d", "groups": ["a", "b"], "key_bits": 2048},
        {"p1": ROWS, "p2": ROWS.slice(1)},
        {"p1": (2, {"rows": 4, "groups": 2}), "p2": (2, {"rows": 3, "groups": 2})},
    ),
    "pir.row": (
        {"columns": ["n"], "rows": [3, 900, 4], "pad_queries_to": [1, 4]},
        {"server": LEFT},
        {"server": (4, {"queries": 4}), "client": (0, {"queries": 4})},
    ),
    "pir.keyword": (
        {"columns": ["n"], "key": ["i"], "keywords": [["a"], ["q"]], "pad_queries_to": [2]},
        {"server": LEFT},
        {"server": (2, {"queries": 2}), "client": (0, {"queries": 2})},
    ),
    "pir.member": (
        {"key": ["i"], "keywords": [["a"], ["q"], ["b"]], "pad_queries_to": [3]},
        {"server": LEFT},
        {"server": (3, {"queries": 3}), "client": (0, {"queries": 3})},
    ),
    "fl.logistic": (
        {"features": ["x", "y"], "label": "d", "positive": "a", "max_rounds": 3},
        {"p1": ROWS, "p2": ROWS},
        {"p1": (3, {"rows": 4, "rounds": 3}), "p2": (3, {"rows": 4, "rounds": 3})},
    ),
}
# A session with a node's API: its calls are metered in tests/compute/eaas.
_WITHOUT_MESSAGES = {"eaas"}
KINDS = [kind.name for kind in job_kinds() if kind.name not in _WITHOUT_MESSAGES]


def finished(job: Job) -> dict[str, RunResult]:
    ends = job.run_async()
    results = {role: end for role, end in ends.items() if isinstance(end, RunResult)}
    assert results.keys() == ends.keys(), ends
    return results


@pytest.mark.parametrize("kind", KINDS)
def test_units_and_metrics_are_what_was_processed(kind: str) -> None:
    params, tables, counted = CASES[kind]
    job = Job(kind, params, tables)
    results = finished(job)
    for role, (units, metrics) in counted.items():
        output = results[role].output
        assert output.units == units, role
        assert {name: output.metrics.get(name) for name in metrics} == metrics, role
        if role in tables:
            assert output.units <= job.kind.units(job.spec, job.params, role), role


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_are_those_that_crossed(kind: str) -> None:
    params, tables, _ = CASES[kind]
    results = finished(Job(kind, params, tables))
    # The same job over recorded wires: other randomness would change no length.
    wire = Job(kind, params, tables).run().wire
    for role, result in results.items():
        assert result.bytes_out == sum(len(message.data) for message in wire if message.sender == role), role
        assert result.bytes_in == sum(len(message.data) for message in wire if message.receiver == role), role
    assert sum(result.bytes_in for result in results.values()) > 0


BUDGETED = [kind for kind in KINDS if "max_elements" in job_kind(kind).params.__struct_fields__]


def watched(steps: Steps, sent: list[Send]) -> Steps:
    reply: Reply = None
    while True:
        try:
            effect = steps.send(reply)
        except StopIteration as end:
            output: Output = end.value
            return output
        if isinstance(effect, Send):
            sent.append(effect)
        reply = yield effect


@pytest.mark.parametrize("kind", BUDGETED)
def test_a_set_beyond_its_budget_sends_nothing_and_ends_the_job_at_every_role(kind: str) -> None:
    params, tables, counted = CASES[kind]
    for role in tables:
        mixed = {each: table if each == role else table.slice(0, 1) for each, table in tables.items()}
        job = Job(kind, params | {"max_elements": counted[role][1]["elements"] - 1}, mixed)
        sent: list[Send] = []
        ends = job.run_async({role: watched(job.steps(role), sent)})
        assert sent == []
        assert isinstance(ends[role], BadInput), ends
        assert "max_elements" in str(ends[role])
        for other, end in ends.items():
            assert other == role or isinstance(end, ProtocolAbort), (other, end)
