"""PSI equals a plaintext join at awkward sizes under every protocol, and hides what it must."""

import hashlib
import itertools
import random
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accel import curve25519, sm3
from compute.errors import BadInput, BadMessage, CohortTooSmall, ProtocolAbort
from compute.protocols import stream
from compute.protocols.identifiers import Normalisation, encode_key
from compute.protocols.protocol import Message, Output, Send, Steps, receive
from compute.protocols.psi.agreement import Hello
from compute.protocols.psi.choice import SUPPORTED
from compute.protocols.psi.engine import Proof, ResultCheck
from compute.protocols.runner import RunResult
from compute.protocols.stream import Block, tag_bytes
from tests.compute.protocols.hostile import replacing
from tests.compute.protocols.jobs import Job, crossed

KEYS = {"keys": {"left": ["id"], "right": ["pid"]}}
PROTOCOLS: dict[str, dict[str, Any]] = {
    "auto": {},
    "ecdh": {"protocol": "ecdh"},
    "ecdh-sm2": {"curve": "sm2"},
    "ecdh-secp256k1": {"curve": "secp256k1"},
    "rr22": {"protocol": "rr22"},
    "rr22-low-communication": {"protocol": "rr22", "low_communication": True},
    "rr22-malicious": {"security": "malicious"},
    "unbalanced": {"protocol": "unbalanced"},
}
SETS = {
    "overlap": (range(123), range(61, 200)),
    "disjoint": (range(100), range(100, 171)),
    "equal": (range(77), range(77)),
    "subset": (range(50), range(11, 24)),
    "one each, equal": (range(1), range(1)),
    "one each, not equal": (range(1), range(5, 6)),
    "left empty": (range(0), range(9)),
    "right empty": (range(9), range(0)),
    "both empty": (range(0), range(0)),
    "one in many": (range(1), range(300)),
    "many and one": (range(257), range(100, 101)),
    "odd and prime": (range(1009), range(500, 1777)),
}
# Enough memory for 16 items at once, so that a few hundred keys make many buckets and waves.
TINY = {"memory_bytes": 16 << 10, "parallel": 2}


def tables(left: Iterable[Any], right: Iterable[Any]) -> dict[str, pa.Table]:
    text = pa.string()
    return {
        "left": pa.table({"id": pa.array(left, text)}),
        "right": pa.table({"pid": pa.array(right, text)}),
    }


def psi(
    left: Sequence[Any],
    right: Sequence[Any],
    *,
    floor: int = 0,
    seed: int | str = 0,
    storage: dict[str, Any] | None = None,
    **params: Any,
) -> Job:
    each = {role: dict(storage) for role in ("left", "right")} if storage else None
    return Job("psi", KEYS | params, tables(left, right), floor=floor, seed=seed, storage=each)


def named(numbers: Iterable[int]) -> list[str]:
    return [f"k{i}" for i in numbers]


def in_order(keys: Iterable[str]) -> list[list[str]]:
    """As results show keys: in the order of the digests of their encodings."""
    return [[key] for key in sorted(keys, key=lambda key: sm3.digest(encode_key([key], Normalisation())))]


@pytest.mark.parametrize("sets", SETS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_equals_the_plaintext_join(protocol: str, sets: str) -> None:
    left, right = (named(numbers) for numbers in SETS[sets])
    random.Random(1).shuffle(left)
    expected = in_order(set(left) & set(right))
    for output_to in (["left"], ["right"], ["left", "right"]):
        if protocol == "unbalanced" and len(output_to) == 2:
            continue
        opened = psi(left, right, output_to=output_to, **PROTOCOLS[protocol]).result()
        assert opened["count"] == len(expected)
        assert protocol == "auto" or opened["protocol"]["name"].startswith(protocol)
        for role, column in (("left", "id"), ("right", "pid")):
            wanted = {"columns": [column], "rows": expected} if role in output_to else None
            assert opened[role] == wanted


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sets(st.integers(0, 400), max_size=150),
    st.sets(st.integers(0, 400), max_size=150),
    st.sampled_from(sorted(PROTOCOLS)),
    st.sampled_from([["left"], ["right"], ["left", "right"]]),
    st.sampled_from([None, TINY, {"memory_bytes": 40 << 10, "parallel": 1}]),
)
def test_equals_the_plaintext_join_for_any_sizes_protocols_and_memory(
    left: set[int], right: set[int], protocol: str, output_to: list[str], storage: Any
) -> None:
    if protocol == "unbalanced" and len(output_to) == 2:
        output_to = ["left"]
    job = psi(named(left), named(right), output_to=output_to, storage=storage, **PROTOCOLS[protocol])
    opened = job.result()
    for role in output_to:
        assert opened[role]["rows"] == in_order(named(left & right))


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


