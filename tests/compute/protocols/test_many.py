"""psi.many equals a plaintext join of many sets; who may not learn does not; hostile parties abort."""

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accel import okvs
from accel.errors import EncodingFailed
from compute.errors import BadInput, BadMessage, CohortTooSmall, ProtocolAbort
from compute.protocols.identifiers import Normalisation
from compute.protocols.keyset import key_set
from compute.protocols.local import LocalRun, run_local
from compute.protocols.protocol import Output, Part, Receive, Send, Steps, receive
from compute.protocols.psi.ecdh.oprf import EcdhOprf, Points
from compute.protocols.psi.many import protocol
from compute.protocols.psi.many.cost import cost
from compute.protocols.psi.many.programmed import Hint, evaluate, program
from compute.protocols.psi.many.protocol import Hello, Told
from compute.protocols.psi.many.together import together
from compute.protocols.psi.many.zero_sharing import PairKeys, share
from compute.protocols.runner import RunResult
from compute.protocols.sets import Size
from compute.protocols.stream import Block
from compute.wire import codec
from tests.compute.protocols.hostile import replacing
from tests.compute.protocols.jobs import BINDING, Job
from tests.compute.protocols.test_ecdh import digests, session


def many(
    sets: list[list[Any]], *, floor: int = 0, seed: int | str = 0, storage: Any = None, **params: Any
) -> Job:
    roles = [f"p{index + 1}" for index in range(len(sets))]
    tables = {
        role: pa.table({f"id{role}": pa.array(items, pa.string())})
        for role, items in zip(roles, sets, strict=True)
    }
    keys = {role: [f"id{role}"] for role in roles}
    return Job("psi.many", {"keys": keys} | params, tables, floor=floor, seed=seed, storage=storage)


def texts(*numbers: Any) -> list[str]:
    return [f"k{i}" for i in numbers]


CASES = {
    "sizes differ": [range(61), range(31, 77), range(20, 53)],
    "disjoint": [range(9), range(9, 20), range(30, 33)],
    "pairwise but not common": [range(10), range(5, 15), [*range(5), *range(10, 15)]],
    "equal": [range(17)] * 3,
    "subsets": [range(20), range(5, 15), range(7, 9)],
    "one each": [range(1)] * 3,
    "one each, another": [range(1), range(1), range(1, 2)],
    "one empty": [range(9), range(0), range(9)],
    "leader empty": [range(0), range(9), range(9)],
    "all empty": [range(0)] * 3,
    "four": [range(3, 40), range(7, 50), range(33), range(5, 29)],
    "five": [range(30), range(3, 33), range(1, 20), range(2, 70), range(0, 28, 2)],
}


@pytest.mark.parametrize("sets", CASES.values(), ids=CASES)
@pytest.mark.parametrize("protocol_name", ["ecdh", "rr22"])
def test_equals_the_plaintext_join(sets: list[Any], protocol_name: str) -> None:
    job = many([texts(*one) for one in sets], output_to=["p1", "p3"], protocol=protocol_name)
    run = job.run()
    common = set.intersection(*(set(one) for one in sets))
    opened = job.open(run)
    assert opened["count"] == len(common)
    for index, one in enumerate(sets):
        role = f"p{index + 1}"
        if role in ("p1", "p3"):
            expected = [[f"k{i}"] for i in one if i in common]
            assert opened[role] == {"columns": [f"id{role}"], "rows": expected}
        else:
            assert opened[role] is None
            assert run.outputs[role].sealed is None
            assert run.outputs[role].rows is None
    sizes = {f"p{index + 1}": len(one) for index, one in enumerate(sets)}
    predicted = cost(sizes, ["p1", "p3"], protocol=protocol_name).bytes_sent
    for role, expected_bytes in predicted.items():
        assert run.bytes_sent(role) == pytest.approx(expected_bytes, rel=0.001), role


@pytest.mark.parametrize("curve", ["sm2", "secp256k1"])
def test_other_curves(curve: str) -> None:
    job = many([texts(*range(9)), texts(*range(3, 12)), texts(*range(5, 7))], curve=curve, output_to=["p2"])
    run = job.run()
    assert job.open(run)["p2"]["rows"] == [["k5"], ["k6"]]
    predicted = cost({"p1": 9, "p2": 9, "p3": 2}, ["p2"], curve=curve).bytes_sent
    for role, expected in predicted.items():
        assert run.bytes_sent(role) == pytest.approx(expected, rel=0.001)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_sets_any_outputs(data: st.DataObject) -> None:
    item = st.text(alphabet="abc 张é", max_size=2)
    sets = data.draw(st.lists(st.lists(item, max_size=15), min_size=3, max_size=5))
    roles = [f"p{index + 1}" for index in range(len(sets))]
    output_to = data.draw(st.lists(st.sampled_from(roles), min_size=1, unique=True))
    protocol_name = data.draw(st.sampled_from(["ecdh", "rr22"]))
    opened = many(sets, output_to=output_to, protocol=protocol_name).result()
    stripped = [{text.strip() for text in one} - {""} for one in sets]
    common = set.intersection(*stripped)
    assert opened["count"] == len(common)
    for role in roles:
        if role in output_to:
            assert {row[0].strip() for row in opened[role]["rows"]} == common
        else:
            assert opened[role] is None


