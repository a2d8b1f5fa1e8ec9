"""Stored results survive, stay private, and are named by job and role only."""

from __future__ import annotations

import os

import pyarrow as pa
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
