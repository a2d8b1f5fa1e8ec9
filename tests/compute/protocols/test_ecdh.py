"""The ECDH OPRF: both sides get the same function, points of a hostile peer end in a typed abort."""

import hashlib
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from accel import curve25519, weierstrass
from accel.reference import weierstrass as reference
from compute.errors import ComputeError, ProtocolAbort
from compute.protocols.local import LocalRun, run_local
from compute.protocols.protocol import Message, Output, Session, Steps
from compute.protocols.psi.ecdh import oprf as module
from compute.protocols.psi.ecdh.cost import oprf_cost, points_bytes
from compute.protocols.psi.ecdh.curves import GROUPS, blind, multiply_received, require_distinct
from compute.protocols.psi.ecdh.oprf import EcdhOprf, Key, Points, number
from compute.wire import codec
from tests.compute.protocols.jobs import BINDING, seeded, spec_of

CURVES = tuple(GROUPS)


def digests(*names: object) -> np.ndarray:
    data = b"".join(hashlib.sha256(str(name).encode()).digest() for name in names)
    return np.frombuffer(data, np.uint8).reshape(-1, 32)


def session(role: str, seed: int = 0, **fields: Any) -> Session:
    params = {"keys": {"left": ["i"], "right": ["i"]}}
    return Session(
        role, spec_of("psi", params, ("left", "right")), None, BINDING, 0, seeded(f"{seed}{role}"), **fields
    )


def steps_of(
    oprf: EcdhOprf,
    role: str,
    mine: list[np.ndarray],
    counts: list[int],
    results: dict[str, Any],
    seed: int = 0,
    **fields: Any,
) -> Steps:
    part = oprf.send if role == "left" else oprf.receive
    peer = "right" if role == "left" else "left"
    results[role] = yield from part(session(role, seed, **fields), peer, mine, counts, b"instance 1")
    return Output()


def run_oprf(
    oprf: EcdhOprf,
    sender: list[np.ndarray],
    receiver: list[np.ndarray],
    *,
    seed: int = 0,
    parallel: tuple[int, int] = (1, 1),
    change: Callable[[Steps], Steps] = lambda steps: steps,
    hostile: str = "",
) -> tuple[list[np.ndarray], list[np.ndarray], LocalRun]:
    results: dict[str, Any] = {}
    counts = {"left": [len(b) for b in receiver], "right": [len(b) for b in sender]}
    roles = {
        role: steps_of(oprf, role, mine, counts[role], results, seed, parallel=at_once)
        for role, mine, at_once in (("left", sender, parallel[0]), ("right", receiver, parallel[1]))
    }
    if hostile:
        roles[hostile] = change(roles[hostile])
    run = run_local(roles)
    return results["left"], results["right"], run


@pytest.mark.parametrize("curve", CURVES)
def test_both_sides_evaluate_one_function(curve: str) -> None:
    sender = [digests(1, 2, 3), digests(), digests(4), digests(1, 9)]
    receiver = [digests(2, 7), digests(5), digests(), digests(9)]
    of_sender, of_receiver, _ = run_oprf(EcdhOprf(curve), sender, receiver)
    assert [len(b) for b in of_sender] == [3, 0, 1, 2]
    assert [len(b) for b in of_receiver] == [2, 1, 0, 1]
    assert (of_receiver[0][0] == of_sender[0][1]).all()
    assert (of_receiver[3][0] == of_sender[3][1]).all()
    everything = [row.tobytes() for b in (*of_sender, *of_receiver) for row in b]
    # The item 1 in two buckets has two values: ten outputs, two pairs equal.
    assert len(set(everything)) == len(everything) - 2


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize(("one", "other"), [(0, 0), (0, 3), (3, 0), (1, 1), (61, 13), (13, 61)])
def test_any_sizes(curve: str, one: int, other: int) -> None:
    sender, receiver = digests(*range(one)), digests(*range(one - 5, one - 5 + other))
    (f_sender,), (f_receiver,), run = run_oprf(EcdhOprf(curve), [sender], [receiver])
    known = {row.tobytes(): value.tobytes() for row, value in zip(sender, f_sender, strict=True)}
    for row, value in zip(receiver, f_receiver, strict=True):
        assert (known.get(row.tobytes()) == value.tobytes()) == (row.tobytes() in known)
    predicted = oprf_cost(one, other, curve).bytes_sent
    assert (run.bytes_sent("left"), run.bytes_sent("right")) == (predicted["sender"], predicted["receiver"])


