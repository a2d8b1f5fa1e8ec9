"""psi.cardinality counts as a plaintext join does and tells nothing else; a hostile peer ends in an abort."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compute.errors import BadInput, BadMessage, CohortTooSmall, ProtocolAbort
from compute.protocols.identifiers import Normalisation
from compute.protocols.keyset import key_set
from compute.protocols.local import LocalRun
from compute.protocols.protocol import Message
from compute.protocols.psi.cardinality import protocol
from compute.protocols.psi.cardinality.cost import cost
from compute.protocols.psi.ecdh import masking
from compute.protocols.psi.ecdh import oprf as blocks
from compute.protocols.psi.ecdh.curves import GROUPS
from compute.protocols.psi.ecdh.oprf import Points
from compute.protocols.runner import RunResult
from compute.protocols.sets import Size
from compute.protocols.stream import Block
from compute.wire import codec
from tests.compute.protocols.hostile import replacing
from tests.compute.protocols.jobs import Job

KEYS = {"keys": {"left": ["id"], "right": ["pid"]}}
BOTH = {"measures": ["intersection", "union"]}


def job(left: list[Any], right: list[Any], *, floor: int = 0, seed: int | str = 0, **params: Any) -> Job:
    tables = {
        "left": pa.table({"id": pa.array(left, pa.string())}),
        "right": pa.table({"pid": pa.array(right, pa.string())}),
    }
    return Job("psi.cardinality", KEYS | BOTH | params, tables, floor=floor, seed=seed)


SIZES = [
    (range(123), range(61, 200)),
    (range(100), range(100, 171)),  # disjoint
    (range(77), range(77)),  # equal
    (range(50), range(11, 24)),  # subset
    (range(1), range(1)),
    (range(1), range(5, 6)),
    (range(0), range(9)),
    (range(9), range(0)),
    (range(0), range(0)),
]


@pytest.mark.parametrize("curve", list(GROUPS))
@pytest.mark.parametrize(("left", "right"), SIZES, ids=str)
def test_counts_as_the_plaintext_join(left: range, right: range, curve: str) -> None:
    one, other = [f"k{i}" for i in left], [f"k{i}" for i in right]
    done = job(one, other, output_to=["left", "right"], curve=curve)
    run = done.run()
    shared, union = len(set(one) & set(other)), len(set(one) | set(other))
    assert done.open(run) == {"intersection": shared, "union": union}
    for role in ("left", "right"):
        assert run.outputs[role].rows.to_pylist() == [{"intersection": shared, "union": union}]
    predicted = cost(len(one), len(other), ["left", "right"], curve).bytes_sent
    assert {role: run.bytes_sent(role) for role in predicted} == predicted


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.text(max_size=2).filter(lambda s: "\0" not in s), max_size=40),
    st.lists(st.text(max_size=2).filter(lambda s: "\0" not in s), max_size=40),
    st.sampled_from([["left"], ["right"]]),
)
def test_counts_any_texts(left: list[str], right: list[str], output_to: list[str]) -> None:
    import unicodedata

    one, other = ({unicodedata.normalize("NFC", t).strip() for t in side} - {""} for side in (left, right))
    opened = job(left, right, output_to=output_to).result()
    assert opened == {"intersection": len(one & other), "union": len(one | other)}


@pytest.mark.parametrize("parallel", [(1, 1), (16, 1), (3, 64)])
@pytest.mark.parametrize(("left", "right"), [(700, 30), (30, 700), (411, 409), (700, 0)])
def test_many_blocks_at_any_pace(
    left: int, right: int, parallel: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (blocks, masking):
        monkeypatch.setattr(module, "BLOCK", 8)
    storage = {role: {"parallel": n} for role, n in zip(("left", "right"), parallel, strict=True)}
    tables = {
        "left": pa.table({"id": [f"k{i}" for i in range(left)]}),
        "right": pa.table({"pid": pa.array([f"k{i}" for i in range(10, 10 + right)], pa.string())}),
    }
    done = Job("psi.cardinality", KEYS, tables, storage=storage)
    assert done.result() == {"intersection": len(set(range(left)) & set(range(10, 10 + right)))}


def test_only_the_outputting_role_and_only_the_measures_asked_for() -> None:
    done = job(["a", "b", "b", None], ["b", "c", "d"], measures=["union"], output_to=["right"])
    run = done.run()
    assert done.open(run) == {"union": 4}
    assert run.outputs["left"].sealed is None
    assert run.outputs["left"].rows is None
    assert b"intersection" not in run.outputs["right"].sealed
    assert run.outputs["right"].rows.column_names == ["union"]
    assert (run.outputs["left"].units, run.outputs["right"].units) == (2, 3)
    assert run.outputs["left"].metrics == {
        "elements": 2,
        "peer_elements": 3,
        "rows_repeated": 1,
        "rows_without_key": 1,
        "rows_unfit": 0,
    }
    predicted = cost(2, 3, ["right"]).bytes_sent
    assert {role: run.bytes_sent(role) for role in predicted} == predicted


def crossed(run: LocalRun, sender: str, kind: type[Message]) -> list[Any]:
    found = []
    for message in run.wire:
        if message.sender != sender:
            continue
        try:
            found.append(codec.decode(kind, message.data))
        except BadMessage:
            continue
    return found


def test_what_comes_back_does_not_follow_the_order_of_what_was_sent() -> None:
    ids = [f"k{i}" for i in range(200)]
    (block,) = crossed(job(ids, ids).run(), "right", Block)
    width = len(block.data) // 200
    tags = [block.data[at : at + width] for at in range(0, len(block.data), width)]
    assert tags == sorted(tags)


@pytest.mark.parametrize("table", [1, -1])
def test_what_is_sent_does_not_follow_the_order_of_the_table(
    table: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[np.ndarray] = []

    def recording(session: Any, peer: str, function: Any, items: np.ndarray, theirs: int) -> Any:
        sent.append(items)
        return masking.double_mask(session, peer, function, items, theirs)

    monkeypatch.setattr(protocol, "double_mask", recording)
    ids = [f"k{i}" for i in range(200)][::table]
    job(ids, ids).run()
    digests = key_set(pa.table({"id": ids}), ["id"], Normalisation()).digests
    places = [[digests.tolist().index(row) for row in items.tolist()] for items in sent]
    assert all(sorted(order) == list(range(200)) for order in places)
    assert all(order not in (list(range(200)), list(range(200))[::-1]) for order in places)
    assert places[0] != places[1]


@pytest.mark.parametrize("curve", list(GROUPS))
def test_no_identifier_crosses_and_two_runs_share_no_element(curve: str) -> None:
    ids = [f"patient-{i:05}" for i in range(40)]
    runs = [job(ids[:30], ids[10:], seed=seed, curve=curve).run() for seed in (1, 2)]
    data = b"".join(message.data for run in runs for message in run.wire)
    for text in ids:
        assert text.encode() not in data
        for name in ("md5", "sha1", "sha256", "sha512", "sm3"):
            assert hashlib.new(name, text.encode()).digest()[:8] not in data
    width = GROUPS[curve].point_bytes
    elements = []
    for run in runs:
        found = [m.data for role in ("left", "right") for m in crossed(run, role, Points)]
        elements.append({d[at : at + width] for d in found for at in range(0, len(d), width)})
    assert len(elements[0]) == 60
    assert not elements[0] & elements[1]


def test_transcripts_are_equal_over_channels() -> None:
    ends = job(["a", "b", "c"], ["b", "c", "d"], floor=2, output_to=["left", "right"]).run_async()
    assert all(isinstance(end, RunResult) for end in ends.values())
    assert ends["left"].transcript == ends["right"].transcript


@pytest.mark.parametrize(("left", "right"), [(2, 10), (10, 2), (10, 10)])
@pytest.mark.parametrize("measures", [["intersection"], ["union"]])
def test_floor_on_sets_and_intersection_ends_both_sides(left: int, right: int, measures: list[str]) -> None:
    ends = job(
        [f"a{i}" for i in range(left)], [f"b{i}" for i in range(right)], floor=3, measures=measures
    ).run_async()
    assert {type(end) for end in ends.values()} == {CohortTooSmall}


def _points(change: Callable[[bytes], bytes]) -> Any:
    return lambda n, m: [Points(m.index, change(m.data))] if isinstance(m, Points) else [m]


def _tags(change: Callable[[bytes], bytes]) -> Any:
    return lambda n, m: [Block(m.index, change(m.data))] if isinstance(m, Block) else [m]


HOSTILE = {
    "bigger count": lambda n, m: [Size(m.count + 1)] if n == 0 else [m],
    "smaller count": lambda n, m: [Size(m.count - 1)] if n == 0 else [m],
    "short block": _points(lambda d: d[:-1]),
    "one point too many": _points(lambda d: d + d[:32]),
    "repeated point": _points(lambda d: d[:-32] + d[:32]),
    "wrong block number": lambda n, m: [Points(5, m.data)] if n == 1 else [m],
    "wrong type": lambda n, m: [Size(3)] if n == 1 else [m],
    "message twice": lambda n, m: [m, m] if n == 1 else [m],
    "on the twist": _points(lambda d: d[:-32] + (2).to_bytes(32, "little")),
    "low order": _points(lambda d: d[:-32] + bytes(32)),
    "short tags": _tags(lambda d: d[:-1]),
    "repeated tags": _tags(lambda d: bytes(len(d))),
    "unsorted tags": _tags(lambda d: d[len(d) // 5 :] + d[: len(d) // 5]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_peer_ends_in_a_typed_abort_on_both_sides(name: str) -> None:
    done = job([f"a{i}" for i in range(5)], [f"a{i}" for i in range(2, 9)], floor=1)
    ends = done.run_async({"right": replacing(done.steps("right"), HOSTILE[name])})
    assert isinstance(ends["left"], ProtocolAbort | BadMessage), ends["left"]
    assert isinstance(ends["right"], ProtocolAbort | BadMessage), ends["right"]


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"keys": {"left": ["a", "b"], "right": ["a"]}}, "same number"),
        ({"measures": []}, "measures"),
        ({"measures": ["union", "union"]}, "once"),
        ({"output_to": ["left", "left"]}, "once"),
        ({"curve": "p256"}, "curve"),
        ({"max_elements": 0}, "max_elements"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_bad_parameters_name_the_field(params: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        job(["a"], ["b"], **params)


def test_results_that_differ_or_do_not_fit_are_refused() -> None:
    done = job(["a"], ["a"], output_to=["left", "right"], measures=["union"])
    one = b'{"union":1}'
    assert done.kind.open_result(done.consumer(), {"left": one, "right": one}) == {"union": 1}
    for bad in (b'{"union":2}', b'{"union":1,"intersection":1}', b"{}", b'{"union":-1}'):
        with pytest.raises(BadMessage):
            done.kind.open_result(done.consumer(), {"left": one, "right": bad})
    for bad in (b'{"intersection":1}', b'{"union":1,"intersection":1}', b"{}", b'{"union":-1}'):
        with pytest.raises(BadMessage):
            done.kind.open_result(done.consumer(), {"left": bad, "right": bad})


def test_more_keys_than_declared_is_refused() -> None:
    ends = job([str(i) for i in range(9)], ["1"], max_elements=8).run_async()
    assert type(ends["left"]) is BadInput
    assert isinstance(ends["right"], Exception)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 16])
def test_membership_of_tags(width: int) -> None:
    rng = np.random.default_rng(width)
    tags = np.unique(rng.integers(0, 256 if width > 1 else 40, (60, width)).astype(np.uint8), axis=0)
    among = tags[::3]
    expected = [row.tobytes() in {other.tobytes() for other in among} for row in tags]
    assert masking.member(tags, among).tolist() == expected
    assert masking.member(tags[:0], among).tolist() == []
    assert not masking.member(tags, among[:0]).any()
