"""A big set is prepared once per version; lookups equal a plaintext join and download nothing twice."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compute.errors import BadInput, ComputeError, ProtocolAbort
from compute.protocols.local import LocalRun, run_local
from compute.protocols.protocol import Message, Output, Send, Session, Steps
from compute.protocols.psi.ecdh.oprf import Points
from compute.protocols.psi.unbalanced import tags
from compute.protocols.psi.unbalanced.cost import unbalanced_cost
from compute.protocols.psi.unbalanced.online import Announce, lookup, serve
from compute.protocols.stream import Block
from compute.protocols.workspace import MemoryCache
from compute.wire import codec
from tests.compute.protocols.test_ecdh import digests
from tests.compute.protocols.test_ecdh import session as plain_session

SECRET = bytes(range(32))
Change = Callable[[Message], Message]


class Parties:
    """A server and a client whose caches outlive jobs."""

    def __init__(self, version_secret: bytes = SECRET, curve: str = "curve25519") -> None:
        self.secret = version_secret
        self.curve = curve
        self.caches = {"left": MemoryCache(), "right": MemoryCache()}
        self.job = 0

    def session(self, role: str) -> Session:
        secret = self.secret if role == "left" else b""
        return plain_session(role, self.job, version_secret=secret, cache=self.caches[role])

    def run(
        self,
        big: np.ndarray,
        few: np.ndarray,
        *,
        version: bytes = b"columns",
        announced: int | None = None,
        hostile: str = "",
        change: Change = lambda message: message,
    ) -> tuple[np.ndarray, LocalRun]:
        self.job += 1
        found: list[np.ndarray] = []

        def server() -> Steps:
            yield from serve(self.session("left"), "right", big, len(few), version, self.curve)
            return Output()

        def client() -> Steps:
            count = len(big) if announced is None else announced
            found.append((yield from lookup(self.session("right"), "left", few, count, self.curve)))
            return Output()

        roles = {"left": server(), "right": client()}
        if hostile:
            roles[hostile] = deviating(roles[hostile], change)
        run = run_local(roles)
        return found[0], run


def deviating(steps: Steps, change: Change) -> Steps:
    reply: Any = None
    while True:
        try:
            effect = steps.send(reply)
        except StopIteration as stop:
            return stop.value
        reply = yield (Send(effect.role, change(effect.message)) if isinstance(effect, Send) else effect)


def prepared(run: LocalRun) -> bool:
    return any(step.phase == "psi.prepare" for step in run.progress["left"])


@pytest.mark.parametrize("curve", ["curve25519", "sm2", "secp256k1"])
@pytest.mark.parametrize(
    ("big", "few"), [(0, 0), (0, 3), (5, 0), (1, 1), (63, 7), (64, 64), (1013, 29), (29, 113)]
)
def test_equals_the_plaintext_join(curve: str, big: int, few: int) -> None:
    mine = list(range(big - few // 2, big - few // 2 + few))
    mask, _ = Parties(curve=curve).run(digests(*range(big)), digests(*mine))
    assert mask.tolist() == [0 <= item < big for item in mine]


def test_a_second_job_neither_prepares_nor_downloads_again() -> None:
    parties = Parties()
    big, few = digests(*range(5000)), digests(*range(4990, 5010))
    runs = [parties.run(big, few) for _ in range(2)]
    for (mask, run), again in zip(runs, (False, True), strict=True):
        assert mask.sum() == 10
        assert prepared(run) is not again
        expected = unbalanced_cost(5000, 20, prepared=again, downloaded=again)
        for role, name in (("left", "server"), ("right", "client")):
            assert run.bytes_sent(role) == pytest.approx(expected.bytes_sent[name], rel=0.001)
    assert runs[0][1].bytes_sent("left") > 5000 * 8
    assert runs[1][1].bytes_sent("left") < 800
    # The masked points are fresh all the same.
    points = [{m.data for m in run.wire if is_points(m.data)} for _, run in runs]
    assert points[0]
    assert not points[0] & points[1]


def is_points(data: bytes) -> bool:
    try:
        codec.decode(Points, data)
    except ComputeError:
        return False
    return True


def test_another_client_downloads_and_gets_the_same_table() -> None:
    one, other = Parties(), Parties()
    other.caches["left"] = one.caches["left"]
    big, few = digests(*range(300)), digests(*range(290, 310))
    first, second = one.run(big, few)[1], other.run(big, few)[1]
    assert not prepared(second)
    assert table_of(first) == table_of(second)
    assert len(table_of(first)) == tags.table_bytes(300)


def table_of(run: LocalRun) -> bytes:
    found = b""
    for message in run.wire:
        try:
            found += codec.decode(Block, message.data).data
        except ComputeError:
            continue
    return found


@pytest.mark.parametrize("what", ["secret", "version", "set", "order"])
def test_what_changes_the_table(what: str) -> None:
    parties = Parties()
    big, few = digests(*range(300)), digests(1, 2, 3000)
    _, first = parties.run(big, few)
    version = b"columns"
    if what == "secret":
        parties.secret = bytes(32)
    elif what == "version":
        version = b"other columns"
    elif what == "set":
        big = digests(*range(1, 301))
    else:
        big = big[::-1].copy()
    mask, second = parties.run(big, few, version=version)
    assert mask.tolist() == [True, True, False]
    assert prepared(second) == (what != "order")
    before, after = (
        {t[at : at + 8] for at in range(8, len(t) - 7, 8)} for t in map(table_of, (first, second))
    )
    if what in ("secret", "version"):
        assert len(after) > 290
        assert not before & after
    # The same set under the same secret has the same table, so nothing was downloaded.
    assert bool(after) == (what != "order")


def test_a_damaged_cache_is_not_used() -> None:
    parties = Parties()
    big, few = digests(*range(300)), digests(1, 3000)
    parties.run(big, few)
    for cache in parties.caches.values():
        for name, data in cache._data.items():
            cache._data[name] = data[:-1] + bytes([data[-1] ^ 1])
    mask, run = parties.run(big, few)
    assert mask.tolist() == [True, False]
    assert prepared(run)
    assert len(table_of(run)) == tags.table_bytes(300)


def test_no_digest_and_no_output_of_a_key_that_was_not_asked_crosses() -> None:
    big, few = digests(*range(100)), digests(*range(95, 105))
    _, run = Parties().run(big, few)
    crossed = b"".join(message.data for message in run.wire)
    for row in np.concatenate([big, few]):
        assert row.tobytes()[:8] not in crossed


def test_without_a_version_secret_there_is_no_preparing() -> None:
    with pytest.raises(BadInput, match="per dataset version"):
        Parties(b"").run(digests(1), digests(1))


def test_too_many_keys_for_a_lookup() -> None:
    few = np.zeros((tags.MOST_QUERIES + 1, 32), np.uint8)
    with pytest.raises(BadInput, match="too many for a lookup"):
        Parties().run(digests(1), few)


def _announce(**fields: Any) -> Change:
    return lambda m: replace_fields(m, fields) if isinstance(m, Announce) else m


def replace_fields(message: Announce, fields: dict[str, Any]) -> Announce:
    values = {"identity": message.identity, "count": message.count, "digest": message.digest} | fields
    return Announce(**values)


def _table(change: Callable[[bytes], bytes]) -> Change:
    return lambda m: Block(m.index, change(m.data)) if isinstance(m, Block) else m


def _points(change: Callable[[bytes], bytes]) -> Change:
    return lambda m: Points(m.index, change(m.data)) if isinstance(m, Points) else m


HOSTILE: dict[str, tuple[str, Change]] = {
    "another count": ("left", _announce(count=299)),
    "another digest": ("left", _announce(digest=bytes(32))),
    "another table": ("left", _table(lambda d: d[:-1] + bytes([d[-1] ^ 1]))),
    "short table": ("left", _table(lambda d: d[:-1])),
    "answers off the curve": ("left", _points(lambda d: d[:-32] + (2).to_bytes(32, "little"))),
    "an answer twice": ("left", _points(lambda d: d[:-32] + d[:32])),
    "too few answers": ("left", _points(lambda d: d[:-32])),
    "a point of low order": ("right", _points(lambda d: bytes(32) + d[32:])),
    "a point twice": ("right", _points(lambda d: d[32:64] + d[32:])),
    "too many points": ("right", _points(lambda d: d + d[:32])),
    "no message of ours": ("right", lambda m: Announce(bytes(32), 1, bytes(32))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_peer_ends_in_a_typed_abort(name: str) -> None:
    role, change = HOSTILE[name]
    with pytest.raises(ComputeError) as caught:
        Parties().run(digests(*range(300)), digests(*range(295, 305)), hostile=role, change=change)
    assert caught.value.code in ("protocol.abort", "wire.bad_message")


def test_bins_that_do_not_add_up_are_refused() -> None:
    words = np.random.default_rng(1).integers(0, 2**64, (1000, 2), np.uint64)
    table = bytearray(tags.encode(words))
    table[0] += 1
    with pytest.raises(ProtocolAbort, match="bins hold another number"):
        tags.TagTable.decode(bytes(table), 1000, "left")
    with pytest.raises(ProtocolAbort, match="another size"):
        tags.TagTable.decode(bytes(table)[:-8], 1000, "left")


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 4096, 50_001])
def test_the_table_finds_all_its_tags_and_no_others(count: int) -> None:
    outputs = np.random.default_rng(count).integers(0, 256, (2 * count + 5, 32), np.uint8)
    table = tags.encode(tags.halves(outputs[:count]))
    assert len(table) == tags.table_bytes(count)
    found = tags.TagTable.decode(table, count, "left").contains(outputs)
    assert found.tolist() == [True] * count + [False] * (count + 5)


def test_extreme_tags_are_found() -> None:
    words = np.array([[0, 0], [0, 2**64 - 1], [2**64 - 1, 0], [2**64 - 1, 2**64 - 1]] * 20, np.uint64)
    outputs = np.concatenate([words.view(np.uint8).reshape(-1, 16)] * 2, axis=1)
    table = tags.TagTable.decode(tags.encode(tags.halves(outputs)), 80, "left")
    assert table.contains(outputs).all()
    outputs[:, 9] ^= 1
    assert not table.contains(outputs).any()


def test_a_bin_that_overflows_is_an_error() -> None:
    with pytest.raises(ProtocolAbort, match="not spread evenly"):
        tags.encode(np.zeros((300, 2), np.uint64))