def test_forms_are_part_of_the_job_and_what_does_not_fit_is_counted() -> None:
    job = psi(
        ["13800138000", "12", "+86 139 0013 9000", None],
        ["+8613800138000", "0086-13900139000", "13700137000"],
        normalise={"forms": ["phone"]},
        output_to=["left", "right"],
    )
    run = job.run()
    opened = job.open(run)
    assert sorted(row[0] for row in opened["left"]["rows"]) == ["+86 139 0013 9000", "13800138000"]
    # Rows of both sides come in the same order: that of the key, however it was written.
    both = zip(opened["left"]["rows"], opened["right"]["rows"], strict=True)
    assert {one[0][-2:] == other[0][-2:] for one, other in both} == {True}
    metrics = run.outputs["left"].metrics
    assert (metrics["elements"], metrics["rows_unfit"], metrics["rows_without_key"]) == (2, 1, 1)


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
    opened = job.open(run)
    assert (opened["count"], opened["left"], opened["right"]) == (1, None, None)


@pytest.mark.parametrize("protocol", ["ecdh", "rr22", "rr22-malicious", "unbalanced"])
def test_sizes_on_the_wire_do_not_depend_on_the_intersection(protocol: str) -> None:
    """With output to one role: a run over equal sets and one over disjoint sets look alike."""

    def shapes(left: range, right: range, storage: Any) -> list[tuple[str, int]]:
        job = psi(named(left), named(right), storage=storage, **PROTOCOLS[protocol])
        return [(message.sender, len(message.data)) for message in job.run().wire]

    for storage in (None, TINY):
        assert shapes(range(150), range(150), storage) == shapes(range(150), range(200, 350), storage)


# -- what crosses


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_identifier_and_no_deterministic_hash_crosses(protocol: str) -> None:
    ids = [f"patient-{i:05}" for i in range(40)]
    label = [f"diagnosis-{i:05}" for i in range(30)]
    params: dict[str, Any] = dict(PROTOCOLS[protocol])
    if protocol != "unbalanced":
        params |= {"output_to": ["left", "right"], "label_columns": {"right": ["note"], "left": ["note"]}}
    sides = {
        "left": pa.table({"id": ids[:30], "note": label}),
        "right": pa.table({"pid": ids[10:], "note": label}),
    }
    job = Job("psi", KEYS | params, sides)
    run = job.run()
    assert job.open(run)["count"] == 20
    crossed = b"".join(message.data for message in run.wire)
    for text in ids + label:
        encoded = encode_key([text], Normalisation())
        for form in (text.encode(), encoded):
            assert form not in crossed
            hashes = [hashlib.new(name, form).digest() for name in ("md5", "sha1", "sha256", "sha512")]
            for digest in [*hashes, sm3.digest(form)]:
                assert digest[:6] not in crossed
                assert sm3.digest(digest)[:6] not in crossed
        # Nor a hash to the curve that anybody can compute: only its masked multiple.
        point = curve25519.hash_to_curve([encoded], b"LIUTONG-V1-PSI")
        assert point not in crossed


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "unbalanced"])
def test_two_runs_over_equal_inputs_share_nothing_that_depends_on_them(protocol: str) -> None:
    ids = named(range(60))

    def pieces(seed: int) -> set[bytes]:
        run = psi(ids, ids, seed=seed, **PROTOCOLS[protocol]).run()
        found: set[bytes] = set()
        for message in run.wire:
            for value in msgspec.msgpack.decode(message.data).values():
                if isinstance(value, bytes):
                    found |= {value[at : at + 10] for at in range(len(value) - 9)}
        return {piece for piece in found if piece.count(0) < 5}

    assert len(pieces(1)) > 1000
    assert not pieces(1) & pieces(2)


