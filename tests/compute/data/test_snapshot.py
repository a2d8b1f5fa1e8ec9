"""Snapshots: used again exactly while nothing changed, a changed source is found out as if it were read."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compute.data import snapshot
from compute.data.commitment import Committer, commit
from compute.data.snapshot import Snapshots, commit_source
from compute.data.source import Source
from compute.errors import DataError
from tests.compute.data.sources import declare

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
ROWS = "id,age,radius\n" + "".join(f"p{i},{i},{i}.5\n" for i in range(1000))


class Counted(Source):
    """A source that counts how often it is read."""

    reads = 0

    def batches(self, columns=None):
        self.reads += 1
        return super().batches(columns)


def counted(folder: Path, **settings: object) -> Counted:
    return Counted(declare(folder, path="rows.csv", **settings).config, folder)


@pytest.fixture
def source(tmp_path: Path) -> Counted:
    (tmp_path / "rows.csv").write_text(ROWS)
    return counted(tmp_path)


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path / "snapshots")


def test_the_second_load_reads_the_snapshot_and_gives_the_same_rows(
    source: Counted, snapshots: Snapshots, tmp_path: Path
) -> None:
    plain = source.read()
    commitment = commit(plain, KEY)
    recorded, table = snapshots.record("d1", source, KEY)
    assert recorded == commitment == commit_source(source, KEY)
    assert table.equals(plain)
    source.reads = 0
    for _ in range(2):
        loaded = snapshots.load("d1", source, KEY, commitment.root)
        assert loaded is not None
        assert loaded.equals(plain)
    assert source.reads == 0
    for path in (tmp_path / "snapshots").iterdir():
        assert path.stat().st_mode & 0o077 == 0


def test_a_swapped_file_is_found_out_and_putting_it_back_is_fine(
    source: Counted, snapshots: Snapshots, tmp_path: Path
) -> None:
    root = snapshots.record("d1", source, KEY)[0].root
    before = (tmp_path / "rows.csv").stat()
    (tmp_path / "rows.csv").write_text(ROWS.replace("p7,7,", "p7,8,"))
    # Neither size nor time tells.
    os.utime(tmp_path / "rows.csv", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert snapshots.load("d1", source, KEY, root) is None
    (tmp_path / "rows.csv").write_text(ROWS)
    source.reads = 0
    assert snapshots.load("d1", source, KEY, root) is not None
    assert source.reads == 0, "what was read in between did not replace the registered rows"


@pytest.mark.parametrize("part", [".arrow", ".note"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "remove"])
def test_a_damaged_snapshot_is_made_again(
    source: Counted, snapshots: Snapshots, tmp_path: Path, part: str, damage: str
) -> None:
    root = snapshots.record("d1", source, KEY)[0].root
    path = next((tmp_path / "snapshots").glob(f"*{part}"))
    data = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes({"flip": data, "cut": data[:-1], "empty": b""}[damage])
    source.reads = 0
    table = snapshots.load("d1", source, KEY, root)
    assert table is not None
    assert table.equals(source.read())
    assert source.reads == 2
    assert snapshots.load("d1", source, KEY, root) is not None
    assert source.reads == 2


def test_a_snapshot_is_of_one_dataset_root_key_and_declaration(
    source: Counted, snapshots: Snapshots, tmp_path: Path
) -> None:
    root = snapshots.record("d1", source, KEY)[0].root
    assert snapshots.load("d1", source, OTHER_KEY, root) is None
    assert snapshots.load("d1", source, KEY, bytes(32)) is None
    fewer = counted(tmp_path, columns=[{"name": "id", "type": "string"}])
    assert snapshots.load("d1", fewer, KEY, root) is None
    source.reads = 0
    assert snapshots.load("d2", source, KEY, root) is not None
    assert source.reads == 1
    with pytest.raises(DataError):
        snapshots.load("../d1", source, KEY, root)


def test_a_new_version_replaces_the_old_which_stays_mapped(
    source: Counted, snapshots: Snapshots, tmp_path: Path
) -> None:
    old = snapshots.record("d1", source, KEY)[1]
    (tmp_path / "rows.csv").write_text(ROWS + "new,1,1.0\n")
    new = snapshots.record("d1", source, OTHER_KEY)[1]
    assert len(list((tmp_path / "snapshots").iterdir())) == 2
    assert (old.num_rows, new.num_rows) == (1000, 1001)
    assert old.column("id")[999].as_py() == "p999"


def test_a_source_that_cannot_be_read_leaves_nothing(
    source: Counted, snapshots: Snapshots, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text(ROWS + "bad,not a number,1\n")
    with pytest.raises(DataError, match="line 1002"):
        snapshots.record("d1", source, KEY)
    assert not list((tmp_path / "snapshots").iterdir())


KILLED = """
import os, signal, sys
from pathlib import Path
from compute.data.snapshot import Snapshots
from tests.compute.data.sources import declare

