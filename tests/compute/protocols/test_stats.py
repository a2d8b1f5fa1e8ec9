"""Joint statistics equal plaintext to 1e-9, small groups stay hidden, hostile peers end in an abort."""

import functools
import math
import statistics
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer

from accel import paillier
from compute.errors import BadInput, BadMessage, CohortTooSmall, ProtocolAbort
from compute.protocols.runner import RunResult
from compute.protocols.sets import Size, large_enough
from compute.protocols.stats import moments
from compute.protocols.stats.exchange import Summary
from compute.protocols.stats.horizontal.protocol import Partial
from compute.protocols.stats.moments import Moments
from compute.protocols.stats.vertical.protocol import Counts
from compute.protocols.stream import Block
from tests.compute.protocols.hostile import replacing
from tests.compute.protocols.jobs import Job

KEYS = {"keys": {"values": ["id"], "members": ["pid"]}}


@pytest.fixture(autouse=True)
def _one_key_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    # Making a key takes longer than most jobs here.
    monkeypatch.setattr(moments.paillier, "generate", lambda bits, rng: key_pair(bits))


@functools.cache
def key_pair(bits: int) -> paillier.PrivateKey:
    return GENERATE(bits)


GENERATE = paillier.generate


def vertical(
    ids: Sequence[Any],
    values: Sequence[Any],
    members: Sequence[Any],
    *,
    floor: int = 0,
    seed: int | str = 0,
    **params: Any,
) -> Job:
    columns = {"id": pa.array(ids, pa.string()), "v": pa.array(values)}
    tables = {"values": pa.table(columns), "members": pa.table({"pid": pa.array(members, pa.string())})}
    return Job(
        "stats.vertical", KEYS | {"value": "v", "key_bits": 2048} | params, tables, floor=floor, seed=seed
    )


def horizontal(*parts: pa.Table, floor: int = 0, **params: Any) -> Job:
    tables = {f"p{index + 1}": part for index, part in enumerate(parts)}
    return Job("stats.horizontal", {"value": "v", "key_bits": 2048} | params, tables, floor=floor)


def plaintext(values: Sequence[float]) -> dict[str, Any]:
    return {
        "count": len(values),
        "sum": math.fsum(values),
        "mean": statistics.fmean(values),
        "variance": statistics.variance(values) if len(values) > 1 else None,
    }


def assert_equal(found: dict[str, Any], values: Sequence[float]) -> None:
    expected = plaintext(list(map(float, values)))
    assert found["count"] == expected["count"]
    if expected["variance"] is None:
        assert found["variance"] is None
    for name in ("sum", "mean", "variance") if len(values) > 1 else ("sum", "mean"):
        assert found[name] == pytest.approx(expected[name], rel=1e-9, abs=1e-20), name


@pytest.mark.parametrize("bits", [2048, 3072])
def test_vertical_equals_plaintext_on_breast_cancer(bits: int) -> None:
    data = load_breast_cancer()
    ids = [f"P{i:04}" for i in range(569)]
    labels = [str(data.target_names[t]) for t in data.target]
    others = pa.table({"pid": ids[201:] + [f"other{i}" for i in range(77)]})
    params = {"value": "v", "key_bits": bits, "group_by": "g", "groups": ["malignant", "benign"]}
    # Sizes of 14, 0.06 and 0.004: the fixed scale must serve all.
    for feature in (0, 9, 19) if bits == 2048 else (0,):
        column = data.data[:, feature]
        tables = {"values": pa.table({"id": ids, "v": column, "g": labels}), "members": others}
        job = Job("stats.vertical", KEYS | params, tables, floor=10)
        opened = job.result()
        assert opened["suppressed"] == 0
        for name in ("malignant", "benign"):
            chosen = [column[i] for i in range(201, 569) if labels[i] == name]
            assert_equal(opened["groups"][name], chosen)


