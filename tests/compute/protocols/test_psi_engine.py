"""Labels, left joins, buckets and resumption of the intersection engine, and the parts they are made of."""

import math
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compute.errors import BadInput, BadMessage, DataError, PeerLost, ProtocolAbort
from compute.protocols.identifiers import Normalisation
from compute.protocols.keyset import key_set
from compute.protocols.local import LocalRun, run_local
from compute.protocols.protocol import Checkpoint, Message, Steps
from compute.protocols.psi import labels
from compute.protocols.psi.agreement import Hello, Plan, check_padding
from compute.protocols.psi.buckets import InMemory, Spilled, bound, collect, fill, pack, unpack
from compute.protocols.psi.choice import Asked, choose
from compute.protocols.psi.intersect import result
from compute.protocols.psi.matching import match
from compute.protocols.stream import Block, uniform_order
from compute.protocols.workspace import MemoryWorkspace
from tests.compute.protocols.hostile import replacing
from tests.compute.protocols.jobs import Job, seeded

KEYS = {"keys": {"left": ["id"], "right": ["id"]}}
TINY = {"memory_bytes": 16 << 10, "parallel": 2}
BOTH = {"output_to": ["left", "right"]}


def people(numbers: Iterable[int]) -> pa.Table:
    numbers = list(numbers)
    return pa.table(
        {
            "id": [f"k{i}" for i in numbers],
            "name": [None if i % 7 == 0 else f"张{i}" * (i % 3) for i in numbers],
            "age": pa.array([None if i % 5 == 0 else -i for i in numbers], pa.int32()),
            "score": [i / 4 for i in numbers],
            "member": [i % 2 == 0 for i in numbers],
            "day": pa.array(numbers, pa.int32()).cast(pa.date32()),
        }
    )


def job(left: Iterable[int], right: Iterable[int], storage: Any = None, **params: Any) -> Job:
    each = {role: dict(storage) for role in ("left", "right")} if storage else None
    return Job("psi", KEYS | params, {"left": people(left), "right": people(right)}, storage=each)


def table_of(opened: Any, role: str) -> dict[str, list[Any]]:
    """The rows of a result by their key."""
    return {row[0]: row[1:] for row in opened[role]["rows"]}


LABELS = ("name", "age", "score", "member", "day")


def label_of(number: int) -> list[Any]:
    row = people([number]).to_pylist()[0]
    return [row["name"], row["age"], row["score"], row["member"], str(row["day"])]


@pytest.mark.parametrize("protocol", ["ecdh", "rr22"])
@pytest.mark.parametrize("storage", [None, TINY], ids=["one bucket", "many buckets"])
def test_labels_of_matches_arrive_and_no_others(protocol: str, storage: Any) -> None:
    found = job(range(90), range(41, 130), storage, protocol=protocol, label_columns={"right": LABELS})
    opened = found.result()
    assert opened["left"]["columns"] == ["id", *(f"right.{name}" for name in LABELS)]
    assert table_of(opened, "left") == {f"k{i}": label_of(i) for i in range(41, 90)}


@pytest.mark.parametrize("storage", [None, TINY], ids=["one bucket", "many buckets"])
def test_labels_both_ways(storage: Any) -> None:
    params = BOTH | {"label_columns": {"left": ["age"], "right": ["name", "member"]}}
    for left, right in ((range(60), range(50, 150)), (range(130), range(100, 140)), (range(3), range(5, 9))):
        opened = job(left, right, storage, **params).result()
        shared = set(left) & set(right)
        assert table_of(opened, "left") == {f"k{i}": [label_of(i)[0], label_of(i)[3]] for i in shared}
        assert table_of(opened, "right") == {f"k{i}": [label_of(i)[1]] for i in shared}


def test_label_columns_are_columns_that_the_grant_must_allow() -> None:
    made = job(range(3), range(3), label_columns={"right": ["name", "id"]})
    assert made.kind.columns(made.spec, made.params, "right") == ("id", "name")
    assert made.kind.columns(made.spec, made.params, "left") == ("id",)