def is_key(data: bytes) -> bool:
    return b"ecdh.key" in data[:16]


def test_no_buckets() -> None:
    assert run_oprf(EcdhOprf(), [], [])[:2] == ([], [])


@pytest.mark.parametrize("parallel", [(1, 1), (16, 1), (1, 16), (5, 64), (64, 3)])
def test_blocks_and_lead_never_wait_for_each_other(
    parallel: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 8)
    sender, receiver = digests(*range(100)), digests(*range(50, 50 + 8 * 70 + 3))
    (f_sender,), (f_receiver,), run = run_oprf(EcdhOprf(), [sender], [receiver], parallel=parallel)
    assert (f_sender[50:] == f_receiver[:50]).all()
    assert not {f.tobytes() for f in f_sender} & {f.tobytes() for f in f_receiver[50:]}
    # The receiver never has more than its lead on the way.
    ahead = most = 0
    for message in run.wire:
        if not is_key(message.data):
            ahead += 1 if message.sender == "right" else -1
        most = max(most, ahead)
    assert most <= module.LEAD + module.MOST_AT_ONCE


def test_index_of_a_block_is_counted_in_the_cost() -> None:
    for blocks in (1, 127, 128, 129, 256, 257, 300):
        count = blocks * module.BLOCK - 5
        data = [bytes(module.BLOCK * 32)] * (blocks - 1) + [bytes((module.BLOCK - 5) * 32)]
        exact = sum(len(codec.encode(Points(i, d))) for i, d in enumerate(data))
        assert points_bytes(count, 32) == exact


@pytest.mark.parametrize("curve", CURVES)
def test_nothing_crosses_twice_and_nothing_anybody_could_compute(curve: str) -> None:
    items = [digests(*range(40))]
    runs = [run_oprf(EcdhOprf(curve), items, items, seed=seed) for seed in (1, 2)]
    width = GROUPS[curve].point_bytes
    points = []
    for _, _, run in runs:
        keys = [codec.decode(Key, message.data).data for message in run.wire if is_key(message.data)]
        assert len(keys) == (curve == "curve25519")
        blocks = [codec.decode(Points, m.data).data for m in run.wire if not is_key(m.data)]
        points.append({b[at : at + width] for b in blocks for at in range(0, len(b), width)}.union(keys))
    assert len(points[0]) == len(points[1]) == 80 + len(keys)
    assert not points[0] & points[1]
    crossed = b"".join(message.data for _, _, run in runs for message in run.wire)
    for row in items[0]:
        assert row.tobytes() not in crossed
        assert row.tobytes()[:8] not in crossed
    # Nor what comes out, nor the hash to the curve that everybody can compute.
    assert not any(value.tobytes() in crossed for value in runs[0][0][0])
    function = module.Function(curve, module.context(curve, BINDING, b"instance 1"))
    messages = [row.tobytes() for row in number(items)]
    if curve == "curve25519":
        hashed = [
            curve25519.hash_to_curve(messages, function.dst)[at : at + 32] for at in range(0, 40 * 32, 32)
        ]
    else:
        its = {"sm2": weierstrass.SM2, "secp256k1": weierstrass.SECP256K1}[curve]
        hashed = [row.tobytes() for row in weierstrass.hash_to_curve(its, messages, function.dst)[:, :32]]
    assert not any(point in crossed for point in hashed)