def test_horizontal_equals_plaintext_on_breast_cancer() -> None:
    data = load_breast_cancer()
    labels = [str(data.target_names[t]) for t in data.target]
    table = pa.table({"v": data.data[:, 0], "g": labels})
    parts = [table.slice(0, 101), table.slice(101, 203), table.slice(304)]
    for count in (2, 3):
        used = parts[:count]
        opened = horizontal(*used, floor=10, group_by="g", groups=["malignant", "benign"]).result()
        rows = sum(part.num_rows for part in used)
        for name in ("malignant", "benign"):
            assert_equal(opened["groups"][name], [data.data[i, 0] for i in range(rows) if labels[i] == name])


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 12),
            st.floats(-1e12, 1e12, allow_nan=False) | st.integers(-(2**53), 2**53).map(float),
        ),
        max_size=25,
    ),
    st.sets(st.integers(0, 14)),
)
def test_vertical_equals_plaintext_for_any_rows(rows: list[tuple[int, float]], members: set[int]) -> None:
    job = vertical(
        [str(key) for key, _ in rows], pa.array([v for _, v in rows], pa.float64()), [str(m) for m in members]
    )
    matched = [value for key, value in rows if key in members]
    if not matched:
        with pytest.raises(CohortTooSmall):
            job.result()
        return
    found = job.result()["groups"]["all"]
    # Exact but for the one rounding of each value to a multiple of 2^-80.
    exact = [Fraction(value) for value in matched]
    mean = sum(exact) / len(exact)
    ulp = 2.0**-80
    assert found["count"] == len(exact)
    assert found["sum"] == pytest.approx(float(sum(exact)), rel=1e-15, abs=len(exact) * ulp)
    assert found["mean"] == pytest.approx(float(mean), rel=1e-15, abs=ulp)
    if len(exact) > 1:
        variance = sum((value - mean) ** 2 for value in exact) / (len(exact) - 1)
        spread = float(max(exact) - min(exact)) + ulp
        assert found["variance"] == pytest.approx(float(variance), rel=1e-15, abs=4 * spread * ulp)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (range(37), range(37)),  # equal
        (range(5, 18), range(5, 18)),  # subset
        (range(30, 90), range(30, 37)),
        ([3], [3]),
    ],
    ids=str,
)
def test_vertical_at_odd_sizes(members: Sequence[int], expected: Sequence[int]) -> None:
    job = vertical([str(i) for i in range(37)], [i * 1.25 for i in range(37)], [str(m) for m in members])
    assert_equal(job.result()["groups"]["all"], [i * 1.25 for i in expected])


@pytest.mark.parametrize(("ids", "members"), [([], ["1"]), (["1"], []), (["1", "2"], ["3", "4", "5"])])
def test_nothing_matched_is_a_typed_error_on_both_sides(ids: list[str], members: list[str]) -> None:
    ends = vertical(ids, pa.array([1.0] * len(ids), pa.float64()), members).run_async()
    assert {type(end) for end in ends.values()} == {CohortTooSmall}


def test_repeated_keys_nulls_other_groups_and_filters() -> None:
    table = pa.table(
        {
            "id": ["é", "b", "b", "c", "d", None, "e"],
            "v": pa.array([1, 2, 3, None, 5, 6, 7], pa.int64()),
            "g": ["x", "x", "y", "x", "z", "x", None],
            "age": [50, 60, 70, 80, 90, 50, 50],
        }
    )
    params = {"value": "v", "group_by": "g", "groups": ["x", "y"], "key_bits": 2048}
    members = pa.table({"pid": ["e\u0301", "b", "c", "d", "e", "f"]})
    job = Job("stats.vertical", KEYS | params, {"values": table, "members": members})
    run = job.run()
    opened = job.open(run)
    assert_equal(opened["groups"]["x"], [1, 2])
    assert_equal(opened["groups"]["y"], [3])
    assert opened["groups"]["y"]["variance"] is None
    assert [run.outputs[role].units for role in job.roles] == [2, 2]
    old = params | {"filter": [{"column": "age", "op": "ge", "value": "60"}]}
    opened = Job("stats.vertical", KEYS | old, {"values": table, "members": members}).result()
    assert_equal(opened["groups"]["x"], [2])


