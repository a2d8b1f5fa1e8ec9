"""PSI equals a plaintext join at awkward sizes, hides what it must, and a hostile peer ends in an abort."""

import hashlib
import itertools
import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accel import curve25519
from compute.errors import BadInput, BadMessage, CohortTooSmall, ProtocolAbort
from compute.protocols.identifiers import Normalisation, encode_key
from compute.protocols.protocol import Message, Output, Send, Steps, receive
from compute.protocols.runner import RunResult
from compute.protocols.sets import Size, domain_separation
from compute.protocols.stream import Block, split, tag_bytes
from compute.wire import codec
from tests.compute.protocols.hostile import replacing
from tests.compute.protocols.jobs import Job

KEYS = {"keys": {"left": ["id"], "right": ["pid"]}}
# Low-order points of curve25519 and its non-canonical encodings, RFC 7748 section 6.1 and the literature.
LOW_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 18).to_bytes(32, "little"),
    b"\xff" * 32,
]
# u = 2 is on the twist: 2^3 + 486662·2^2 + 2 is no square.
TWIST = (2).to_bytes(32, "little")


def tables(left: list[Any], right: list[Any]) -> dict[str, pa.Table]:
    text = pa.string()
    return {"left": pa.table({"id": pa.array(left, text)}), "right": pa.table({"pid": pa.array(right, text)})}


def psi(left: list[Any], right: list[Any], *, floor: int = 0, seed: int | str = 0, **params: Any) -> Job:
    return Job("psi", KEYS | params, tables(left, right), floor=floor, seed=seed)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (range(123), range(61, 200)),
        (range(100), range(100, 171)),  # disjoint
        (range(77), range(77)),  # equal
        (range(50), range(11, 24)),  # subset
        (range(1), range(1)),
        (range(1), range(5, 6)),
        (range(0), range(9)),
        (range(9), range(0)),
        (range(0), range(0)),
        (range(4097), range(4090, 4100)),  # more than one block
    ],
    ids=str,
)
def test_equals_the_plaintext_join(left: range, right: range) -> None:
    one, other = [f"k{i}" for i in left], [f"k{i}" for i in right]
    random.Random(1).shuffle(one)
    job = psi(one, other, output_to=["left", "right"])
    expected = [[key] for key in sorted(set(one) & set(other), key=lambda k: (len(k), k))]
    assert job.result() == {
        "count": len(expected),
        "left": {"columns": ["id"], "rows": expected},
        "right": {"columns": ["pid"], "rows": expected},
    }


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.text(max_size=3).filter(lambda s: "\0" not in s), max_size=40),
    st.lists(st.text(max_size=3).filter(lambda s: "\0" not in s), max_size=40),
)
def test_equals_the_plaintext_join_for_any_texts(left: list[str], right: list[str]) -> None:
    apply = Normalisation(case="fold").apply
    expected = {apply(text) for text in left} & {apply(text) for text in right} - {""}
    opened = psi(left, right, normalise={"case": "fold"}).result()
    assert opened["count"] == len(expected)
    assert {apply(row[0]) for row in opened["left"]["rows"]} == expected


def test_duplicates_unicode_several_columns_and_output_columns() -> None:
    left = pa.table(
        {
            "name": ["Zoë", "张伟", "Bob", "Bob", None, "Ann"],
            "born": [1980, 1990, 1970, 1970, 1960, 2000],
            "diagnosis": ["M", "B", "B", "M", "B", "B"],
        }
    )
    right = pa.table(
        {"who": ["Zoe\u0308 ", "张伟", "Bob", "Ann", "Bob"], "year": ["1980", "1991", "1970", "2000", "1970"]}
    )
    params = {
        "keys": {"left": ["name", "born"], "right": ["who", "year"]},
        "output_columns": {"left": ["diagnosis"]},
    }
    job = Job("psi", params, {"left": left, "right": right})
    run = job.run()
    opened = job.open(run)
    assert opened["count"] == 3
    assert sorted(map(tuple, opened["left"]["rows"])) == [
        ("Ann", 2000, "B"),
        ("Bob", 1970, "B"),
        ("Bob", 1970, "M"),
        ("Zoë", 1980, "M"),
    ]
    assert opened["left"]["columns"] == ["name", "born", "diagnosis"]
    assert opened["right"] is None
    assert run.outputs["right"].sealed is None
    assert run.outputs["right"].rows is None
    assert run.outputs["left"].rows.num_rows == 4
    assert run.outputs["left"].metrics["rows_repeated"] == 1
    assert run.outputs["left"].metrics["rows_without_key"] == 1