def test_ten_parties_all_of_them_get_it() -> None:
    sets = [texts(*range(i, 20 + i)) for i in range(10)]
    roles = [f"p{i + 1}" for i in range(10)]
    job = many(sets, output_to=roles[::-1])
    opened = job.result()
    assert opened["count"] == 11
    assert all(opened[role]["rows"] == [[f"k{i}"] for i in range(9, 20)] for role in roles)


def test_parts_go_side_by_side_or_one_after_the_other_as_memory_bears() -> None:
    sets = [texts(*range(40)), texts(*range(10, 50)), texts(*range(20, 60)), texts(*range(5, 33))]
    tight = many(sets, storage={"p1": {"memory_bytes": 1}})
    wide = many(sets)
    orders = []
    for job in (tight, wide):
        run = job.run()
        assert job.open(run)["count"] == len(range(20, 33))
        points = [m.receiver for m in run.wire if m.sender == "p1" and m.data.find(b"ecdh.points") > 0]
        hints = [i for i, m in enumerate(run.wire) if m.data.find(b"many.hint") > 0]
        last_point = max(
            i for i, m in enumerate(run.wire) if m.sender == "p1" and m.data.find(b"ecdh.points") > 0
        )
        assert sorted(points) == ["p2", "p3", "p4"]
        orders.append(hints[0] < last_point)
    # One after the other: the first store came before the last points went out.
    assert orders == [True, False]


def test_duplicates_nulls_output_columns_and_metrics() -> None:
    tables = {
        "p1": pa.table({"a": ["x", "y", "y", None, "z"], "n": [1, 2, 3, 4, 5]}),
        "p2": pa.table({"b": ["y ", "z", "w"], "m": ["u", "v", "t"]}),
        "p3": pa.table({"c": ["z", "y", "q"], "secret": [7, 8, 9]}),
    }
    params = {
        "keys": {"p1": ["a"], "p2": ["b"], "p3": ["c"]},
        "output_to": ["p2", "p1"],
        "output_columns": {"p1": ["n"]},
    }
    job = Job("psi.many", params, tables)
    run = job.run()
    assert job.open(run) == {
        "count": 2,
        "p1": {"columns": ["a", "n"], "rows": [["y", 2], ["y", 3], ["z", 5]]},
        "p2": {"columns": ["b"], "rows": [["y "], ["z"]]},
        "p3": None,
    }
    assert run.outputs["p1"].metrics == {
        "elements": 3,
        "peer_elements": 6,
        "parties": 3,
        "rows_repeated": 1,
        "rows_without_key": 1,
        "rows_unfit": 0,
    }
    assert [run.outputs[role].units for role in ("p1", "p2", "p3")] == [3, 3, 3]
    assert job.kind.columns(job.spec, job.params, "p1") == ("a", "n")
    assert job.kind.columns(job.spec, job.params, "p3") == ("c",)


def test_count_alone_if_rows_are_not_to_be_delivered() -> None:
    job = many([["a", "secret"], ["secret", "b"], ["secret"]], deliver_to_consumer=False)
    run = job.run()
    assert b"secret" not in run.outputs["p1"].sealed
    assert run.outputs["p1"].rows.to_pylist() == [{"idp1": "secret"}]
    assert job.open(run) == {"count": 1, "p1": None, "p2": None, "p3": None}


# ---- what crosses


def test_bytes_and_progress_do_not_tell_the_size_of_the_intersection() -> None:
    seconds = [texts(*range(20)), texts(*range(17, 37))]
    runs = [
        many([texts(*range(20)), one, texts(*range(-5, 20))], output_to=["p1", "p2", "p3"]).run()
        for one in seconds
    ]
    assert [len(run.outputs["p2"].rows) for run in runs] == [20, 3]
    for role in ("p1", "p2", "p3"):
        assert len({run.bytes_sent(role) for run in runs}) == 1
        assert runs[0].progress[role] == runs[1].progress[role]


