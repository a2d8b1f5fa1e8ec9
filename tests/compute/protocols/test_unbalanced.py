"""A big set is prepared once per version; lookups equal a plaintext join, download and read nothing twice."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from compute.errors import BadInput, ComputeError, DataError, DiskFull, ProtocolAbort
from compute.protocols.directory import DirectoryWorkspace
from compute.protocols.directory_cache import DirectoryCache
from compute.protocols.keyset import grouped
from compute.protocols.local import LocalRun, run_local
from compute.protocols.protocol import Message, Output, Part, Send, Session, Steps
from compute.protocols.psi.buckets import InMemory, Source
from compute.protocols.psi.ecdh.oprf import Points
from compute.protocols.psi.intersect import protocol as psi
from compute.protocols.psi.unbalanced import tags
from compute.protocols.psi.unbalanced import version as versions
from compute.protocols.psi.unbalanced.cost import unbalanced_cost
from compute.protocols.psi.unbalanced.online import Announce, lookup, serve
from compute.protocols.psi.unbalanced.version import Version
from compute.protocols.stream import Block
from compute.protocols.workspace import Cache, MemoryCache, MemoryWorkspace, Workspace
from compute.wire import codec
from tests.compute.protocols.jobs import Job
from tests.compute.protocols.test_ecdh import digests
from tests.compute.protocols.test_ecdh import session as plain_session

SECRET = bytes(range(32))
Change = Callable[[Message], Message]


def source(keys: np.ndarray) -> InMemory:
    return InMemory.of(grouped(keys, np.arange(len(keys))))


class Parties:
    """A server and a client whose caches outlive jobs."""

    def __init__(self, version_secret: bytes = SECRET, curve: str = "curve25519") -> None:
        self.secret = version_secret
        self.curve = curve
        self.caches: dict[str, Cache] = {"left": MemoryCache(), "right": MemoryCache()}
        self.workspaces: dict[str, Workspace] = {"left": MemoryWorkspace(), "right": MemoryWorkspace()}
        self.fields: dict[str, Any] = {}
        self.job = 0
        self.reads = 0

    def session(self, role: str) -> Session:
        secret = self.secret if role == "left" else b""
        places = {"cache": self.caches[role], "workspace": self.workspaces[role]}
        return plain_session(role, self.job, version_secret=secret, **places, **self.fields)

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
            ours = Version(self.session("left"), version, self.curve)
            keys = ours.recall(len(big)) or source(big)
            yield from serve(ours, "right", keys, len(big), len(few), read)
            return Output()

        def read() -> Part[Source]:
            self.reads += 1
            return source(big)
            yield  # a part without effects

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
    assert parties.reads == 1
    assert runs[0][1].bytes_sent("left") > 5000 * 8
    assert runs[1][1].bytes_sent("left") < 900
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


@pytest.mark.parametrize("what", ["secret", "version", "rows", "order"])
def test_what_changes_the_table(what: str) -> None:
    parties = Parties()
    big, few = digests(*range(300)), digests(1, 2, 3000)
    _, first = parties.run(big, few)
    version = b"columns"
    if what == "secret":
        parties.secret = bytes(32)
    elif what == "version":
        version = b"other columns"
    elif what == "rows":
        big = digests(*range(1, 302))
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


def test_a_server_does_not_see_whether_another_ones_table_is_here() -> None:
    """The digest of a table is known to all who were sent it."""
    session = plain_session("right")
    left, right = session.spec.participants
    names = set()
    for change in ({}, {"party": "0x" + "77" * 32}, {"dataset": "0x" + "77" * 32}):
        changed = (msgspec.structs.replace(left, **change), right)
        spec = msgspec.structs.replace(session.spec, participants=changed)
        names.add(versions.table_name(replace(session, spec=spec), "left", SECRET))
    assert len(names) == 3
    newer = (msgspec.structs.replace(left, commitment="0x" + "77" * 32), right)
    session = replace(session, spec=msgspec.structs.replace(session.spec, participants=newer))
    assert versions.table_name(session, "left", SECRET) in names


@pytest.mark.parametrize("lost", ["table", "note"])
def test_a_cache_that_forgot_one_of_two_makes_the_same_table_again(lost: str) -> None:
    parties = Parties()
    big, few = digests(*range(300)), digests(*range(290, 310))
    first = parties.run(big, few)[1]
    name = {"table": "psi.unbalanced.tags.", "note": "psi.unbalanced.note."}[lost]
    forgotten = [entry for entry in parties.caches["left"]._data if entry.startswith(name)]
    assert len(forgotten) == 1
    parties.caches["left"].remove(forgotten[0])
    parties.caches["right"] = MemoryCache()
    mask, second = parties.run(big, few)
    assert mask.sum() == 10
    assert prepared(second)
    assert table_of(first) == table_of(second)


def test_rows_that_are_not_those_that_were_prepared_are_never_sent_as_their_table() -> None:
    parties = Parties()
    parties.run(digests(*range(300)), digests(1))
    name = next(name for name in parties.caches["left"]._data if name.startswith("psi.unbalanced.tags."))
    parties.caches["left"].remove(name)
    parties.caches["right"] = MemoryCache()
    with pytest.raises(DataError, match="not those that were prepared"):
        parties.run(digests(*range(1, 301)), digests(1))


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "PART_KEYS", 64)


class Killed(Exception):
    pass


class CountedCache(MemoryCache):
    """Ends the process before its entry number ``last`` is kept."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.kept: list[str] = []
        self.last = last

    def put(self, name: str, data: Any) -> None:
        if len(self.kept) == self.last:
            raise Killed
        self.kept.append(name)
        super().put(name, data)