def test_tags_come_in_an_order_that_says_nothing() -> None:
    ids = named(range(400))
    run = psi(ids, ids, protocol="rr22").run()
    width = tag_bytes(400, 400)
    tags = [message.data for message in crossed(run, Block, "right")][-1]
    again = [m.data for m in crossed(psi(ids, ids, protocol="rr22", seed=5).run(), Block, "right")][-1]
    assert len(tags) == len(again) == 400 * width
    assert tags != again
    listed = [tags[at : at + width] for at in range(0, len(tags), width)]
    assert listed == sorted(set(listed))


def test_tags_are_wide_enough() -> None:
    for left, right in itertools.product((0, 1, 1000, 1 << 20, 1 << 30), repeat=2):
        bits = 40 + (max(1, left) * max(1, right)).bit_length() - 1
        assert 8 * tag_bytes(left, right) >= bits


def test_transcripts_and_result_are_equal_over_channels() -> None:
    for params in ({}, {"protocol": "rr22"}, {"output_to": ["left", "right"], "result_check": True}):
        job = psi(["a", "b", "c"], ["b", "c", "d"], floor=2, **params)
        ends = job.run_async()
        assert all(isinstance(end, RunResult) for end in ends.values()), ends
        assert ends["left"].transcript == ends["right"].transcript


# -- floors, budgets, agreement


@pytest.mark.parametrize("protocol", ["ecdh", "rr22", "unbalanced"])
@pytest.mark.parametrize(("left", "right"), [(2, 10), (10, 2), (10, 10)])
def test_floor_on_sets_and_intersection_ends_both_sides(left: int, right: int, protocol: str) -> None:
    one, other = [f"a{i}" for i in range(left)], [f"b{i}" for i in range(right)]
    ends = psi(one, other, floor=3, **PROTOCOLS[protocol]).run_async()
    assert {type(end) for end in ends.values()} == {CohortTooSmall}


def test_more_keys_than_declared_is_refused_before_anything_is_sent() -> None:
    ends = psi(named(range(9)), ["1"], max_elements=8).run_async()
    assert type(ends["left"]) is BadInput
    assert isinstance(ends["right"], Exception)
    with pytest.raises(BadInput, match="max_elements 8"):
        psi(named(range(9)), ["1"], max_elements=8).run()

    def bragging() -> Steps:
        yield Send("right", greeting(count=9))
        yield from receive("right", Hello)
        yield from receive("right", Block)
        return Output()

    ends = psi(["1"], ["1"], max_elements=8).run_async({"left": bragging()})
    assert type(ends["right"]) is ProtocolAbort


def greeting(**fields: Any) -> Hello:
    usual: dict[str, Any] = {
        "count": 1,
        "commitment": bytes(32),
        "nonce": b"\1" * 32,
        "supported": SUPPORTED,
        "most_items": 1 << 20,
        "parallel": 1,
        "level": 0,
        "labels": (),
        "resumed": 0,
    }
    return Hello(**(usual | fields))


def test_a_node_that_does_not_run_what_was_asked_for_says_so() -> None:
    def modest() -> Steps:
        yield Send("right", greeting(supported=("ecdh",)))
        yield from receive("right", Hello)
        yield from receive("right", Block)
        return Output()

    ends = psi(["1"], ["1"], protocol="rr22").run_async({"left": modest()})
    assert type(ends["right"]) is BadInput
    assert "rr22" in str(ends["right"])