def test_several_rows_of_a_key_on_the_label_side_are_refused_or_the_first_counts() -> None:
    tables = {
        "left": pa.table({"id": ["a", "b", "a"]}),
        "right": pa.table({"id": ["a", "b", "a"], "v": ["first", "x", "second"]}),
    }
    params = KEYS | {"label_columns": {"right": ["v"]}}
    with pytest.raises(BadInput, match="1 rows of right repeat a key"):
        Job("psi", params, tables).run()
    opened = Job("psi", params | {"label_rows": "first"}, tables).result()
    assert sorted(opened["left"]["rows"]) == [["a", "first"], ["a", "first"], ["b", "x"]]


def test_names_of_labels_do_not_meet_names_of_columns() -> None:
    tables = {"left": pa.table({"right.v": ["a"]}), "right": pa.table({"id": ["a"], "v": [1]})}
    params = {"keys": {"left": ["right.v"], "right": ["id"]}, "label_columns": {"right": ["v"]}}
    with pytest.raises(BadInput, match=r"right\.v"):
        Job("psi", params, tables).run()


def test_forged_labels_end_in_an_abort() -> None:
    made = job(range(20), range(20), protocol="ecdh", label_columns={"right": ["name"]})
    blocks: list[Message] = []

    def forge(n: int, message: Message) -> list[Message]:
        if not isinstance(message, Block):
            return [message]
        blocks.append(message)
        return [message] if len(blocks) == 1 else [Block(message.index, bytes(len(message.data)))]

    ends = made.run_async({"right": replacing(made.steps("right"), forge)})
    assert len(blocks) == 2
    assert type(ends["left"]) is ProtocolAbort


@pytest.mark.parametrize("storage", [None, TINY], ids=["one bucket", "many buckets"])
def test_a_left_join_gives_every_row_and_hides_the_number_of_matches(storage: Any) -> None:
    params = {"join": "left", "protocol": "rr22", "label_columns": {"right": ["name", "age", "score"]}}
    sizes = set()
    for right in (range(100), range(40, 140), range(200, 300)):
        made = job(range(70), right, storage, **params)
        run = made.run()
        opened = made.open(run)
        expected = {f"k{i}": label_of(i)[:3] if i in right else [None] * 3 for i in range(70)}
        assert table_of(opened, "left") == expected
        assert [row[0] for row in opened["left"]["rows"]] == [f"k{i}" for i in range(70)]
        assert opened["count"] == len(set(range(70)) & set(right))
        # The longest name of the peer is public; it is equal here, as are all counts.
        shape = tuple((message.sender, len(message.data)) for message in run.wire)
        sizes.add((shape, len(run.outputs["left"].sealed), tuple(run.outputs["left"].metrics.items())))
    assert len({size[1:] for size in sizes}) == 1
    assert len({len(size[0]) for size in sizes}) == 1


def test_a_left_join_keeps_rows_without_a_key_and_repeats() -> None:
    tables = {
        "left": pa.table({"id": ["a", None, "b", "a", ""]}),
        "right": pa.table({"id": ["a", "c"], "v": [1, 2]}),
    }
    opened = Job("psi", KEYS | {"join": "left", "label_columns": {"right": ["v"]}}, tables).result()
    assert opened["left"]["rows"] == [["a", 1], [None, None], ["b", None], ["a", 1], ["", None]]


# -- buckets and resumption


def test_a_small_job_has_no_checkpoints_and_leaves_nothing_behind() -> None:
    spaces = {role: MemoryWorkspace() for role in ("left", "right")}
    made = job(range(20), range(20))
    made.storage = {role: {"workspace": space} for role, space in spaces.items()}
    run = made.run()
    assert run.outputs["left"].metrics["buckets"] == 1
    assert [space.names() for space in spaces.values()] == [(), ()]


