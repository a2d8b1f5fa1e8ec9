"""psi.cardinality counts as a plaintext join does and tells nothing else; a hostile peer ends in an abort."""

import hashlib
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compute.errors import BadInput, BadMessage, CohortTooSmall, DataError, PeerLost, ProtocolAbort
from compute.protocols import keyset, payload, stream
from compute.protocols.directory import DirectoryWorkspace
from compute.protocols.identifiers import Normalisation
from compute.protocols.keyset import key_set
from compute.protocols.protocol import Message, Progress, Receive, Reply, Steps
from compute.protocols.psi.cardinality import protocol
from compute.protocols.psi.cardinality.cost import cost
from compute.protocols.psi.ecdh import cost as points_cost
from compute.protocols.psi.ecdh import masking
from compute.protocols.psi.ecdh import oprf as blocks
from compute.protocols.psi.ecdh.curves import GROUPS
from compute.protocols.psi.ecdh.oprf import Points
from compute.protocols.runner import RunResult
from compute.protocols.sets import MAX_ELEMENTS, Size
from compute.protocols.stream import Block
from compute.protocols.workspace import MemoryWorkspace, Workspace
from tests.compute.protocols.hostile import replacing
from tests.compute.protocols.interrupted import Interrupted
from tests.compute.protocols.jobs import Job, crossed

KEYS = {"keys": {"left": ["id"], "right": ["pid"]}}
BOTH = {"measures": ["intersection", "union"]}


def job(left: list[Any], right: list[Any], *, floor: int = 0, seed: int | str = 0, **params: Any) -> Job:
    tables = {
        "left": pa.table({"id": pa.array(left, pa.string())}),
        "right": pa.table({"pid": pa.array(right, pa.string())}),
    }
    return Job("psi.cardinality", KEYS | BOTH | params, tables, floor=floor, seed=seed)


