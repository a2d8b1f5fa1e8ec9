from math import exp, lgamma, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import okvs
from accel.cpu import okvs as portable
from accel.cpu import threads
from accel.errors import BadParameter, DuplicateItem, EncodingFailed
from accel.reference import okvs as reference

SEED = bytes(range(16))
FAST = [backend for backend in okvs.ENCODE.available() if backend != "reference"]
# Around vectors and hashing pieces, around the least table, one bin and two, several with odd loads.
SIZES = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 255, 256, 257, 2047, 2049, 16384, 16385, 40_001]


def random_items(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng([count, seed]).integers(0, 256, (count, 32), dtype=np.uint8)


def random_values(count: int, words: int) -> np.ndarray:
    return np.random.default_rng([count, words]).integers(0, 2**64, (count, words), dtype=np.uint64)


def counting_rng(start: int = 0):
    return lambda length: bytes((start + i) & 255 for i in range(length))


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("words", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_values_come_back(backend, words, size):
    items, values = random_items(size), random_values(size, words)
    table = okvs.encode(items, values, SEED, backend=backend)
    assert table.shape == (okvs.layout(size).size, words)
    assert np.array_equal(okvs.decode(table, items, SEED, size, backend=backend), values)
    order = np.random.default_rng(size).permutation(size)
    assert np.array_equal(okvs.decode(table, items[order], SEED, size, backend=backend), values[order])


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("words", [1, 2])
@pytest.mark.parametrize("size", [0, 1, 2, 100, 257])
def test_backends_agree_with_the_reference(backend, words, size):
    items, values = random_items(size), random_values(size, words)
    ours = okvs.encode(items, values, SEED, backend=backend)
    theirs = okvs.encode(items, values, SEED, backend="reference")
    others = random_items(50, 9)
    for table in (ours, theirs):
        for x in (items, others):
            found = okvs.decode(table, x, SEED, size, backend=backend)
            assert np.array_equal(found, okvs.decode(table, x, SEED, size, backend="reference"))
    assert np.array_equal(okvs.decode(theirs, items, SEED, size), values)


@pytest.mark.parametrize("backend", FAST)
def test_backends_make_the_same_table_of_the_same_randomness(backend):
    items, values = random_items(40_001), random_values(40_001, 2)
    tables = [
        okvs.encode(items, values, SEED, counting_rng(), backend=name) for name in (backend, "portable")
    ]
    assert np.array_equal(*tables)


@pytest.mark.parametrize("workers", ["1", "2", "3"])
def test_threads_make_the_same_table(workers, monkeypatch):
    items, values = random_items(70_001), random_values(70_001, 1)
    wanted = okvs.encode(items, values, SEED, counting_rng())
    monkeypatch.setenv(threads.SWITCH, workers)
    assert np.array_equal(okvs.encode(items, values, SEED, counting_rng()), wanted)
    assert np.array_equal(okvs.decode(wanted, items, SEED, 70_001), values)


@given(size=st.integers(0, 900), words=st.sampled_from([1, 2]), seed=st.binary(min_size=16, max_size=16))
@settings(max_examples=40, deadline=None)
def test_any_size_any_seed(size, words, seed):
    items, values = random_items(size), random_values(size, words)
    table = okvs.encode(items, values, seed)
    assert np.array_equal(okvs.decode(table, items, seed, size), values)


def test_decoding_is_linear_and_repeats_are_allowed():
    items = random_items(30)
    a, b = (
        np.random.default_rng(i).integers(0, 2**64, (okvs.layout(500).size, 2), dtype=np.uint64)
        for i in (1, 2)
    )
    twice = np.concatenate([items, items])
    x, y, z = (okvs.decode(table, twice, SEED, 500) for table in (a, b, a ^ b))
    assert np.array_equal(x ^ y, z)
    assert np.array_equal(x[:30], x[30:])


def test_items_of_two_words_are_items_padded_with_zeros():
    words = random_values(300, 2)
    padded = np.concatenate([words, np.zeros_like(words)], axis=1).view(np.uint8)
    values = random_values(300, 1)
    table = okvs.encode(words, values, SEED)
    assert np.array_equal(okvs.decode(table, padded, SEED, 300), values)


def test_table_of_random_values_is_uniform_and_fresh():
    items, values = random_items(5000), random_values(5000, 2)
    first, second = (okvs.encode(items, values, SEED) for _ in range(2))
    # Peeled entries follow from random ones: hardly any stays, and none of them is 0.
    assert (first == second).mean() < 0.001
    bits = np.unpackbits(first.view(np.uint8))
    assert abs(bits.mean() - 0.5) < 5 / (2 * len(bits) ** 0.5)
    assert len(np.unique(first[:, 0])) == len(first)


def test_strangers_decode_to_noise():
    items, values = random_items(1000), np.zeros((1000, 2), np.uint64)
    table = okvs.encode(items, values, SEED)
    strangers = okvs.decode(table, random_items(1000, 2), SEED, 1000)
    assert strangers.all()


def test_another_seed_gives_another_system():
    items, values = random_items(1000), random_values(1000, 2)
    table = okvs.encode(items, values, SEED)
    assert (okvs.decode(table, items, bytes(16), 1000) != values).all()


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("size", [2, 300, 40_001])
@pytest.mark.parametrize("copies", [1, 100])
def test_repeated_items_are_refused_by_index(backend, size, copies):
    items, values = random_items(size), random_values(size, 1)
    items[-min(copies, size - 1) :] = items[0]
    with pytest.raises(DuplicateItem) as caught:
        okvs.encode(items, values, SEED, backend=backend)
    index = caught.value.detail["index"]
    assert index > 0
    assert np.array_equal(items[index], items[0])


def test_repeated_items_with_equal_values_are_refused_too():
    items, values = random_items(300), random_values(300, 1)
    items[299], values[299] = items[7], values[7]
    with pytest.raises(DuplicateItem):
        okvs.encode(items, values, SEED)


@pytest.mark.parametrize("words", [1, 2])
def test_rows_that_cannot_be_peeled_are_solved_in_the_dense_columns(words):
    """1.03 sparse columns a row: most bins have a core in which every column has two rows."""
    shape = (1, 300, 310, 60)
    for trial in range(10):
        items = random_items(300, trial + 2).view(np.uint64)
        values = random_values(300, words)
        table = portable.encode(items, values, SEED, shape, bytes(32))
        assert np.array_equal(portable.decode(table, items, SEED, shape), values)
        assert np.array_equal(reference.decode(table, items[:20], SEED, shape), values[:20])


def test_dependent_rows_are_never_a_wrong_table():
    """Few unknowns more than rows: some systems of this kind are dependent."""
    shape = (1, 40, 44, 6)
    outcomes = set()
    for trial in range(60):
        items, values = random_items(40, trial + 2).view(np.uint64), random_values(40, 2)
        try:
            table = portable.encode(items, values, SEED, shape, bytes(32))
        except EncodingFailed:
            outcomes.add("refused")
        else:
            outcomes.add("solved")
            assert np.array_equal(reference.decode(table, items, SEED, shape), values)
    assert outcomes == {"refused", "solved"}


@pytest.mark.parametrize("encode", [portable.encode, reference.encode], ids=["portable", "reference"])
def test_a_bin_that_overflows_is_refused(encode):
    items, values = random_items(100).view(np.uint64), random_values(100, 1)
    with pytest.raises(EncodingFailed):
        encode(items, values, SEED, (2, 40, 500, 46), bytes(32))


@pytest.mark.parametrize("n", [1 << 15, 1 << 20, 1 << 24, 1 << 30])
def test_bins_overflow_with_negligible_probability(n):
    """The exact tail of the binomial distribution, summed from the bound on."""
    layout = okvs.layout(n)
    p = 1 / layout.bins

    def log_mass(k: int) -> float:
        choose = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
        return choose + k * log(p) + (n - k) * log(1 - p)

    tail = sum(exp(log_mass(layout.bin_items + 1 + i)) for i in range(2000))
    assert 0 < layout.bins * tail <= 2**-42


@pytest.mark.parametrize("n", [0, 1, 256, 16384, 16385, 1 << 20, 1 << 24, 1 << 30])
def test_layouts_fit_the_kernels(n):
    layout = okvs.layout(n)
    assert layout.bins <= 1 << 16
    assert layout.bin_items <= layout.sparse < 1 << 16
    assert 42 < layout.dense <= 64
    assert layout.size == layout.bins * (layout.sparse + layout.dense) >= 1.22 * n
    if n >= 1 << 14:
        assert layout.size <= 1.42 * n


def test_more_security_takes_more_room():
    sizes = [okvs.layout(1 << 20, bits).size for bits in (30, 40, 50)]
    assert sizes == sorted(set(sizes))
    items, values = random_items(1000), random_values(1000, 1)
    table = okvs.encode(items, values, SEED, security_bits=50)
    assert np.array_equal(okvs.decode(table, items, SEED, 1000, security_bits=50), values)
    with pytest.raises(BadParameter):
        okvs.decode(table, items, SEED, 1000)


@pytest.mark.parametrize("n", [-1, (1 << 30) + 1, 2.0, True, None])
def test_bad_sizes_are_refused(n):
    with pytest.raises(BadParameter):
        okvs.layout(n)


@pytest.mark.parametrize("bits", [19, 60, 40.0, True])
def test_bad_security_is_refused(bits):
    with pytest.raises(BadParameter):
        okvs.layout(1 << 20, bits)


def test_bad_arguments_are_refused():
    items, values = random_items(10), random_values(10, 2)
    table = okvs.encode(items, values, SEED)
    for bad_items in (items[:, :31], items.astype(np.int8), items[0], items.tolist()):
        with pytest.raises(BadParameter):
            okvs.encode(bad_items, values, SEED)
    for bad_values in (values[:9], values.astype(np.int64), values[:, 0], random_values(10, 3)):
        with pytest.raises(BadParameter):
            okvs.encode(items, bad_values, SEED)
    for bad_seed in (b"short", bytearray(16)):
        with pytest.raises(BadParameter):
            okvs.decode(table, items, bad_seed, 10)
    with pytest.raises(BadParameter):
        okvs.decode(table[:-1], items, SEED, 10)
    with pytest.raises(BadParameter):
        okvs.encode(items, values, SEED, lambda length: b"")
