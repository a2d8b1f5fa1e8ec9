"""psi.sum adds what a plaintext join adds, keeps its floors, and hostile roles end in typed aborts."""

import hashlib
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from compute.errors import BadInput, BadMessage, CohortTooSmall, ProtocolAbort
from compute.protocols import payload, stream
from compute.protocols.protocol import Progress, Session
from compute.protocols.psi.ecdh.oprf import Points
from compute.protocols.psi.sum import totals
from compute.protocols.psi.sum.cost import cost
from compute.protocols.runner import RunResult
from compute.protocols.sets import Size
from compute.protocols.stream import Block
from compute.wire import codec
from tests.compute.protocols.hostile import replacing
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


def test_nothing_is_released_of_an_empty_intersection_even_without_a_floor() -> None:
    with pytest.raises(CohortTooSmall):
        job({"id": ["a"], "v": [1]}, ["b"], ["v"]).run()


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
