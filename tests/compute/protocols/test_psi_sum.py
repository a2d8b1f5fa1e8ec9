"""psi.sum adds what a plaintext join adds, keeps its floors, and hostile roles end in typed aborts."""

import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from compute.errors import BadInput, BadMessage, CohortTooSmall, DataError, PeerLost, ProtocolAbort
from compute.protocols import payload, stream
from compute.protocols.directory import DirectoryWorkspace
from compute.protocols.protocol import Progress, Session
from compute.protocols.psi.ecdh import cost as points_cost
from compute.protocols.psi.ecdh import masking
from compute.protocols.psi.ecdh import oprf as blocks
from compute.protocols.psi.ecdh.oprf import Points
from compute.protocols.psi.sum import protocol, totals
from compute.protocols.psi.sum.cost import cost
from compute.protocols.runner import RunResult
from compute.protocols.sets import Size
from compute.protocols.stream import Block
from compute.protocols.workspace import MemoryWorkspace, Workspace
from compute.wire import codec
from tests.compute.protocols.hostile import replacing
from tests.compute.protocols.interrupted import Interrupted
from tests.compute.protocols.jobs import Job, seeded

KEYS: dict[str, dict[str, bytes]] = {}


def job(
    values: dict[str, list[Any]],
    members: list[Any],
    columns: list[str],
    *,
    floor: int = 0,
    seed: int | str = 0,
    scheme: str = "paillier",
    storage: Any = None,
    **params: Any,
) -> Job:
    tables = {"values": pa.table(values), "members": pa.table({"pid": pa.array(members, pa.string())})}
    given = {
        "keys": {"values": ["id"], "members": ["pid"]},
        "values": columns,
        "scheme": scheme,
        "key_bits": 2048,
    }
    return Job("psi.sum", given | params, tables, floor=floor, seed=seed, storage=storage)


