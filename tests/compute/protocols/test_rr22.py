"""RR22: both sides get one function, at any sizes; peers that deviate are caught as far as README says."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.errors import EncodingFailed
from compute.errors import BadInput, BadMessage, ProtocolAbort
from compute.protocols.local import LocalRun, run_local
from compute.protocols.protocol import Output, Send, Session, Steps
from compute.protocols.psi.rr22 import receiver as receiver_module
from compute.protocols.psi.rr22.cost import oprf_cost, receiver_parts, sender_parts
from compute.protocols.psi.rr22.oprf import Rr22
from compute.protocols.psi.rr22.parameters import LOW_COMMUNICATION, MALICIOUS, STANDARD, check_sound, shape
from compute.protocols.stream import Block, block_items
from compute.wire import codec
from tests.compute.protocols.jobs import BINDING, seeded, spec_of

MODES = {
    "rr22": Rr22(),
    "rr22-low": Rr22(low_communication=True),
    "rr22-malicious": Rr22(malicious=True),
}
# From 3,100 items on, noise is compressed; below, every entry is a product of its own.
SILENT = 3500

Change = Callable[[int, bytes], bytes | None]


def digests(*ranges: range) -> np.ndarray:
    names = [number for one in ranges for number in one]
    data = b"".join(hashlib.sha256(str(name).encode()).digest() for name in names)
    return np.frombuffer(data, np.uint8).reshape(-1, 32)


def session(role: str, seed: int | str = 0, binding: bytes = BINDING) -> Session:
    params = {"keys": {"left": ["i"], "right": ["i"]}}
    return Session(role, spec_of("psi", params, ("left", "right")), None, binding, 0, seeded(f"{seed}{role}"))


def altering(steps: Steps, change: Change) -> Steps:
    """A role whose n-th byte string goes through ``change`` (its first block); None: it is not sent."""
    number, reply = -1, None
    while True:
        try:
            effect = steps.send(reply)
        except StopIteration as stop:
            return stop.value
        reply = None
        if not isinstance(effect, Send):
            reply = yield effect
            continue
        block = effect.message
        assert isinstance(block, Block)
        number += block.index == 0
        changed = change(number, block.data) if block.index == 0 else block.data
        if changed is not None:
            yield Send(effect.role, Block(block.index, changed))


def run_oprf(
    oprf: Rr22,
    sender: list[np.ndarray],
    receiver: list[np.ndarray],
    *,
    seed: int | str = 0,
    cheat: str = "",
    change: Change = lambda number, data: data,
    counts: tuple[list[int], list[int]] | None = None,
    bindings: tuple[bytes, bytes] = (BINDING, BINDING),
) -> tuple[list[np.ndarray], list[np.ndarray], LocalRun]:
    """``left`` sends, ``right`` receives. ``counts``: what is believed of receiver and sender."""
    found: dict[str, Any] = {}
    of_receiver, of_sender = counts or ([len(b) for b in receiver], [len(b) for b in sender])

    def left() -> Steps:
        part = oprf.send(session("left", seed, bindings[0]), "right", sender, of_receiver, b"first")
        found["left"] = yield from part
        return Output()

    def right() -> Steps:
        part = oprf.receive(session("right", seed, bindings[1]), "left", receiver, of_sender, b"first")
        found["right"] = yield from part
        return Output()

    roles = {"left": left(), "right": right()}
    if cheat:
        roles[cheat] = altering(roles[cheat], change)
    run = run_local(roles)
    return found["left"], found["right"], run


def common(left: np.ndarray, right: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in left} & {row.tobytes() for row in right}


def by_output(items: np.ndarray, outputs: np.ndarray) -> dict[bytes, bytes]:
    assert outputs.shape == (len(items), 32)
    assert outputs.dtype == np.uint8
    result = {out.tobytes(): item.tobytes() for item, out in zip(items, outputs, strict=True)}
    assert len(result) == len(items)
    return result


def check(sender: np.ndarray, receiver: np.ndarray, of_sender: np.ndarray, of_receiver: np.ndarray) -> None:
    left, right = by_output(sender, of_sender), by_output(receiver, of_receiver)
    met = left.keys() & right.keys()
    assert {left[output] for output in met} == common(sender, receiver)
    assert all(left[output] == right[output] for output in met)


SIZES = [(0, 0), (0, 5), (5, 0), (1, 1), (2, 3), (3, 2), (5, 17), (17, 5), (100, 100), (1001, 999)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("sender", "receiver"), SIZES)
def test_outputs_meet_exactly_at_equal_items(mode: str, sender: int, receiver: int) -> None:
    shared = min(sender, receiver) // 2
    ours = digests(range(shared), range(10_000, 10_000 + sender - shared))
    theirs = digests(range(20_000, 20_000 + receiver - shared), range(shared))
    (of_sender,), (of_receiver,), _ = run_oprf(MODES[mode], [ours], [theirs])
    check(ours, theirs, of_sender, of_receiver)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("sender", "receiver"), [(6789, 7890), (1, 5000), (5000, 1), (4097, 4096)])
def test_outputs_meet_at_sizes_with_noise(mode: str, sender: int, receiver: int) -> None:
    shared = min(sender, receiver, 3000)
    ours = digests(range(shared), range(10_000, 10_000 + sender - shared))
    theirs = digests(range(20_000, 20_000 + receiver - shared), range(shared))
    (of_sender,), (of_receiver,), _ = run_oprf(MODES[mode], [ours], [theirs])
    check(ours, theirs, of_sender, of_receiver)


@pytest.mark.parametrize("mode", MODES)
def test_outputs_meet_where_tables_have_several_or_wide_bins(mode: str) -> None:
    # 66,000 items are five bins of a standard table, and one of a small one, too wide for 16 bits.
    ours = digests(range(300), range(80_000, 80_100))
    theirs = digests(range(66_000))
    (of_sender,), (of_receiver,), _ = run_oprf(MODES[mode], [ours], [theirs])
    check(ours, theirs, of_sender, of_receiver)


@pytest.mark.parametrize("overlap", [0, 300], ids=["disjoint", "equal"])
@pytest.mark.parametrize("mode", MODES)
def test_disjoint_and_equal_sets(mode: str, overlap: int) -> None:
    ours, theirs = digests(range(300)), digests(range(300 - overlap, 600 - overlap))
    (of_sender,), (of_receiver,), _ = run_oprf(MODES[mode], [ours], [theirs])
    check(ours, theirs, of_sender, of_receiver)


@pytest.mark.parametrize("mode", MODES)
def test_buckets_of_a_list_are_functions_of_their_own(mode: str) -> None:
    same = digests(range(7))
    sender = [same, digests(), same, digests(range(3)), digests(range(SILENT))]
    receiver = [same, digests(range(4)), same, digests(), digests(range(9, SILENT))]
    of_sender, of_receiver, _ = run_oprf(MODES[mode], sender, receiver)
    for parts in zip(sender, receiver, of_sender, of_receiver, strict=True):
        check(*parts)
    assert not common(of_sender[0], of_sender[2])


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(sorted(MODES)),
    st.sets(st.integers(0, 400), max_size=200),
    st.sets(st.integers(0, 400), max_size=200),
    st.integers(0, 1 << 32),
)
def test_any_sets_meet_exactly_where_they_do(
    mode: str, sender: set[int], receiver: set[int], seed: int
) -> None:
    ours, theirs = (digests(*(range(name, name + 1) for name in names)) for names in (sender, receiver))
    (of_sender,), (of_receiver,), _ = run_oprf(
        MODES[mode], [ours.reshape(-1, 32)], [theirs.reshape(-1, 32)], seed=seed
    )
    check(ours.reshape(-1, 32), theirs.reshape(-1, 32), of_sender, of_receiver)


@pytest.mark.parametrize("count", [40, SILENT])
@pytest.mark.parametrize("mode", MODES)
def test_bytes_are_those_of_the_cost(mode: str, count: int) -> None:
    sender, receiver = [digests(range(9)), digests(range(2))], [digests(range(count)), digests()]
    _, _, run = run_oprf(MODES[mode], sender, receiver)
    cost = oprf_cost(MODES[mode].mode, [9, 2], [count, 0])
    for role, name in (("left", "sender"), ("right", "receiver")):
        assert abs(run.bytes_sent(role) - cost.bytes_sent[name]) <= 0.02 * cost.bytes_sent[name]


@pytest.mark.parametrize(
    ("mode", "most_bits"),
    [(STANDARD, 265), (MALICIOUS, 265), (LOW_COMMUNICATION, 165)],
    ids=["rr22-265", "malicious-265", "low-165"],
)
def test_bits_per_item_at_a_million(mode: Any, most_bits: int) -> None:
    count = 1 << 20
    cost = oprf_cost(mode, [count], [count])
    tags = 10 * count  # 40 + 2·20 bits per item of the sender
    assert 8 * (sum(cost.bytes_sent.values()) + tags) <= most_bits * count


@pytest.mark.parametrize("count", [40, SILENT])
@pytest.mark.parametrize("mode", MODES)
def test_two_runs_over_equal_inputs_share_no_block_on_the_wire(mode: str, count: int) -> None:
    items = digests(range(count))
    seen: set[bytes] = set()
    for seed in ("once", "again"):
        _, _, run = run_oprf(MODES[mode], [items], [items], seed=seed)
        data = b"".join(block_of(message.data) for message in run.wire)
        blocks = {data[at : at + 16] for at in range(len(data) - 15)}
        assert not blocks & seen
        assert not blocks & {row[at : at + 16].tobytes() for row in items for at in range(17)}
        seen |= blocks


def block_of(data: bytes) -> bytes:
    return codec.decode(Block, data).data


def test_random_function_differs_between_runs_and_jobs() -> None:
    items = digests(range(5))
    first, _, _ = run_oprf(MODES["rr22"], [items], [items], seed=1)
    second, _, _ = run_oprf(MODES["rr22"], [items], [items], seed=2)
    other, _, _ = run_oprf(MODES["rr22"], [items], [items], seed=1, bindings=(b"x" * 32, b"x" * 32))
    assert len({first[0].tobytes(), second[0].tobytes(), other[0].tobytes()}) == 3


# Peers that deviate.


def flip(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def at_part(part: int, at: int) -> Change:
    return lambda number, data: flip(data, at) if number == part else data


@pytest.mark.parametrize("cheat", ["left", "right"])
@pytest.mark.parametrize("mode", MODES)
def test_bad_points_abort(mode: str, cheat: str) -> None:
    items = digests(range(5))
    not_a_point = bytes([2]) + b"\xff" * 32  # x is not below the field's prime

    def change(number: int, data: bytes) -> bytes:
        return not_a_point + data[33:] if number == 0 else data

    with pytest.raises(ProtocolAbort, match="invalid group element"):
        run_oprf(MODES[mode], [items], [items], cheat=cheat, change=change)


@pytest.mark.parametrize("wrong", [b"", b"\0"], ids=["shorter", "longer"])
@pytest.mark.parametrize("cheat", ["left", "right"])
@pytest.mark.parametrize("mode", MODES)
def test_wrong_lengths_abort(mode: str, cheat: str, wrong: bytes) -> None:
    items = digests(range(5))

    def change(number: int, data: bytes) -> bytes:
        return data[:-1] + wrong + wrong if number == 0 else data

    # What fits no block at all does not decode.
    with pytest.raises((ProtocolAbort, BadMessage), match=r"not due|not a Block"):
        run_oprf(MODES[mode], [items], [items], cheat=cheat, change=change)


@pytest.mark.parametrize("believed", [3, SILENT])
@pytest.mark.parametrize("mode", MODES)
def test_counts_that_are_not_what_was_said_abort_or_stand_still(mode: str, believed: int) -> None:
    # Tables of up to 256 items have one size: a receiver with fewer items than it said is a padded one.
    items = digests(range(1000))
    with pytest.raises(ProtocolAbort):
        run_oprf(MODES[mode], [items], [items], counts=([believed], [1000]))


# Which byte string of a checked run is which (`cost.sender_parts`, `cost.receiver_parts`).
CHOOSE, CHALLENGE, NOISE, COMBINATION_DIGEST, COIN = range(5)
EXTEND, FINGERPRINT, COMBINATION, TABLE = range(4)


def test_parts_are_in_the_order_that_these_tests_take_for_granted() -> None:
    sizes = shape(MALICIOUS, SILENT)
    assert len(sender_parts(sizes)) == 5
    assert len(receiver_parts(sizes)) == 4
    assert sizes.noise
    assert sizes.noise_bytes > block_items(1) > sizes.choose_bytes


def extend_offsets() -> dict[str, int]:
    points, sums = 128 * 33, 128 * 32
    tree_sums, digest = 32 * 32, 32
    proof = points + sums
    corrections = proof + tree_sums + digest
    return {
        "sums of the key's trees": points + 5,
        "proof of the trees": proof + 3,
        "digest of the trees": proof + tree_sums + 1,
        "corrections of a tree": corrections + 40,
    }


@pytest.mark.parametrize("where", extend_offsets())
@pytest.mark.parametrize("count", [40, SILENT])
def test_malicious_receiver_that_alters_its_correlations_is_caught(count: int, where: str) -> None:
    items = digests(range(count))
    change = at_part(EXTEND, extend_offsets()[where])
    with pytest.raises(ProtocolAbort, match="do not fit together"):
        run_oprf(MODES["rr22-malicious"], [items], [items], cheat="right", change=change)


@pytest.mark.parametrize("at", [0, 20], ids=["hash of u", "digest of the columns"])
def test_malicious_receiver_with_a_wrong_fingerprint_is_caught(at: int) -> None:
    items = digests(range(40))
    with pytest.raises(ProtocolAbort, match="do not fit together"):
        run_oprf(MODES["rr22-malicious"], [items], [items], cheat="right", change=at_part(FINGERPRINT, at))


def test_malicious_sender_with_other_sums_of_its_trees_is_caught() -> None:
    items = digests(range(SILENT))

    def change(number: int, data: bytes) -> bytes:
        # Both sums of each level of the first trees: whatever side is taken, one of them counts.
        return bytes(byte ^ 1 for byte in data[:4096]) + data[4096:] if number == NOISE else data

    with pytest.raises(ProtocolAbort, match="noise"):
        run_oprf(MODES["rr22-malicious"], [items], [items], cheat="left", change=change)


def test_malicious_sender_with_another_digest_of_its_noise_is_caught() -> None:
    items = digests(range(SILENT))
    with pytest.raises(ProtocolAbort, match="noise"):
        run_oprf(
            MODES["rr22-malicious"],
            [items],
            [items],
            cheat="left",
            change=at_part(COMBINATION_DIGEST, 0),
        )


def test_malicious_receiver_with_another_combination_is_caught() -> None:
    # The sender answers with a digest that the receiver, if it then went on honestly, would refuse itself.
    items = digests(range(SILENT))
    with pytest.raises(ProtocolAbort, match="noise"):
        run_oprf(MODES["rr22-malicious"], [items], [items], cheat="right", change=at_part(COMBINATION, 20))


@pytest.mark.parametrize(("part", "at"), [(CHOOSE, -1), (-1, 3)], ids=["commitment", "share"])
def test_malicious_sender_that_changes_its_share_of_the_coin_is_caught(part: int, at: int) -> None:
    items = digests(range(40))
    last = 2  # of a small table: choose, challenge, coin
    with pytest.raises(ProtocolAbort, match="coin"):
        run_oprf(
            MODES["rr22-malicious"],
            [items],
            [items],
            cheat="left",
            change=at_part(last if part < 0 else part, at),
        )


@pytest.mark.parametrize("mode", MODES)
def test_an_altered_table_makes_no_item_meet(mode: str) -> None:
    # The receiver alone is the worse for it: F stays a random function of the sender.
    items = digests(range(200))
    table = len(receiver_parts(shape(MODES[mode].mode, 200))) - 1

    def change(number: int, data: bytes) -> bytes:
        return bytes(byte ^ 0x5A for byte in data) if number == table else data

    (of_sender,), (of_receiver,), _ = run_oprf(MODES[mode], [items], [items], cheat="right", change=change)
    assert not common(of_sender, of_receiver)


@pytest.mark.parametrize("mode", MODES)
def test_messages_of_another_run_make_no_item_meet(mode: str) -> None:
    items = digests(range(30))
    _, _, earlier = run_oprf(MODES[mode], [items], [items], seed="earlier")
    replayed = [block_of(message.data) for message in earlier.wire if message.sender == "right"]

    def change(number: int, data: bytes) -> bytes:
        return replayed[number] if number < len(replayed) else data

    assert replayed
    try:
        (of_sender,), (of_receiver,), _ = run_oprf(
            MODES[mode], [items], [items], cheat="right", change=change, seed="later"
        )
    except ProtocolAbort:
        return
    assert mode != "rr22-malicious"
    assert not common(of_sender, of_receiver)


@pytest.mark.parametrize("mode", MODES)
def test_another_job_makes_no_item_meet(mode: str) -> None:
    items = digests(range(30))
    try:
        (of_sender,), (of_receiver,), _ = run_oprf(
            MODES[mode], [items], [items], bindings=(BINDING, b"another job and spec ........... ")
        )
    except ProtocolAbort:
        assert mode == "rr22-malicious"
        return
    assert not common(of_sender, of_receiver)


# Own mistakes and limits.


def test_values_of_64_bits_are_refused_where_they_are_unsound() -> None:
    check_sound(LOW_COMMUNICATION, 1 << 24)
    with pytest.raises(BadInput, match="too few"):
        check_sound(LOW_COMMUNICATION, (1 << 24) + 1)
    check_sound(STANDARD, 1 << 30)
    with pytest.raises(BadInput, match="not both"):
        Rr22(malicious=True, low_communication=True)


def test_items_that_repeat_are_refused() -> None:
    items = digests(range(5), range(5))
    with pytest.raises(BadInput, match="twice"):
        run_oprf(MODES["rr22"], [items], [items])


def test_a_table_that_fails_is_tried_again_with_another_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[bytes] = []
    encode = receiver_module.okvs.encode

    def failing(times: int) -> Callable[..., Any]:
        def run(items: Any, values: Any, seed: bytes, *rest: Any, **more: Any) -> Any:
            seeds.append(seed)
            if len(seeds) <= times:
                raise EncodingFailed("no solution")
            return encode(items, values, seed, *rest, **more)

        return run

    items = digests(range(5))
    monkeypatch.setattr(receiver_module.okvs, "encode", failing(2))
    (of_sender,), (of_receiver,), _ = run_oprf(MODES["rr22"], [items], [items])
    assert np.array_equal(of_sender, of_receiver)
    assert len(set(seeds)) == 3
    seeds.clear()
    monkeypatch.setattr(receiver_module.okvs, "encode", failing(3))
    with pytest.raises(ProtocolAbort, match="no table"):
        run_oprf(MODES["rr22"], [items], [items])
