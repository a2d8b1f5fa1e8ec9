"""What cost.py predicts holds to what a run sends, within 2 % per role."""

import pyarrow as pa
import pytest

from accel import features
from compute.protocols.cost import Cost
from compute.protocols.fl.logistic.cost import cost as fl_cost
from compute.protocols.local import LocalRun
from compute.protocols.pir.simple.cost import cost as pir_cost
from compute.protocols.psi.intersect.cost import Machine
from compute.protocols.psi.intersect.cost import predict as psi_cost
from compute.protocols.psi.labels import describe
from compute.protocols.stats.horizontal.cost import cost as horizontal_cost
from compute.protocols.stats.vertical.cost import cost as vertical_cost
from tests.compute.protocols.jobs import Job


def assert_holds(predicted: Cost, run: LocalRun) -> None:
    assert set(predicted.bytes_sent) == set(run.outputs)
    for role, expected in predicted.bytes_sent.items():
        assert run.bytes_sent(role) == pytest.approx(expected, rel=0.02), role


def ids(count: int, start: int = 0) -> list[str]:
    return [f"k{i}" for i in range(start, start + count)]


PSI = {
    "auto": {},
    "to right": {"output_to": ["right"]},
    "to both": {"output_to": ["left", "right"]},
    "sm2": {"curve": "sm2"},
    "rr22": {"protocol": "rr22"},
    "rr22 to both, checked": {"protocol": "rr22", "output_to": ["left", "right"], "result_check": True},
    "rr22 low": {"protocol": "rr22", "low_communication": True},
    "malicious": {"security": "malicious", "output_to": ["right"]},
    "unbalanced": {"protocol": "unbalanced", "result_check": True},
    "labels": {"label_columns": {"right": ["n", "t"]}},
    "labels both ways": {
        "label_columns": {"right": ["n", "t"], "left": ["t"]},
        "output_to": ["left", "right"],
    },
    "left join": {"join": "left", "label_columns": {"right": ["t"]}, "protocol": "rr22"},
}


@pytest.mark.parametrize(("left", "right"), [(1, 1), (13, 257), (1097, 100)])
@pytest.mark.parametrize("case", PSI)
def test_psi(case: str, left: int, right: int) -> None:
    keys = {"keys": {"left": ["i"], "right": ["i"]}}
    tables = {
        role: pa.table({"i": ids(count), "n": list(range(count)), "t": [f"text {i}" for i in range(count)]})
        for role, count in (("left", left), ("right", right))
    }
    for memory_bytes, parallel in ((1 << 30, 1), (64 << 10, 2)):
        storage = {role: {"memory_bytes": memory_bytes, "parallel": parallel} for role in tables}
        job = Job("psi", keys | PSI[case], tables, storage=storage)
        names = {role: getattr(job.params.label_columns, role) for role in tables}
        predicted = psi_cost(
            left,
            right,
            job.params,
            machine=Machine(memory_bytes >> 10, parallel, features.level()),
            labels={role: describe(tables[role], names[role]) for role in tables},
        )
        run = job.run()
        assert_holds(predicted.cost, run)
        assert run.outputs["left"].metrics["buckets"] == predicted.buckets
        assert predicted.choice.name in run.outputs[job.params.output_to[0]].sealed.decode()


def test_stats_vertical() -> None:
    params = {
        "keys": {"values": ["i"], "members": ["i"]},
        "value": "v",
        "group_by": "g",
        "groups": ["a", "b"],
        "key_bits": 2048,
    }
    values = pa.table({"i": ids(101), "v": [1.0] * 101, "g": ["a"] * 30 + ["b"] * 71})
    run = Job("stats.vertical", params, {"values": values, "members": pa.table({"i": ids(77, 13)})}).run()
    assert_holds(vertical_cost([30, 71], 77, 2048), run)


@pytest.mark.parametrize("parties", [2, 3, 5])
def test_stats_horizontal(parties: int) -> None:
    table = pa.table({"v": [1.0, 2.0], "g": ["a", "b"]})
    params = {"value": "v", "group_by": "g", "groups": ["a", "b"], "key_bits": 2048}
    tables = {f"p{i + 1}": table for i in range(parties)}
    assert_holds(horizontal_cost(parties, 2, 2048), Job("stats.horizontal", params, tables).run())


@pytest.mark.parametrize("count", [1, 97, 569])
def test_pir(count: int) -> None:
    table = pa.table({"i": ids(count), "n": ["x" * 50] * count})
    record = len(b'[[""]]') + 50
    row = Job("pir.row", {"columns": ["n"], "rows": [0, 5]}, {"server": table}).run()
    assert_holds(pir_cost(count, record, 2, kind="pir.row"), row)
    keywords = {"key": ["i"], "keywords": [["k0"], ["no"], ["k1"]]}
    job = Job("pir.keyword", {"columns": ["n"], **keywords}, {"server": table})
    assert_holds(pir_cost(count, record, 4), job.run())
    member = Job("pir.member", keywords, {"server": table}).run()
    assert_holds(pir_cost(count, 0, 4, kind="pir.member"), member)


@pytest.mark.parametrize("parties", [2, 4])
def test_fl(parties: int) -> None:
    table = pa.table({"x": [1.0, 2.0, 3.0, 4.0], "y": [2.0, 1.0, 5.0, 4.5], "d": ["a", "b", "a", "b"]})
    params = {"features": ["x", "y"], "label": "d", "positive": "a"}
    job = Job("fl.logistic", params, {f"p{i + 1}": table for i in range(parties)})
    run = job.run()
    assert_holds(fl_cost(parties, 2, job.open(run)["rounds"]), run)