@pytest.mark.parametrize("curve", CURVES)
def test_masks_come_off_and_leave_the_product(curve: str) -> None:
    group, rng = GROUPS[curve], seeded(7)
    items, key = digests(*range(5)), group.random_scalar(rng)
    bare, public = blind(curve, items, b"test", key), group.public_key(key)
    assert len(public) == group.key_bytes
    for first in (0, 3, 1 << 20):
        masks = group.new_masks(rng)
        masked = group.mask(items, b"test", masks, first)
        assert not (masked == bare).all(axis=1).any()
        answers = group.multiply_masked(masked, key)
        assert (group.unmask(answers, masks, first, public) == bare).all()


def test_masks_of_a_run_on_curve25519_differ_by_item_and_not_by_block() -> None:
    group, masks = GROUPS["curve25519"], seeded(8)(32)
    same = np.repeat(digests("x"), 9, axis=0)
    whole = group.mask(same, b"test", masks, 0)
    assert len(np.unique(whole, axis=0)) == 9
    assert (
        np.concatenate([group.mask(same[:4], b"test", masks, 0), group.mask(same[4:], b"test", masks, 4)])
        == whole
    ).all()


@pytest.mark.parametrize("curve", CURVES)
def test_scalars_of_a_seed_are_scalars_and_differ(curve: str) -> None:
    group = GROUPS[curve]
    points = blind(curve, digests(1), b"test", group.scalar_from(bytes(48)))
    assert (group.multiply(points, group.scalar_from(b"\xff" * 48)) != points).any()
    assert group.scalar_from(bytes(48)) != group.scalar_from(b"\1" * 48)


def test_output_is_the_written_definition() -> None:
    # 2HashDH on integers: F = SM3(context ‖ bucket ‖ x ‖ b·H(bucket ‖ x)), by the reference of the curve.
    function = module.Function("sm2", module.context("sm2", b"purpose"))
    key = GROUPS["sm2"].scalar_from(bytes(range(48)))
    rows = number([digests("x")])
    (point,) = weierstrass.hash_to_curve(
        weierstrass.SM2, [rows[0].tobytes()], function.dst, backend="reference"
    )
    pair = int.from_bytes(point[:32].tobytes(), "big"), int.from_bytes(point[32:].tobytes(), "big")
    x, y = reference.multiply_point(weierstrass.SM2, int.from_bytes(key, "big"), pair)
    encoded = bytes([2 + y % 2]) + x.to_bytes(32, "big")
    from accel import sm3

    expected = sm3.digest(function.context + bytes(4) + digests("x").tobytes() + encoded)
    assert module.evaluate(function, rows, key).tobytes() == expected


LOW_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255 - 20).to_bytes(32, "little"),
]
BAD = {
    "curve25519": [
        *LOW_ORDER,
        (2**255 - 19).to_bytes(32, "little"),  # not canonical
        b"\xff" * 32,
        (2).to_bytes(32, "little"),  # on the twist
    ],
    "sm2": [
        bytes(33),
        b"\x04" + bytes(32),
        b"\x02" + weierstrass.SM2.p.to_bytes(32, "big"),
        b"\x02" + (weierstrass.SM2.p - 1).to_bytes(32, "big"),
    ],
    "secp256k1": [
        bytes(33),
        b"\x05" + b"\x01" * 32,
        b"\x03" + weierstrass.SECP256K1.p.to_bytes(32, "big"),
        b"\x02" + (5).to_bytes(32, "big"),
    ],
}


@pytest.mark.parametrize(("curve", "bad"), [(curve, bad) for curve in BAD for bad in BAD[curve]])
@pytest.mark.parametrize("hostile", ["left", "right"])
def test_invalid_points_of_either_side_end_in_an_abort(curve: str, bad: bytes, hostile: str) -> None:
    def put(message: Points) -> Points:
        return replace_data(message, message.data[: -len(bad)] + bad)

    with pytest.raises(ProtocolAbort, match="invalid group element"):
        hostile_run(curve, hostile, put)


def replace_data(message: Points, data: bytes) -> Points:
    return Points(message.index, data)


