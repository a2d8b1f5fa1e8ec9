"""A peer that deviates ends a retrieval in a typed abort on both sides, or learns nothing by going on."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from accel import curve25519, curve25519_oprf
from compute.errors import BadInput, BadMessage, ProtocolAbort
from compute.protocols.pir.simple import records
from compute.protocols.pir.simple.shape import Need, SegmentShape, Setup
from compute.protocols.pir.simple.trust import check_setup
from compute.protocols.protocol import Message
from compute.protocols.psi.ecdh.oprf import Key, Points
from compute.protocols.runner import RunResult
from compute.protocols.stream import Block
from tests.compute.protocols.hostile import Change, replacing
from tests.compute.protocols.pir_jobs import by_keyword, by_row, membership


def setup(**changes: Any) -> Any:
    return lambda n, m: [msgspec.structs.replace(m, **changes)] if n == 0 else [m]


def segment(**changes: Any) -> Any:
    def change(n: int, m: Message) -> list[Message]:
        if not isinstance(m, Setup):
            return [m]
        segments = tuple(msgspec.structs.replace(shape, **changes) for shape in m.segments)
        return [msgspec.structs.replace(m, segments=segments)]

    return change


def is_points(message: Message) -> bool:
    return isinstance(message, Points)


def of_answers(change: Callable[[bytes], bytes]) -> Change:
    """Blocks after the evaluated points are answers."""
    seen = [False]

    def changed(n: int, m: Message) -> list[Message]:
        if seen[0] and isinstance(m, Block):
            return [Block(m.index, change(m.data))]
        seen[0] |= is_points(m)
        return [m]

    return changed


def spoiled_answers() -> Change:
    return of_answers(lambda data: bytes(len(data)))


def one_hint(n: int, m: Message) -> list[Message]:
    """The key half's hint for the data half as well: due once, and too short for it."""
    if not isinstance(m, Setup):
        return [m]
    segments = tuple(msgspec.structs.replace(shape, data_digest=shape.key_digest) for shape in m.segments)
    return [msgspec.structs.replace(m, segments=segments)]


# The server sends: 0 Setup, 1 … hints, then its key and evaluated points, then the answers.
HOSTILE_SERVER = {
    "another database": setup(lineage=bytes(32)),
    "more records than it holds": setup(records=12),
    "a segment of more records": segment(records=12),
    "a segment of a thousand million records": segment(records=1 << 30),
    "fewer columns": segment(stack=2),
    "both stacked and split": segment(stack=2, split=2),
    "more in a column than there is": segment(stack=16),
    "huge records": segment(data_bytes=1 << 16),
    "odd records": segment(data_bytes=81),
    "records of no bytes": segment(data_bytes=0),
    "short keys": segment(key_bytes=6),
    "filter where none is": segment(filter_seed=bytes(16)),
    "salts where no filter is": segment(salts=bytes(4)),
    "keyed where it is not": segment(keyed=True),
    "another segment": lambda n, m: [msgspec.structs.replace(m, segments=m.segments * 2)] if n == 0 else [m],
    "another data hint": segment(data_digest=bytes(32)),
    "no data hint": segment(data_digest=b""),
    "one hint for both halves": one_hint,
    "another key hint": segment(key_digest=bytes(32)),
    "damaged hint": lambda n, m: [Block(m.index, bytes(len(m.data)))] if n == 1 else [m],
    "short hint": lambda n, m: [Block(m.index, m.data[:-1])] if n == 1 else [m],
    "hint twice": lambda n, m: [m, m] if n == 1 else [m],
    "low-order point": lambda n, m: [Points(0, bytes(32))] if is_points(m) else [m],
    "point on the twist": lambda n, m: [Points(0, (2).to_bytes(32, "little"))] if is_points(m) else [m],
    "point that is not canonical": lambda n, m: [Points(0, b"\xff" * 32)] if is_points(m) else [m],
    "low-order key": lambda n, m: [Key(bytes(32))] if isinstance(m, Key) else [m],
    "short key": lambda n, m: [Key(m.data[:-1])] if isinstance(m, Key) else [m],
    "no key": lambda n, m: [] if isinstance(m, Key) else [m],
    "short answer": of_answers(lambda data: data[:-4]),
    "wrong type": lambda n, m: [m, m] if n == 0 else [m],
}