def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 8 points and steps of 16."""
    for module in (blocks, masking, points_cost):
        monkeypatch.setattr(module, "BLOCK", 8)
    monkeypatch.setattr(masking, "STEP_BLOCKS", 2)


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
    short_blocks(monkeypatch)
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


def test_what_comes_back_does_not_follow_the_order_of_what_was_sent() -> None:
    ids = [f"k{i}" for i in range(200)]
    (block,) = crossed(job(ids, ids).run(), Block, "right")
    width = len(block.data) // 200
    tags = [block.data[at : at + width] for at in range(0, len(block.data), width)]
    assert tags == sorted(tags)


@pytest.mark.parametrize("table", [1, -1])
@pytest.mark.parametrize("memory_bytes", [1 << 30, 4 << 10], ids=["one bin", "many bins"])
def test_what_is_sent_does_not_follow_the_order_of_the_table(table: int, memory_bytes: int) -> None:
    ids = [f"k{i}" for i in range(200)][::table]
    spaces = {role: MemoryWorkspace() for role in ("left", "right")}
    done = job(ids, ids)
    done.storage = {
        role: {"workspace": space, "memory_bytes": memory_bytes} for role, space in spaces.items()
    }
    done.run()
    digests = key_set(pa.table({"id": ids}), ["id"], Normalisation()).digests.tolist()
    sent = [np.frombuffer(space.read("mask.items"), np.uint8).reshape(-1, 32) for space in spaces.values()]
    places = [[digests.index(row) for row in items.tolist()] for items in sent]
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
        found = [m.data for m in crossed(run, Points)]
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


# -- larger than the memory, and cut

LITTLE = 4 << 10


def numbered(left: range, right: range, **params: Any) -> Job:
    one, other = ([f"k{i}" for i in side] for side in (left, right))
    return job(one, other, **({"output_to": ["left", "right"]} | params))


def within(done: Job, memory_bytes: int, spaces: dict[str, Workspace] | None = None) -> Job:
    done.storage = {
        role: {"memory_bytes": memory_bytes} | ({"workspace": spaces[role]} if spaces else {})
        for role in ("left", "right")
    }
    return done


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize(
    ("left", "right"),
    [
        (range(411), range(300, 709)),
        (range(500), range(499, 536)),
        (range(3), range(1, 258)),
        (range(0), range(100)),
        (range(97), range(97)),
        (range(100), range(100, 171)),
    ],
    ids=str,
)
def test_sets_beyond_the_memory_count_as_the_plaintext_join(
    left: range, right: range, on_disk: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    short_blocks(monkeypatch)
    monkeypatch.setattr(stream, "BLOCK_BYTES", 100)  # a dozen tags
    spaces: dict[str, Workspace] = {
        role: DirectoryWorkspace(tmp_path / role) if on_disk else MemoryWorkspace()
        for role in ("left", "right")
    }
    done = within(numbered(left, right), LITTLE, spaces)
    run = done.run()
    shared = len(set(left) & set(right))
    assert done.open(run) == {"intersection": shared, "union": len(left) + len(right) - shared}
    for space in spaces.values():
        bins = [name for name in space.names() if name.startswith("mask.tags.")]
        assert len(bins) >= 8
    predicted = cost(len(left), len(right), ["left", "right"]).bytes_sent
    for role, expected in predicted.items():
        assert run.bytes_sent(role) == pytest.approx(expected, rel=0.02)
        if len(left) and len(right):
            phases = {effect.phase for effect in run.progress[role]}
            assert {"psi.keys", "psi.blind", "psi.double_blind", "psi.match"} <= phases
            assert run.progress[role][-1] == Progress("psi.match", *[max(len(left), len(right))] * 2)


def test_both_may_have_other_memory() -> None:
    done = numbered(range(300), range(100, 350))
    done.storage = {"left": {"memory_bytes": LITTLE}, "right": {"memory_bytes": 1 << 30}}
    assert done.result() == {"intersection": 200, "union": 350}


def test_the_memory_does_not_grow_with_the_sets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(keyset, "BATCH_ROWS", 1 << 8)
    monkeypatch.setattr(stream, "BLOCK_BYTES", 1 << 12)
    for module in (blocks, masking):
        monkeypatch.setattr(module, "BLOCK", 1 << 7)

    def peak(count: int) -> int:
        spaces: dict[str, Workspace] = {
            role: DirectoryWorkspace(tmp_path / f"{role}.{count}") for role in ("left", "right")
        }
        done = within(numbered(range(count), range(count // 2, count * 3 // 2)), 128 << 10, spaces)
        tracemalloc.start()
        try:
            ends = done.run_async()
            found = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert isinstance(ends["left"], RunResult), ends
        shared = {"intersection": count - count // 2, "union": count * 3 // 2}
        assert ends["left"].output.rows.to_pylist() == [shared]
        return found

    peak(500)  # what is loaded and compiled once
    small, large = peak(2_000), peak(8_000)
    # Items and tags alone would take 580 kB more at both sides together.
    assert large < small + (250 << 10), (small, large)


def test_nothing_is_redone_and_nothing_new_is_shown_after_a_cut_at_any_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short_blocks(monkeypatch)
    monkeypatch.setattr(stream, "BLOCK_BYTES", 100)

    def made() -> Interrupted:
        return Interrupted(within(numbered(range(60), range(20, 67)), LITTLE))

    whole = made().attempt()
    assert all(isinstance(end, RunResult) for end in whole.values()), whole
    messages, cuts, later = 30, 0, set()
    for who in ("left", "right"):
        for allowed in range(messages):
            run = made()
            first = run.attempt({who: allowed})
            if any(isinstance(end, RunResult) for end in first.values()):
                continue  # it had sent all, or all but its last word
            cuts += 1
            second = run.attempt()
            assert all(isinstance(end, RunResult) for end in second.values()), (allowed, second)
            for role, end in second.items():
                assert isinstance(end, RunResult)
                assert end.output.rows.to_pylist() == [{"intersection": 40, "union": 67}]
                assert (end.bytes_in, end.bytes_out) == (whole[role].bytes_in, whole[role].bytes_out)
            assert second["left"].transcript == second["right"].transcript
            resumed = run.resumed[-1]
            later.add(resumed)
            for role, count in (("left", 60), ("right", 47)):
                points = {m.index: m.data for m in run.sent[role] if isinstance(m, Points)}
                elements = {
                    m.data[at : at + 32]
                    for m in run.sent[role]
                    if isinstance(m, Points)
                    for at in range(0, len(m.data), 32)
                }
                if resumed:
                    # The same points in the same blocks, and no others.
                    assert len(elements) == count
                    again = [m.index for m in run.sent[role] if isinstance(m, Points)]
                    assert all(again.count(index) == 1 for index in points if index < 2 * resumed - 2)
    assert cuts > 20
    assert later == set(range(6)), "four steps of 16, and one checkpoint before tags go out"


@pytest.mark.parametrize("allowed", [6, 9, 12, 14])
def test_a_process_that_was_killed_goes_on_from_its_disk(
    allowed: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    short_blocks(monkeypatch)
    monkeypatch.setattr(stream, "BLOCK_BYTES", 100)
    run = Interrupted(within(numbered(range(60), range(20, 67)), LITTLE))
    for attempt in range(2):
        # Nothing of the first attempt is left but its files.
        spaces = {role: DirectoryWorkspace(tmp_path / role) for role in ("left", "right")}
        run.spaces = dict(spaces)
        ends = run.attempt({"left": allowed} if attempt == 0 else {})
        for space in spaces.values():
            space.close()
        assert all(isinstance(end, PeerLost if attempt == 0 else RunResult) for end in ends.values()), ends
    assert run.resumed[-1] > 0
    assert run.job.kind.open_result(
        run.job.consumer(), {role: end.output.sealed for role, end in ends.items()}
    ) == {"intersection": 40, "union": 67}


def test_after_the_last_checkpoints_no_points_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who could have tags of two sets would see which key made the difference."""
    short_blocks(monkeypatch)
    run = Interrupted(within(numbered(range(60), range(20, 67)), LITTLE))
    assert all(isinstance(end, RunResult) for end in run.attempt().values())
    names = run.spaces["left"].names()
    held = [int(name.rsplit(".", 1)[1]) for name in names if name.startswith("run.checkpoint.")]
    assert sorted(held) == [4, 5]
    for resumed in held:
        received = []
        storage = {"workspace": run.spaces["left"], "resumed": resumed, "memory_bytes": LITTLE}
        run.job.storage["left"] = storage
        steps: Steps = run.job.steps("left")
        reply: Reply = None
        while not isinstance(effect := steps.send(reply), Receive):
            received.append(effect)
        assert effect.type is Block
        assert not [one for one in received if isinstance(getattr(one, "message", None), Points)]