def test_small_groups_and_small_rests_are_suppressed() -> None:
    ids = [str(i) for i in range(40)]
    groups = ["big"] * 20 + ["small"] * 10 + ["nearly all"] * 10
    members = ids[:10] + ids[20:23] + ids[30:38]
    table = pa.table({"id": ids, "v": [float(i) for i in range(40)], "g": groups})
    params = {"value": "v", "group_by": "g", "groups": ["big", "small", "nearly all"], "key_bits": 2048}
    job = Job(
        "stats.vertical", KEYS | params, {"values": table, "members": pa.table({"pid": members})}, floor=5
    )
    run = job.run()
    opened = job.open(run)
    assert set(opened["groups"]) == {"big"}
    assert opened["suppressed"] == 2
    assert run.outputs["values"].metrics["groups_suppressed"] == 2
    assert b"small" not in run.outputs["members"].sealed


@pytest.mark.parametrize(
    ("matched", "count", "floor", "released"),
    [
        (5, 5, 5, True),
        (4, 4, 5, False),
        (5, 9, 5, False),
        (5, 10, 5, True),
        (0, 9, 0, False),
        (1, 2, 1, True),
    ],
)
def test_floor_holds_for_the_group_and_for_its_rest(
    matched: int, count: int, floor: int, released: bool
) -> None:
    assert large_enough(matched, count, floor) is released


def test_horizontal_suppresses_a_group_that_one_party_has_too_few_of() -> None:
    one = pa.table({"v": [1.0] * 9, "g": ["x"] * 7 + ["y"] * 2})
    other = pa.table({"v": [2.0] * 20, "g": ["x"] * 9 + ["y"] * 11})
    job = horizontal(one, other, floor=5, group_by="g", groups=["x", "y", "nobody"])
    opened = job.result()
    assert set(opened["groups"]) == {"x"}
    assert opened["suppressed"] == 2
    ends = horizontal(one, other, floor=10, group_by="g", groups=["x", "y"]).run_async()
    assert {type(end) for end in ends.values()} == {CohortTooSmall}


def test_horizontal_skips_a_party_without_rows_of_a_group() -> None:
    one = pa.table({"v": [1.0, 2.0], "g": ["x", "x"]})
    other = pa.table({"v": pa.array([4.0, None]), "g": ["y", "x"]})
    opened = horizontal(one, other, group_by="g", groups=["x", "y"]).result()
    assert_equal(opened["groups"]["x"], [1, 2])
    assert_equal(opened["groups"]["y"], [4])


def test_no_value_and_no_identifier_crosses_and_runs_share_nothing() -> None:
    ids = [f"patient-{i:04}" for i in range(30)]
    run = vertical(ids, [12345.678] * 30, ids[7:]).run()
    again = vertical(ids, [12345.678] * 30, ids[7:], seed="other").run()
    crossed = b"".join(message.data for message in run.wire)
    for text in ids:
        assert text.encode() not in crossed
    assert np.float64(12345.678).tobytes() not in crossed

    def chunks(run: Any) -> set[bytes]:
        return {m.data[at : at + 32] for m in run.wire for at in range(24, len(m.data) - 32, 32)}

    assert not chunks(run) & chunks(again)


def test_transcripts_are_equal_on_both_sides() -> None:
    ends = vertical(["a", "b"], [1.0, 2.0], ["a", "b", "c"]).run_async()
    assert all(isinstance(end, RunResult) for end in ends.values()), ends
    assert ends["values"].transcript == ends["members"].transcript
    part = pa.table({"v": [1.0, 2.0, 3.0]})
    ends = horizontal(part, part, part).run_async()
    assert ends["p1"].peer_transcripts["p2"] == ends["p2"].peer_transcripts["p1"]
    assert ends["p2"].peer_transcripts["p3"] == ends["p3"].peer_transcripts["p2"]