@pytest.mark.parametrize("output_to", [["left"], ["left", "right"]])
def test_result_check_passes_and_tells_other_versions(output_to: list[str]) -> None:
    job = psi(named(range(9)), named(range(5, 12)), output_to=output_to, result_check=True)
    run = job.run()
    assert job.open(run)["count"] == 4
    one, other = (crossed(run, ResultCheck, role) for role in ("left", "right"))
    assert one == other
    assert len(one) == 1

    def other_version(n: int, message: Message) -> list[Message]:
        return [ResultCheck(bytes(32))] if isinstance(message, ResultCheck) else [message]

    ends = job.run_async({"right": replacing(job.steps("right"), other_version)})
    assert type(ends["left"]) is ProtocolAbort
    assert type(ends["right"]) is ProtocolAbort


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def nth(number: int, kind: type[Message], change: Any) -> Any:
    """Change the n-th message of a kind."""
    seen = itertools.count()

    def apply(n: int, message: Message) -> list[Message]:
        return change(message) if isinstance(message, kind) and next(seen) == number else [message]

    return apply


HOSTILE: dict[str, Any] = {
    "bigger count": lambda: nth(0, Hello, lambda m: [greeting(count=m.count + 1)]),
    "smaller count": lambda: nth(0, Hello, lambda m: [greeting(count=m.count - 1)]),
    "our own message": lambda: nth(0, Hello, lambda m: [m, m]),
    "another checkpoint": lambda: nth(0, Hello, lambda m: [greeting(count=m.count, resumed=1)]),
}


@pytest.mark.parametrize("name", ["bigger count", "smaller count", "our own message", "another checkpoint"])
@pytest.mark.parametrize("protocol", ["ecdh", "rr22", "rr22-malicious", "unbalanced"])
def test_a_peer_that_lies_at_first_ends_in_a_typed_abort_on_both_sides(name: str, protocol: str) -> None:
    job = psi(named(range(5)), named(range(2, 9)), floor=1, **PROTOCOLS[protocol])
    ends = job.run_async({"right": replacing(job.steps("right"), HOSTILE[name]())})
    assert isinstance(ends["left"], ProtocolAbort | BadMessage), ends["left"]
    assert isinstance(ends["right"], ProtocolAbort | BadMessage), ends["right"]