def test_units_are_the_distinct_keys_compared() -> None:
    outputs = psi(["a", "b", "b"], ["b", "c", "d", "d"]).run().outputs
    assert (outputs["left"].units, outputs["right"].units) == (2, 3)
    job = psi(["a"], ["b"], max_elements=17)
    assert [job.kind.units(job.spec, job.params, role) for role in job.roles] == [17, 17]


def test_count_alone_if_rows_are_not_to_be_delivered() -> None:
    job = psi(["a", "secret"], ["secret"], deliver_to_consumer=False)
    run = job.run()
    assert b"secret" not in run.outputs["left"].sealed
    assert run.outputs["left"].rows.to_pylist() == [{"id": "secret"}]
    assert job.open(run) == {"count": 1, "left": None, "right": None}


def test_output_to_right_alone_tells_left_nothing() -> None:
    run = psi(["a", "b"], ["b"], output_to=["right"]).run()
    assert run.outputs["left"].sealed is None
    # Nothing that depends on the intersection goes to left: size, points, and no tags of its own elements.
    assert [type(m).__name__ for m in messages(run, "right")] == ["Size", "Block"]


def messages(run: Any, sender: str) -> list[Message]:
    found: list[Message] = []
    for message in run.wire:
        if message.sender == sender:
            for kind in (Size, Block):
                try:
                    found.append(codec.decode(kind, message.data))
                except BadMessage:
                    continue
    return found


def test_no_identifier_and_no_unsalted_hash_crosses() -> None:
    ids = [f"patient-{i:05}" for i in range(40)]
    run = psi(ids[:30], ids[10:], output_to=["left", "right"]).run()
    crossed = b"".join(message.data for message in run.wire)
    job = psi(ids[:30], ids[10:])
    for text in ids:
        assert text.encode() not in crossed
        for name in ("md5", "sha1", "sha256", "sha512", "sm3"):
            try:
                digest = hashlib.new(name, text.encode()).digest()
            except ValueError:
                continue
            assert digest[:8] not in crossed
        # Nor the hash to the curve that anybody can compute: only its blinded multiple.
        point = curve25519.hash_to_curve([text.encode()], b"LIUTONG-V1-PSI")
        assert point not in crossed
    dst = domain_separation(b"PSI", job.binding)
    for text in ids:
        assert curve25519.hash_to_curve([encode_key([text], Normalisation())], dst) not in crossed


def test_two_runs_over_equal_inputs_share_no_group_element() -> None:
    ids = [f"k{i}" for i in range(60)]

    def elements(seed: int) -> set[bytes]:
        run = psi(ids, ids, seed=seed).run()
        blocks = [m for m in messages(run, "left") + messages(run, "right") if isinstance(m, Block)]
        return {b.data[at : at + 32] for b in blocks for at in range(0, len(b.data) - 31, 32)}

    assert not elements(1) & elements(2)


def test_order_on_the_wire_is_not_the_order_of_the_table() -> None:
    ids = [f"k{i}" for i in range(200)]
    rng_a, rng_b = psi(ids, ids, seed=3), psi(ids[::-1], ids, seed=3)

    def first_block(job: Job) -> bytes:
        return next(m.data for m in messages(job.run(), "left") if isinstance(m, Block))

    # The same randomness over a reversed table gives the same elements in another order.
    one, other = first_block(rng_a), first_block(rng_b)
    assert one != other
    assert set(split(one, 32)) == set(split(other, 32))
    assert split(one, 32) != split(other, 32)[::-1]