@pytest.fixture(autouse=True)
def one_key_pair_per_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making a key takes a second; what is tested does not depend on which."""

    def generate(scheme: str) -> Any:
        def cached(bits: int, rng: Any) -> Any:
            made = KEYS.setdefault(scheme, {})
            if bits != 2048:
                raise TypeError
            if "key" not in made:
                made["key"] = real[scheme](bits, seeded(f"key of {scheme}")).to_bytes()
            return totals.SCHEMES[scheme].PrivateKey.from_bytes(made["key"])

        return cached

    real = {name: module.generate for name, module in totals.SCHEMES.items()}
    for name, module in totals.SCHEMES.items():
        monkeypatch.setattr(module, "generate", generate(name))


@pytest.mark.parametrize("scheme", ["paillier", "ou"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (range(61), range(31, 77)),
        (range(17), range(17)),  # equal
        (range(13), range(5, 9)),  # subset
        (range(1), range(1)),
        (range(40, 43), range(41)),
    ],
    ids=str,
)
def test_sums_as_the_plaintext_join(one: range, other: range, scheme: str) -> None:
    table = {
        "id": [f"k{i}" for i in one],
        "a": [i * 0.1 - 1 for i in one],
        "b": [(-1) ** i * 2**60 for i in one],
        "c": [Decimal(i) / 8 for i in one],
    }
    done = job(table, [f"k{i}" for i in other], ["a", "b", "c"], scheme=scheme)
    run = done.run()
    shared = [i for i, key in enumerate(one) if key in other]
    opened = done.open(run)
    assert opened["count"] == opened["rows"] == len(shared)
    assert opened["sums"]["a"] == pytest.approx(sum(table["a"][i] for i in shared), abs=1e-12)
    assert opened["sums"]["b"] == sum(table["b"][i] for i in shared)
    assert opened["sums"]["c"] == float(sum(table["c"][i] for i in shared))
    predicted = cost(len(one), len(other), 3, scheme=scheme, modulus_bits=2048).bytes_sent
    for role, expected in predicted.items():
        assert run.bytes_sent(role) == pytest.approx(expected, rel=0.001)


@pytest.mark.parametrize("curve", ["sm2", "secp256k1"])
def test_other_curves(curve: str) -> None:
    table = {"id": ["a", "b", "c"], "v": [1, 2, 4]}
    done = job(table, ["a", "c", "d"], ["v"], curve=curve)
    run = done.run()
    assert done.open(run) == {"count": 2, "rows": 2, "sums": {"v": 5.0}}
    predicted = cost(3, 3, 1, modulus_bits=2048, curve=curve).bytes_sent
    for role, expected in predicted.items():
        assert run.bytes_sent(role) == pytest.approx(expected, rel=0.001)


@pytest.mark.parametrize("scheme", ["paillier", "ou"])
def test_many_columns_take_several_ciphertexts_a_key(scheme: str) -> None:
    names = [f"c{i}" for i in range(21)]
    table = {"id": ["a", "b", "c"]} | {n: [i, -2 * i, 1000] for i, n in enumerate(names)}
    done = job(table, ["a", "b"], names, scheme=scheme)
    run = done.run()
    assert done.open(run)["sums"] == {n: float(-i) for i, n in enumerate(names)}
    assert totals.carriers_of(totals.public_key(scheme, done.params.public_key), 21) > 1
    predicted = cost(3, 2, 21, scheme=scheme, modulus_bits=2048).bytes_sent
    assert run.bytes_sent("values") == pytest.approx(predicted["values"], rel=0.001)


def test_repeated_keys_nulls_and_filter() -> None:
    table = {
        "id": ["a", "a", "b", None, "c", "d"],
        "v": [1.5, 2.5, None, 100.0, 8.0, 16.0],
        "w": [1, None, 3, 100, 4, 5],
        "age": [50, 60, 70, 80, 90, 10],
    }
    condition = {"column": "age", "op": "ge", "value": "40"}
    done = job(table, ["a", "b", "d", "a", "x"], ["v", "w"], filter=[condition])
    run = done.run()
    assert done.open(run) == {"count": 2, "rows": 3, "sums": {"v": 4.0, "w": 4.0}}
    assert run.outputs["values"].metrics == {
        "elements": 3,
        "peer_elements": 4,
        "rows_repeated": 1,
        "rows_without_key": 1,
        "rows_unfit": 0,
    }
    assert (run.outputs["values"].units, run.outputs["members"].units) == (3, 4)
    assert run.outputs["values"].sealed is None
    columns = [done.kind.columns(done.spec, done.params, role) for role in ("values", "members")]
    assert columns == [("id", "v", "w", "age"), ("pid",)]


@pytest.mark.parametrize("parallel", [1, 4, 100])
def test_blocks_are_added_as_they_come(parallel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BLOCK_BYTES", 4 * 512)
    table = {"id": [f"k{i}" for i in range(23)], "v": [2**i for i in range(23)]}
    done = job(table, [f"k{i}" for i in range(0, 40, 3)], ["v"], storage={"values": {"parallel": parallel}})
    run = done.run()
    assert done.open(run)["sums"] == {"v": float(sum(2**i for i in range(0, 23, 3)))}
    assert run.progress["values"][-1] == Progress("stats.encrypt", 23, 23)


@pytest.mark.parametrize("value", [2.0**63, float("nan"), float("inf"), -(2.0**70)])
def test_values_that_cannot_be_added_name_their_row(value: float) -> None:
    with pytest.raises(BadInput, match="row 1 of column 'v'"):
        job({"id": ["a", "b"], "v": [1.0, value]}, ["a"], ["v"]).run()


def test_a_column_of_texts_is_refused() -> None:
    with pytest.raises(BadInput, match="sums need numbers"):
        job({"id": ["a"], "v": ["1"]}, ["a"], ["v"]).run()


@pytest.mark.parametrize(
    ("values", "members"),
    [
        (range(2), range(10)),  # a set below the floor
        (range(10), range(2)),
        (range(10), range(20, 30)),  # disjoint
        (range(10), range(8, 18)),  # the intersection is below it
        (range(10), range(9)),  # what is left out is below it
    ],
    ids=str,
)
def test_floors_end_both_sides(values: range, members: range) -> None:
    table = {"id": [f"k{i}" for i in values], "v": [1] * len(values)}
    ends = job(table, [f"k{i}" for i in members], ["v"], floor=3).run_async()
    assert {type(end) for end in ends.values()} == {CohortTooSmall}


@pytest.mark.parametrize("floor", [0, 1])
def test_nothing_is_released_of_an_empty_intersection_even_without_a_floor(floor: int) -> None:
    with pytest.raises(CohortTooSmall, match="no key in common"):
        job({"id": ["a"], "v": [1]}, ["b"], ["v"], floor=floor).run()


def test_the_length_of_what_is_sealed_does_not_tell_the_count() -> None:
    table = {"id": [f"k{i}" for i in range(12)], "v": [1] * 12}
    runs = [job(table, [f"k{i}" for i in range(count)], ["v"], scheme="ou").run() for count in (1, 12)]
    assert len({len(run.outputs["members"].sealed) for run in runs}) == 1


def test_no_identifier_and_no_value_crosses_and_two_runs_share_nothing() -> None:
    ids = [f"patient-{i:05}" for i in range(30)]
    table = {"id": ids[:20], "v": [123456789 + i for i in range(20)]}
    runs = [job(table, ids[10:], ["v"], seed=seed).run() for seed in (1, 2)]
    data = b"".join(message.data for run in runs for message in run.wire)
    for text in ids:
        assert text.encode() not in data
        for name in ("md5", "sha1", "sha256", "sm3"):
            assert hashlib.new(name, text.encode()).digest()[:8] not in data
    assert not any((123456789 + i).to_bytes(4, "big") in data for i in range(20))
    elements = []
    for run in runs:
        found = set()
        for message in run.wire:
            for kind, width in ((Points, 32), (Block, 512)):
                try:
                    block = codec.decode(kind, message.data).data
                except BadMessage:
                    continue
                found |= {block[at : at + width] for at in range(0, len(block), width)}
        elements.append(found)
    assert len(elements[0]) >= 60
    assert not elements[0] & elements[1]


def test_transcripts_are_equal_over_channels() -> None:
    ends = job({"id": ["a", "b", "c"], "v": [1, 2, 3]}, ["a", "b", "c"], ["v"], floor=2).run_async()
    assert all(isinstance(end, RunResult) for end in ends.values())
    assert ends["values"].transcript == ends["members"].transcript


def _points(change: Any) -> Any:
    return lambda n, m: [Points(m.index, change(m.data))] if isinstance(m, Points) else [m]


def _blocks(which: int, change: Any) -> Any:
    seen = []

    def replace(n: int, m: Any) -> Any:
        if not isinstance(m, Block):
            return [m]
        seen.append(m)
        return [Block(m.index, change(m.data))] if len(seen) == which + 1 else [m]

    return replace


HOSTILE = {
    "count": ("values", lambda: lambda n, m: [Size(m.count + 1)] if n == 0 else [m]),
    "low order": ("values", lambda: _points(lambda d: bytes(32) + d[32:])),
    "repeated point": ("values", lambda: _points(lambda d: d[32:64] + d[32:])),
    "short tags": ("values", lambda: _blocks(0, lambda d: d[:-1])),
    "repeated tags": ("values", lambda: _blocks(0, lambda d: bytes(len(d)))),
    "short ciphertexts": ("values", lambda: _blocks(1, lambda d: d[:-1])),
    "zero ciphertexts": ("values", lambda: _blocks(1, lambda d: bytes(len(d)))),
    "ciphertexts of no key": ("values", lambda: _blocks(1, lambda d: b"\xff" * len(d))),
    "members on the twist": ("members", lambda: _points(lambda d: (2).to_bytes(32, "little") + d[32:])),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_role_ends_in_a_typed_abort_on_both_sides(name: str) -> None:
    role, make = HOSTILE[name]
    done = job({"id": list("abcdef"), "v": list(range(6))}, list("abcdxyz"), ["v"], floor=1)
    ends = done.run_async({role: replacing(done.steps(role), make())})
    assert all(isinstance(end, ProtocolAbort | BadMessage) for end in ends.values()), ends


@pytest.mark.parametrize("spoiled", [0, 5])
@pytest.mark.parametrize("shared", [range(6), range(3), range(3, 6)], ids=str)
def test_a_spoiled_ciphertext_ends_the_job_whether_or_not_its_key_is_shared(
    spoiled: int, shared: range
) -> None:
    """Else how the job ends would tell `values` whether that key is."""
    done = job({"id": list("abcdef"), "v": list(range(6))}, ["abcdef"[i] for i in shared] + ["x"], ["v"])

    def spoil(data: bytes) -> bytes:
        width = len(data) // 6
        return data[: spoiled * width] + bytes(width) + data[(spoiled + 1) * width :]

    ends = done.run_async({"values": replacing(done.steps("values"), _blocks(1, spoil))})
    assert all(isinstance(end, ProtocolAbort) for end in ends.values()), ends
    assert "invalid ciphertext" in str(ends["members"])


def consumer_opens(done: Job, **changed: Any) -> Any:
    run = done.run()
    sealed = payload.decode(totals.Totals, {"m": run.outputs["members"].sealed}, "m")
    fields = {"count": sealed.count, "sums": sealed.sums} | changed
    return done.kind.open_result(done.consumer(), {"members": payload.encode(totals.Totals(**fields))})


def test_results_that_no_honest_node_delivers_are_refused() -> None:
    done = job({"id": ["a", "b"], "v": [1, 2]}, ["a", "b"], ["v"])
    assert consumer_opens(done)["sums"] == {"v": 3.0}
    for changed in ({"count": 3}, {"sums": ()}, {"sums": (b"",)}, {"sums": (bytes(512),)}):
        with pytest.raises(BadMessage):
            consumer_opens(done, **changed)
    forged = totals.encrypt("paillier", done.params.public_key, [[2, 2**160]], bytes(32))
    with pytest.raises(BadMessage, match="no set of rows"):
        consumer_opens(done, sums=(forged,))
    with_key = done.consumer()
    without = Session("", with_key.spec, with_key.params, with_key.binding, 0, seeded(1))
    sealed = {"members": done.run().outputs["members"].sealed}
    with pytest.raises(BadInput, match="private key is not here"):
        done.kind.open_result(without, sealed)


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"keys": {"values": ["a", "b"], "members": ["a"]}}, "same number"),
        ({"values": []}, "values"),
        ({"values": ["v", "v"]}, "once"),
        ({"scheme": "rsa"}, "scheme"),
        ({"key_bits": 1024}, "key_bits"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_bad_parameters_name_the_field(params: dict[str, Any], reason: str) -> None:
    given = {"keys": {"values": ["id"], "members": ["pid"]}, "values": ["v"], "key_bits": 2048} | params
    with pytest.raises(BadInput, match=reason):
        Job("psi.sum", given, {"values": pa.table({"id": ["a"]}), "members": pa.table({"pid": ["a"]})})


def test_a_key_of_another_scheme_is_refused() -> None:
    done = job({"id": ["a"], "v": [1]}, ["a"], ["v"], scheme="ou")
    with pytest.raises(BadInput, match="no paillier key"):
        totals.public_key("paillier", done.params.public_key)


# -- larger than the memory, and cut

LITTLE = 4 << 10


def little(values: int, members: range, **params: Any) -> Job:
    table = {
        "id": [f"k{i // 3}" for i in range(values)],
        "v": [2**i if i < 60 else -i for i in range(values)],
        "w": [None if i % 5 == 0 else i / 8 for i in range(values)],
        "age": list(range(values)),
    }
    storage = {role: {"memory_bytes": LITTLE} for role in ("values", "members")}
    return job(table, [f"k{i}" for i in members], ["v", "w"], scheme="ou", storage=storage, **params)


def expected(values: range, members: range) -> dict[str, Any]:
    rows = [i for i in values if i // 3 in members]
    return {
        "count": len({i // 3 for i in rows}),
        "rows": len(rows),
        "sums": {
            "v": float(sum(2**i if i < 60 else -i for i in rows)),
            "w": sum(i / 8 for i in rows if i % 5),
        },
    }


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 8 points and two ciphertexts, steps of 16 points, stretches of 6 keys, 4 rows at once."""
    for module in (blocks, masking, points_cost):
        monkeypatch.setattr(module, "BLOCK", 8)
    monkeypatch.setattr(masking, "STEP_BLOCKS", 2)
    monkeypatch.setattr(stream, "BLOCK_BYTES", 2 * 256)
    monkeypatch.setattr(protocol, "_LEAST_STRETCH", 5)
    monkeypatch.setattr(totals, "_LEAST_ROWS", 4)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("on_disk", [False, True])
