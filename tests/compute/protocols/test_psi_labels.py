"""Labels of the intersection and left joins: what arrives, what is refused, how labels are packed."""

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compute.errors import BadInput, BadMessage, ProtocolAbort
from compute.protocols.protocol import Message
from compute.protocols.psi import labels
from compute.protocols.psi.agreement import Hello
from compute.protocols.stream import Block
from tests.compute.protocols.hostile import replacing
from tests.compute.protocols.jobs import Job, seeded
from tests.compute.protocols.psi_people import BOTH, KEYS, TINY, job, people


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
