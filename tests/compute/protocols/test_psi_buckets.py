"""Buckets of the intersection: bounds, padding that hides sizes, order, keys beyond the memory."""

import math
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from compute.errors import DataError, ProtocolAbort
from compute.protocols.identifiers import Normalisation
from compute.protocols.keyset import key_set
from compute.protocols.psi.agreement import Hello, Plan, check_padding
from compute.protocols.psi.buckets import InMemory, Spilled, bound, collect, filled, pack, unpack
from compute.protocols.stream import uniform_order
from tests.compute.protocols.jobs import Job, seeded
from tests.compute.protocols.psi_people import BOTH, KEYS, TINY, job, people


@pytest.mark.parametrize("count", [0, 1, 100, 1 << 10, 10_007, 1 << 20, 1 << 24])
@pytest.mark.parametrize("buckets", [1, 2, 32, 1024])
def test_bounds_of_buckets_hold_but_with_probability_2_to_the_minus_40(count: int, buckets: int) -> None:
    found = bound(count, buckets)
    assert count // buckets <= found <= count
    if buckets > 1 and 0 < found < count and count <= 10_007:
        # The exact tail of the binomial distribution, in logarithms.
        p = 1 / buckets
        tail = math.fsum(
            math.exp(
                math.lgamma(count + 1)
                - math.lgamma(k + 1)
                - math.lgamma(count - k + 1)
                + k * math.log(p)
                + (count - k) * math.log1p(-p)
            )
            for k in range(found + 1, min(count, found + 2000) + 1)
        )
        assert tail * buckets <= 2.0**-40
    if count == 1 << 24 and buckets == 32:
        assert found < (1 << 19) * 1.02, "padding is cheap"


def test_a_bucket_beyond_its_bound_ends_the_job() -> None:
    with pytest.raises(ProtocolAbort, match="more keys than its bound"):
        filled(np.zeros((5, 32), np.uint8), 4, seeded(1))


def test_filling_keeps_digests_and_adds_random_ones() -> None:
    digests = np.frombuffer(seeded(2)(32 * 10), np.uint8).reshape(10, 32)
    items = filled(digests, 25, seeded(3))
    assert items.shape == (25, 32)
    assert (items[:10] == digests).all()
    assert len({item.tobytes() for item in items}) == 25


def test_an_order_is_uniform() -> None:
    """Each element at each place, over many draws of six: chi-squared with 25 degrees of freedom."""
    rng, draws = seeded("orders"), 6000
    counts = np.zeros((6, 6))
    for _ in range(draws):
        counts[np.arange(6), uniform_order(6, rng)] += 1
    expected = draws / 6
    assert ((counts - expected) ** 2 / expected).sum() < 60  # far beyond the 99.9 % quantile of 52.6
    assert uniform_order(0, rng).tolist() == []
    assert uniform_order(1, rng).tolist() == [0]


@pytest.mark.parametrize("rows", [0, 1, 700])
@pytest.mark.parametrize("memory_bytes", [1 << 10, 64 << 10])
def test_spilled_keys_are_the_keys_in_memory(rows: int, memory_bytes: int) -> None:
    table = pa.table({"id": pa.array([f"k{i % 500}" if i % 11 else None for i in range(rows)], pa.string())})
    made = Job("psi", KEYS, {"left": table, "right": table}, storage={"left": {"memory_bytes": memory_bytes}})
    session = made.session("left")
    steps = collect(session, table, ["id"], Normalisation())
    source: Any = None
    while source is None:
        try:
            next(steps)
        except StopIteration as stop:
            source = stop.value
    assert isinstance(source, Spilled if rows * 128 > memory_bytes // 2 else InMemory)
    whole = InMemory.of(key_set(table, ["id"], Normalisation()))
    for name in ("count", "repeated", "without_key", "unfit", "checksum"):
        assert getattr(source, name) == getattr(whole, name)
    for buckets in (1, 2, 64, 1024):
        for index in range(0, buckets, max(1, buckets // 16)):
            one, other = source.bucket(index, buckets), whole.bucket(index, buckets)
            for name in ("digests", "rows", "offsets"):
                assert np.array_equal(getattr(one, name), getattr(other, name))


def test_arrays_in_the_workspace_are_whole_or_refused() -> None:
    data = pack(np.arange(5), np.zeros((0, 3), np.uint8))
    first, second = unpack(memoryview(data))
    assert first.tolist() == list(range(5))
    assert second.shape == (0, 3)
    with pytest.raises(DataError):
        unpack(memoryview(data[:-1] if data[-1:] != b"\n" else data[:-40]))


def test_a_peer_cannot_have_buckets_cut_so_small_that_padding_hides_other_keys() -> None:
    """100 keys in 8192 buckets would be 57 344 items that it may choose, where 20 000 were signed for."""
    mine = Hello(100_000, bytes(32), bytes(32), (), 1 << 20, 4, 0, (), 0)
    few = msgspec.structs.replace(mine, count=100, nonce=bytes([1]) * 32)
    hostile = msgspec.structs.replace(few, most_items=16)
    check_padding(Plan.of(mine, few), mine, few, 20_000)
    with pytest.raises(ProtocolAbort, match="buckets"):
        check_padding(Plan.of(mine, hostile), mine, hostile, 20_000)
    # Our own memory may ask for them.
    check_padding(Plan.of(hostile, mine), hostile, mine, 100_000)


@pytest.mark.parametrize("params", [{}, {"deliver_to_consumer": False}], ids=["rows", "count"])
@pytest.mark.parametrize("storage", [None, TINY], ids=["one bucket", "waves"])
def test_bytes_and_progress_do_not_tell_the_size_of_the_result(storage: Any, params: Any) -> None:
    both = {"label_columns": {"left": ["age"], "right": ["age"]}} | BOTH | params
    few, many = (job(range(60), range(start, start + 70), storage, **both) for start in (57, 20))
    runs = [few.run(), many.run()]
    assert [len(run.outputs["left"].rows) for run in runs] == [3, 40]
    for role in ("left", "right"):
        assert len({run.bytes_sent(role) for run in runs}) == 1
        assert runs[0].progress[role] == runs[1].progress[role]
        if not both.get("deliver_to_consumer", True):
            assert len({len(run.outputs[role].sealed or b"") for run in runs}) == 1


def test_wide_labels_make_smaller_buckets() -> None:
    storage = {"memory_bytes": 64 << 10, "parallel": 1}
    plain = job(range(60), range(60), storage).run()
    wide = {
        "left": people(range(60)),
        "right": people(range(60)).append_column("w", pa.array(["x" * 4000] * 60)),
    }
    each = {role: dict(storage) for role in wide}
    labelled = Job("psi", KEYS | {"label_columns": {"right": ["w"]}}, wide, storage=each).run()
    buckets = [run.outputs["left"].metrics["buckets"] for run in (plain, labelled)]
    assert buckets[0] == 1
    assert buckets[1] >= 4
