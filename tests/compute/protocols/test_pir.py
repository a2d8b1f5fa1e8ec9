"""Retrieval finds what is there, says cleanly what is not, and neither side learns more than it should."""

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compute.errors import BadInput, CohortTooSmall
from compute.protocols.identifiers import Normalisation, encode_key
from compute.protocols.local import LocalRun
from compute.protocols.pir.simple import linear
from compute.protocols.pir.simple.shape import Setup
from compute.protocols.psi.ecdh.oprf import Points
from compute.protocols.runner import RunResult
from compute.protocols.stream import Block
from compute.wire import codec
from tests.compute.protocols.jobs import Job, seeded
from tests.compute.protocols.pir_jobs import ABSENT, by_keyword, by_row, expected, membership, shape, table


@pytest.mark.parametrize("count", [1, 2, 5, 97, 569])
def test_every_kind_of_row_is_found_and_one_beyond_is_absent(count: int) -> None:
    rows = sorted({0, count // 2, count - 1})
    answers = by_row(count, [*rows, count, (1 << 32) - 1]).result()["answers"]
    assert answers == [expected(row) for row in rows] + [ABSENT, ABSENT]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 97, 569])
def test_keywords_are_found_and_absent_ones_are_clean(count: int) -> None:
    rows = sorted({0, count // 2, count - 1})
    keywords = [[f"P{row:04}"] for row in rows] + [["P9999"], ["张伟"]]
    answers = by_keyword(count, keywords).result()["answers"]
    assert answers == [expected(row) for row in rows] + [ABSENT, ABSENT]


@pytest.mark.parametrize("count", [1, 2, 3, 97, 2003])
def test_membership_is_yes_or_no_and_reads_no_column_but_the_key(count: int) -> None:
    rows = sorted({0, count // 2, count - 1})
    job = membership(count, [[f"P{row:04}"] for row in rows] + [["P9999"], ["张伟"]])
    assert job.result() == {"answers": [True] * len(rows) + [False, False]}
    assert job.kind.columns(job.spec, job.params, "server") == ("pid",)


@pytest.mark.parametrize("count", [1, 13, 569, 3001])
def test_every_record_of_a_table_comes_back_as_it_is(count: int) -> None:
    """All rows, 256 at a time."""
    for start in range(0, count, 1009):
        rows = list(range(start, min(start + 256, count)))
        assert by_row(count, rows).result()["answers"] == [expected(row) for row in rows]
        keywords = [[f"P{row:04}"] for row in rows]
        assert by_keyword(count, keywords).result()["answers"] == [expected(row) for row in rows]


def test_repeated_keys_several_columns_and_normalisation() -> None:
    source = pa.table(
        {"name": ["Zoë", "Bob", "Bob", None], "born": [1980, 1970, 1970, 1], "size": [1, 2, 3, 4]}
    )
    params = {
        "columns": ["size"],
        "key": ["name", "born"],
        "keywords": [["ZOE\u0308 ", "1980"], ["bob", "1970"], ["bob", "1971"]],
        "normalise": {"case": "fold"},
    }
    answers = Job("pir.keyword", params, {"server": source}).result()["answers"]
    assert answers == [
        {"found": True, "records": [{"size": 1}]},
        {"found": True, "records": [{"size": 2}, {"size": 3}]},
        ABSENT,
    ]
    del params["columns"]
    assert Job("pir.member", params, {"server": source}).result() == {"answers": [True, True, False]}


@settings(max_examples=10, deadline=None)
@given(
    st.sets(
        st.text(min_size=1, max_size=4).filter(lambda s: s.strip() and "\0" not in s), min_size=1, max_size=60
    )
)
def test_keyword_retrieval_equals_a_dictionary(keys: set[str]) -> None:
    source: dict[bytes, list[int]] = {}
    names = sorted(keys)
    for index, name in enumerate(names):
        source.setdefault(encode_key([name], Normalisation()), []).append(index)
    asked = [*names[:3], "not there at all"]
    job = Job(
        "pir.keyword",
        {"columns": ["n"], "key": ["k"], "keywords": [[name] for name in asked]},
        {"server": pa.table({"k": names, "n": list(range(len(names)))})},
    )
    for name, answer in zip(asked, job.result()["answers"], strict=True):
        rows = source.get(encode_key([name], Normalisation()), [])
        assert [record["n"] for record in answer["records"]] == rows


@pytest.mark.parametrize("kind", ["row", "keyword"])
def test_records_of_64_kib_are_read_in_pieces(kind: str) -> None:
    notes = ["ab" * 32_700, "", "好" * 20_000, 'quote " and \\' * 4_000, "x", "last"]
    source = pa.table({"pid": [f"P{i}" for i in range(len(notes))], "note": notes})
    options: dict[str, Any] = {"columns": ["note"], "max_record_bytes": 1 << 16}
    if kind == "row":
        job = by_row(source, [0, 2, 3, 6], **options)
    else:
        job = by_keyword(source, [["P0"], ["P2"], ["P3"], ["nobody"]], **options)
    answers = job.result()["answers"]
    found = [{"found": True, "records": [{"note": notes[i]}]} for i in (0, 2, 3)]
    assert answers == [*found, ABSENT]
    hint = job.run().outputs["client"].metrics["hint_bytes"]
    assert hint < 20e6 < (1 << 16) * 4096, "one column a record would have needed a hint of 256 MiB"


@pytest.mark.parametrize("make", [by_row, by_keyword, membership])
def test_short_records_are_stacked_in_columns(make: Any) -> None:
    count = 12_007
    rows = [0, 1, 5_000, 12_005, 12_006]
    options: dict[str, Any] = {} if make is membership else {"columns": ["size"]}
    asked: list[Any] = [*rows, count] if make is by_row else [[f"P{row:04}"] for row in [*rows, count]]
    job = make(count, asked, **options)
    run = job.run()
    announced = codec.decode(Setup, run.wire[0].data)
    assert announced.segments[0].stack > 1
    found = [{"found": True, "records": [{"size": row * 1.5}]} for row in rows]
    expected = [True] * 5 + [False] if make is membership else [*found, ABSENT]
    assert job.open(run) == {"answers": expected}


def test_sixteen_queries_take_one_pass_over_the_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[tuple[int, int]] = []
    answer = linear.answer
    monkeypatch.setattr(
        linear,
        "answer",
        lambda matrix, vectors: passes.append((len(matrix), len(vectors))) or answer(matrix, vectors),
    )
    run = by_row(97, list(range(20))).run()
    shape = codec.decode(Setup, run.wire[0].data).segments[0].layout
    # 20 queries are 32 with dummies, and as many vectors for each piece: 16 in a pass over each half.
    assert passes == [(shape.data_rows, 16), (shape.key_rows, 16)] * (2 * shape.split)


def test_values_keep_their_types() -> None:
    source = pa.table({"i": [1, None], "f": [0.1, -0.0], "s": ['"\\\n', "é"], "b": [True, None]})
    answers = Job("pir.row", {"columns": source.column_names, "rows": [0, 1]}, {"server": source}).result()
    assert [answer["records"][0] for answer in answers["answers"]] == source.to_pylist()


def test_on_the_wire_present_and_absent_row_and_keyword_look_the_same() -> None:
    present, absent = by_keyword(97, [["P0007"]]), by_keyword(97, [["nobody"]])
    assert shape(present.run()) == shape(absent.run())
    assert shape(by_row(97, [3]).run()) == shape(by_row(97, [96]).run()) == shape(by_row(97, [9999]).run())
    assert shape(membership(97, [["P0007"]]).run()) == shape(membership(97, [["nobody"]]).run())
    assert present.spec == absent.spec, "what is signed and seen by the server must not tell the keyword"
    assert "P0007" not in msgspec.json.encode(present.spec).decode()


def test_dummies_make_three_queries_and_four_the_same() -> None:
    three, four = by_keyword(97, [["P0001"]] * 3), by_keyword(97, [["P0001"], ["x"], ["y"], ["z"]])
    assert three.spec == four.spec
    assert three.params.queries == 4
    run = three.run()
    assert shape(run) == shape(four.run())
    assert len(three.open(run)["answers"]) == 3
    assert run.outputs["server"].units == three.kind.units(three.spec, three.params, "server") == 4


def test_the_ladder_is_what_the_consumer_declares() -> None:
    job = by_row(11, [1, 2, 3], pad_queries_to=[5, 10])
    assert (job.params.queries, job.params.pad_queries_to) == (5, (5, 10))
    assert job.result()["answers"] == [expected(row) for row in (1, 2, 3)]
    with pytest.raises(BadInput, match="no step for 3"):
        by_row(11, [1, 2, 3], pad_queries_to=[1, 2])
    with pytest.raises(BadInput, match="ascend"):
        by_row(11, [1], pad_queries_to=[2, 1])


def queries_of(run: LocalRun) -> list[bytes]:
    """What the client sent: points, then vectors in blocks."""
    _, points, *vectors = (message.data for message in run.wire if message.sender == "client")
    return [codec.decode(Points, points).data, *(codec.decode(Block, vector).data for vector in vectors)]


def test_queries_look_uniform_and_differ_even_for_the_same_row() -> None:
    points, vectors = [], []
    for seed in range(2):
        sent = queries_of(by_row(569, [7] * 24, seed=seed).run())
        points += [sent[0][at : at + 32] for at in range(0, len(sent[0]), 32)]
        # 24 queries are padded to 32: the last eight are dummies.
        vectors.append(np.frombuffer(b"".join(sent[1:]), dtype="<u4").reshape(32, 569)[:24])
    assert len(set(points)) == len(points) == 64
    words = np.concatenate(vectors)
    assert len(np.unique(words, axis=0)) == len(words) == 48
    # The selected column is no brighter than the others: mean and spread of uniform words, within 5 sigma.
    mean, sigma = 2.0**31, 2.0**32 / 12**0.5
    for column in (7, 8):
        assert abs(words[:, column].mean() - mean) < 5 * sigma / len(words) ** 0.5
    assert abs(words.mean() - mean) < 5 * sigma / words.size**0.5
    # Each bit is set half the time.
    for bit in (0, 8, 24, 31):
        share = ((words >> np.uint32(bit)) & 1).mean()
        assert abs(share - 0.5) < 5 * 0.5 / words.size**0.5


def test_nothing_of_the_table_crosses_in_clear() -> None:
    crossed = b"".join(message.data for message in by_keyword(11, [["P0003"]]).run().wire)
    assert b"P0003" not in crossed
    assert "记录".encode() not in crossed


def test_units_are_queries_and_receipt_metrics_are_public() -> None:
    run = by_row(11, [1, 2, 3, 4]).run()
    assert run.outputs["server"].units == 4
    metrics = dict(run.outputs["server"].metrics)
    assert metrics.pop("hint_bytes") > 0
    assert metrics == {"queries": 4, "records": 11, "database_cached": 0, "hint_cached": 0}
    assert run.outputs["client"].units == 0


def test_transcripts_are_equal_on_both_sides() -> None:
    ends = by_row(11, [1]).run_async()
    assert all(isinstance(end, RunResult) for end in ends.values()), ends
    assert ends["server"].transcript == ends["client"].transcript


@pytest.mark.parametrize("make", [by_row, by_keyword, membership])
def test_floor_and_empty_table_end_both_sides(make: Any) -> None:
    asked = [0] if make is by_row else [["P0000"]]
    for job in (make(0, asked), make(4, asked, floor=5)):
        assert {type(end) for end in job.run_async().values()} == {CohortTooSmall}


def test_a_record_beyond_its_limit_tells_neither_row_nor_length_nor_value() -> None:
    source = pa.table({"pid": ["a", "b"], "size": [1, 2], "note": ["x", "y" * 5000]})
    with pytest.raises(BadInput, match="longer than max_record_bytes") as caught:
        by_keyword(source, [["a"]]).run()
    assert not any(telling in caught.value.message for telling in ("yyy", "1", "50"))
    # Limits between two padded lengths are all alike: refusals tell no more than the padded length does.
    source = pa.table(
        {"pid": ["a", "b"], "size": [1, 2], "note": ["x", "y" * 112]}
    )  # 120 bytes, padded to 128
    assert by_keyword(source, [["b"]], max_record_bytes=93).result()["answers"][0]["found"]
    with pytest.raises(BadInput, match="longer than max_record_bytes"):
        by_keyword(source, [["b"]], max_record_bytes=92).run()


def test_several_rows_of_a_key_count_together_towards_the_limit() -> None:
    source = pa.table({"pid": ["a"] * 60, "size": [1] * 60, "note": ["y" * 100] * 60})
    with pytest.raises(BadInput, match="longer than max_record_bytes"):
        by_keyword(source, [["a"]]).run()
    many = by_keyword(source, [["a"]], max_record_bytes=8192).result()["answers"]
    assert many == [{"found": True, "records": [{"size": 1, "note": "y" * 100}] * 60}]


@pytest.mark.parametrize(
    ("kind", "params", "reason"),
    [
        ("pir.row", {"columns": ["a"], "rows": []}, "1 to 256"),
        ("pir.row", {"columns": ["a"], "rows": [0] * 257}, "1 to 256"),
        ("pir.row", {"columns": ["a"], "rows": [-1]}, "rows"),
        ("pir.row", {"columns": ["a"], "rows": ["x"]}, "rows"),
        ("pir.row", {"columns": ["a"]}, "rows"),
        ("pir.row", {"columns": [], "rows": [1]}, "columns"),
        ("pir.row", {"columns": ["a"], "rows": [1], "max_record_bytes": 1 << 30}, "max_record_bytes"),
        ("pir.row", {"columns": ["a"], "rows": [1], "pad_queries_to": "x"}, "pad_queries_to"),
        ("pir.row", {"columns": ["a"], "rows": [1], "pad_queries_to": [512]}, "pad_queries_to"),
        ("pir.keyword", {"columns": ["a"], "key": ["k"], "keywords": [["x", "y"]]}, "2 parts"),
        ("pir.keyword", {"columns": ["a"], "key": ["k"], "keywords": [[" "]]}, "empty"),
        ("pir.keyword", {"columns": ["a"], "key": ["k"], "keywords": [["a\0"]]}, "NUL"),
        ("pir.keyword", {"columns": ["a"], "key": ["k"], "keywords": "x"}, "keywords"),
        ("pir.member", {"key": ["k"], "keywords": [["x"]], "columns": ["a"]}, "columns"),
        ("pir.member", {"key": ["k"], "keywords": [["x"]], "normalise": {"case": "x"}}, "normalise"),
    ],
)
def test_bad_parameters_name_the_field(kind: str, params: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        Job(kind, params, {"server": table(1)})


def test_a_client_without_its_queries_says_so() -> None:
    job = by_row(11, [3])
    job.secrets = {}
    with pytest.raises(BadInput, match="queries are not here"):
        job.run()


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 40), st.integers(1, 5000), st.integers(1, 20), st.integers(0, 99))
def test_recovery_is_exact_for_every_byte_at_odd_shapes(
    rows: int, columns: int, count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    database = rng.integers(0, 256, (rows, columns), dtype=np.uint8)
    database[0] = 0  # the bytes that are farthest from the middle, in every column
    database[-1] = 255
    *_, hint = linear.hint(database, bytes(32))
    chosen = [
        rng.choice(columns, 3 if columns > 2 and i % 2 else 1, replace=False).tolist() for i in range(count)
    ]
    secrets, vectors = linear.queries(chosen, columns, bytes(32), seeded(seed))
    found = linear.recover(secrets, linear.answer(database, vectors), hint)
    for selected, cell in zip(chosen, found, strict=True):
        assert (cell == database[:, selected].sum(axis=1, dtype=np.uint8)).all()
