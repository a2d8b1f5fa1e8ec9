"""The checks of `python -m bench gpu`, over kernels compiled for the processor, and what surrounds them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from accel.gpu import device, memory
from bench import measure, suite_gpu
from bench.gpu import FAMILIES, families, modular, paillier
from bench.gpu.entry import Ceilings, Entry, row
from bench.measure import Row
from tests.accel.gpu import host
from tests.accel.gpu.conftest import HostDevice

ROOT = Path(__file__).parents[3]
WITHOUT = ("gmpy2", "numba", "llvmlite", "cryptography", "click", "rich", "msgspec", "pyarrow", "phe", "cupy")


def test_every_family_has_entries() -> None:
    for family in FAMILIES:
        assert families([family])


def test_check_of_modular_arithmetic(host_device: HostDevice) -> None:
    modular.check(count=60)


def test_check_of_paillier(host_device: HostDevice) -> None:
    paillier.check(sizes=(256,), count=8)


def test_check_finds_a_wrong_result() -> None:
    m = modular.modulus(256)
    right, wrong = m.array([1, 2, 3]), m.array([1, 2, 4])
    modular.equal("same", right, right)
    with pytest.raises(ArithmeticError, match="1 of 3 differ"):
        modular.equal("other", wrong, right)


@pytest.mark.parametrize("kernel", ["wide_peak", "carry_peak"])
def test_peak_kernels_depend_on_every_multiply_add(kernel: str) -> None:
    built = host.library("peak.cuh")
    found = []
    for rounds in (1, 2):
        out = np.zeros(64, np.uint64)
        host.run(built, kernel, 2, 32, np.uint32(0x9E3779B9), np.uint32(rounds), out)
        found.append(out)
    assert (found[0] != found[1]).any()


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "bench", "--quick", "gpu"],
        ["-c", "import sys, bench.suite_gpu as s, bench.gpu as g; g.families(); sys.exit(s.main([]))"],
    ],
)
def test_suite_needs_none_of_our_packages_and_says_that_there_is_no_gpu(
    tmp_path: Path, command: list[str]
) -> None:
    # A folder of modules that cannot be imported stands before the installed ones.
    for name in WITHOUT:
        (tmp_path / f"{name}.py").write_text("raise ImportError('not here')\n")
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "cupy is not installed" in done.stderr


def test_unknown_family_is_refused() -> None:
    assert suite_gpu.main(["nonsense"]) == 2


def test_a_wrong_family_fails_the_run_and_keeps_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def wrong() -> None:
        raise ArithmeticError("1 of 3 differ")

    def times(clock: object, ceilings: Ceilings, quick: bool) -> Iterator[Row]:
        yield row("product", 3, 1.0, "op/s", "", ceiling="copy", allowed=6.0)

    entries = [Entry("right", lambda: None, times), Entry("wrong", wrong, times)]
    monkeypatch.setattr(device, "describe", lambda: {"gpu": "NVIDIA H200"})
    monkeypatch.setattr(suite_gpu, "ceilings", lambda: Ceilings(1.0, 1.0, 1.0))
    monkeypatch.setattr(suite_gpu, "families", lambda only: entries)
    monkeypatch.setattr(measure, "RESULTS", tmp_path / "results")
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    assert suite_gpu.main(["lwe", "--quick"]) == 1
    for folder in ("results", "out"):
        (kept,) = (tmp_path / folder).glob("gpu-*-nvidia-h200-lwe-quick.json")
        document = json.loads(kept.read_text())
        assert document["faults"] == {"wrong": "ArithmeticError: 1 of 3 differ"}
        assert [r["name"] for r in document["rows"]][3:] == ["product"]


@pytest.mark.parametrize("family", [modular, paillier])
def test_what_is_timed_runs(
    host_device: HostDevice, monkeypatch: pytest.MonkeyPatch, family: ModuleType
) -> None:
    # numpy makes the arrays that CuPy would, and one piece of work takes a second.
    monkeypatch.setattr(device, "require", lambda: np)
    monkeypatch.setattr(modular, "batch", lambda waves: 32)
    monkeypatch.setattr(paillier, "batch", lambda waves: 32)
    monkeypatch.setattr(memory, "translated", nullcontext)
    monkeypatch.setattr(modular, "SIZES", (256, 2048))

    def second(work: Callable[[], object]) -> float:
        work()
        return 1.0

    (entry,) = family.ENTRIES
    rows = list(entry.time(second, Ceilings(8e12, 8e12, 4e12), True))
    assert len(rows) >= 3
    assert all(row.value == row.size for row in rows)
    assert all(row.ratio is not None and 0 < row.ratio < 1 for row in rows)
