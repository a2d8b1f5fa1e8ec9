from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import expand_accumulate as ea
from accel import selftest
from accel.cpu import threads
from accel.errors import BadParameter
from accel.reference import expand_accumulate as reference

SEED = bytes(range(16))
CASES = selftest.vectors("expand_accumulate")["codes"]


def random_words(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).integers(0, 2**64, shape, dtype=np.uint64)


@pytest.mark.parametrize("backend", ea.COMPRESS.available())
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["comment"])
def test_code_agrees_with_vectors(backend, case):
    size = case["size"]
    words = np.arange(1, 2 * size + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    a, c = words.reshape(size, 2), words[:size].copy()
    seed, outputs = bytes.fromhex(case["seed"]), case["outputs"]
    blocks, singles = ea.compress_pair(a, c, outputs, seed, backend=backend)
    assert blocks.tobytes().hex() == case["blocks"]
    assert singles.tobytes().hex() == case["words"]
    assert np.array_equal(ea.compress(a, outputs, seed, backend=backend), blocks)


@pytest.mark.parametrize("backend", [b for b in ea.COMPRESS.available() if b != "reference"])
@pytest.mark.parametrize(
    ("size", "outputs"), [(1, 1), (1000, 0), (6784, 13), (6784, 14), (9001, 127), (200_003, 401)]
)
def test_backends_agree_with_the_reference(backend, size, outputs):
    a, c = random_words(size, 2), random_words(size)
    found = ea.compress_pair(a, c, outputs, SEED, backend=backend)
    wanted = ea.compress_pair(a, c, outputs, SEED, backend="reference")
    assert all(np.array_equal(x, y) for x, y in zip(found, wanted, strict=True))


@pytest.mark.parametrize("workers", ["1", "2", "3"])
def test_ranges_of_threads_join(workers, monkeypatch):
    a = random_words(200_001, 2)
    wanted = ea.compress(a, 20_001, SEED)
    monkeypatch.setenv(threads.SWITCH, workers)
    assert np.array_equal(ea.compress(a, 20_001, SEED), wanted)


@given(size=st.integers(1, 300), outputs=st.integers(0, 40))
@settings(max_examples=30, deadline=None)
def test_code_is_linear(size, outputs):
    a, b = random_words(size, 2), random_words(size, 2)[::-1]
    assert np.array_equal(
        ea.compress(a ^ b, outputs, SEED), ea.compress(a, outputs, SEED) ^ ea.compress(b, outputs, SEED)
    )


def test_an_entry_reaches_the_outputs_whose_positions_follow_it_an_odd_number_of_times():
    size, outputs = 50, 200
    for at in (0, 17, 49):
        values = np.zeros(size, np.uint64)
        values[at] = 1
        positions = [reference.positions(SEED, i, size) for i in range(outputs)]
        wanted = [sum(position >= at for position in row) % 2 for row in positions]
        assert ea.compress(values, outputs, SEED).tolist() == wanted


def test_positions_are_spread_over_all_values():
    positions = np.array([reference.positions(SEED, i, 1000) for i in range(2000)])
    assert positions.shape == (2000, reference.W)
    counts = np.bincount(positions.reshape(-1) // 100, minlength=10)
    assert abs(counts - 1400).max() < 200  # 5.6 standard deviations


def test_input_is_kept_unless_it_may_be_overwritten():
    a = random_words(500, 2)
    before = a.copy()
    wanted = ea.compress(a, 7, SEED)
    assert np.array_equal(a, before)
    assert np.array_equal(ea.compress(a, 7, SEED, overwrite=True), wanted)
    read_only = before.copy()
    read_only.flags.writeable = False
    assert np.array_equal(ea.compress(read_only, 7, SEED, overwrite=True), wanted)


@pytest.mark.parametrize(("n", "block"), [(0, 8), (1, 8), (1356, 8), (1357, 9), (1_340_000, 7901)])
def test_noise_of_a_number_of_outputs(n, block):
    code = ea.code(n)
    assert (code.weight, code.block) == (848, block)
    assert ea.noise_weight(n) == 848  # 843 would do for (1 - 2 * 0.05)^t = 2^-128
    assert code.size == 848 * block >= ea.SCALER * n


@pytest.mark.parametrize("n", [-1, (1 << 29) + 1, 1.0, True, None])
def test_bad_numbers_of_outputs_are_refused(n):
    for call in (ea.code, ea.noise_weight, lambda n: ea.compress(random_words(10, 2), n, SEED)):
        with pytest.raises(BadParameter):
            call(n)


@pytest.mark.parametrize(
    "values",
    [np.zeros((0, 2), np.uint64), np.zeros((5, 3), np.uint64), np.zeros((5, 2), np.int64), [1, 2]],
    ids=["empty", "three words", "dtype", "list"],
)
def test_bad_values_are_refused(values):
    with pytest.raises(BadParameter):
        ea.compress(values, 3, SEED)


def test_bad_seed_and_lengths_are_refused():
    for seed in (b"short", bytearray(16), None):
        with pytest.raises(BadParameter):
            ea.compress(random_words(5, 2), 3, seed)
    with pytest.raises(BadParameter):
        ea.compress_pair(random_words(5, 2), random_words(6), 3, SEED)


def test_pairs_of_outputs_agree_as_often_as_the_readme_says():
    """Its formula, where it predicts enough pairs to count: 0.80 a run."""
    weight, block, outputs, runs, found = 100, 1000, 20_000, 40, 0
    for run in range(runs):
        source = np.random.default_rng(run)
        points = source.integers(0, block, weight)
        noise = source.integers(0, 2**64, (weight, 1), dtype=np.uint64)
        result = ea.compress_noise(points, noise, block, outputs, bytes([run]) * 16)
        _, counts = np.unique(result, return_counts=True)
        found += int((counts * (counts - 1) // 2).sum())
    predicted = (7 / 12) ** 7 * (factorial(14) / factorial(7)) * weight**-7 * outputs**2 / 2
    assert 0.4 * predicted < found / runs < 2 * predicted