def cut_after(steps: Steps, index: int) -> Steps:
    """A role whose process dies right after a checkpoint."""
    reply = None
    while True:
        try:
            effect = steps.send(reply)
        except StopIteration as stop:
            return stop.value
        reply = yield effect
        if isinstance(effect, Checkpoint) and effect.index == index:
            raise PeerLost("cut")


def attempt(made: Job, spaces: dict[str, MemoryWorkspace], resumed: int, cut: int | None = None) -> LocalRun:
    made.storage = {role: TINY | {"workspace": space, "resumed": resumed} for role, space in spaces.items()}
    steps = {role: made.steps(role) for role in made.roles}
    if cut is not None:
        # In one thread the sender runs ahead, so the receiver is cut: the one with fewer keys if both
        # get the result, else left.
        receiver = min(made.roles, key=lambda role: made.tables[role].num_rows)
        cut_role = receiver if len(made.params.output_to) == 2 else "left"
        steps[cut_role] = cut_after(steps[cut_role], cut)
    return run_local(steps, binding=made.binding)


@pytest.mark.parametrize("protocol", ["ecdh", "rr22"])
def test_a_job_goes_on_from_each_checkpoint_with_the_same_result(protocol: str) -> None:
    params = BOTH | {"protocol": protocol, "label_columns": {"left": ["age"], "right": ["name"]}}
    expected = job(range(80), range(30, 100), TINY, **params).result()
    whole = attempt(job(range(80), range(30, 100), **params), _spaces(), 0)
    waves = -(-whole.outputs["left"].metrics["buckets"] // 2)
    assert waves >= 4
    sent = []
    for index in (1, 2, waves - 1, waves):
        spaces = _spaces()
        made = job(range(80), range(30, 100), **params)
        with pytest.raises(PeerLost):
            attempt(made, spaces, 0, cut=index)
        # A job that goes on has new randomness, as a process that was started again has.
        made.seed = f"attempt after {index}"
        run = attempt(made, spaces, index)
        assert made.open(run) == expected
        assert run.outputs["left"].units == 80
        sent.append(run.bytes_sent("left") + run.bytes_sent("right"))
    assert sent == sorted(sent, reverse=True), "finished buckets are not compared again"
    assert len(set(sent)) == len(sent)


def _spaces() -> dict[str, MemoryWorkspace]:
    return {role: MemoryWorkspace() for role in ("left", "right")}


def test_a_job_that_was_wound_back_by_one_checkpoint_gives_the_same_result() -> None:
    spaces = _spaces()
    made = job(range(80), range(30, 100), protocol="ecdh")
    with pytest.raises(PeerLost):
        attempt(made, spaces, 0, cut=2)
    made.seed = "again"
    assert made.open(attempt(made, spaces, 1))["count"] == 50


@pytest.mark.parametrize("changed", ["left", "right"])
@pytest.mark.parametrize(
    "rows", [range(79), [*range(78), 81], [1, 0, *range(2, 80)]], ids=["fewer", "other", "order"]
)
def test_another_input_on_resume_is_refused(changed: str, rows: Iterable[int]) -> None:
    spaces = _spaces()
    made = job(range(80), range(80), protocol="ecdh")
    with pytest.raises(PeerLost):
        attempt(made, spaces, 0, cut=1)
    made.tables[changed] = people(rows)
    with pytest.raises(ProtocolAbort, match="than when the job began"):
        attempt(made, spaces, 1)


def test_a_peer_that_kept_nothing_of_its_input_is_refused() -> None:
    """Its commitment has another salt: nobody can tell whether the input is the same."""
    spaces = _spaces()
    made = job(range(80), range(80), protocol="ecdh")
    with pytest.raises(PeerLost):
        attempt(made, spaces, 0, cut=1)
    forgetful = _spaces()
    with pytest.raises(PeerLost):
        attempt(job(range(80), range(80), protocol="ecdh"), forgetful, 0, cut=1)
    made.seed = "a"
    other = job(range(80), range(80), protocol="ecdh")
    other.seed = "b"
    third = _spaces()
    with pytest.raises(PeerLost):
        attempt(other, third, 0, cut=1)
    with pytest.raises(ProtocolAbort, match="the input of"):
        attempt(made, {"left": spaces["left"], "right": third["right"]}, 1)


def test_other_memory_on_resume_is_refused() -> None:
    spaces = _spaces()
    made = job(range(80), range(80), protocol="ecdh")
    with pytest.raises(PeerLost):
        attempt(made, spaces, 0, cut=1)
    made.storage = {role: {"workspace": space, "resumed": 1} for role, space in spaces.items()}
    with pytest.raises(ProtocolAbort, match="memory or processors changed"):
        made.run()


def test_a_damaged_workspace_is_told() -> None:
    spaces = _spaces()
    made = job(range(80), range(80), protocol="ecdh")
    with pytest.raises(PeerLost):
        attempt(made, spaces, 0, cut=1)
    spaces["left"].write("psi.wave.0", spaces["left"].read("psi.wave.0")[:-5])
    with pytest.raises(DataError, match="damaged"):
        attempt(made, spaces, 1)


@pytest.mark.parametrize("count", [0, 1, 100, 1 << 10, 10_007, 1 << 20, 1 << 24])
@pytest.mark.parametrize("buckets", [1, 2, 32, 1024])
def test_bounds_of_buckets_hold_but_with_probability_2_to_the_minus_40(count: int, buckets: int) -> None:
    found = bound(count, buckets)
    assert count // buckets <= found <= count
    if buckets > 1 and 0 < found < count and count <= 10_007:
        # The exact tail of the binomial distribution, in logarithms.
        p = 1 / buckets
        tail = math.fsum(
            math.exp(
                math.lgamma(count + 1)
                - math.lgamma(k + 1)
                - math.lgamma(count - k + 1)
                + k * math.log(p)
                + (count - k) * math.log1p(-p)
            )
            for k in range(found + 1, min(count, found + 2000) + 1)
        )
        assert tail * buckets <= 2.0**-40
    if count == 1 << 24 and buckets == 32:
        assert found < (1 << 19) * 1.02, "padding is cheap"


def test_a_bucket_beyond_its_bound_ends_the_job() -> None:
    with pytest.raises(ProtocolAbort, match="more keys than its bound"):
        fill(np.zeros((5, 32), np.uint8), 4, seeded(1))


def test_filling_keeps_digests_and_adds_random_ones() -> None:
    digests = np.frombuffer(seeded(2)(32 * 10), np.uint8).reshape(10, 32)
    items, order = fill(digests, 25, seeded(3))
    assert sorted(order.tolist()) == list(range(25))
    for item, number in zip(items, order, strict=True):
        assert number >= 10 or (item == digests[number]).all()
    assert len({item.tobytes() for item in items}) == 25


def test_an_order_is_uniform() -> None:
    """Each element at each place, over many draws of six: chi-squared with 25 degrees of freedom."""
    rng, draws = seeded("orders"), 6000
    counts = np.zeros((6, 6))
    for _ in range(draws):
        counts[np.arange(6), uniform_order(6, rng)] += 1
    expected = draws / 6
    assert ((counts - expected) ** 2 / expected).sum() < 60  # far beyond the 99.9 % quantile of 52.6
    assert uniform_order(0, rng).tolist() == []
    assert uniform_order(1, rng).tolist() == [0]


@pytest.mark.parametrize("rows", [0, 1, 700])
@pytest.mark.parametrize("memory_bytes", [1 << 10, 64 << 10])
def test_spilled_keys_are_the_keys_in_memory(rows: int, memory_bytes: int) -> None:
    table = pa.table({"id": pa.array([f"k{i % 500}" if i % 11 else None for i in range(rows)], pa.string())})
    made = Job("psi", KEYS, {"left": table, "right": table}, storage={"left": {"memory_bytes": memory_bytes}})
    session = made.session("left")
    steps = collect(session, table, ["id"], Normalisation())
    source: Any = None
    while source is None:
        try:
            next(steps)
        except StopIteration as stop:
            source = stop.value
    assert isinstance(source, Spilled if rows * 128 > memory_bytes // 2 else InMemory)
    whole = InMemory.of(key_set(table, ["id"], Normalisation()))
    for name in ("count", "repeated", "without_key", "unfit", "checksum"):
        assert getattr(source, name) == getattr(whole, name)
    for buckets in (1, 2, 64, 1024):
        for index in range(0, buckets, max(1, buckets // 16)):
            one, other = source.bucket(index, buckets), whole.bucket(index, buckets)
            for name in ("digests", "rows", "offsets"):
                assert np.array_equal(getattr(one, name), getattr(other, name))


def test_arrays_in_the_workspace_are_whole_or_refused() -> None:
    data = pack(np.arange(5), np.zeros((0, 3), np.uint8))
    first, second = unpack(memoryview(data))
    assert first.tolist() == list(range(5))
    assert second.shape == (0, 3)
    with pytest.raises(DataError):
        unpack(memoryview(data[:-1] if data[-1:] != b"\n" else data[:-40]))


def test_a_peer_cannot_have_buckets_cut_so_small_that_padding_hides_other_keys() -> None:
    """100 keys in 8192 buckets would be 57 344 items that it may choose, where 20 000 were signed for."""
    mine = Hello(100_000, bytes(32), bytes(32), (), 1 << 20, 4, 0, (), 0)
    few = msgspec.structs.replace(mine, count=100, nonce=bytes([1]) * 32)
    hostile = msgspec.structs.replace(few, most_items=16)
    check_padding(Plan.of(mine, few), mine, few, 20_000)
    with pytest.raises(ProtocolAbort, match="buckets"):
        check_padding(Plan.of(mine, hostile), mine, hostile, 20_000)
    # Our own memory may ask for them.
    check_padding(Plan.of(hostile, mine), hostile, mine, 100_000)


# -- parts


@settings(max_examples=200, deadline=None)
@given(
    st.sets(st.integers(0, 300), max_size=60), st.sets(st.integers(0, 300), max_size=60), st.integers(6, 16)
)
def test_matching_finds_equal_tags(left: set[int], right: set[int], width: int) -> None:
    def tags(numbers: Iterable[int]) -> np.ndarray:
        rows = [number.to_bytes(width, "little") for number in numbers]
        return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, width)

    mine, theirs = list(left), list(right)
    first, second = match(tags(mine), tags(theirs))
    assert sorted(mine[i] for i in first) == sorted(left & right)
    assert [mine[i] for i in first] == [theirs[i] for i in second]


def test_a_repeated_tag_counts_once_and_its_sender_cannot_tell_whether_it_is_ours() -> None:
    def tags(*numbers: int) -> np.ndarray:
        return np.frombuffer(b"".join(number.to_bytes(9, "big") for number in numbers), np.uint8).reshape(
            -1, 9
        )

    first, second = match(tags(1, 2, 3), tags(3, 4, 3))
    assert (first.tolist(), second.tolist()) == ([2], [0])
    first, second = match(tags(1, 2, 3), tags(3, 4, 4, 4, 4))
    assert (first.tolist(), second.tolist()) == ([2], [0])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.text(max_size=9),
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.floats(allow_nan=False),
            st.none() | st.booleans(),
        ),
        max_size=20,
    )
)
def test_labels_survive_packing_and_sealing(rows: list[tuple[Any, ...]]) -> None:
    kinds = (pa.string(), pa.int64(), pa.float64(), pa.bool_())
    names = ["t", "i", "f", "b"]
    table = pa.table({name: pa.array([row[at] for row in rows], kinds[at]) for at, name in enumerate(names)})
    described = labels.describe(table, names)
    packed = labels.packed(table, names, described)
    assert packed.shape == (len(rows), labels.width_of(described))
    keys = np.frombuffer(seeded(1)(16 * len(rows)), np.uint8).reshape(-1, 16)
    sealed = labels.seal(packed, keys, b"context")
    opened = labels.open_sealed(sealed, keys, b"context", "peer")
    columns = labels.unpacked(opened, described, "peer")
    assert [column.to_pylist() for column in columns] == [table[name].to_pylist() for name in names]
    if rows:
        for context, changed in ((b"other", sealed), (b"context", sealed ^ np.uint8(1))):
            with pytest.raises(ProtocolAbort, match="sealed"):
                labels.open_sealed(changed, keys, context, "peer")