def hostile_run(
    curve: str, hostile: str, change: Callable[[Any], Message], kind: type[Message] = Points
) -> None:
    def deviate(steps: Steps) -> Steps:
        reply: Any = None
        while True:
            try:
                effect = steps.send(reply)
            except StopIteration as stop:
                return stop.value
            if isinstance(getattr(effect, "message", None), kind):
                effect = replace(effect, message=change(effect.message))
            reply = yield effect

    run_oprf(EcdhOprf(curve), [digests(*range(9))], [digests(*range(5, 12))], change=deviate, hostile=hostile)


CHANGES: dict[str, Callable[[Points], Message]] = {
    "short": lambda m: Points(m.index, m.data[:-1]),
    "empty": lambda m: Points(m.index, b""),
    "a point too many": lambda m: Points(m.index, m.data + m.data[:32]),
    "repeated point": lambda m: Points(m.index, m.data[:-32] + m.data[:32]),
    "another block": lambda m: Points(1, m.data),
    "another type": lambda m: Points_other(),
}


class Points_other(Message, frozen=True, tag="ecdh.other"):  # noqa: N801
    """No message of this protocol."""


@pytest.mark.parametrize("hostile", ["left", "right"])
@pytest.mark.parametrize("name", CHANGES)
def test_what_is_not_due_ends_in_an_abort(name: str, hostile: str) -> None:
    with pytest.raises(ComputeError) as caught:
        hostile_run("curve25519", hostile, CHANGES[name])
    assert caught.value.code in ("protocol.abort", "wire.bad_message")


KEYS: dict[str, Callable[[Key], Message]] = {
    "empty": lambda m: Key(b""),
    "short": lambda m: Key(m.data[:-1]),
    "on the twist": lambda m: Key((2).to_bytes(32, "little")),
    "not canonical": lambda m: Key(b"\xff" * 32),
    "another type": lambda m: Points(0, m.data),
} | {f"low order {n}": lambda m, point=point: Key(point) for n, point in enumerate(LOW_ORDER)}


@pytest.mark.parametrize("name", KEYS)
def test_a_key_that_is_none_ends_in_an_abort(name: str) -> None:
    with pytest.raises(ComputeError) as caught:
        hostile_run("curve25519", "left", KEYS[name], Key)
    assert caught.value.code in ("protocol.abort", "wire.bad_message")


def test_under_another_key_than_the_sender_s_no_item_fits() -> None:
    group = GROUPS["curve25519"]
    other = group.public_key(group.random_scalar(seeded(5)))

    def deviate(steps: Steps) -> Steps:
        reply: Any = None
        while True:
            try:
                effect = steps.send(reply)
            except StopIteration as stop:
                return stop.value
            if isinstance(getattr(effect, "message", None), Key):
                effect = replace(effect, message=Key(other))
            reply = yield effect

    (f_sender,), (f_receiver,), _ = run_oprf(
        EcdhOprf(), [digests(*range(9))], [digests(*range(9))], change=deviate, hostile="left"
    )
    assert not {f.tobytes() for f in f_sender} & {f.tobytes() for f in f_receiver}


def test_repeats_are_found_among_points_that_share_bytes() -> None:
    rng = random.Random(4)
    points = np.frombuffer(rng.randbytes(32 * 1000), np.uint8).reshape(-1, 32).copy()
    points[:, 8:16] = 7
    require_distinct(points, "left")
    points[613] = points[20]
    with pytest.raises(ProtocolAbort, match="left sent a group element twice"):
        require_distinct(points, "left")
    require_distinct(points[:1], "left")
    require_distinct(points[:0], "left")


def test_a_bad_point_names_the_peer_and_its_place() -> None:
    good = blind("curve25519", digests(*range(3)), b"test", GROUPS["curve25519"].random_scalar(seeded(1)))
    bad = good.copy()
    bad[1] = 0
    with pytest.raises(ProtocolAbort, match="right sent an invalid group element: point 1"):
        multiply_received("curve25519", bad, GROUPS["curve25519"].random_scalar(seeded(2)), "right")
