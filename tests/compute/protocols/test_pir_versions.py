"""A version is encoded once; what both sides keep is used again; a new version costs what changed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compute.errors import CohortTooSmall
from compute.protocols.directory_cache import DirectoryCache
from compute.protocols.local import LocalRun
from compute.protocols.pir.simple import database, linear, records
from compute.protocols.pir.simple.client import _Opener, _places
from compute.protocols.pir.simple.database import Version
from compute.protocols.pir.simple.linear import U8
from compute.protocols.pir.simple.shape import SegmentShape, Setup, row_label
from compute.wire import codec
from tests.compute.protocols.pir_jobs import ABSENT, Parties, Versioned, expected, shape, table

Make = Callable[..., Versioned]


def kinds(parties: Parties, name: str) -> Versioned:
    source = table(97)
    if name == "row":
        return parties.by_row(source, [3, 500])
    return getattr(parties, name)(source, ["P0003", "nobody"])


RESULTS: dict[str, list[Any]] = {
    "row": [expected(3), ABSENT],
    "by_keyword": [expected(3), ABSENT],
    "membership": [True, False],
}


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts tables read, oblivious evaluations of whole tables, and hints computed."""
    counts = {"read": 0, "evaluate": 0, "hint": 0}

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            counts[name] += 1
            return function(*arguments, **options)

        return counted

    monkeypatch.setattr(database, "_read", counting("read", database._read))
    monkeypatch.setattr(Version, "evaluate", counting("evaluate", Version.evaluate))
    monkeypatch.setattr(linear, "hint", counting("hint", linear.hint))
    return counts


@pytest.mark.parametrize("name", RESULTS)
def test_a_second_job_encodes_nothing_and_sends_no_hint(name: str, work: dict[str, int]) -> None:
    parties = Parties()
    first = kinds(parties, name)
    run = first.run()
    assert first.open(run) == {"answers": RESULTS[name]}
    assert work["read"] == work["evaluate"] == 1
    assert work["hint"] == (1 if name == "membership" else 2)
    before = dict(work)

    second = kinds(parties, name)
    again = second.run()
    assert second.open(again) == {"answers": RESULTS[name]}
    assert work == before
    metrics = again.outputs["server"].metrics
    assert (
        metrics["database_cached"]
        == metrics["hint_cached"]
        == again.outputs["client"].metrics["hint_cached"]
        == 1
    )
    assert metrics["hint_bytes"] == 0
    assert again.bytes_sent("server") < run.bytes_sent("server") / 20
    assert first.binding != second.binding
    # The same keyword again: no message from the client but the empty list of wants is the same.
    sent = [{m.data for m in each.wire if m.sender == "client"} for each in (run, again)]
    assert not sent[0] & sent[1]


@pytest.mark.parametrize("name", RESULTS)
def test_a_client_without_its_cache_downloads_again_what_the_server_still_has(name: str) -> None:
    parties = Parties()
    kinds(parties, name).run()
    parties.client = Parties().client
    job = kinds(parties, name)
    run = job.run()
    assert job.open(run) == {"answers": RESULTS[name]}
    assert run.outputs["server"].metrics["database_cached"] == 1
    assert run.outputs["server"].metrics["hint_cached"] == 0


@pytest.mark.parametrize("name", RESULTS)
def test_a_server_without_its_cache_makes_the_same_database_again(name: str) -> None:
    parties = Parties()
    kinds(parties, name).run()
    parties.server = Parties().server
    run = kinds(parties, name).run()
    assert run.outputs["server"].metrics["database_cached"] == 0
    assert run.outputs["client"].metrics["hint_cached"] == 1


@pytest.mark.parametrize("part", ["-keys-hint", "-data-matrix", ""])
def test_a_spoiled_cache_is_no_cache(part: str) -> None:
    parties = Parties()
    kinds(parties, "by_keyword").run()
    for name, data in list(parties.client._data.items()):
        parties.client.put(name, bytes(len(data)))
    # Names end in a part, or are those of the version and of the base themselves.
    for name in list(parties.server._data):
        if name.endswith(part) if part else name.count("-") < 3:
            parties.server.put(name, b"short")
    job = kinds(parties, "by_keyword")
    run = job.run()
    assert job.open(run) == {"answers": RESULTS["by_keyword"]}
    assert (
        run.outputs["server"].metrics["database_cached"] == run.outputs["client"].metrics["hint_cached"] == 0
    )


