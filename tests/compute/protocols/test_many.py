"""psi.many equals a plaintext join of many sets, and gives it to whom it is meant for."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compute.protocols.psi.many.cost import cost
from tests.compute.protocols.jobs import Job
from tests.compute.protocols.many_jobs import many, texts

CASES = {
    "sizes differ": [range(61), range(31, 77), range(20, 53)],
    "disjoint": [range(9), range(9, 20), range(30, 33)],
    "pairwise but not common": [range(10), range(5, 15), [*range(5), *range(10, 15)]],
    "equal": [range(17)] * 3,
    "subsets": [range(20), range(5, 15), range(7, 9)],
    "one each": [range(1)] * 3,
    "one each, another": [range(1), range(1), range(1, 2)],
    "one empty": [range(9), range(0), range(9)],
    "leader empty": [range(0), range(9), range(9)],
    "all empty": [range(0)] * 3,
    "four": [range(3, 40), range(7, 50), range(33), range(5, 29)],
    "five": [range(30), range(3, 33), range(1, 20), range(2, 70), range(0, 28, 2)],
}


@pytest.mark.parametrize("sets", CASES.values(), ids=CASES)
@pytest.mark.parametrize("protocol_name", ["ecdh", "rr22"])
def test_equals_the_plaintext_join(sets: list[Any], protocol_name: str) -> None:
    job = many([texts(*one) for one in sets], output_to=["p1", "p3"], protocol=protocol_name)
    run = job.run()
    common = set.intersection(*(set(one) for one in sets))
    opened = job.open(run)
    assert opened["count"] == len(common)
    for index, one in enumerate(sets):
        role = f"p{index + 1}"
        if role in ("p1", "p3"):
            expected = [[f"k{i}"] for i in one if i in common]
            assert opened[role] == {"columns": [f"id{role}"], "rows": expected}
        else:
            assert opened[role] is None
            assert run.outputs[role].sealed is None
            assert run.outputs[role].rows is None
    sizes = {f"p{index + 1}": len(one) for index, one in enumerate(sets)}
    predicted = cost(sizes, ["p1", "p3"], protocol=protocol_name).bytes_sent
    for role, expected_bytes in predicted.items():
        assert run.bytes_sent(role) == pytest.approx(expected_bytes, rel=0.001), role


@pytest.mark.parametrize("curve", ["sm2", "secp256k1"])
def test_other_curves(curve: str) -> None:
    job = many([texts(*range(9)), texts(*range(3, 12)), texts(*range(5, 7))], curve=curve, output_to=["p2"])
    run = job.run()
    assert job.open(run)["p2"]["rows"] == [["k5"], ["k6"]]
    predicted = cost({"p1": 9, "p2": 9, "p3": 2}, ["p2"], curve=curve).bytes_sent
    for role, expected in predicted.items():
        assert run.bytes_sent(role) == pytest.approx(expected, rel=0.001)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_sets_any_outputs(data: st.DataObject) -> None:
    item = st.text(alphabet="abc 张é", max_size=2)
    sets = data.draw(st.lists(st.lists(item, max_size=15), min_size=3, max_size=5))
    roles = [f"p{index + 1}" for index in range(len(sets))]
    output_to = data.draw(st.lists(st.sampled_from(roles), min_size=1, unique=True))
    protocol_name = data.draw(st.sampled_from(["ecdh", "rr22"]))
    opened = many(sets, output_to=output_to, protocol=protocol_name).result()
    stripped = [{text.strip() for text in one} - {""} for one in sets]
    common = set.intersection(*stripped)
    assert opened["count"] == len(common)
    for role in roles:
        if role in output_to:
            assert {row[0].strip() for row in opened[role]["rows"]} == common
        else:
            assert opened[role] is None


def test_ten_parties_all_of_them_get_it() -> None:
    sets = [texts(*range(i, 20 + i)) for i in range(10)]
    roles = [f"p{i + 1}" for i in range(10)]
    job = many(sets, output_to=roles[::-1])
    opened = job.result()
    assert opened["count"] == 11
    assert all(opened[role]["rows"] == [[f"k{i}"] for i in range(9, 20)] for role in roles)


def test_duplicates_nulls_output_columns_and_metrics() -> None:
    tables = {
        "p1": pa.table({"a": ["x", "y", "y", None, "z"], "n": [1, 2, 3, 4, 5]}),
        "p2": pa.table({"b": ["y ", "z", "w"], "m": ["u", "v", "t"]}),
        "p3": pa.table({"c": ["z", "y", "q"], "secret": [7, 8, 9]}),
    }
    params = {
        "keys": {"p1": ["a"], "p2": ["b"], "p3": ["c"]},
        "output_to": ["p2", "p1"],
        "output_columns": {"p1": ["n"]},
    }
    job = Job("psi.many", params, tables)
    run = job.run()
    assert job.open(run) == {
        "count": 2,
        "p1": {"columns": ["a", "n"], "rows": [["y", 2], ["y", 3], ["z", 5]]},
        "p2": {"columns": ["b"], "rows": [["y "], ["z"]]},
        "p3": None,
    }
    assert run.outputs["p1"].metrics == {
        "elements": 3,
        "peer_elements": 6,
        "parties": 3,
        "rows_repeated": 1,
        "rows_without_key": 1,
        "rows_unfit": 0,
        "buckets": 1,
    }
    assert [run.outputs[role].units for role in ("p1", "p2", "p3")] == [3, 3, 3]
    assert job.kind.columns(job.spec, job.params, "p1") == ("a", "n")
    assert job.kind.columns(job.spec, job.params, "p3") == ("c",)


def test_count_alone_if_rows_are_not_to_be_delivered() -> None:
    job = many([["a", "secret"], ["secret", "b"], ["secret"]], deliver_to_consumer=False)
    run = job.run()
    assert b"secret" not in run.outputs["p1"].sealed
    none = many([["a"], ["b"], ["c"]], deliver_to_consumer=False).run()
    assert len(none.outputs["p1"].sealed) == len(run.outputs["p1"].sealed)
    assert run.outputs["p1"].rows.to_pylist() == [{"idp1": "secret"}]
    assert job.open(run) == {"count": 1, "p1": None, "p2": None, "p3": None}
