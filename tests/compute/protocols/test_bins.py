"""Bins on disk keep what was dealt to them, and a shuffle by way of bins is uniform."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from compute.errors import DataError
from compute.protocols.protocol import Session
from compute.protocols.psi.bins import MOST_BINS, Bins, bins_for, rows_of, shuffle
from compute.protocols.workspace import MemoryWorkspace
from tests.compute.protocols.jobs import Job, seeded


def session(memory_bytes: int) -> Session:
    table = pa.table({"i": ["a"]})
    made = Job(
        "psi.cardinality", {"keys": {"left": ["i"], "right": ["i"]}}, {"left": table, "right": table}
    ).session("left")
    return dataclasses.replace(made, memory_bytes=memory_bytes)


@pytest.mark.parametrize("count", [1, 4, 64])
@pytest.mark.parametrize("records", [0, 1, 257])
def test_bins_keep_what_was_dealt_to_them_in_the_order_it_came(count: int, records: int) -> None:
    rng = np.random.default_rng(count)
    bins = Bins(MemoryWorkspace(), "b", count, 5)
    bins.clear()
    dealt: dict[int, list[bytes]] = {index: [] for index in range(count)}
    for _ in range(3):
        rows = rng.integers(0, 256, (records, 5)).astype(np.uint8)
        numbers = rng.integers(0, count, records)
        bins.deal(rows, numbers)
        for row, number in zip(rows, numbers.tolist(), strict=True):
            dealt[number].append(row.tobytes())
    assert {index: [row.tobytes() for row in bins.read(index)] for index in range(count)} == dealt
    bins.clear()
    assert sum(len(bins.read(index)) for index in range(count)) == 0


def test_what_is_done_with_a_bin_fits_the_memory() -> None:
    for needed in (0, 1, 1 << 20, 3 << 30, 1 << 36):
        for memory_bytes in (1 << 24, 1 << 30):
            count = bins_for(needed, memory_bytes)
            assert count & (count - 1) == 0
            assert needed / count <= memory_bytes / 4 or count == MOST_BINS
            assert count == 1 or needed / (count // 2) > memory_bytes / 4


@pytest.mark.parametrize("memory_bytes", [64, 1 << 30], ids=["many bins", "one bin"])
def test_a_shuffle_is_uniform(memory_bytes: int) -> None:
    """Each of five records at each place, over many shuffles: chi-squared with 16 degrees of freedom."""
    draws, counts = 3000, np.zeros((5, 5))
    made = dataclasses.replace(session(memory_bytes), rng=seeded("shuffles"))
    records = np.arange(5, dtype=np.uint8).reshape(5, 1)
    assert (bins_for(5 * 34, memory_bytes) > 1) == (memory_bytes == 64)
    for _ in range(draws):
        for _ in shuffle(made, "s", [records[:2], records[2:]], 5, 1):
            pass
        found = rows_of(made.workspace.read("s"), 1).ravel()
        counts[found, np.arange(5)] += 1
    assert counts.sum(axis=0).tolist() == [draws] * 5
    expected = draws / 5
    assert ((counts - expected) ** 2 / expected).sum() < 46  # beyond the 99.99 % quantile
    assert made.workspace.names() == ("s",), "no bin is left"


def test_half_a_record_is_told_as_damage() -> None:
    with pytest.raises(DataError, match="damaged"):
        rows_of(memoryview(b"12345"), 2)
