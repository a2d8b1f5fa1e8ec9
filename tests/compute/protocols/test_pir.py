"""Retrieval finds what is there, says cleanly what is not, and neither side learns more than it should."""

import random
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import curve25519
from compute.errors import BadInput, BadMessage, CohortTooSmall, ProtocolAbort
from compute.protocols.identifiers import Normalisation, encode_key
from compute.protocols.local import LocalRun
from compute.protocols.pir.simple import fuse, linear, oprf, records
from compute.protocols.pir.simple.shape import Setup
from compute.protocols.protocol import Message
from compute.protocols.runner import RunResult
from compute.protocols.stream import Block
from compute.wire import codec
from tests.compute.protocols.hostile import replacing
from tests.compute.protocols.jobs import BINDING, Job, seeded


def table(count: int) -> pa.Table:
    return pa.table(
        {
            "pid": [f"P{i:04}" for i in range(count)],
            "size": [i * 1.5 for i in range(count)],
            "note": [f"记录 {i}" for i in range(count)],
        }
    )


def by_row(count: int, rows: list[int], *, floor: int = 0, seed: int | str = 0, **params: Any) -> Job:
    base = {"columns": ["size", "note"], "rows": rows}
    return Job("pir.row", base | params, {"server": table(count)}, floor=floor, seed=seed)


def by_keyword(source: pa.Table, keywords: list[list[str]], *, seed: int | str = 0, **params: Any) -> Job:
    base = {"columns": ["size", "note"], "key": ["pid"], "keywords": keywords}
    return Job("pir.keyword", base | params, {"server": source}, seed=seed)


def expected(row: int) -> dict[str, Any]:
    return {"found": True, "records": [{"size": row * 1.5, "note": f"记录 {row}"}]}


ABSENT = {"found": False, "records": []}


@pytest.mark.parametrize("count", [1, 2, 5, 97, 569])
def test_every_kind_of_row_is_found_and_one_beyond_is_absent(count: int) -> None:
    rows = sorted({0, count // 2, count - 1})
    answers = by_row(count, [*rows, count, (1 << 32) - 1]).result()["answers"]
    assert answers == [expected(row) for row in rows] + [ABSENT, ABSENT]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 97, 569])
