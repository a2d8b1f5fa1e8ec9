"""Layouts by cost, keyword maps over arrays, and what a lookup by keyword costs over one by row."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compute.errors import BadInput, ProtocolAbort
from compute.protocols.cost import Cost
from compute.protocols.local import LocalRun
from compute.protocols.pir.simple import fuse, records, segments
from compute.protocols.pir.simple.cost import cost
from compute.protocols.pir.simple.plan import HINT_GOAL_BYTES, MAX_COLUMNS, Layout, plan
from tests.compute.protocols.jobs import seeded
from tests.compute.protocols.pir_jobs import Parties, by_row, table


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize(
    ("count", "record_bytes"), [(1 << 20, 1024), (10_000_000, 100), (16_384, 65_536), (131_072, 8192)]
)
def test_a_gigabyte_has_a_hint_of_at_most_twenty_megabytes(
    count: int, record_bytes: int, keyed: bool
) -> None:
    layout = plan(count, records.sealed_bytes(record_bytes), keyed=keyed)
    assert layout.valid()
    assert layout.matrix_bytes > count * record_bytes
    assert layout.hint_bytes <= HINT_GOAL_BYTES
    assert layout.columns <= MAX_COLUMNS


@pytest.mark.parametrize("count", [100_000, 336_776, 1 << 20, 10_000_000])
def test_a_keyword_query_costs_at_most_1_3_of_a_query_by_row(count: int) -> None:
    data_bytes = records.sealed_bytes(96)
    by_keyword, by_row_number = plan(count, data_bytes), plan(count, data_bytes, keyed=False)
    # The server reads the matrix once for a batch, whatever its shape.
    assert by_keyword.matrix_bytes <= 1.3 * by_row_number.matrix_bytes
    # On the line, for the same shape of column.
    same = Layout(count, data_bytes, 16, False, by_keyword.stack, by_keyword.split)
    assert by_keyword.lookup_bytes <= 1.3 * same.lookup_bytes


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 1 << 20), st.integers(0, 1 << 12), st.sampled_from([6, 16]), st.booleans())
def test_no_other_shape_is_cheaper(count: int, data_bytes: int, key_bytes: int, keyed: bool) -> None:
    chosen = plan(count, data_bytes, key_bytes, keyed=keyed)
    assert chosen.valid()
    assert chosen == plan(count, data_bytes, key_bytes, keyed=keyed)
    over = max(chosen.hint_bytes - HINT_GOAL_BYTES, 0)
    for stack, split in ((1, 1), (2, 1), (16, 1), (1, 2), (1, 16), (chosen.stack, chosen.split)):
        other = Layout(count, data_bytes, key_bytes, keyed, stack, split)
        # `plan` tries steps of one eighth, and no pieces below 16 bytes: these are among them.
        if other.valid() and (split == 1 or 16 * split <= data_bytes):
            assert (over, chosen.cost(16)) <= (max(other.hint_bytes - HINT_GOAL_BYTES, 0), other.cost(16))


def test_a_table_that_fits_no_database_is_refused() -> None:
    with pytest.raises(BadInput, match="divide the table"):
        plan(1 << 30, 4096)


def derive(purpose: str, length: int) -> bytes:
    return seeded(purpose)(length)


def labels(count: int, tag: str = "") -> np.ndarray:
    rows = [hashlib.sha256(f"{tag} {i}".encode()).digest() for i in range(count)]
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 32)


def read(slots: np.ndarray, keys: np.ndarray, made: fuse.Map, stack: int, count: int) -> np.ndarray:
    form = fuse.shape(fuse.bucket_capacity(count, stack))
    places = fuse.places_of(keys, made.seed, made.salts, stack, form)
    assert (places.slots < form.slots).all()
    assert all(len(set(row)) == 3 for row in places.slots.tolist())
    at = places.slots + places.buckets[:, None] * form.slots
    return slots[at].sum(axis=1, dtype=np.uint8)


@pytest.mark.parametrize(
    ("count", "stack"),
    [(n, s) for n in (1, 2, 3, 7, 100, 1000, 5003) for s in (1, 3, 16) if s <= n],
)
def test_the_keyword_map_returns_every_value(count: int, stack: int) -> None:
    keys = labels(count)
    values = np.frombuffer(seeded(count)(24 * count), np.uint8).reshape(count, 24)
    made = fuse.build(keys, stack, derive)
    slots = made.fill(values, np.zeros((made.size, 24), np.uint8))
    assert (read(slots, keys, made, stack, count) == values).all()
    again = fuse.solve(keys, made.seed, made.salts, stack)
    assert (again.fill(values, np.zeros((made.size, 24), np.uint8)) == slots).all()


def test_keys_that_are_equal_have_no_map() -> None:
    with pytest.raises(ProtocolAbort, match="distinct"):
        fuse.build(np.repeat(labels(1), 2, axis=0), 1, derive)
    made = fuse.build(labels(50), 1, derive)
    with pytest.raises(ProtocolAbort):
        fuse.solve(np.repeat(labels(25), 2, axis=0), made.seed, made.salts, 1)


def test_the_map_is_compact_for_many_keys() -> None:
    assert fuse.shape(1_000_000).slots < 1.16e6
    assert fuse.shape(500_000).slots < MAX_COLUMNS


def test_absent_keys_are_members_with_no_more_than_their_chance() -> None:
    """Fingerprints of two bytes, so that there is something to count: 2^-16 of 2^17 absent keys is two."""
    members, strangers = labels(3000), labels(1 << 17, "stranger")
    made = fuse.build(members, 4, derive)
    prints = segments.masks(members, bytes(32), 2)
    background = np.frombuffer(derive("background", 2 * made.size), np.uint8).reshape(-1, 2)
    slots = made.fill(prints, background.copy())
    assert (read(slots, members, made, 4, 3000) == prints).all()
    wrong = read(slots, strangers, made, 4, 3000) == segments.masks(strangers, bytes(32), 2)
    assert wrong.all(axis=1).sum() <= 12  # Poisson of mean 2: beyond 12 in fewer than one of a million tries


@pytest.mark.parametrize(("stack", "split"), [(1, 1), (5, 1), (1, 3)])
def test_a_direct_layout_puts_every_record_in_its_place(stack: int, split: int) -> None:
    values = np.frombuffer(seeded("cells")(23 * 20), np.uint8).reshape(23, 20)
    layout = Layout(23, 20, 16, False, stack, split)
    rows = segments.matrix(values, layout, None, "x", derive)
    assert rows.shape == (layout.data_rows, layout.columns)
    for i, value in enumerate(values):
        bucket, slot = i % stack, i // stack
        piece = layout.data_rows // stack
        cell = [rows[bucket * piece : (bucket + 1) * piece, p * layout.slots + slot] for p in range(split)]
        assert (np.concatenate(cell)[:20] == value).all()


def assert_holds(predicted: Cost, run: LocalRun) -> None:
    for role, expected in predicted.bytes_sent.items():
        assert run.bytes_sent(role) == pytest.approx(expected, rel=0.02), role


def test_costs_hold_for_kept_hints_updates_pieces_and_batches() -> None:
    def source(changed: int) -> pa.Table:
        return pa.table(
            {
                "pid": [f"P{i:05}" for i in range(3000)],
                "size": [1] * 3000,
                "note": [("y" if i < changed else "x") * 700 for i in range(3000)],
            }
        )

    record = len('[[1,""]]') + 700
    parties = Parties()
    words = [f"P{i:05}" for i in range(20)]
    assert_holds(cost(3000, record, 32), parties.by_keyword(source(0), words).run())
    kept = cost(3000, record, 32, hint_cached=True, database_cached=True)
    assert_holds(kept, parties.by_keyword(source(0), words).run())
    assert kept.operations["hash_to_curve"] == 32
    update = parties.by_keyword(source(30), ["P00001"], 2).run()
    assert_holds(cost(3000, record, 1, changed=30), update)
    update = parties.by_keyword(source(30), ["P00001"], 2).run()
    assert_holds(cost(3000, record, 1, changed=30, hint_cached=True), update)
    long = pa.table({"pid": ["a", "b"], "size": [1, 2], "note": ["x" * 60_000] * 2})
    split = by_row(long, [1, 0], max_record_bytes=1 << 16).run()
    assert_holds(cost(2, len('[[1,""]]') + 60_000, 2, kind="pir.row"), split)


def test_records_may_be_taken_and_sealed_one_by_one_or_together() -> None:
    source = table(200)
    rows, offsets = np.arange(200), np.arange(201)
    encoded = records.encode(source, ["size", "note"], rows, offsets, 4096)
    keys = np.frombuffer(seeded("keys")(16 * 200), np.uint8).reshape(200, 16)
    sealed = encoded.seal(encoded.size(), keys)
    assert sealed.shape == (200, encoded.size() + records.TAG_BYTES)
    some = np.array([199, 0, 7])
    assert (encoded.take(some).seal(encoded.size(), keys[some]) == sealed[some]).all()
    assert (encoded.take(some).digests() == encoded.digests()[some]).all()
    for i in some:
        content = records.open_sealed(sealed[i].tobytes(), keys[i].tobytes())
        assert content is not None
        rows = records.parse(content, ["size", "note"])
        assert rows is not None
        wanted = source.select(["size", "note"]).to_pylist()[i]
        assert records.named(rows, ["size", "note"]) == [wanted]
        assert records.open_sealed(sealed[i].tobytes(), keys[(i + 1) % 200].tobytes()) is None
        spoiled = sealed[i].copy()
        spoiled[3] ^= 1
        assert records.open_sealed(spoiled.tobytes(), keys[i].tobytes()) is None
