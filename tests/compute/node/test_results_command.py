"""A party takes what jobs left at its node, as files, without its node running."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from compute.data.results import ResultStore
from compute.node.__main__ import main

JOB = "0x" + "ab" * 32
TABLE = pa.table({"id": ["=a", "b"], "n": [1, 2]})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "node.toml").write_text(f'name = "East"\nparty = "0x{"0a" * 32}"\nresults = "kept"\n')
    ResultStore(tmp_path / "kept").put(JOB, "left", TABLE)
    return tmp_path


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["results", *arguments, "--config", str(home / "node.toml")])


def test_results_are_listed(home: Path) -> None:
    (listed,) = json.loads(run(home, "list", "--json").stdout)
    assert (listed["job"], listed["role"], listed["rows"], listed["columns"]) == (JOB, "left", 2, ["id", "n"])
    assert f"{JOB}  left" in run(home, "list").stdout


def test_a_result_is_exported_with_the_columns_asked_for(home: Path) -> None:
    out = home / "out"
    ended = run(home, "export", JOB, "--column", "n", "--column", "id", "--out", str(out))
    assert (ended.exit_code, out.read_text()) == (0, '"n","id"\n1,"\'=a"\n2,"b"\n')
    run(home, "export", JOB, "--format", "parquet", "--out", str(out))
    assert pq.read_table(out).equals(TABLE)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["0x" + "cd" * 32], "no result of job"),
        (["nothing"], "no result of job"),
        (["../x", "--role", "left"], "named by a job id"),
        ([JOB, "--role", "right"], "no result of job"),
        ([JOB, "--column", "ghost"], "no column 'ghost'"),
    ],
)
def test_what_is_not_there_is_told(home: Path, arguments: list[str], said: str) -> None:
    ended = run(home, "export", *arguments, "--out", str(home / "out"))
    assert ended.exit_code == 1
    assert said in ended.stderr
    assert not (home / "out").exists()


def test_a_job_with_results_of_two_roles_needs_one_named(home: Path) -> None:
    ResultStore(home / "kept").put(JOB, "right", TABLE.slice(1))
    assert "left, right" in run(home, "export", JOB, "--out", str(home / "out")).stderr
    assert run(home, "export", JOB, "--role", "right", "--out", str(home / "out")).exit_code == 0
    assert (home / "out").read_text() == '"id","n"\n"b",2\n'