@pytest.mark.parametrize("name", HOSTILE_SERVER)
def test_a_hostile_server_ends_in_a_typed_abort_on_both_sides(name: str) -> None:
    job = by_row(11, [3])
    ends = job.run_async({"server": replacing(job.steps("server"), HOSTILE_SERVER[name])})
    assert all(isinstance(end, ProtocolAbort | BadMessage) for end in ends.values()), ends


HOSTILE_KEYWORD_SERVER = {
    "no filter": segment(filter_seed=b""),
    "short salts": segment(salts=b""),
    "direct where it is keyed": segment(keyed=False),
    "another size of filter": segment(records=10),
}


@pytest.mark.parametrize("name", HOSTILE_KEYWORD_SERVER)
@pytest.mark.parametrize("make", [by_keyword, membership])
def test_a_hostile_server_of_keywords_ends_likewise(make: Any, name: str) -> None:
    job = make(11, [["P0003"]])
    ends = job.run_async({"server": replacing(job.steps("server"), HOSTILE_KEYWORD_SERVER[name])})
    assert all(isinstance(end, ProtocolAbort | BadMessage) for end in ends.values()), ends


def test_a_membership_server_cannot_make_the_client_read_records() -> None:
    job = membership(11, [["P0003"]])
    for change in (segment(data_bytes=48, data_digest=bytes(32)), segment(key_bytes=5)):
        ends = job.run_async({"server": replacing(job.steps("server"), change)})
        assert all(isinstance(end, ProtocolAbort | BadMessage) for end in ends.values()), ends


# The client sends: 0 Need, 1 points, 2 … queries.
HOSTILE_CLIENT = {
    "hint that is not there": lambda n, m: [Need((bytes(32),))] if n == 0 else [m],
    "hint twice": lambda n, m: [Need((m.hints[0], m.hints[0]))] if n == 0 else [m],
    "hints the other way round": lambda n, m: [Need(m.hints[::-1])] if n == 0 else [m],
    "low-order point": lambda n, m: [Points(0, bytes(32))] if n == 1 else [m],
    "twist": lambda n, m: [Points(0, (2).to_bytes(32, "little"))] if n == 1 else [m],
    "point that is not canonical": lambda n, m: [Points(0, b"\xff" * 32)] if n == 1 else [m],
    "two points for one query": lambda n, m: [Points(0, m.data * 2)] if n == 1 else [m],
    "short query": lambda n, m: [Block(0, m.data[:-4])] if n == 2 else [m],
    "long query": lambda n, m: [Block(0, m.data + bytes(4))] if n == 2 else [m],
    "second query": lambda n, m: [m, m] if n == 2 else [m],
    "wrong type": lambda n, m: [Need(())] if n == 2 else [m],
}


@pytest.mark.parametrize("name", HOSTILE_CLIENT)
def test_a_hostile_client_ends_in_a_typed_abort_on_both_sides(name: str) -> None:
    job = by_row(11, [3])
    ends = job.run_async({"client": replacing(job.steps("client"), HOSTILE_CLIENT[name])})
    assert all(isinstance(end, ProtocolAbort | BadMessage) for end in ends.values()), ends


def test_a_server_that_spoils_the_record_does_not_see_that_it_was_the_one() -> None:
    job = by_row(11, [3])
    ends = job.run_async({"server": replacing(job.steps("server"), spoiled_answers())})
    assert all(isinstance(end, RunResult) for end in ends.values()), ends
    with pytest.raises(BadMessage, match="does not open"):
        job.kind.open_result(job.consumer(), {"client": ends["client"].output.sealed})


def test_a_server_that_evaluates_under_another_key_than_it_names_does_not_see_what_was_asked() -> None:
    job = by_row(11, [3])
    other = Key(curve25519_oprf.multiply_points(curve25519_oprf.BASE, curve25519.random_scalar()))
    change = lambda n, m: [other] if isinstance(m, Key) else [m]  # noqa: E731
    ends = job.run_async({"server": replacing(job.steps("server"), change)})
    assert all(isinstance(end, RunResult) for end in ends.values()), ends
    with pytest.raises(BadMessage, match="does not open"):
        job.kind.open_result(job.consumer(), {"client": ends["client"].output.sealed})


