"""The host side of the platform header runs thread kernels and block kernels as the GPU would."""

from __future__ import annotations

import numpy as np
import pytest

from accel.gpu import compile as gpu_compile
from tests.accel.gpu import host

EDGES = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


def test_source_puts_every_include_in_place_once() -> None:
    text = gpu_compile.source("carry.cuh")
    assert '#include "' not in text
    assert "#pragma once" not in text
    assert text.count("FUNCTION u64 grid_index()") == 1


def test_macros_are_sorted_so_that_caches_hit() -> None:
    assert gpu_compile.macros({"B": 2, "A": 1}) == ("-DA=1", "-DB=2")


@pytest.mark.parametrize(("grid", "block"), [(1, 1), (3, 32), (7, 128)])
def test_thread_kernel_visits_every_item(grid: int, block: int) -> None:
    built = host.library("platform_test.cuh")
    values = np.arange(1000, dtype=np.uint32)
    host.run(built, "square_all", grid, block, values, np.uint64(1000))
    assert (values == np.arange(1000, dtype=np.uint32) ** 2).all()


def test_block_kernel_sees_shared_memory_of_the_phase_before() -> None:
    built = host.library("platform_test.cuh")
    values = np.arange(64 * 5, dtype=np.uint32)
    out = np.zeros(64 * 5, dtype=np.uint32)
    host.run(built, "reverse_blocks", 5, 64, values, out)
    assert (out.reshape(5, 64) == values.reshape(5, 64)[:, ::-1] + 1).all()


def test_carry_chains_of_all_edges() -> None:
    built = host.library("platform_test.cuh")
    cases = np.array(
        [(x, y, lo, hi) for x in EDGES for y in EDGES for lo in EDGES for hi in EDGES], dtype=np.uint32
    )
    n = len(cases)
    out = np.zeros((4, n), dtype=np.uint32)
    host.run(built, "chain", 1, 32, np.ascontiguousarray(cases.T), out, np.uint64(n))
    x, y, lo, hi = (cases[:, i].astype(object) for i in range(4))
    # (hi:lo) + x y, then its carry into (hi:lo) + x y again; then the borrow of lo - hi.
    first = (hi << 32 | lo) + x * y
    second = (hi << 32 | lo) + x * y + (first >> 64)
    assert (out[0] == second % 2**32).all()
    assert (out[1] == (second >> 32) % 2**32).all()
    assert (out[2] == second >> 64).all()
    assert (out[3] == (lo - hi) % 2**64 >> 32).all()