def test_labels_that_no_row_packs_to_are_refused() -> None:
    described = (labels.LabelColumn("text", 8),)
    for row in (b"\2" + bytes(12), b"\1\x09" + bytes(11), b"\0\1" + bytes(11), b"\1\1\0\0\0\xff" + bytes(7)):
        with pytest.raises(ProtocolAbort):
            labels.unpacked(np.frombuffer(row, np.uint8).reshape(1, -1), described, "peer")


@pytest.mark.parametrize("values", [[["a"]], [b"x"], ["x" * 5000]], ids=["list", "bytes", "long"])
def test_columns_that_cannot_be_labels_are_named(values: list[Any]) -> None:
    with pytest.raises(BadInput, match="'v'"):
        labels.describe(pa.table({"v": values}), ["v"])


def asked(**changes: Any) -> Asked:
    usual: dict[str, Any] = {
        "protocol": "auto",
        "curve": "curve25519",
        "security": "semi_honest",
        "low_communication": False,
        "link_mbit_s": None,
        "plain_output": True,
    }
    return Asked(**(usual | changes))


CHOICES = [
    ((100, 100), {}, "ecdh-curve25519"),
    ((1 << 20, 1 << 20), {}, "rr22"),
    ((5000, 5000), {}, "rr22"),
    ((5000, 5000), {"level": "portable"}, "ecdh-curve25519"),
    ((1 << 20, 1 << 20), {"link_mbit_s": 50}, "rr22-low-communication"),
    ((1 << 20, 1 << 20), {"link_mbit_s": 1000}, "rr22"),
    ((1 << 20, 1 << 20), {"security": "malicious"}, "rr22-malicious"),
    ((100, 100), {"low_communication": True}, "rr22-low-communication"),
    ((1 << 20, 1 << 20), {"curve": "sm2"}, "ecdh-sm2"),
    ((10_000, 10_000_000), {}, "unbalanced-curve25519"),
    ((10_000, 10_000_000), {"plain_output": False}, "rr22"),
    ((10_000_000, 10_000), {}, "rr22"),
    ((1 << 20, 1 << 20), {"supported": ("ecdh",)}, "ecdh-curve25519"),
    ((100, 100), {"protocol": "rr22"}, "rr22"),
]