@pytest.mark.parametrize("changed", ["left", "right"])
@pytest.mark.parametrize(
    "rows", [range(59), [*range(58), 99], [1, 0, *range(2, 60)]], ids=["fewer", "other", "order"]
)
def test_another_input_on_resume_is_refused(changed: str, rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    short_blocks(monkeypatch)
    run = Interrupted(within(numbered(range(60), range(60)), LITTLE))
    run.attempt({"left": 10})
    column = run.job.tables[changed].column_names[0]
    run.job.tables[changed] = pa.table({column: [f"k{i}" for i in rows]})
    ends = run.attempt()
    assert run.resumed[-1] > 0
    assert type(ends[changed]) is ProtocolAbort
    assert "than when the job began" in str(ends[changed])
    assert all(isinstance(end, ProtocolAbort) for end in ends.values()), ends


@pytest.mark.parametrize("name", ["mask.begun", "mask.items", "mask.tags.0"])
def test_what_is_damaged_in_the_workspace_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    short_blocks(monkeypatch)
    run = Interrupted(within(numbered(range(60), range(60)), LITTLE))
    assert all(isinstance(end, RunResult) for end in run.attempt().values())
    space = run.spaces["right"]
    space.write(name, bytes(space.read(name))[:-1])
    run.job.storage["right"] = {"workspace": space, "resumed": 4, "memory_bytes": LITTLE}
    with pytest.raises(DataError):
        list(run.job.steps("right"))


def _second(change: Callable[[Message, Message], list[Message]], kind: type[Message]) -> Any:
    """``change`` gets the first two messages of a kind, in place of which its own go out."""
    kept: list[Message] = []

    def replace(n: int, message: Message) -> list[Message]:
        if not isinstance(message, kind) or len(kept) == 2:
            return [message]
        kept.append(message)
        return [] if len(kept) == 1 else change(*kept)

    return replace


BLOCKS_OUT_OF_TURN = {
    "swapped": lambda one, other: [other, one],
    "repeated": lambda one, other: [one, one],
    "repeated as new": lambda one, other: [one, type(one)(other.index, one.data)],
    "left out": lambda one, other: [other],
}


@pytest.mark.parametrize("kind", [Points, Block])
@pytest.mark.parametrize("name", BLOCKS_OUT_OF_TURN)
def test_blocks_out_of_turn_end_both_sides(
    name: str, kind: type[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    short_blocks(monkeypatch)
    monkeypatch.setattr(stream, "BLOCK_BYTES", 100)
    done = within(numbered(range(60), range(60)), LITTLE)
    change = _second(BLOCKS_OUT_OF_TURN[name], kind)
    ends = done.run_async({"right": replacing(done.steps("right"), change)})
    assert isinstance(ends["left"], ProtocolAbort), ends
    assert isinstance(ends["right"], ProtocolAbort), ends


def test_of_repeated_points_no_tag_goes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    short_blocks(monkeypatch)
    first: list[bytes] = []

    def repeat(n: int, message: Message) -> list[Message]:
        if not isinstance(message, Points):
            return [message]
        first.append(message.data[:32])
        # One point of every block is that of the first block.
        return [Points(message.index, first[0] + message.data[32:])]

    done = within(numbered(range(60), range(60)), LITTLE)
    sent: list[Message] = []

    def watch(n: int, message: Message) -> list[Message]:
        sent.append(message)
        return [message]

    ends = done.run_async(
        {"left": replacing(done.steps("left"), watch), "right": replacing(done.steps("right"), repeat)}
    )
    assert isinstance(ends["left"], ProtocolAbort)
    assert "group element twice" in str(ends["left"])
    assert not [message for message in sent if isinstance(message, Block)]


def test_tags_that_all_begin_alike_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """They ascend, but would lie in one bin, however many they are."""

    def crowd(n: int, message: Message) -> list[Message]:
        if not isinstance(message, Block):
            return [message]
        width = len(message.data) // 300
        tags = b"".join(number.to_bytes(width, "big") for number in range(300))
        return [Block(message.index, tags)]

    done = within(numbered(range(300), range(300)), LITTLE)
    ends = done.run_async({"right": replacing(done.steps("right"), crowd)})
    assert isinstance(ends["left"], ProtocolAbort)
    assert "not spread" in str(ends["left"])


def test_the_length_of_what_is_sealed_does_not_tell_the_count() -> None:
    lengths = set()
    for start in (0, 45, 50):
        run = numbered(range(50), range(start, start + 50)).run()
        lengths |= {len(run.outputs[role].sealed) for role in ("left", "right")}
    assert len(lengths) == 1
    most = protocol.Counts(MAX_ELEMENTS, 2 * MAX_ELEMENTS)
    assert len(payload.encode(most)) < lengths.pop()