WIDTH = 512
CIPHERTEXTS = {
    "zero ciphertext": bytes(WIDTH),
    "beyond n squared": b"\xff" * WIDTH,
    "short ciphertext": bytes(WIDTH - 1),
}


def _last_block(change: Any) -> Any:
    # values sends: 0 Counts, 1 tags, 2 points, 3 ciphertexts
    return lambda n, m: [Block(m.index, change(m.data))] if n == 3 else [m]


HOSTILE_VALUES = {
    "bigger count": lambda n, m: [Counts((m.groups[0] + 1,))] if n == 0 else [m],
    "another number of groups": lambda n, m: [Counts((*m.groups, 1))] if n == 0 else [m],
    "too many keys": lambda n, m: [Counts((1 << 31,))] if n == 0 else [m],
    "repeated tags": lambda n, m: [Block(m.index, bytes(len(m.data)))] if n == 1 else [m],
    "short tags": lambda n, m: [Block(m.index, m.data[1:])] if n == 1 else [m],
    "low-order point": lambda n, m: [Block(m.index, bytes(32) + m.data[32:])] if n == 2 else [m],
    "repeated point": lambda n, m: [Block(m.index, m.data[32:64] + m.data[32:])] if n == 2 else [m],
    "wrong order": lambda n, m: [Block(7, m.data)] if n == 3 else [m],
    "wrong type": lambda n, m: [Summary(1, 0)] if n == 3 else [m],
} | {name: _last_block(lambda d, c=c: c + d[WIDTH:]) for name, c in CIPHERTEXTS.items()}

HOSTILE_MEMBERS = {
    "bigger count": lambda n, m: [Size(m.count + 1)] if n == 0 else [m],
    "point on the twist": lambda n, m: (
        [Block(0, m.data[:-32] + (2).to_bytes(32, "little"))] if n == 1 else [m]
    ),
    "other group count": lambda n, m: [Summary(m.released + 1, 0)] if n == 2 else [m],
    "no summary": lambda n, m: [m] if n < 2 else [],
}


@pytest.mark.parametrize("name", HOSTILE_VALUES)
def test_hostile_values_end_in_a_typed_abort_on_both_sides(name: str) -> None:
    job = vertical([str(i) for i in range(6)], [1.0] * 6, [str(i) for i in range(3, 9)], floor=1)
    ends = job.run_async({"values": replacing(job.steps("values"), HOSTILE_VALUES[name])})
    assert all(isinstance(end, ProtocolAbort | BadMessage) for end in ends.values()), ends


@pytest.mark.parametrize("name", HOSTILE_MEMBERS)
def test_hostile_members_end_in_a_typed_abort_on_both_sides(name: str) -> None:
    job = vertical([str(i) for i in range(6)], [1.0] * 6, [str(i) for i in range(3, 9)], floor=1)
    ends = job.run_async({"members": replacing(job.steps("members"), HOSTILE_MEMBERS[name])})
    assert all(isinstance(end, ProtocolAbort | BadMessage) for end in ends.values()), ends


def test_a_ciphertext_that_shares_a_factor_with_the_key_is_an_abort() -> None:
    factor = key_pair(2048).p.to_bytes(WIDTH, "big")
    job = vertical(["1", "2"], [1.0, 2.0], ["1", "2"])
    change = _last_block(lambda d: factor + d[WIDTH:])
    ends = job.run_async({"values": replacing(job.steps("values"), change)})
    assert all(isinstance(end, ProtocolAbort) for end in ends.values()), ends