@pytest.mark.parametrize(("sizes", "changes", "expected"), CHOICES)
def test_auto_chooses_and_says_why(sizes: tuple[int, int], changes: dict[str, Any], expected: str) -> None:
    facts = {"level": "ifma", "supported": ("ecdh", "rr22", "unbalanced"), "bucket_items": 1 << 20}
    facts |= {name: changes[name] for name in facts if name in changes}
    chosen = choose(asked(**{k: v for k, v in changes.items() if k not in facts}), *sizes, **facts)
    assert chosen.name == expected
    assert chosen.reason


def test_what_cannot_run_is_refused() -> None:
    facts: dict[str, Any] = {"level": "ifma", "bucket_items": 100}
    for wrong in ({"protocol": "rr22"}, {"security": "malicious"}, {"low_communication": True}):
        with pytest.raises(BadInput, match="rr22"):
            choose(asked(**wrong), 100, 100, supported=("ecdh",), **facts)
    with pytest.raises(BadInput, match="low communication"):
        choose(
            asked(low_communication=True), 100, 100, level="ifma", bucket_items=1 << 25, supported=("rr22",)
        )


def test_messages_of_labels_are_refused_where_none_were_asked_for() -> None:
    made = job(range(9), range(9), protocol="ecdh")

    def talkative(n: int, message: Message) -> list[Any]:
        if n:
            return [message]
        described = (labels.LabelColumn("text", 8),)
        return [
            type(message)(
                **{f: getattr(message, f) for f in message.__struct_fields__} | {"labels": described}
            )
        ]

    ends = made.run_async({"right": replacing(made.steps("right"), talkative)})
    assert all(isinstance(end, ProtocolAbort | BadMessage) for end in ends.values()), ends


