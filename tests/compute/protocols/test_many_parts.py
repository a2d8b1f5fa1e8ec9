"""What psi.many is made of: shares of zero, programmed functions, parts side by side."""

from typing import Any

import numpy as np
import pytest

from accel import okvs
from accel.errors import EncodingFailed
from compute.errors import ProtocolAbort
from compute.protocols.local import run_local
from compute.protocols.protocol import Output, Part, Receive, Send, Steps, receive
from compute.protocols.psi.ecdh.oprf import EcdhOprf
from compute.protocols.psi.many.programmed import evaluate, program
from compute.protocols.psi.many.together import together
from compute.protocols.psi.many.zero_sharing import PairKeys, share
from compute.protocols.sets import Size
from tests.compute.protocols.jobs import BINDING
from tests.compute.protocols.many_jobs import many
from tests.compute.protocols.test_ecdh import digests, session


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
            session("left"), "right", EcdhOprf(), [digests(*range(mine))], [values], theirs, bytes(32)
        )
        return Output()

    def receiver() -> Steps:
        items = digests(*range(mine - 1, mine - 1 + theirs))
        got.extend(
            (yield from evaluate(session("right"), "left", EcdhOprf(), [items], mine, words, bytes(32)))
        )
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
