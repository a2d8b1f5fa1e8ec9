"""How psi.many ends: floors, limits, parties that deviate, parameters that cannot be."""

from typing import Any

import msgspec
import pyarrow as pa
import pytest

from compute.errors import BadInput, BadMessage, CohortTooSmall, ProtocolAbort
from compute.protocols.psi.ecdh.oprf import Points
from compute.protocols.psi.many.agreement import Hello
from compute.protocols.psi.many.compare import Told
from compute.protocols.psi.many.programmed import Hint
from compute.protocols.runner import RunResult
from compute.protocols.sets import Size
from compute.protocols.stream import Block
from tests.compute.protocols.hostile import replacing
from tests.compute.protocols.jobs import Job
from tests.compute.protocols.many_jobs import many, texts

replaced = msgspec.structs.replace


def test_transcripts_over_channels() -> None:
    sets = [texts(*range(9)), texts(*range(3, 12)), texts(*range(2, 8)), texts(*range(5, 9))]
    ends = many(sets, floor=3, output_to=["p3", "p1"]).run_async()
    assert all(isinstance(end, RunResult) for end in ends.values()), ends
    for one in ends:
        for other in ends:
            if one != other:
                assert ends[one].peer_transcripts[other] == ends[other].peer_transcripts[one]


@pytest.mark.parametrize(
    "sets",
    [
        [range(2), range(9), range(9)],
        [range(9), range(9), range(2)],
        [range(9), range(7, 16), range(9)],
        [range(9), range(9), range(9, 18)],
    ],
    ids=str,
)
def test_floors_end_all_sides(sets: list[range]) -> None:
    ends = many([texts(*one) for one in sets], floor=3, output_to=["p2", "p1"]).run_async()
    assert {type(end) for end in ends.values()} == {CohortTooSmall}


def test_more_keys_than_declared_is_refused() -> None:
    ends = many([texts(*range(9)), ["k1"], ["k1"]], max_elements=8).run_async()
    assert type(ends["p1"]) is BadInput
    assert all(isinstance(end, Exception) for end in ends.values())


def _kind(kind: Any, change: Any, *, only: int | None = None) -> Any:
    def make() -> Any:
        seen: list[Any] = []

        def replace(n: int, m: Any) -> Any:
            if not isinstance(m, kind):
                return [m]
            seen.append(m)
            return [change(m)] if only is None or len(seen) == only + 1 else [m]

        return replace

    return make


HOSTILE = {
    "count too high": ("p1", _kind(Hello, lambda m: replaced(m, count=m.count + 1))),
    "count too low": ("p1", _kind(Hello, lambda m: replaced(m, count=m.count - 1))),
    "a key of low order": ("p3", _kind(Hello, lambda m: replaced(m, key=bytes(32)))),
    "points of low order": ("p1", _kind(Points, lambda m: Points(m.index, bytes(32) + m.data[32:]))),
    "points on the twist": (
        "p2",
        _kind(Points, lambda m: Points(m.index, (2).to_bytes(32, "little") + m.data[32:])),
    ),
    "a short store": ("p3", _kind(Block, lambda m: Block(m.index, m.data[:-8]))),
    "no store": ("p3", _kind(Hint, lambda m: Size(1))),
    "tags of no key": ("p1", _kind(Block, lambda m: Block(m.index, b"\1" * 15 + m.data[15:]))),
    "tags that repeat": ("p1", _kind(Block, lambda m: Block(m.index, m.data[:16] * (len(m.data) // 16)))),
    "more matches than there are": ("p1", _kind(Told, lambda m: Told((1000).to_bytes(8, "big")))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_party_ends_in_typed_aborts(name: str) -> None:
    role, make = HOSTILE[name]
    job = many([texts(*range(9)), texts(*range(1, 12)), texts(*range(2, 8))], floor=1, output_to=["p1", "p2"])
    ends = job.run_async({role: replacing(job.steps(role), make())})
    assert not any(isinstance(end, RunResult) for end in ends.values()), ends
    assert any(isinstance(end, ProtocolAbort | BadMessage) for end in ends.values()), ends


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"keys": {"p1": ["a"], "p2": ["a"]}}, "keys"),
        ({"keys": {"p1": ["a"], "p2": ["a"], "p4": ["a"]}}, "without a gap"),
        ({"keys": {"p1": ["a"], "p2": ["a"], "p3": ["a", "b"]}}, "same number"),
        ({"keys": {"p1": ["a"], "p2": ["a"], "q3": ["a"]}}, "keys"),
        ({"keys": {f"p{i + 1}": ["a"] for i in range(11)}}, "keys"),
        ({"output_to": []}, "output_to"),
        ({"output_to": ["p1", "p1"]}, "once"),
        ({"output_to": ["p4"]}, "none of the parties"),
        ({"output_columns": {"p2": ["x"]}}, "p2 is not in output_to"),
        ({"protocol": "kkrt"}, "protocol"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_bad_parameters_name_the_field(params: dict[str, Any], reason: str) -> None:
    tables = {f"p{i + 1}": pa.table({"a": ["x"]}) for i in range(3)}
    with pytest.raises(BadInput, match=reason):
        Job("psi.many", {"keys": {"p1": ["a"], "p2": ["a"], "p3": ["a"]}} | params, tables)


def test_parties_of_the_job_must_be_those_of_the_keys() -> None:
    tables = {f"p{i + 1}": pa.table({"a": ["x"]}) for i in range(4)}
    with pytest.raises(BadInput, match="needs the roles p1, p2, p3"):
        Job("psi.many", {"keys": {"p1": ["a"], "p2": ["a"], "p3": ["a"]}}, tables)


def test_results_that_differ_are_refused() -> None:
    job = many([["a"], ["a"], ["a"]], output_to=["p1", "p2"])
    good = b'{"count":1,"columns":["idp1"],"rows":[["a"]]}'
    for bad in (b'{"count":2}', b'{"count":1,"columns":["x"],"rows":[["a","b"]]}', b'{"count":-1}', b"[]"):
        with pytest.raises(BadMessage):
            job.kind.open_result(job.consumer(), {"p1": good, "p2": bad})
