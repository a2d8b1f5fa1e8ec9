import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import ggm, selftest
from accel.errors import BadParameter
from accel.reference import aes
from accel.reference.ggm import KEYS

CASES = selftest.vectors("ggm")["trees"]
FAST = [backend for backend in ggm.EXPAND.available() if backend not in ("reference", "portable")]
# One leaf, every remainder of a step of 4 and 16 nodes, powers of two and their neighbours.
LEAVES = [*range(1, 40), 63, 64, 65, 127, 128, 129, 257, 1000, 4096, 7901]


def random_seeds(trees: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng([trees, seed]).integers(0, 2**64, (trees, 2), dtype=np.uint64)


def chosen(sums: np.ndarray, points: np.ndarray, leaves: int) -> np.ndarray:
    """What the oblivious transfers give: one side of each level."""
    sides = ggm.siblings(points, leaves).astype(np.int64)
    return np.ascontiguousarray(np.take_along_axis(sums, sides[:, :, None, None], axis=2)[:, :, 0])


@pytest.mark.parametrize("backend", ggm.EXPAND.available())
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["comment"])
def test_trees_agree_with_vectors(backend, case):
    seed = np.frombuffer(bytes.fromhex(case["seed"]), np.uint64).reshape(1, 2)
    leaves, sums = ggm.expand(seed, case["leaves"], backend=backend)
    assert leaves.tobytes().hex() == case["blocks"]
    assert sums.tobytes().hex() == case["sums"]


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("leaves", LEAVES)
def test_vectors_agree_with_the_portable_path(backend, leaves):
    seeds = random_seeds(3)
    wanted, sums = ggm.expand(seeds, leaves, backend="portable")
    found, found_sums = ggm.expand(seeds, leaves, backend=backend)
    assert np.array_equal(found, wanted)
    assert np.array_equal(found_sums, sums)
    for points in ([0, leaves - 1, leaves // 2], [leaves // 3, 0, leaves - 1]):
        at = np.array(points, dtype=np.int64)
        known = chosen(sums, at, leaves)
        expected = wanted.copy()
        expected[np.arange(3), at] = 0
        assert np.array_equal(ggm.expand_punctured(at, known, leaves, backend=backend), expected)
        assert np.array_equal(ggm.expand_punctured(at, known, leaves, backend="portable"), expected)


@pytest.mark.parametrize("leaves", [1, 2, 3, 5, 8, 21])
def test_portable_path_agrees_with_the_reference(leaves):
    seeds = random_seeds(2)
    for found, wanted in zip(
        ggm.expand(seeds, leaves, backend="portable"),
        ggm.expand(seeds, leaves, backend="reference"),
        strict=True,
    ):
        assert np.array_equal(found, wanted)
    _, sums = ggm.expand(seeds, leaves)
    points = np.array([0, leaves - 1], dtype=np.int64)
    known = chosen(sums, points, leaves)
    assert np.array_equal(
        ggm.expand_punctured(points, known, leaves, backend="portable"),
        ggm.expand_punctured(points, known, leaves, backend="reference"),
    )


@given(data=st.data(), leaves=st.integers(1, 300), trees=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_punctured_tree_lacks_one_leaf(data, leaves, trees):
    points = np.array([data.draw(st.integers(0, leaves - 1)) for _ in range(trees)], dtype=np.int64)
    blocks, sums = ggm.expand(random_seeds(trees), leaves)
    punctured = ggm.expand_punctured(points, chosen(sums, points, leaves), leaves)
    differs = (punctured != blocks).any(axis=2)
    assert np.array_equal(np.argwhere(differs), np.stack([np.arange(trees), points], axis=1))
    assert not punctured[np.arange(trees), points].any()


@pytest.mark.parametrize("backend", ggm.EXPAND.available())
@pytest.mark.parametrize("leaves", [1, 2, 37])
def test_no_trees(backend, leaves):
    blocks, sums = ggm.expand(random_seeds(0), leaves, backend=backend)
    assert blocks.shape == (0, leaves, 2)
    assert sums.shape == (0, ggm.depth(leaves), 2, 2)
    points = np.empty(0, dtype=np.int64)
    assert ggm.expand_punctured(points, sums[:, :, 0].copy(), leaves, backend=backend).shape == (0, leaves, 2)


def test_a_wrong_sum_spoils_what_grows_from_it_and_nothing_else():
    blocks, sums = ggm.expand(random_seeds(1), 8)
    points = np.array([0], dtype=np.int64)
    known = chosen(sums, points, 8)
    known[0, 1, 0] ^= np.uint64(1)  # the sibling at level 1 has leaves 2 and 3 below it
    punctured = ggm.expand_punctured(points, known, 8)
    differs = (punctured != blocks).any(axis=(0, 2))
    # Sums of the next level hold for its right children together: what is wrong there shows in the sibling.
    assert differs[[0, 2, 3]].all()
    assert not differs[4:].any()


def test_last_level_sums_are_sums_of_leaves():
    blocks, sums = ggm.expand(random_seeds(2), 16)
    for side in (0, 1):
        assert np.array_equal(sums[:, -1, side], np.bitwise_xor.reduce(blocks[:, side::2], axis=1))


def test_children_are_matyas_meyer_oseas_under_openssl():
    seed = random_seeds(1)
    blocks, _ = ggm.expand(seed, 2)
    for side, key in enumerate(KEYS):
        encrypted = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(seed.tobytes())
        assert blocks[0, side].tobytes() == bytes(
            x ^ y for x, y in zip(encrypted, seed.tobytes(), strict=True)
        )


def test_round_keys_are_those_of_fips_197():
    keys = aes.round_keys(bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"))
    assert keys[1].hex() == "a0fafe1788542cb123a339392a6c7605"
    assert keys[10].hex() == "d014f9a8c9ee2589e13f0cc8b6630ca6"
    assert aes.encrypt(bytes(range(16)), bytes.fromhex("00112233445566778899aabbccddeeff")).hex() == (
        "69c4e0d86a7b0430d8cdb78070b4c55a"
    )


@pytest.mark.parametrize("leaves", [0, -1, (1 << 26) + 1, 2.0, True, None])
def test_bad_sizes_are_refused(leaves):
    with pytest.raises(BadParameter):
        ggm.expand(random_seeds(1), leaves)


@pytest.mark.parametrize(
    ("points", "shape"),
    [
        (np.array([5]), (1, 3, 2)),
        (np.array([-1]), (1, 3, 2)),
        (np.array([1.0]), (1, 3, 2)),
        (np.array([[1]]), (1, 3, 2)),
        (np.array([1]), (1, 2, 2)),
        (np.array([1]), (2, 3, 2)),
    ],
    ids=["beyond", "negative", "dtype", "dimensions", "levels", "trees"],
)
def test_bad_punctured_trees_are_refused(points, shape):
    with pytest.raises(BadParameter):
        ggm.expand_punctured(points, np.zeros(shape, np.uint64), 5)


def test_bad_seeds_are_refused():
    for seeds in (np.zeros((2, 3), np.uint64), np.zeros((2, 2), np.int64), [[1, 2]]):
        with pytest.raises(BadParameter):
            ggm.expand(seeds, 4)


def test_widths():
    assert [ggm.width(37, level) for level in range(ggm.depth(37) + 1)] == [1, 2, 3, 5, 10, 19, 37]
    with pytest.raises(BadParameter):
        ggm.width(37, 7)