@pytest.mark.usefixtures("small_parts")
def test_a_preparation_that_was_killed_goes_on_with_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated: list[int] = []
    evaluate = versions.evaluate_words
    monkeypatch.setattr(
        versions, "evaluate_words", lambda f, keys, key: evaluated.append(len(keys)) or evaluate(f, keys, key)
    )
    big, few = digests(*range(300)), digests(*range(290, 310))
    whole = table_of(Parties().run(big, few)[1])
    # Five parts, the table, the note.
    for last in range(7):
        parties = Parties()
        parties.caches["left"] = CountedCache(last)
        with pytest.raises(Killed):
            parties.run(big, few)
        kept = MemoryCache()
        kept._data = dict(parties.caches["left"]._data)
        parties.caches["left"] = kept
        evaluated.clear()
        mask, run = parties.run(big, few)
        assert mask.sum() == 10
        assert table_of(run) == whole
        assert sum(evaluated) == max(0, 300 - 64 * last)
        assert sorted(name.split(".")[2] for name in kept._data) == ["note", "tags"]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("cache_bytes", [1 << 20, 2000, 0])
def test_on_disk_tables_are_mapped_and_a_cache_without_room_only_costs_time(
    tmp_path: Path, cache_bytes: int
) -> None:
    big, few = digests(*range(300)), digests(*range(290, 310))
    whole = table_of(Parties().run(big, few)[1])
    for job in range(2):
        parties = Parties()
        for role in parties.caches:
            parties.caches[role] = DirectoryCache(tmp_path / role / "cache", cache_bytes)
            parties.workspaces[role] = DirectoryWorkspace(tmp_path / role / f"job {job}")
        mask, run = parties.run(big, few)
        assert mask.sum() == 10
        kept = job == 1 and cache_bytes == 1 << 20
        assert prepared(run) is not kept
        assert table_of(run) == (b"" if kept else whole)
        if cache_bytes == 1 << 20:
            assert parties.workspaces["left"].names() == ()