def test_sets_beyond_the_memory_add_as_the_plaintext_join(on_disk: bool, tmp_path: Path) -> None:
    condition = {"column": "age", "op": "ge", "value": "20"}
    done = little(110, range(15, 70), filter=[condition])
    spaces: dict[str, Workspace] = {
        role: DirectoryWorkspace(tmp_path / role) if on_disk else MemoryWorkspace()
        for role in ("values", "members")
    }
    for role, space in spaces.items():
        done.storage[role]["workspace"] = space
    run = done.run()
    assert done.open(run) == expected(range(20, 110), range(15, 70))
    assert "sum.rows" in spaces["values"].names(), "the filtered rows were spilled"
    for space in spaces.values():
        assert len([name for name in space.names() if name.startswith("mask.tags.")]) >= 8
    assert len([name for name in spaces["members"].names() if name.startswith("sum.matched.")]) == 6
    predicted = cost(31, 55, 2, scheme="ou", modulus_bits=2048).bytes_sent
    for role, sent in predicted.items():
        assert run.bytes_sent(role) == pytest.approx(sent, rel=0.02)
    assert run.progress["values"][-1] == Progress("stats.encrypt", 31, 31)
    assert run.progress["members"][-1] == Progress("stats.receive", 31, 31)


@pytest.mark.usefixtures("short")
def test_a_key_with_more_rows_than_are_added_at_once() -> None:
    table = {"id": ["a"] * 11 + ["b"] * 2 + ["c"] * 9, "v": [2**i for i in range(22)]}
    storage = {"values": {"memory_bytes": 64}}
    done = job(table, ["a", "c", "x"], ["v"], scheme="ou", storage=storage)
    assert done.result() == {
        "count": 2,
        "rows": 20,
        "sums": {"v": float(sum(2**i for i in range(22) if i not in (11, 12)))},
    }


