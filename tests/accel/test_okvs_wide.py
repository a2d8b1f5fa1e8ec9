"""Stores in wide bins: the same tables as narrow kernels make, and right beyond what those can count."""

import numpy as np
import pytest

from accel import okvs
from accel.cpu import okvs as narrow
from accel.cpu import okvs_wide as wide
from accel.errors import BadParameter, DuplicateItem

SEED = bytes(range(16))
MASK = bytes(32)


def random_items(count: int, words: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(count)
    items = random.integers(0, 1 << 64, (count, 4), dtype=np.uint64)
    return items, random.integers(0, 1 << 64, (count, words), dtype=np.uint64)


@pytest.mark.parametrize("words", [1, 2])
@pytest.mark.parametrize("count", [1, 300, 40_000])
def test_wide_and_narrow_kernels_agree(count: int, words: int) -> None:
    items, values = random_items(count, words)
    shape = okvs.layout(count).shape
    table = wide.encode_with(narrow.hash_items, items, values, SEED, shape, MASK)
    assert np.array_equal(narrow.encode_with(narrow.hash_items, items, values, SEED, shape, MASK), table)
    assert np.array_equal(wide.decode_with(narrow.hash_items, table, items, SEED, shape), values)
    strangers = items ^ np.uint64(1)
    assert np.array_equal(
        wide.decode_with(narrow.hash_items, table, strangers, SEED, shape),
        narrow.decode_with(narrow.hash_items, table, strangers, SEED, shape),
    )


@pytest.mark.parametrize("words", [1, 2])
@pytest.mark.parametrize(("count", "bin_items"), [(70_001, 1 << 18), (300_000, 1 << 17)])
def test_bins_of_more_than_16_bits_give_back_every_value(count: int, bin_items: int, words: int) -> None:
    items, values = random_items(count, words)
    layout = okvs.layout(count, bin_items=bin_items)
    assert layout.sparse > 1 << 16
    rows = items.view(np.uint8)
    table = okvs.encode(rows, values, SEED, bin_items=bin_items)
    assert table.shape == (layout.size, words)
    assert np.array_equal(okvs.decode(table, rows, SEED, count, bin_items=bin_items), values)
    few = slice(0, 20)
    read = okvs.decode(table, rows[few].copy(), SEED, count, bin_items=bin_items, backend="reference")
    assert np.array_equal(read, values[few])


def test_items_that_repeat_in_a_wide_bin_are_named() -> None:
    items, values = random_items(70_000, 1)
    items[9_000] = items[123]
    with pytest.raises(DuplicateItem) as caught:
        okvs.encode(items.view(np.uint8), values, SEED, bin_items=1 << 18)
    assert caught.value.detail["index"] == 9_000


@pytest.mark.parametrize("bin_items", [0, (1 << 14) - 1, (1 << 20) + 1, True, "many"])
def test_bins_of_other_sizes_are_refused(bin_items: object) -> None:
    with pytest.raises(BadParameter):
        okvs.layout(1000, bin_items=bin_items)
