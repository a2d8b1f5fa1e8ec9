"""Stored results survive, stay private, and are named by job and role only."""

from __future__ import annotations

import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compute.data.results import ResultStore
from compute.errors import BadInput, DataError

JOB = "0x" + "ab" * 32
TABLE = pa.table({"id": ["a", "b"], "n": [1, 2]})


def test_what_is_stored_is_there_after_a_restart(tmp_path):
    ResultStore(tmp_path / "results").put(JOB, "left", TABLE)
    store = ResultStore(tmp_path / "results")
    assert store.get(JOB, "left") == TABLE


def test_files_are_private(tmp_path):
    path = ResultStore(tmp_path / "results").put(JOB, "left", TABLE)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_storing_again_replaces(tmp_path):
    store = ResultStore(tmp_path)
    store.put(JOB, "left", TABLE)
    store.put(JOB, "left", TABLE.slice(0, 1))
    assert store.get(JOB, "left").num_rows == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_a_failed_write_leaves_the_old_result_and_nothing_else(tmp_path, monkeypatch):
    store = ResultStore(tmp_path)
    store.put(JOB, "left", TABLE)

    def power_cut(source, target):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", power_cut)
    with pytest.raises(DataError):
        store.put(JOB, "left", TABLE.slice(0, 1))
    monkeypatch.undo()
    assert store.get(JOB, "left") == TABLE
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("job", "role"),
    [
        (JOB.upper(), "left"),
        ("0x" + "ab" * 31, "left"),
        ("../" + JOB, "left"),
        (JOB + "\n", "left"),
        (JOB, ""),
        (JOB, "../left"),
        (JOB, "left/right"),
        (JOB, "Left"),
        (JOB, "a\x00"),
    ],
)
def test_names_cannot_leave_the_folder(tmp_path, job, role):
    store = ResultStore(tmp_path)
    with pytest.raises(BadInput):
        store.put(job, role, TABLE)
    with pytest.raises(BadInput):
        store.get(job, role)


def test_missing_and_damaged_results(tmp_path):
    store = ResultStore(tmp_path)
    with pytest.raises(DataError, match="no result"):
        store.get(JOB, "left")
    path = store.put(JOB, "left", TABLE)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match="damaged"):
        store.get(JOB, "left")


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be made"):
        ResultStore(tmp_path / "file" / "results")


def test_what_is_stored_is_listed_the_newest_first(tmp_path):
    store = ResultStore(tmp_path)
    other = "0x" + "cd" * 32
    store.put(JOB, "left", TABLE)
    store.put(other, "p1", TABLE.slice(0, 1))
    os.utime(tmp_path / f"{JOB}.left.parquet", (10, 10))
    os.utime(tmp_path / f"{other}.p1.parquet", (20, 20))
    (tmp_path / "something else").write_bytes(b"")
    listed = store.stored()
    assert [(item.job, item.role, item.rows, item.columns, item.stored_at) for item in listed] == [
        (other, "p1", 1, ("id", "n"), 20),
        (JOB, "left", 2, ("id", "n"), 10),
    ]
    (tmp_path / f"{JOB}.left.parquet").write_bytes(b"PAR1")
    assert [(item.rows, item.size_bytes) for item in store.stored() if item.job == JOB] == [(None, 4)]


def test_a_result_may_come_in_batches(tmp_path):
    store = ResultStore(tmp_path)
    batch = TABLE.to_batches()[0]
    store.write(JOB, "left", TABLE.schema, (batch for _ in range(1000)))
    assert store.get(JOB, "left").num_rows == 2000


def test_columns_are_exported_in_the_order_asked_for(tmp_path):
    store = ResultStore(tmp_path / "results")
    store.put(JOB, "left", pa.table({"id": ["=1", None], "n": [1, 2], "x": [0.5, 0.25]}))
    out = tmp_path / "out"
    assert store.export(JOB, "left", out, table_format="csv", columns=["x", "id"]) == 2
    assert out.read_text() == '"x","id"\n0.5,"\'=1"\n0.25,\n'
    store.export(JOB, "left", out, table_format="csv", columns=["id"], exact=True)
    assert out.read_text() == '"id"\n"=1"\n\n'
    store.export(JOB, "left", out, table_format="parquet", columns=["n"])
    assert pq.read_table(out).to_pydict() == {"n": [1, 2]}
    with pytest.raises(BadInput, match="no column 'ghost'"):
        store.export(JOB, "left", out, table_format="csv", columns=["ghost"])
    with pytest.raises(DataError, match="no result"):
        store.export(JOB, "right", out, table_format="csv")
    assert pq.read_table(out).num_rows == 2


_KILLED = """
import os, sys
import pyarrow as pa
from pathlib import Path
from compute.data.results import ResultStore
def batches():
    yield pa.record_batch({"n": [1]})
    os._exit(9)
ResultStore(Path(sys.argv[1])).write(sys.argv[2], "right", pa.schema({"n": pa.int64()}), batches())
"""


def test_what_a_killed_writer_left_is_swept_and_nothing_else(tmp_path):
    ResultStore(tmp_path).put(JOB, "left", TABLE)
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path), JOB], check=False)
    assert killed.returncode == 9
    (tmp_path / ".note.tmp").touch()
    assert len(list(tmp_path.iterdir())) == 3
    ResultStore(tmp_path).sweep()
    assert {path.name for path in tmp_path.iterdir()} == {f"{JOB}.left.parquet", ".note.tmp"}
    assert ResultStore(tmp_path).get(JOB, "left") == TABLE