@pytest.mark.parametrize("params", [{}, {"deliver_to_consumer": False}], ids=["rows", "count"])
@pytest.mark.parametrize("storage", [None, TINY], ids=["one bucket", "waves"])
def test_bytes_and_progress_do_not_tell_the_size_of_the_result(storage: Any, params: Any) -> None:
    both = {"label_columns": {"left": ["age"], "right": ["age"]}} | BOTH | params
    few, many = (job(range(60), range(start, start + 70), storage, **both) for start in (57, 20))
    runs = [few.run(), many.run()]
    assert [len(run.outputs["left"].rows) for run in runs] == [3, 40]
    for role in ("left", "right"):
        assert len({run.bytes_sent(role) for run in runs}) == 1
        assert runs[0].progress[role] == runs[1].progress[role]
        if not both.get("deliver_to_consumer", True):
            assert len({len(run.outputs[role].sealed or b"") for run in runs}) == 1


def test_labels_too_wide_for_a_block_are_refused() -> None:
    wide = pa.table({"id": ["a"]} | {f"t{i}": ["x" * 4096] for i in range(40)})
    names = [f"t{i}" for i in range(40)]
    assert labels.width_of(labels.describe(wide, names[:31])) <= labels.MAX_ROW_BYTES
    with pytest.raises(BadInput, match="bytes a row"):
        labels.describe(wide, names)