def test_tags_are_wide_enough() -> None:
    for left, right in itertools.product((0, 1, 1000, 1 << 20, 1 << 28), repeat=2):
        bits = 40 + (max(1, left) * max(1, right)).bit_length() - 1
        assert 8 * tag_bytes(left, right) >= bits


def test_transcripts_and_result_are_equal_over_channels() -> None:
    job = psi(["a", "b", "c"], ["b", "c", "d"], floor=2)
    ends = job.run_async()
    assert all(isinstance(end, RunResult) for end in ends.values())
    assert ends["left"].transcript == ends["right"].transcript
    assert job.run().transcripts["left"].digest() == ends["left"].transcript


@pytest.mark.parametrize(("left", "right"), [(2, 10), (10, 2), (10, 10)])
def test_floor_on_sets_and_intersection_ends_both_sides(left: int, right: int) -> None:
    job = psi([f"a{i}" for i in range(left)], [f"b{i}" for i in range(right)], floor=3, output_to=["left"])
    ends = job.run_async()
    assert {type(end) for end in ends.values()} == {CohortTooSmall}


def test_more_keys_than_declared_is_refused_on_both_sides() -> None:
    ends = psi([str(i) for i in range(9)], ["1"], max_elements=8).run_async()
    assert type(ends["left"]) is BadInput
    assert isinstance(ends["right"], Exception)

    def bragging() -> Steps:
        yield Send("right", Size(9))
        yield from receive("right", Size)
        yield from receive("right", Block)
        return Output()

    ends = psi(["1"], ["1"], max_elements=8).run_async({"left": bragging()})
    assert type(ends["right"]) is ProtocolAbort


def _points(change: Any) -> Any:
    return lambda n, m: [Block(m.index, change(m.data))] if n == 1 else [m]


HOSTILE = {
    "bigger count": lambda n, m: [Size(m.count + 1)] if n == 0 else [m],
    "smaller count": lambda n, m: [Size(m.count - 1)] if n == 0 else [m],
    "short block": _points(lambda d: d[:-1]),
    "empty block": _points(lambda d: b""),
    "one point too many": _points(lambda d: d + d[:32]),
    "repeated point": _points(lambda d: d[:-32] + d[:32]),
    "wrong block number": lambda n, m: [Block(5, m.data)] if n == 1 else [m],
    "wrong type": lambda n, m: [Size(3)] if n == 1 else [m],
    "block before size": lambda n, m: [Block(0, b"")] if n == 0 else [m],
    "message twice": lambda n, m: [m, m] if n == 1 else [m],
    "on the twist": _points(lambda d: d[:-32] + TWIST),
    "random bytes": _points(lambda d: d[:-32] + b"\x55" * 31 + b"\xd5"),
    "short tags": lambda n, m: [Block(m.index, m.data[:-1])] if n == 2 else [m],
    "repeated tags": lambda n, m: [Block(m.index, bytes(len(m.data)))] if n == 2 else [m],
} | {f"low order {i}": _points(lambda d, p=point: d[:-32] + p) for i, point in enumerate(LOW_ORDER)}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_peer_ends_in_a_typed_abort_on_both_sides(name: str) -> None:
    job = psi([f"a{i}" for i in range(5)], [f"a{i}" for i in range(2, 9)], floor=1)
    steps = replacing(job.steps("right"), HOSTILE[name])
    ends = job.run_async({"right": steps})
    assert isinstance(ends["left"], ProtocolAbort | BadMessage), ends["left"]
    assert isinstance(ends["right"], ProtocolAbort | BadMessage), ends["right"]


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"keys": {"left": ["a", "b"], "right": ["a"]}}, "same number"),
        ({"keys": {"left": [], "right": []}}, "keys.left"),
        ({"output_to": []}, "output_to"),
        ({"output_to": ["left", "left"]}, "once"),
        ({"output_to": ["middle"]}, "output_to"),
        ({"output_columns": {"right": ["x"]}}, "right is not in output_to"),
        ({"max_elements": 0}, "max_elements"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_bad_parameters_name_the_field(params: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        psi(["a"], ["b"], **params)