@pytest.mark.parametrize("name", RESULTS)
def test_caches_on_disk_serve_mapped_matrices_and_hints(
    name: str, tmp_path: Path, work: dict[str, int]
) -> None:
    for expected_hints in (0, 1):
        # New objects over the same folders: as after a restart of both sides.
        parties = Parties()
        parties.server = DirectoryCache(tmp_path / "server", 1 << 30)
        parties.client = DirectoryCache(tmp_path / "client", 1 << 30)
        job = kinds(parties, name)
        run = job.run()
        assert job.open(run) == {"answers": RESULTS[name]}
        metrics = run.outputs["server"].metrics
        assert metrics["database_cached"] == metrics["hint_cached"] == expected_hints
    assert work["read"] == 1


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "stray").write_bytes(b"stray")


# An entry's header has 64 bytes.
DAMAGES: dict[str, Callable[[Path], Any]] = {
    "a bit of the content": lambda path: flip(path, -1),
    "a bit of the middle": lambda path: flip(path, (64 + path.stat().st_size) // 2),
    "a bit of the header": lambda path: flip(path, 20),
    "the end is missing": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "a folder": folder,
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["row", "by_keyword"])
def test_whatever_is_damaged_on_disk_is_made_again_and_the_answers_stay_right(
    name: str, damage: str, tmp_path: Path
) -> None:
    def run() -> LocalRun:
        parties = Parties()
        parties.server = DirectoryCache(tmp_path / "server", 1 << 30)
        parties.client = DirectoryCache(tmp_path / "client", 1 << 30)
        job = kinds(parties, name)
        result = job.run()
        assert job.open(result) == {"answers": RESULTS[name]}
        return result

    run()
    entries = sorted(path for side in ("server", "client") for path in (tmp_path / side).glob("pir-*"))
    assert len(entries) == 10
    # Three are read only when the next version is made.
    reads = [path for path in entries if not path.name.endswith(("-labels", "-contents"))]
    for path in reads:
        before = None if path.name.startswith("pir-base-") else path.read_bytes()
        DAMAGES[damage](path)
        metrics = run().outputs["server"].metrics
        if before is not None:
            assert path.read_bytes() == before, "what was lost is made again alike"
            cached = metrics["hint_cached" if path.parent.name == "client" else "database_cached"]
            assert cached == 0, path.name


def test_a_file_in_the_place_of_another_is_not_taken_for_it(tmp_path: Path) -> None:
    parties = Parties()
    parties.server = DirectoryCache(tmp_path, 1 << 30)
    words = ["P0003", "nobody"]
    for number in (1, 2):
        parties.by_keyword(table(97) if number == 1 else table(96), words, number).run()
    first, second = sorted(tmp_path.glob("pir-*-0-keys-matrix"), key=lambda path: path.stat().st_mtime_ns)
    assert first.stat().st_size == second.stat().st_size
    second.write_bytes(first.read_bytes())
    parties.server = DirectoryCache(tmp_path, 1 << 30)
    job = parties.by_keyword(table(96), words, 2)
    run = job.run()
    assert job.open(run)["answers"] == RESULTS["by_keyword"]
    assert run.outputs["server"].metrics["database_cached"] == 0


@pytest.mark.parametrize("part", ["data", "keys"])
def test_a_hint_that_is_not_the_one_of_its_matrix_is_made_again(part: str) -> None:
    parties = Parties()
    kinds(parties, "by_keyword").run()
    data = parties.server._data
    name = next(name for name in data if name.endswith(f"-{part}-hint"))
    whole = data[name]
    data[name] = bytes(len(whole))
    parties.client = Parties().client
    job = kinds(parties, "by_keyword")
    run = job.run()
    assert job.open(run) == {"answers": RESULTS["by_keyword"]}
    assert run.outputs["server"].metrics["database_cached"] == 0
    assert data[name] == whole


def test_a_cache_too_small_for_anything_only_costs_time(tmp_path: Path) -> None:
    for _ in range(2):
        parties = Parties()
        parties.server = DirectoryCache(tmp_path / "server", 4096)
        parties.client = DirectoryCache(tmp_path / "client", 4096)
        job = kinds(parties, "by_keyword")
        run = job.run()
        assert job.open(run) == {"answers": RESULTS["by_keyword"]}
        metrics = run.outputs["server"].metrics
        assert metrics["database_cached"] == metrics["hint_cached"] == 0


def test_other_columns_keys_limits_and_datasets_share_nothing() -> None:
    parties, source = Parties(), table(11)
    jobs = [
        parties.by_keyword(source, ["P0001"]),
        parties.by_keyword(source, ["P0001"], columns=["size"]),
        parties.by_keyword(source, ["P0001"], key=["note"]),
        parties.by_keyword(source, ["P0001"], max_record_bytes=64),
        parties.by_keyword(source, ["P0001"], normalise={"case": "fold"}),
        parties.by_keyword(source, ["P0001"], number=2),
        parties.membership(source, ["P0001"]),
        parties.by_row(source, [1]),
    ]
    versions = [Version(job.session("server")) for job in jobs]
    for secret in ("scalar", "number"):
        assert len({getattr(version, secret) for version in versions}) == len(jobs)
    assert len({version.lineage for version in versions}) == len(jobs) - 1, "a new version is of one lineage"


def test_the_floor_holds_for_what_lies_in_the_cache() -> None:
    parties = Parties()
    parties.by_keyword(table(9), ["P0001"]).run()
    job = parties.by_keyword(table(9), ["P0001"])
    job.floor = 10
    assert {type(end) for end in job.run_async().values()} == {CohortTooSmall}


def test_without_a_secret_of_the_version_nothing_is_kept() -> None:
    parties = Parties()
    for _ in range(2):
        job = parties.by_keyword(table(9), ["P0001"])
        job.number = 0
        job.session = lambda role, job=job: _without_secret(job, role)  # type: ignore[method-assign]
        run = job.run()
        assert job.open(run)["answers"] == [expected(1)]
        assert run.outputs["server"].metrics["database_cached"] == 0
    assert parties.server._data == {}


def _without_secret(job: Versioned, role: str) -> Any:
    return replace(Versioned.session(job, role), version_secret=b"")


# -- updates


def wide(values: dict[str, int]) -> pa.Table:
    return pa.table(
        {
            "pid": list(values),
            "size": [value * 1.5 for value in values.values()],
            "note": [f"{value:07}" * 100 for value in values.values()],
        }
    )


def wide_record(value: int) -> dict[str, Any]:
    return {"found": True, "records": [{"size": value * 1.5, "note": f"{value:07}" * 100}]}


def changed(count: int) -> tuple[dict[str, int], dict[str, int]]:
    """A table, and the same with about one row in a hundred changed, gone or new."""
    old = {f"P{i:05}": i for i in range(count)}
    new = dict(old)
    step = 3 * 100
    for at in range(0, count, step):
        new[f"P{at:05}"] = at + 1_000_000
        new.pop(f"P{at + 100:05}", None)
        new[f"N{at:05}"] = at
    return old, new


def test_one_row_in_a_hundred_changed_costs_a_small_part_of_the_hint() -> None:
    old, new = changed(3000)
    parties = Parties()
    first = parties.by_keyword(wide(old), ["P00000", "P00100", "P00007"], 1).run()
    asked = ["P00000", "P00100", "P00007", "N00300", "P00299", "nobody"]
    job = parties.by_keyword(wide(new), asked, 2)
    run = job.run()
    present = [wide_record(new[word]) if word in new else ABSENT for word in asked]
    assert job.open(run)["answers"] == present
    full, part = first.outputs["server"].metrics["hint_bytes"], run.outputs["server"].metrics["hint_bytes"]
    assert part < full / 5, (part, full)
    assert run.outputs["server"].metrics["records"] == len(new)
    # And once more, with nothing to download at all; a client that has never been here gets all of it.
    again = parties.by_keyword(wide(new), asked, 2)
    assert again.run().outputs["server"].metrics["hint_bytes"] == 0
    parties.client = Parties().client
    fresh = parties.by_keyword(wide(new), asked, 2)
    assert fresh.result()["answers"] == present


def test_an_update_encodes_and_hints_only_what_changed(
    work: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = changed(3000)
    parties = Parties()
    parties.by_keyword(wide(old), ["P00000"], 1).run()
    sealed: list[int] = []
    seal = records.Records.seal
    monkeypatch.setattr(
        records.Records, "seal", lambda self, size, keys: sealed.append(len(self)) or seal(self, size, keys)
    )
    parties.by_keyword(wide(new), ["P00000"], 2).run()
    assert sealed == [20], "ten rows changed and ten are new"


def test_rows_change_in_place_and_the_end_may_go() -> None:
    old = {f"P{i:05}": i for i in range(2000)}
    new = {word: value + 5_000_000 * (value % 100 == 7) for word, value in old.items() if value < 1990}
    parties = Parties()
    rows = [7, 8, 107, 1989, 1990, 1999, 2000]
    assert parties.by_row(wide(old), rows, 1).result()["answers"] == [wide_record(r) for r in rows[:-1]] + [
        ABSENT
    ]
    job = parties.by_row(wide(new), rows, 2)
    run = job.run()
    values = list(new.values())
    present = [wide_record(values[row]) if row < len(values) else ABSENT for row in rows]
    assert job.open(run)["answers"] == present
    assert len(setup_of(run).segments) == 2


def test_a_version_that_only_lost_rows_needs_no_second_segment() -> None:
    old = {f"P{i:05}": i for i in range(2000)}
    new = {word: value for word, value in old.items() if value % 100}
    parties = Parties()
    parties.by_keyword(wide(old), ["P00001"], 1).run()
    job = parties.by_keyword(wide(new), ["P00001", "P00100"], 2)
    run = job.run()
    assert job.open(run)["answers"] == [wide_record(1), ABSENT]
    assert len(setup_of(run).segments) == 1


def test_absent_deleted_changed_and_present_look_the_same() -> None:
    old, new = changed(3000)
    seen = set()
    for word in ("P00000", "P00100", "P00007", "N00300", "nobody"):
        parties = Parties()
        parties.by_keyword(wide(old), ["P00007"], 1).run()
        seen.add(tuple(shape(parties.by_keyword(wide(new), [word], 2).run())))
    assert len(seen) == 1


def test_too_much_change_makes_a_new_base() -> None:
    old = {f"P{i:05}": i for i in range(2000)}
    parties = Parties()
    parties.by_keyword(wide(old), ["P00001"], 1).run()
    new = {word: value + 1_000_000 for word, value in old.items()}
    job = parties.by_keyword(wide(new), ["P00001"], 2)
    run = job.run()
    assert job.open(run)["answers"] == [wide_record(1_000_001)]
    assert len(setup_of(run).segments) == 1
    assert run.outputs["client"].metrics["hint_cached"] == 0
    # The third version stands on the second.
    newer = new | {"P00001": 5}
    job = parties.by_keyword(wide(newer), ["P00001", "P00002"], 3)
    run = job.run()
    assert job.open(run)["answers"] == [wide_record(5), wide_record(1_000_002)]
    assert len(setup_of(run).segments) == 2


@settings(max_examples=5, deadline=None)
@given(st.dictionaries(st.integers(0, 400), st.integers(0, 9), max_size=12), st.sets(st.integers(0, 299)))
def test_versions_equal_dictionaries(written: dict[int, int], removed: set[int]) -> None:
    old = {f"P{i:05}": i for i in range(300)}
    new = {word: value for word, value in old.items() if value not in removed}
    new |= {f"P{i:05}": value + 7_000 for i, value in written.items()}
    parties = Parties()
    parties.by_keyword(wide(old), ["P00001"], 1).run()
    if not new:
        return
    asked = [f"P{i:05}" for i in [*list(written)[:6], *list(removed)[:6], 1, 2, 3, 4]]
    answers = parties.by_keyword(wide(new), asked, 2).result()["answers"]
    assert answers == [wide_record(new[word]) if word in new else ABSENT for word in asked]


def setup_of(run: LocalRun) -> Setup:
    return codec.decode(Setup, run.wire[0].data)


# -- what a client could open that knows every byte of the database


def cells(segment: Any, labels: U8) -> U8:
    """What the queries for these labels give, read from the matrices themselves."""
    description: SegmentShape = segment.shape
    layout = description.layout
    buckets, slots = _places(labels, description)
    whole = np.concatenate([segment.data.matrix, segment.keys.matrix])
    found = []
    for bucket, row in zip(buckets, slots, strict=True):
        column = [
            whole[:, [p * layout.slots + s for s in row]].sum(axis=1, dtype=np.uint8)
            for p in range(layout.split)
        ]
        rows = np.stack(column)
        data, keys = rows[:, : layout.data_rows], rows[:, layout.data_rows :]
        found.append(
            np.concatenate(
                [
                    data.reshape(layout.split, layout.stack, -1)[:, bucket].reshape(-1)[: layout.data_bytes],
                    keys.reshape(layout.split, layout.stack, -1)[:, bucket].reshape(-1)[: layout.key_bytes],
                ]
            )
        )
    return np.stack(found)


def opened(job: Versioned, label: U8, mask_of: U8, run: LocalRun) -> list[bool]:
    """Per segment: does the cell of ``label`` open under the oblivious function at ``mask_of``?"""
    version = Version(job.session("server"))
    held = version.store.load(version.number)
    assert held is not None
    opener = _Opener(job.params, setup_of(run), version.evaluate(mask_of[None]))
    return [
        opener._open(cells(segment, label[None])[0], segment.shape, 0) is not None
        for segment in held.segments
    ]


def label_of(row: int) -> U8:
    return np.frombuffer(row_label(row), np.uint8)


def test_one_evaluation_opens_one_record_also_for_who_knows_the_whole_matrix() -> None:
    parties = Parties()
    job = parties.by_row(table(40), [3])
    run = job.run()
    for row in range(40):
        assert opened(job, label_of(row), label_of(3), run) == [row == 3]


def test_what_has_gone_or_changed_cannot_be_opened_any_more_even_if_one_pays() -> None:
    old = {f"P{i:05}": i for i in range(2000)}
    new = {word: value + 5_000_000 * (value == 7) for word, value in old.items() if value < 1990}
    parties = Parties()
    first = parties.by_row(wide(old), [7], 1)
    run = first.run()
    for row in (7, 8, 1995):
        assert opened(first, label_of(row), label_of(row), run) == [True]
    second = parties.by_row(wide(new), [7], 2)
    run = second.run()
    found = {row: opened(second, label_of(row), label_of(row), run) for row in (7, 8, 1995)}
    assert found == {7: [False, True], 8: [True, False], 1995: [False, False]}


def test_what_was_learnt_in_a_version_does_not_open_what_is_new_in_the_next() -> None:
    old = {f"P{i:05}": i for i in range(2000)}
    parties = Parties()
    first = parties.by_row(wide(old), [7], 1)
    first.run()
    second = parties.by_row(wide(old | {"P00007": 5}), [7], 2)
    run = second.run()
    version = Version(first.session("server"))
    opener = _Opener(second.params, setup_of(run), version.evaluate(label_of(7)[None]))
    held = Version(second.session("server")).store.load(setup_of(run).version)
    assert held is not None
    for segment in held.segments:
        assert opener._open(cells(segment, label_of(7)[None])[0], segment.shape, 0) is None


def test_a_server_does_not_see_whether_another_ones_hints_are_here() -> None:
    parties = Parties()
    jobs = [parties.by_row(table(97), [3]) for _ in range(3)]
    server, client = jobs[2].spec.participants
    other = msgspec.structs.replace(server, party="0x" + "77" * 32)
    jobs[2].spec = msgspec.structs.replace(jobs[2].spec, participants=(other, client))
    first, again, elsewhere = (job.run().bytes_sent("server") for job in jobs)
    assert again < first
    # It has the same database, and so the same digests: as if it had copied them.
    assert elsewhere == first