@pytest.mark.parametrize(
    "change",
    [
        lambda m: Partial(m.suppressed, m.ciphertexts[:-1]),
        lambda m: Partial((*m.suppressed, False), m.ciphertexts),
        lambda m: Partial(m.suppressed, bytes(len(m.ciphertexts))),
        lambda m: Partial(m.suppressed, b"\xff" * len(m.ciphertexts)),
    ],
)
def test_hostile_stacked_parties_end_everyone(change: Any) -> None:
    part = pa.table({"v": [1.0, 2.0, 3.0]})
    job = horizontal(part, part, part)
    steps = replacing(job.steps("p3"), lambda n, m: [change(m)] if n == 0 else [m])
    ends = job.run_async({"p3": steps})
    assert all(isinstance(end, ProtocolAbort | BadMessage) for end in ends.values()), ends


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2.0**63, -(2.0**64)])
def test_values_that_cannot_be_summed_name_the_row(value: float) -> None:
    job = vertical(["1", "2"], [1.0, value], ["1"])
    with pytest.raises(BadInput, match="row 1 of column 'v'"):
        job.run()


def test_text_is_no_value() -> None:
    with pytest.raises(BadInput, match="need numbers"):
        vertical(["1"], ["much"], ["1"]).run()


@settings(deadline=None)
@given(st.lists(st.integers(-(2**142), 2**142), max_size=20))
def test_packed_moments_survive_addition(values: list[int]) -> None:
    each = [Moments(1, value, value * value) for value in values]
    total = sum(each, Moments())
    assert moments.unpack(sum(item.pack() for item in each)) == total
    assert total.pack() < moments.BOUND


@pytest.mark.parametrize("plain", [-1, 1 << 40, 1 << 600, (1 << 231) + 1, -(1 << 400)])
def test_moments_of_no_rows_are_refused(plain: int) -> None:
    with pytest.raises(BadMessage):
        moments.unpack(plain)


def test_a_forged_or_foreign_result_is_refused() -> None:
    job = vertical(["1", "2"], [1.0, 2.0], ["1", "2"])
    key = key_pair(2048).public
    forged = paillier.encrypt_ints(key, [-5], bound=moments.BOUND).ciphertexts()[0]
    for sealed in (
        moments.seal(job.params, {0: forged}, 0),
        moments.seal(job.params, {}, 0),
        b'{"groups": {"all": "AAAA"}, "suppressed": 0}',
        b'{"groups": {"other": "AAAA"}, "suppressed": 0}',
        b"garbage",
    ):
        with pytest.raises(BadMessage):
            job.kind.open_result(job.consumer(), {"members": sealed})
    with pytest.raises(BadMessage, match="no result"):
        job.kind.open_result(job.consumer(), {})
    sealed = moments.seal(job.params, {0: forged}, 0)
    job.secrets = {}
    with pytest.raises(BadInput, match="private key"):
        job.kind.open_result(job.consumer(), {"members": sealed})


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"group_by": "g"}, "both or neither"),
        ({"group_by": "g", "groups": ["x", "x"]}, "once"),
        ({"filter": [{"column": "v", "op": "like", "value": "1"}]}, "filter"),
        ({"key_bits": 1024}, "key_bits"),
        ({"key_bits": "many"}, "key_bits"),
        ({"keys": {"values": ["a", "b"], "members": ["c"]}}, "same number"),
    ],
)
def test_bad_parameters_name_the_field(params: dict[str, Any], reason: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(moments.paillier, "generate", GENERATE)
    base = KEYS | {"value": "v", "key_bits": 2048} | params
    with pytest.raises(BadInput, match=reason):
        Job("stats.vertical", base, {"values": pa.table({}), "members": pa.table({})})


def test_a_weak_public_key_is_refused_before_anything_is_read() -> None:
    job = vertical(["1"], [1.0], ["1"])
    weak = dict(job.spec.params, public_key=(b"LTPK\x01" + (256).to_bytes(2, "big") + b"\x11" * 256).hex())
    spec = msgspec.structs.replace(job.spec, params=weak)
    with pytest.raises(BadInput, match="public_key"):
        job.kind.roles(spec, job.kind.parse(spec))