snapshots = Snapshots(Path(sys.argv[1]) / "snapshots")
source = declare(Path(sys.argv[1]), path="rows.csv")
drawn = source.batches
def batches(columns=None):
    yield from drawn(columns)
    print("read", flush=True)
    sys.stdin.read()
source.batches = batches
snapshots.record("d1", source, bytes(32))
"""


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(
    source: Counted, tmp_path: Path
) -> None:
    folder = tmp_path / "snapshots"
    arguments = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "read\n"
        Snapshots(folder)
        assert len(list(folder.iterdir())) == 1
        process.kill()
    Snapshots(folder)
    assert list(folder.iterdir()) == []


def test_parquet_and_empty_tables_too(snapshots: Snapshots, tmp_path: Path) -> None:
    schema = pa.schema([("id", pa.string()), ("age", pa.int64()), ("radius", pa.float64())])
    for rows in ([], [{"id": "a", "age": 1, "radius": 2.0}]):
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "rows.parquet")
        source = declare(tmp_path, kind="parquet", path="rows.parquet")
        commitment, table = snapshots.record("d1", source, KEY)
        assert commitment == commit(source.read(), KEY)
        assert table.to_pylist() == rows
        loaded = snapshots.load("d1", source, KEY, commitment.root)
        assert loaded is not None
        assert loaded.to_pylist() == rows


_FILLER = """
import resource, sys
from pathlib import Path
from compute.data.snapshot import Snapshots
from compute.errors import DiskFull
from tests.compute.data.sources import declare
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, 1 << 14))
folder = Path(sys.argv[1])
try:
    Snapshots(folder / "snapshots").record("d1", declare(folder, path="rows.csv"), b"k" * 32)
except DiskFull as error:
    print(error.code, [p.name for p in (folder / "snapshots").iterdir()])
"""


def test_a_full_disk_is_typed_and_leaves_nothing(source: Counted, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FILLER, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.returncode) == ("data.disk_full []", 0), done.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1 << 14


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_batches_of_any_size_give_the_same_commitment(cuts: list[int], rows: int) -> None:
    table = pa.table({"i": pa.array(range(rows), pa.int64())})
    committer = Committer(table.schema, KEY)
    start = 0
    for length in [*cuts, rows]:
        for batch in table.slice(start, length).to_batches():
            committer.add(batch)
        start = min(rows, start + length)
    assert committer.finish() == commit(table, KEY)


def test_what_the_files_say_is_bound(source: Counted, snapshots: Snapshots, tmp_path: Path) -> None:
    """Two snapshots' files cannot be exchanged, though each is whole."""
    root = snapshots.record("d1", source, KEY)[0].root
    (tmp_path / "rows.csv").write_text(ROWS.replace("p7,7,", "p7,8,"))
    other = snapshots.record("d2", source, KEY)[0].root
    (tmp_path / "rows.csv").write_text(ROWS)
    folder = tmp_path / "snapshots"
    os.replace(folder / f"d2.{other.hex()}.arrow", folder / f"d1.{root.hex()}.arrow")
    table = snapshots.load("d1", source, KEY, root)
    assert table is not None
    assert commit(table, KEY).root == root
    assert snapshot.__doc__ is not None
