import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from numba import types

from accel import features
from accel.cpu import jit


def load(folder, monkeypatch, stamp):
    monkeypatch.setattr(jit, "_sources", lambda: stamp)
    source = folder / "sample.py"
    source.write_text(
        "from numba import types\n"
        "from accel.cpu.jit import compiled\n"
        "@compiled\n"
        "def double(x):\n"
        "    return 2 * x\n"
        "@compiled(signature=types.int64(types.int64))\n"
        "def triple(x):\n"
        "    return 3 * x\n"
    )
    spec = importlib.util.spec_from_file_location("sample", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_compiled_function_is_found_on_disk_until_a_source_changes(tmp_path, monkeypatch):
    for stamp, hits in (("old", 0), ("old", 1), ("new", 0), ("new", 1)):
        module = load(tmp_path, monkeypatch, stamp)
        assert (module.double(21), module.triple(14)) == (42, 42)
        for function in (module.double, module.triple):
            assert sum(function.stats.cache_hits.values()) == hits
        assert module.triple.signatures == [(types.int64,)]


def make(variant):
    @jit.compiled(variant=variant)
    def scaled(x):
        return variant * x

    return scaled


def test_functions_made_by_a_function_have_names_of_their_own():
    two, three = make(2), make(3)
    assert (two.__name__, three.__name__) == ("scaled_2", "scaled_3")
    assert (two(21), three(14)) == (42, 42)
    with pytest.raises(TypeError, match="variant"):
        make(None)


TILES = (("ifma", "VNNI"), ("avx2", "AVX2"))
MULTIPLY = """
import sys, numpy as np
from accel.cpu import lwe_simd
tiles = getattr(lwe_simd, sys.argv.pop(1))
database = np.arange(40 * 100, dtype=np.uint8).reshape(40, 100)
for columns in map(int, sys.argv[1:]):
    factor = np.arange(100 * columns, dtype=np.uint32).reshape(100, columns) * np.uint32(0x9E3779B1)
    expected = (database.astype(np.uint64) @ factor.astype(np.uint64)).astype(np.uint32)
    assert (lwe_simd.matmul(tiles, database, factor, 0) == expected).all(), columns
"""


def multiply(tiles: str, cache: Path, columns: str) -> None:
    """In a process of its own, with that folder for compiled kernels."""
    done = subprocess.run(
        [sys.executable, "-c", MULTIPLY, tiles, *columns.split()],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_kernels_compiled_by_different_processes_live_beside_each_other(tmp_path):
    """Their symbols must differ: two of one name, and the second would run the code of the first."""
    tiles = next((name for level, name in TILES if features.has_level(level)), None)
    if tiles is None:
        pytest.skip("the tiles need AVX2")
    # The first leaves the others the same number of functions to make.
    for columns in ("16", "1", "4", "1 4", "4 1"):
        multiply(tiles, tmp_path, columns)