CHANGES = {
    "short": lambda m: [Block(m.index, m.data[:-1])],
    "long": lambda m: [Block(m.index, m.data + b"\0")],
    "empty": lambda m: [Block(m.index, b"")],
    "wrong number": lambda m: [Block(m.index + 1, m.data)],
    "twice": lambda m: [m, m],
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("storage", [None, TINY], ids=["one bucket", "many buckets"])
def test_blocks_that_are_not_due_end_in_a_typed_abort_on_both_sides(change: str, storage: Any) -> None:
    job = psi(named(range(50)), named(range(20, 90)), floor=1, protocol="ecdh", storage=storage)
    tags = nth(0, Block, CHANGES[change])
    ends = job.run_async({"right": replacing(job.steps("right"), tags)})
    assert isinstance(ends["left"], ProtocolAbort | BadMessage), ends["left"]
    assert isinstance(ends["right"], ProtocolAbort | BadMessage), ends["right"]


def test_blocks_in_another_order_end_in_a_typed_abort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BLOCK_BYTES", 64)
    job = psi(named(range(90)), named(range(20, 90)), floor=1, protocol="ecdh")
    assert job.result()["count"] == 70
    held: list[Message] = []

    def swap(n: int, message: Message) -> list[Message]:
        if not isinstance(message, Block) or len(held) > 1:
            return [message]
        held.append(message)
        return held[::-1] if len(held) == 2 else []

    ends = job.run_async({"right": replacing(job.steps("right"), swap)})
    assert isinstance(ends["left"], ProtocolAbort | BadMessage), ends["left"]
    assert isinstance(ends["right"], ProtocolAbort | BadMessage), ends["right"]


@pytest.mark.parametrize("known", [True, False])
def test_who_repeats_a_tag_cannot_tell_whether_it_is_one_of_ours(known: bool) -> None:
    """It would learn it from an abort: the other role, who is to learn nothing, ends as ever."""
    theirs = named(range(30))
    mine = theirs if known else named(range(40, 70))
    width = tag_bytes(30, 30)
    job = psi(mine, theirs, protocol="ecdh")

    def repeat(message: Block) -> list[Message]:
        return [Block(0, message.data[:-width] + message.data[:width])]

    ends = job.run_async({"right": replacing(job.steps("right"), nth(0, Block, repeat))})
    left = ends["left"]
    assert isinstance(left, RunResult), left
    assert left.output.rows is not None
    assert left.output.rows.num_rows == (29 if known else 0)


def test_a_receiver_cannot_name_keys_that_it_does_not_have() -> None:
    ids = named(range(64))
    job = psi(ids[:20], ids[10:], protocol="ecdh", output_to=["left", "right"])
    assert job.result()["count"] == 10
    all_bits = nth(0, Block, lambda m: [Block(0, b"\xff" * (len(m.data) - 1) + b"\xfc")])
    ends = job.run_async({"left": replacing(job.steps("left"), all_bits)})
    assert type(ends["right"]) is ProtocolAbort
    forged = nth(0, Proof, lambda m: [Proof(flipped(m.digest))])
    ends = job.run_async({"left": replacing(job.steps("left"), forged)})
    assert type(ends["right"]) is ProtocolAbort


@pytest.mark.parametrize("protocol", ["ecdh", "rr22"])
def test_messages_of_another_job_find_no_match(protocol: str) -> None:
    """A peer bound to another spec may go through the motions: F is another function there."""
    ids = named(range(40))
    one = psi(ids, ids, **PROTOCOLS[protocol])
    other = Job(
        "psi", KEYS | PROTOCOLS[protocol], tables(ids, ids), binding=hashlib.sha256(b"other").digest()
    )
    ends = one.run_async({"right": other.steps("right")})
    left = ends["left"]
    assert isinstance(left, ProtocolAbort | BadMessage) or left.output.rows.num_rows == 0


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
        ({"normalise": {"forms": ["phone", "text"]}}, "2 forms for 1 key"),
        ({"normalise": {"forms": ["passport"]}}, "forms"),
        ({"normalise": {"country_code": "086"}}, "country_code"),
        ({"protocol": "kkrt"}, "protocol"),
        ({"security": "malicious", "protocol": "ecdh"}, "ecdh is not secure against malicious"),
        ({"security": "malicious", "low_communication": True}, "low_communication"),
        ({"low_communication": True, "protocol": "ecdh"}, "a mode of rr22"),
        ({"curve": "sm2", "protocol": "rr22"}, "curve"),
        ({"curve": "sm2", "security": "malicious"}, "curve"),
        ({"curve": "p256"}, "curve"),
        ({"protocol": "unbalanced", "output_to": ["left", "right"]}, "unbalanced"),
        ({"protocol": "unbalanced", "label_columns": {"right": ["x"]}}, "unbalanced"),
        ({"label_columns": {"left": ["x"]}}, "right, who would get"),
        ({"label_columns": {"right": ["x", "x"]}}, "once"),
        ({"join": "left"}, "label_columns"),
        ({"join": "left", "output_to": ["left", "right"], "label_columns": {"right": ["x"]}}, "one role"),
        ({"join": "outer"}, "join"),
    ],
)
def test_bad_parameters_name_the_field(params: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        psi(["a"], ["b"], **params)


def test_old_parameters_stay_valid() -> None:
    job = psi(
        ["a"], ["a"], normalise={"trim": True, "case": "keep"}, output_columns={"left": [], "right": []}
    )
    assert job.result()["count"] == 1
    assert job.kind.columns(job.spec, job.params, "left") == ("id",)