@pytest.mark.parametrize("memory_bytes", [1, 1 << 13, 1 << 16])
def test_the_table_does_not_depend_on_how_it_was_cut(
    memory_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    big, few = digests(*range(5000)), digests(1)
    whole = table_of(Parties().run(big, few)[1])
    monkeypatch.setattr(versions, "PART_KEYS", 1000)
    parties = Parties()
    parties.fields = {"memory_bytes": memory_bytes}
    assert table_of(parties.run(big, few)[1]) == whole


def test_a_disk_that_is_full_ends_the_preparation_typed() -> None:
    class Full(MemoryWorkspace):
        def append(self, name: str, data: Any) -> None:
            raise DiskFull("no room")

    parties = Parties()
    parties.workspaces["left"] = Full()
    with pytest.raises(DiskFull):
        parties.run(digests(*range(300)), digests(1))
    assert not any("note" in name for name in parties.caches["left"]._data)


# -- as the job kind `psi` runs it


def people(*numbers: int) -> pa.Table:
    return pa.table({"id": [f"person {number}" for number in numbers]})


class Market:
    """Jobs between two parties that keep their caches."""

    def __init__(self) -> None:
        self.caches = {"left": MemoryCache(), "right": MemoryCache()}

    def job(self, big: pa.Table, few: pa.Table, **params: Any) -> Job:
        base = {"keys": {"left": ["id"], "right": ["id"]}, "output_to": ["left"], "protocol": "unbalanced"}
        storage = {role: {"cache": cache} for role, cache in self.caches.items()}
        return Job("psi", base | params, {"left": few, "right": big}, storage=storage)


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The roles that read their rows."""
    found: list[str] = []
    collect = psi.collect

    def counting(session: Session, *arguments: Any) -> Iterator[Any]:
        found.append(session.role)
        return (yield from collect(session, *arguments))

    monkeypatch.setattr(psi, "collect", counting)
    return found


def test_a_later_job_reads_no_row_of_a_set_that_was_prepared(collected: list[str]) -> None:
    market, big, few = Market(), people(*range(300), 7, 7), people(5, 299, 300)
    outputs = []
    for _ in range(2):
        job = market.job(big, few, result_check=True)
        run = job.run()
        assert job.open(run)["count"] == 2
        outputs.append((run.outputs["right"].units, run.outputs["right"].metrics))
    assert collected.count("right") == 1
    assert collected.count("left") == 2
    assert outputs[0] == outputs[1]
    assert outputs[0][1]["rows_repeated"] == 2
    # Who gets the result maps its matches to rows, so it reads them, also where the other side was prepared.
    assert market.job(few, big).result()["count"] == 2
    assert collected.count("left") == 3


def test_what_is_asked_otherwise_is_read_and_prepared_anew(collected: list[str]) -> None:
    market, big, few = Market(), people(*range(300)), people(5, 299, 300)
    market.job(big, few).result()
    for params, reads in (
        ({}, 0),
        ({"normalise": {"case": "fold"}}, 1),
        ({"curve": "secp256k1"}, 1),
        ({"protocol": "ecdh"}, 1),
        ({"protocol": "rr22"}, 1),
        ({"output_to": ["left", "right"], "protocol": "ecdh"}, 1),
    ):
        collected.clear()
        assert market.job(big, few, **params).result()["count"] == 2
        assert collected.count("right") == reads, params


def test_rows_that_changed_under_one_version_are_found_when_they_are_read() -> None:
    market, few = Market(), people(5, 299)
    market.job(people(*range(300)), few).result()
    with pytest.raises(DataError, match="not those that were prepared"):
        market.job(people(*range(1, 301)), few, protocol="ecdh").run()


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


def table_bytes_of(words: np.ndarray) -> bytes:
    """The table of tags in three parts."""
    parts = [part[np.argsort(part[:, 0])].T for part in np.array_split(words, 3)]
    written = bytearray()
    tags.write_table(parts, 1 << 10, written.extend)
    return bytes(written)


def test_bins_that_do_not_add_up_are_refused() -> None:
    words = np.random.default_rng(1).integers(0, 2**64, (1000, 2), np.uint64)
    table = bytearray(table_bytes_of(words))
    table[0] += 1
    with pytest.raises(ProtocolAbort, match="bins hold another number"):
        tags.TagTable.decode(bytes(table), 1000, "left")
    with pytest.raises(ProtocolAbort, match="another size"):
        tags.TagTable.decode(bytes(table)[:-8], 1000, "left")


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 4096, 50_001])
def test_the_table_finds_all_its_tags_and_no_others(count: int) -> None:
    outputs = np.random.default_rng(count).integers(0, 256, (2 * count + 5, 32), np.uint8)
    table = table_bytes_of(tags.halves(outputs[:count]))
    assert len(table) == tags.table_bytes(count)
    found = tags.TagTable.decode(table, count, "left").contains(outputs)
    assert found.tolist() == [True] * count + [False] * (count + 5)


def test_extreme_tags_are_found() -> None:
    words = np.array([[0, 0], [0, 2**64 - 1], [2**64 - 1, 0], [2**64 - 1, 2**64 - 1]] * 20, np.uint64)
    outputs = np.concatenate([words.view(np.uint8).reshape(-1, 16)] * 2, axis=1)
    table = tags.TagTable.decode(table_bytes_of(tags.halves(outputs)), 80, "left")
    assert table.contains(outputs).all()
    outputs[:, 9] ^= 1
    assert not table.contains(outputs).any()


def test_a_bin_that_overflows_is_an_error() -> None:
    with pytest.raises(ProtocolAbort, match="not spread evenly"):
        table_bytes_of(np.zeros((300, 2), np.uint64))