def test_keywords_are_found_and_absent_ones_are_clean(count: int) -> None:
    rows = sorted({0, count // 2, count - 1})
    keywords = [[f"P{row:04}"] for row in rows] + [["P9999"], ["张伟"]]
    answers = by_keyword(table(count), keywords).result()["answers"]
    assert answers == [expected(row) for row in rows] + [ABSENT, ABSENT]


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


def shape(run: LocalRun) -> list[tuple[str, int]]:
    return [(message.sender, len(message.data)) for message in run.wire]


def test_on_the_wire_present_and_absent_row_and_keyword_look_the_same() -> None:
    present, absent = by_keyword(table(97), [["P0007"]]), by_keyword(table(97), [["nobody"]])
    assert shape(present.run()) == shape(absent.run())
    assert shape(by_row(97, [3]).run()) == shape(by_row(97, [96]).run()) == shape(by_row(97, [9999]).run())
    assert present.spec == absent.spec, "what is signed and seen by the server must not tell the keyword"
    assert "P0007" not in msgspec.json.encode(present.spec).decode()


def client_vectors(run: LocalRun) -> list[bytes]:
    blocks = [codec.decode(Block, m.data) for m in run.wire if m.sender == "client"]
    return [block.data for block in blocks]


def test_queries_look_uniform_and_differ_even_for_the_same_row() -> None:
    points, vectors = [], []
    for seed in range(2):
        sent = client_vectors(by_row(569, [7] * 24, seed=seed).run())
        points += [sent[0][at : at + 32] for at in range(0, len(sent[0]), 32)]
        vectors += sent[1:]
    assert len(points) == len(vectors) == 48
    assert len(set(points)) == len(points)
    assert len(set(vectors)) == len(vectors)
    words = np.frombuffer(b"".join(vectors), dtype="<u4").reshape(len(vectors), -1)
    # The selected column is no brighter than the others: mean and spread of uniform words, within 5 sigma.
    mean, sigma = 2.0**31, 2.0**32 / 12**0.5
    for column in (7, 8):
        assert abs(words[:, column].mean() - mean) < 5 * sigma / len(vectors) ** 0.5
    assert abs(words.mean() - mean) < 5 * sigma / words.size**0.5
    # Each bit is set half the time.
    for bit in (0, 8, 24, 31):
        share = ((words >> np.uint32(bit)) & 1).mean()
        assert abs(share - 0.5) < 5 * 0.5 / words.size**0.5


def test_the_hint_and_other_columns_hold_ciphertexts_only() -> None:
    job = by_keyword(table(97), [["P0007"]])
    crossed = b"".join(message.data for message in job.run().wire)
    assert b"P0007" not in crossed
    assert "记录".encode() not in crossed
    # A client that solves the hint for the whole database still opens nothing but what it asked for.
    rng = seeded(1)
    scalar = curve25519.random_scalar(rng)
    labels = [bytes([i]) * 8 for i in range(3)]
    secrets = oprf.evaluate(labels, b"dst", scalar)
    sealed = [records.seal(b"[]", 32, secrets[32 * i : 32 * i + 32], BINDING) for i in range(3)]
    blinded = oprf.blind(labels[1], b"dst", rng)
    mine = oprf.unblind(blinded, curve25519.scalar_mult_many(blinded.point, scalar))
    assert [records.open_sealed(item, mine, BINDING) for item in sealed] == [None, b"[]", None]
    assert len({len(item) for item in sealed}) == 1


def test_units_are_queries_and_receipt_metrics_are_public() -> None:
    run = by_row(11, [1, 2, 3]).run()
    assert run.outputs["server"].units == 3
    assert run.outputs["server"].metrics == {"queries": 3, "records": 11}
    assert run.outputs["client"].units == 0


def test_transcripts_are_equal_on_both_sides() -> None:
    ends = by_row(11, [1]).run_async()
    assert all(isinstance(end, RunResult) for end in ends.values()), ends
    assert ends["server"].transcript == ends["client"].transcript


def test_floor_and_empty_table_end_both_sides() -> None:
    for job in (by_row(0, [0]), by_row(4, [0], floor=5)):
        assert {type(end) for end in job.run_async().values()} == {CohortTooSmall}


def test_a_record_beyond_its_limit_names_the_row() -> None:
    source = pa.table({"pid": ["a", "b"], "size": [1, 2], "note": ["x", "y" * 5000]})
    with pytest.raises(BadInput, match="record of row 1"):
        by_keyword(source, [["a"]]).run()


# server sends: 0 Setup, 1.. hint blocks, then evaluated points, then the answers
def setup(**changes: Any) -> Any:
    return lambda n, m: [msgspec.structs.replace(m, **changes)] if n == 0 else [m]


HOSTILE_SERVER = {
    "more records": setup(records=12),
    "fewer columns": setup(columns=10),
    "huge records": setup(width=20000),
    "odd records": setup(width=81),
    "filter where none is": setup(filter_seed=bytes(16)),
    "another hint digest": setup(hint_digest=bytes(32)),
    "damaged hint": lambda n, m: [Block(m.index, bytes(len(m.data)))] if n == 1 else [m],
    "short hint": lambda n, m: [Block(m.index, m.data[:-1])] if n == 1 else [m],
    "low-order key": lambda n, m: [Block(0, bytes(32))] if is_points(m) else [m],
    "key on the twist": lambda n, m: [Block(0, (2).to_bytes(32, "little"))] if is_points(m) else [m],
    "wrong type": lambda n, m: [m, m] if n == 0 else [m],
    "nothing but answers": lambda n, m: [m] if n else [],
}


def is_points(message: Message) -> bool:
    return isinstance(message, Block) and len(message.data) == 32


@pytest.mark.parametrize("name", HOSTILE_SERVER)
def test_a_hostile_server_ends_in_a_typed_abort_on_both_sides(name: str) -> None:
    job = by_row(11, [3])
    ends = job.run_async({"server": replacing(job.steps("server"), HOSTILE_SERVER[name])})
    assert all(isinstance(end, ProtocolAbort | BadMessage) for end in ends.values()), ends


HOSTILE_CLIENT = {
    "low-order point": lambda n, m: [Block(0, bytes(32))] if n == 0 else [m],
    "twist": lambda n, m: [Block(0, (2).to_bytes(32, "little"))] if n == 0 else [m],
    "two points for one query": lambda n, m: [Block(0, m.data * 2)] if n == 0 else [m],
    "short query": lambda n, m: [Block(0, m.data[:-4])] if n == 1 else [m],
    "long query": lambda n, m: [Block(0, m.data + bytes(4))] if n == 1 else [m],
    "second query": lambda n, m: [m, m] if n == 1 else [m],
    "wrong type": lambda n, m: [Setup(1, 1, 48, b"", bytes(32))] if n == 1 else [m],
}


@pytest.mark.parametrize("name", HOSTILE_CLIENT)
def test_a_hostile_client_ends_in_a_typed_abort_on_both_sides(name: str) -> None:
    job = by_row(11, [3])
    ends = job.run_async({"client": replacing(job.steps("client"), HOSTILE_CLIENT[name])})
    assert all(isinstance(end, ProtocolAbort | BadMessage) for end in ends.values()), ends


def test_a_server_that_spoils_the_record_does_not_see_that_it_was_the_one() -> None:
    job = by_row(11, [3])
    spoil = lambda n, m: [Block(m.index, bytes(len(m.data)))] if n > 4 else [m]  # noqa: E731
    ends = job.run_async({"server": replacing(job.steps("server"), spoil)})
    assert all(isinstance(end, RunResult) for end in ends.values()), ends
    with pytest.raises(BadMessage, match="does not open"):
        job.kind.open_result(job.consumer(), {"client": ends["client"].output.sealed})


@pytest.mark.parametrize(
    ("kind", "params", "reason"),
    [
        ("pir.row", {"columns": ["a"], "rows": []}, "1 to 256"),
        ("pir.row", {"columns": ["a"], "rows": [-1]}, "rows"),
        ("pir.row", {"columns": ["a"], "rows": ["x"]}, "rows"),
        ("pir.row", {"columns": ["a"]}, "rows"),
        ("pir.row", {"columns": [], "rows": [1]}, "columns"),
        ("pir.row", {"columns": ["a"], "rows": [1], "max_record_bytes": 1 << 30}, "max_record_bytes"),
        ("pir.keyword", {"columns": ["a"], "key": ["k"], "keywords": [["x", "y"]]}, "2 parts"),
        ("pir.keyword", {"columns": ["a"], "key": ["k"], "keywords": [[" "]]}, "empty"),
        ("pir.keyword", {"columns": ["a"], "key": ["k"], "keywords": [["a\0"]]}, "NUL"),
        ("pir.keyword", {"columns": ["a"], "key": ["k"], "keywords": "x"}, "keywords"),
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


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 100, 1000, 5000])
def test_the_keyword_map_returns_every_value(count: int) -> None:
    rng = seeded(count)
    keys = [rng(32) for _ in range(count)]
    values = np.frombuffer(rng(24 * count), dtype=np.uint8).reshape(count, 24)
    seed, slots = fuse.build(keys, values, rng)
    shape = fuse.layout(count)
    assert slots.shape == (shape.slots, 24)
    for key, value in zip(keys, values, strict=True):
        places = shape.positions(key, seed)
        assert len(set(places)) == 3
        assert max(places) < shape.slots
        assert (slots[list(places)].sum(axis=0, dtype=np.uint8) == value).all()


def test_the_keyword_map_is_compact_for_many_keys() -> None:
    assert fuse.layout(1_000_000).slots < 1.16e6
    assert fuse.layout(500_000).slots < linear.MAX_COLUMNS


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_blinding_comes_off(seed: int) -> None:
    rng = seeded(seed)
    scalar = curve25519.random_scalar(rng)
    blinded = oprf.blind(b"label", b"dst", rng)
    evaluated = curve25519.scalar_mult_many(blinded.point, scalar)
    assert oprf.unblind(blinded, evaluated) == oprf.evaluate([b"label"], b"dst", scalar)


def test_recovery_is_exact_for_every_byte_and_many_columns() -> None:
    rng = random.Random(5)
    database = np.frombuffer(rng.randbytes(64 * 3001), dtype=np.uint8).reshape(64, 3001)
    database = np.ascontiguousarray(database)
    seed = linear.matrix_seed(BINDING)
    hint = linear.hint(database, seed)
    for query, chosen in zip(
        linear.queries(3, 3001, seed, rng.randbytes), ([0], [3000], [5, 77, 2999]), strict=True
    ):
        response = linear.answer(database, query.select(chosen))
        wanted = database[:, chosen].sum(axis=1, dtype=np.uint8)
        assert linear.recover(query, response, hint) == wanted.tobytes()


def test_too_many_columns_are_refused() -> None:
    with pytest.raises(BadInput, match="1048577 columns"):
        linear.check_columns((1 << 20) + 1)