def sent(run: LocalRun, kind: Any, sender: str = "") -> list[Any]:
    found = []
    for message in run.wire:
        if sender in ("", message.sender):
            try:
                found.append(codec.decode(kind, message.data))
            except BadMessage:
                continue
    return found


def test_parties_that_do_not_lead_exchange_sizes_and_keys_alone() -> None:
    run = many([texts(*range(9)), texts(*range(8)), texts(*range(7))], output_to=["p2"]).run()
    between = [m for m in run.wire if {m.sender, m.receiver} == {"p1", "p3"}]
    assert len(between) == 2
    assert all(codec.decode(Hello, m.data).count in (9, 7) for m in between)


@pytest.mark.parametrize("protocol_name", ["ecdh", "rr22"])
def test_no_identifier_crosses_and_two_runs_share_nothing(protocol_name: str) -> None:
    ids = [f"patient-{i:05}" for i in range(40)]
    sets = [ids[:30], ids[5:], ids[:35]]
    roles = ["p1", "p2", "p3"]
    runs = [many(sets, output_to=roles, protocol=protocol_name, seed=seed).run() for seed in (1, 2)]
    data = b"".join(message.data for run in runs for message in run.wire)
    for text in ids:
        assert text.encode() not in data
        for name in ("md5", "sha1", "sha256", "sha512", "sm3"):
            assert hashlib.new(name, text.encode()).digest()[:8] not in data
    pieces = []
    for run in runs:
        found = {m.data[at : at + 32] for m in sent(run, Points) for at in range(0, len(m.data), 32)}
        found |= {m.data[at : at + 8] for m in sent(run, Block) for at in range(0, len(m.data) - 7, 8)}
        found |= {m.key for m in sent(run, Hello)}
        pieces.append(found)
    assert len(pieces[0]) > 500
    # RR22 pads lists of points with zeros and counts; nothing else may be in both.
    assert not {piece for piece in pieces[0] & pieces[1] if len(set(piece)) > 2}


def test_the_store_of_a_peer_tells_the_leader_nothing_about_what_only_the_two_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, np.ndarray] = {}

    def recording(session: Any, peer: str, *rest: Any) -> Part[Any]:
        values = yield from evaluate(session, peer, *rest)
        seen[peer] = values
        return values

    monkeypatch.setattr(protocol, "evaluate", recording)
    job = many([texts(*range(20)), texts(*range(15)), texts(*range(10, 30))])
    assert job.result()["count"] == 5
    # 0-9 with p2 alone, 15-19 with p3 alone: only where both have the key does anything cancel.
    mine = share_of_leader(job)
    total = mine ^ seen["p2"] ^ seen["p3"]
    keys = [f"k{i}" for i in range(20)]
    zero = {key for key, row in zip(ordered(job, keys), total, strict=True) if not row.any()}
    assert zero == {f"k{i}" for i in range(10, 15)}
    for peer in ("p2", "p3"):
        assert len(np.unique(seen[peer])) == 20
        assert not (mine ^ seen[peer] == 0).any()


def share_of_leader(job: Job) -> np.ndarray:
    run_keys: dict[str, bytes] = {}
    seeds = {role: job.session(role).rng(32) for role in job.roles}
    pairs = {role: PairKeys(role, job.binding, seeds[role]) for role in job.roles}
    for role in ("p2", "p3"):
        run_keys[role] = pairs["p1"].with_peer(role, pairs[role].public, b"share")
        assert run_keys[role] == pairs[role].with_peer("p1", pairs["p1"].public, b"share")
    items = key_set(job.tables["p1"], ["idp1"], Normalisation()).digests
    return share(run_keys.values(), items, 1)


def ordered(job: Job, keys: list[str]) -> list[str]:
    """The keys of p1 in the order of its digests."""
    found = key_set(job.tables["p1"], ["idp1"], Normalisation())
    names = job.tables["p1"].column("idp1").to_pylist()
    assert sorted(names) == sorted(keys)
    return [names[found.rows[found.offsets[index]]] for index in range(len(found))]


# ---- endings


def test_transcripts_over_channels() -> None:
    sets = [texts(*range(9)), texts(*range(3, 12)), texts(*range(2, 8)), texts(*range(5, 9))]
    ends = many(sets, floor=3, output_to=["p3", "p1"]).run_async()
    assert all(isinstance(end, RunResult) for end in ends.values()), ends
    for one in ends:
        for other in ends:
            if one != other:
                assert ends[one].peer_transcripts[other] == ends[other].peer_transcripts[one]