@pytest.mark.usefixtures("short")
def test_a_job_that_was_cut_goes_on_with_the_same_sums() -> None:
    wanted = expected(range(70), range(9, 40))
    whole = Interrupted(little(70, range(9, 40))).attempt()
    resumed = set()
    # Resuming and agreeing are messages too, and so is every mark.
    for who, cuts in (("values", (3, 7, 8, 10, 11, 14, 17, 20, 23)), ("members", (5, 9, 11))):
        for allowed in cuts:
            run = Interrupted(little(70, range(9, 40)))
            first = run.attempt({who: allowed})
            assert any(isinstance(end, PeerLost) for end in first.values()), (who, allowed)
            second = run.attempt()
            resumed.add(run.resumed[-1])
            for role, end in second.items():
                assert isinstance(end, RunResult), (who, allowed, second)
                assert isinstance(whole[role], RunResult)
                assert (end.bytes_in, end.bytes_out) == (whole[role].bytes_in, whole[role].bytes_out)
            sealed = {"members": second["members"].output.sealed}
            assert run.job.kind.open_result(run.job.consumer(), sealed) == wanted
            points = [m.data for m in run.sent["values"] if isinstance(m, Points)]
            elements = {data[at : at + 32] for data in points for at in range(0, len(data), 32)}
            assert run.resumed[-1] == 0 or len(elements) == 24, "the same points, and no others"
    assert resumed >= {0, 1, 2, 3, 4, 5, 6}, resumed


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("column", ["id", "v"])
def test_another_input_on_resume_is_refused(column: str) -> None:
    run = Interrupted(little(70, range(9, 40)))
    run.attempt({"values": 14})
    table = run.job.tables["values"]
    changed = pa.chunked_array([table[column].combine_chunks().take(pa.array([*range(69), 0]))])
    run.job.tables["values"] = table.set_column(table.column_names.index(column), column, changed)
    ends = run.attempt()
    assert run.resumed[-1] > 0
    assert "than when the job began" in str(ends["values"])
    assert all(isinstance(end, ProtocolAbort) for end in ends.values()), ends


def test_a_total_that_is_damaged_is_told() -> None:
    public = totals.public_key("ou", little(9, range(3)).params.public_key)
    for damaged in (b"", bytes(255), bytes(256), b"\xff" * 256):
        with pytest.raises(DataError, match="total so far"):
            totals.restored(public, memoryview(damaged), 3, 2)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("twice", [False, True])
def test_ciphertexts_out_of_turn_end_both_sides(twice: bool) -> None:
    done = little(70, range(9, 40))
    count = 0

    def replace(n: int, message: Any) -> list[Any]:
        nonlocal count
        # Tags have six bytes: 31 of them are one block.
        if not isinstance(message, Block):
            return [message]
        count += 1
        return ([message, message] if twice else []) if count == 4 else [message]

    ends = done.run_async({"values": replacing(done.steps("values"), replace)})
    assert isinstance(ends["members"], ProtocolAbort), ends