def test_a_peer_that_describes_labels_too_wide_is_refused() -> None:
    params = {"label_columns": {"right": ["name"]}}
    started = job(range(9), range(9), **params)
    huge = (labels.LabelColumn("text", 4096),) * 40

    def widen(number: int, message: Message) -> list[Message]:
        return [msgspec.structs.replace(message, labels=huge) if isinstance(message, Hello) else message]

    ends = started.run_async({"right": replacing(started.steps("right"), widen)})
    assert isinstance(ends["left"], ProtocolAbort)


def test_wide_labels_make_smaller_buckets() -> None:
    storage = {"memory_bytes": 64 << 10, "parallel": 1}
    plain = job(range(60), range(60), storage).run()
    wide = {
        "left": people(range(60)),
        "right": people(range(60)).append_column("w", pa.array(["x" * 4000] * 60)),
    }
    each = {role: dict(storage) for role in wide}
    labelled = Job("psi", KEYS | {"label_columns": {"right": ["w"]}}, wide, storage=each).run()
    buckets = [run.outputs["left"].metrics["buckets"] for run in (plain, labelled)]
    assert buckets[0] == 1
    assert buckets[1] >= 4


@pytest.mark.parametrize("count", [0, 1, 7, 40])
@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_rows_are_taken_from_a_table_in_chunks_as_from_one(
    count: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result, "_TAKEN_AT_ONCE", at_once)
    pieces = [
        pa.table({"id": [f"{start}-{i}" for i in range(5)], "n": [None, 1, 2, 3, start]})
        for start in range(8)
    ]
    table = pa.concat_tables(pieces)
    rows = np.random.default_rng(count).permutation(40)[:count].astype(np.int64)
    assert result.taken(table, rows).equals(table.take(pa.array(rows)))