@pytest.mark.parametrize(
    "sets",
    [
        [range(2), range(9), range(9)],
        [range(9), range(9), range(2)],
        [range(9), range(7, 16), range(9)],
        [range(9), range(9), range(9, 18)],
    ],
    ids=str,
)
def test_floors_end_all_sides(sets: list[range]) -> None:
    ends = many([texts(*one) for one in sets], floor=3, output_to=["p2", "p1"]).run_async()
    assert {type(end) for end in ends.values()} == {CohortTooSmall}


def test_more_keys_than_declared_is_refused() -> None:
    ends = many([texts(*range(9)), ["k1"], ["k1"]], max_elements=8).run_async()
    assert type(ends["p1"]) is BadInput
    assert all(isinstance(end, Exception) for end in ends.values())


def _kind(kind: Any, change: Any, *, only: int | None = None) -> Any:
    def make() -> Any:
        seen: list[Any] = []

        def replace(n: int, m: Any) -> Any:
            if not isinstance(m, kind):
                return [m]
            seen.append(m)
            return [change(m)] if only is None or len(seen) == only + 1 else [m]

        return replace

    return make


HOSTILE = {
    "count too high": ("p1", _kind(Hello, lambda m: Hello(m.count + 1, m.key))),
    "count too low": ("p1", _kind(Hello, lambda m: Hello(m.count - 1, m.key))),
    "a key of low order": ("p3", _kind(Hello, lambda m: Hello(m.count, bytes(32)))),
    "points of low order": ("p1", _kind(Points, lambda m: Points(m.index, bytes(32) + m.data[32:]))),
    "points on the twist": (
        "p2",
        _kind(Points, lambda m: Points(m.index, (2).to_bytes(32, "little") + m.data[32:])),
    ),
    "a short store": ("p3", _kind(Block, lambda m: Block(m.index, m.data[:-8]))),
    "no store": ("p3", _kind(Hint, lambda m: Size(1))),
    "tags of no key": ("p1", _kind(Block, lambda m: Block(m.index, b"\1" * 15 + m.data[15:]))),
    "tags that repeat": ("p1", _kind(Block, lambda m: Block(m.index, m.data[:16] * (len(m.data) // 16)))),
    "more matches than there are": ("p1", _kind(Told, lambda m: Told((1000).to_bytes(8, "big")))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_party_ends_in_typed_aborts(name: str) -> None:
    role, make = HOSTILE[name]
    job = many([texts(*range(9)), texts(*range(1, 12)), texts(*range(2, 8))], floor=1, output_to=["p1", "p2"])
    ends = job.run_async({role: replacing(job.steps(role), make())})
    assert not any(isinstance(end, RunResult) for end in ends.values()), ends
    assert any(isinstance(end, ProtocolAbort | BadMessage) for end in ends.values()), ends


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"keys": {"p1": ["a"], "p2": ["a"]}}, "keys"),
        ({"keys": {"p1": ["a"], "p2": ["a"], "p4": ["a"]}}, "without a gap"),
        ({"keys": {"p1": ["a"], "p2": ["a"], "p3": ["a", "b"]}}, "same number"),
        ({"keys": {"p1": ["a"], "p2": ["a"], "q3": ["a"]}}, "keys"),
        ({"keys": {f"p{i + 1}": ["a"] for i in range(11)}}, "keys"),
        ({"output_to": []}, "output_to"),
        ({"output_to": ["p1", "p1"]}, "once"),
        ({"output_to": ["p4"]}, "none of the parties"),
        ({"output_columns": {"p2": ["x"]}}, "p2 is not in output_to"),
        ({"protocol": "kkrt"}, "protocol"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_bad_parameters_name_the_field(params: dict[str, Any], reason: str) -> None:
    tables = {f"p{i + 1}": pa.table({"a": ["x"]}) for i in range(3)}
    with pytest.raises(BadInput, match=reason):
        Job("psi.many", {"keys": {"p1": ["a"], "p2": ["a"], "p3": ["a"]}} | params, tables)


def test_parties_of_the_job_must_be_those_of_the_keys() -> None:
    tables = {f"p{i + 1}": pa.table({"a": ["x"]}) for i in range(4)}
    with pytest.raises(BadInput, match="needs the roles p1, p2, p3"):
        Job("psi.many", {"keys": {"p1": ["a"], "p2": ["a"], "p3": ["a"]}}, tables)


def test_results_that_differ_are_refused() -> None:
    job = many([["a"], ["a"], ["a"]], output_to=["p1", "p2"])
    good = b'{"count":1,"columns":["idp1"],"rows":[["a"]]}'
    for bad in (b'{"count":2}', b'{"count":1,"columns":["x"],"rows":[["a","b"]]}', b'{"count":-1}', b"[]"):
        with pytest.raises(BadMessage):
            job.kind.open_result(job.consumer(), {"p1": good, "p2": bad})


# ---- building blocks


@pytest.mark.parametrize("parties", [3, 4, 10])
@pytest.mark.parametrize("words", [1, 2])
def test_shares_sum_to_zero_and_no_fewer_do(parties: int, words: int) -> None:
    roles = [f"p{i + 1}" for i in range(parties)]
    pairs = {role: PairKeys(role, BINDING, bytes([i]) * 32) for i, role in enumerate(roles)}
    items = digests(*range(7))
    total = np.zeros((7, words), np.uint64)
    for role in roles:
        keys = [
            pairs[role].with_peer(other, pairs[other].public, b"share") for other in roles if other != role
        ]
        total ^= share(keys, items, words)
        assert total.all() == (role != roles[-1])
    assert not total.any()


def test_pair_keys_differ_by_purpose_pair_and_job() -> None:
    one, other, third = (
        PairKeys(role, BINDING, bytes([i]) * 32) for i, role in enumerate(("p1", "p2", "p3"))
    )
    found = {
        one.with_peer("p2", other.public, b"share"),
        one.with_peer("p2", other.public, b"tags"),
        one.with_peer("p3", third.public, b"share"),
        one.with_peer("p3", other.public, b"share"),
        PairKeys("p1", bytes(32), bytes(32)).with_peer("p2", other.public, b"share"),
    }
    assert len(found) == 5
    assert other.with_peer("p1", one.public, b"tags") in found
    with pytest.raises(ProtocolAbort, match="p2 sent no public key"):
        one.with_peer("p2", bytes(32), b"share")


@pytest.mark.parametrize("words", [1, 2])
@pytest.mark.parametrize(("mine", "theirs"), [(0, 5), (5, 0), (1, 1), (300, 70)])
def test_a_programmed_function_takes_its_values_and_nothing_else(mine: int, theirs: int, words: int) -> None:
    values = np.random.default_rng(1).integers(1, 2**63, (mine, words), np.uint64)
    got: list[np.ndarray] = []

    def sender() -> Steps:
        yield from program(
            session("left"), "right", EcdhOprf(), digests(*range(mine)), values, theirs, b"test"
        )
        return Output()

    def receiver() -> Steps:
        items = digests(*range(mine - 1, mine - 1 + theirs))
        got.append((yield from evaluate(session("right"), "left", EcdhOprf(), items, mine, words, b"test")))
        return Output()

    run_local({"left": sender(), "right": receiver()})
    shared = min(1, mine, theirs)
    assert (got[0][:shared] == values[mine - 1 : mine - 1 + shared]).all()
    rest = got[0][shared:]
    assert len(np.unique(rest)) == rest.size
    assert not np.isin(rest, values).any()


def test_a_store_that_cannot_be_encoded_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    real, seeds = okvs.encode, []

    def failing(items: Any, masked: Any, seed: bytes, rng: Any) -> Any:
        seeds.append(seed)
        if len(seeds) < fail_below:
            raise EncodingFailed("no")
        return real(items, masked, seed, rng)

    monkeypatch.setattr(okvs, "encode", failing)
    fail_below = 3
    assert many([["a", "b"], ["b"], ["b"]]).result()["count"] == 1
    assert len(set(seeds)) == len(seeds) == 4
    seeds.clear()
    fail_below = 99
    with pytest.raises(ProtocolAbort, match="could not be encoded"):
        many([["a", "b"], ["b"], ["b"]]).run()
    assert len(set(seeds)) == 3


def test_together_sends_before_it_waits_and_keeps_the_order_of_results() -> None:
    def part(role: str, rounds: int) -> Part[str]:
        for number in range(rounds):
            yield Send(role, Size(number))
            assert (yield from receive(role, Size)).count == number
        return role

    steps = together([part("a", 2), part("b", 0), part("c", 1)])
    seen: list[tuple[str, str]] = []
    reply: Any = None
    result = None
    while result is None:
        try:
            effect = steps.send(reply)
        except StopIteration as stop:
            result = stop.value
            break
        reply = Size(seen.count(("Receive", effect.role))) if isinstance(effect, Receive) else None
        seen.append((type(effect).__name__, effect.role))
    assert result == ["a", "b", "c"]
    assert seen == [
        ("Send", "a"),
        ("Send", "c"),
        ("Receive", "a"),
        ("Send", "a"),
        ("Receive", "c"),
        ("Receive", "a"),
    ]