def test_a_server_that_spoils_a_keyword_is_a_server_that_has_none() -> None:
    job = by_keyword(11, [["P0003"]])
    ends = job.run_async({"server": replacing(job.steps("server"), spoiled_answers())})
    assert all(isinstance(end, RunResult) for end in ends.values()), ends
    result = job.kind.open_result(job.consumer(), {"client": ends["client"].output.sealed})
    assert result == {"answers": [{"found": False, "records": []}]}


NO_ROWS = {
    "too deep": b"[" * 2000,
    "deep and closed": b"[[" + b"[" * 900 + b"]" * 900 + b",0]]",
    "not UTF-8": b'[["\xff",0]]',
    "too few values": b"[[0]]",
    "a number beyond all": b"[[1e999,0]]",
}


@pytest.fixture
def sealing(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Makes a server seal the same bytes as every record."""

    def seal(content: bytes) -> None:
        def encode(table: pa.Table, columns: Any, rows: Any, offsets: Any, most: int) -> records.Records:
            count = len(offsets) - 1
            starts = np.arange(count + 1, dtype=np.int64) * len(content)
            return records.Records(np.frombuffer(content * count, np.uint8), starts)

        monkeypatch.setattr(records, "encode", encode)

    return seal


@pytest.mark.parametrize("content", NO_ROWS.values(), ids=NO_ROWS)
def test_a_server_that_seals_nonsense_does_not_see_who_opened_it(
    content: bytes, sealing: Callable[[bytes], None]
) -> None:
    sealing(content)
    job = by_keyword(11, [["P0003"]])
    ends = job.run_async()
    assert all(isinstance(end, RunResult) for end in ends.values()), ends
    with pytest.raises(BadMessage, match="does not open"):
        job.kind.open_result(job.consumer(), {"client": ends["client"].output.sealed})


def test_many_rows_under_long_names_are_refused_before_they_are_written_out(
    sealing: Callable[[bytes], None],
) -> None:
    names = [f"{letter * 199}" for letter in "ab"]
    source = pa.table({"pid": ["P0", "P1"], **{name: [1, 2] for name in names}})
    sealing(b"[" + b",".join([b"[0,0]"] * 600) + b"]")
    job = by_keyword(source, [["P0"], ["P1"]], columns=names)
    ends = job.run_async()
    assert all(isinstance(end, RunResult) for end in ends.values()), ends
    # What is kept for the consumer is as long as the records, whatever their columns are called.
    sealed = {"client": ends["client"].output.sealed}
    assert len(sealed["client"]) < 2 * 4096
    consumer = job.consumer()
    opened = job.kind.open_result(consumer, sealed)
    assert [len(answer["records"]) for answer in opened["answers"]] == [600, 600]
    assert opened["answers"][1]["records"][599] == dict.fromkeys(names, 0)
    with pytest.raises(BadInput, match="fewer at once"):
        job.kind.open_result(replace(consumer, memory_bytes=1 << 19), sealed)


def announced(**changes: Any) -> Setup:
    shape = SegmentShape(1 << 20, 112, 16, False, 16, 1, b"", b"", bytes(32), b"\1" * 32)
    return Setup(bytes(32), bytes(32), 1, (msgspec.structs.replace(shape, **changes),))


def test_absurd_sizes_are_refused_before_anything_is_allocated() -> None:
    params = by_row(11, [3]).params
    check_setup(announced(), params, bytes(32), 1 << 30)
    for changes in (
        {"records": (1 << 30), "stack": 1},  # a query of 4 GiB
        {"stack": 1 << 14},  # a hint of 8 GiB
        {"split": 1 << 10, "stack": 1},
    ):
        with pytest.raises(ProtocolAbort, match="layout"):
            check_setup(announced(**changes), params, bytes(32), 1 << 40)
    # What the parameters allow but this client's memory does not.
    with pytest.raises(BadInput, match="bytes of memory"):
        check_setup(announced(), params, bytes(32), 1 << 20)


def test_a_job_that_does_not_fit_the_memory_says_so() -> None:
    source = pa.table({"pid": ["a", "b"], "size": [1, 2], "note": ["x", "y"]})
    job = by_row(source, [1], storage={"client": {"memory_bytes": 1000}})
    with pytest.raises(BadInput, match="1000 are allowed"):
        job.run()
