import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import features, gf128, selftest
from accel.errors import BackendUnavailable, BadParameter
from accel.reference import gf128 as reference

CASES = selftest.vectors("gf128")["products"]
SIZES = [0, 1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 4097, 8192]  # around vectors, steps and shares of threads
ELEMENTS = st.integers(0, 2**128 - 1) | st.sampled_from(
    [0, 1, 2, 0x87, 1 << 63, 1 << 64, 1 << 127, 2**128 - 1]
)


def random_blocks(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng([count, seed]).integers(0, 2**64, (count, 2), dtype=np.uint64)


@pytest.mark.parametrize("backend", gf128.MULTIPLY.available())
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["comment"])
def test_product_agrees_with_vectors(backend, case):
    a, b, product = (reference.to_blocks([int(case[name], 16)]) for name in ("a", "b", "product"))
    assert np.array_equal(gf128.multiply(a, b, backend=backend), product)
    assert np.array_equal(gf128.multiply(b, a[0], backend=backend), product)
    assert np.array_equal(gf128.inner_product(a, b, backend=backend), product[0])


@pytest.mark.parametrize(
    "backend", [b for b in gf128.MULTIPLY.available() if b not in ("reference", "portable")]
)
@pytest.mark.parametrize("size", SIZES)
def test_vectors_agree_with_the_portable_path(backend, size):
    a, b = random_blocks(size), random_blocks(size, 2)
    products = gf128.multiply(a, b, backend="portable")
    assert np.array_equal(gf128.multiply(a, b, backend=backend), products)
    assert np.array_equal(gf128.inner_product(a, b, backend=backend), np.bitwise_xor.reduce(products))
    key = random_blocks(1, 3)[0]
    assert np.array_equal(gf128.multiply(a, key, backend=backend), gf128.multiply(a, key, backend="portable"))


@pytest.mark.parametrize("size", [0, 1, 37])
def test_portable_path_agrees_with_the_reference(size):
    a, b = random_blocks(size), random_blocks(size, 2)
    for operation in (gf128.multiply, gf128.inner_product):
        assert np.array_equal(operation(a, b, backend="portable"), operation(a, b, backend="reference"))


@given(a=ELEMENTS, b=ELEMENTS, c=ELEMENTS)
@settings(max_examples=60, deadline=None)
def test_field_laws(a, b, c):
    x, y, z = (reference.to_blocks([value]) for value in (a, b, c))
    assert np.array_equal(gf128.multiply(x, y), gf128.multiply(y, x))
    assert np.array_equal(gf128.multiply(gf128.multiply(x, y), z), gf128.multiply(x, gf128.multiply(y, z)))
    assert np.array_equal(gf128.multiply(x, y ^ z), gf128.multiply(x, y) ^ gf128.multiply(x, z))


def test_every_element_to_the_order_of_the_field_is_itself():
    x = random_blocks(5)
    y = x
    for _ in range(128):
        y = gf128.multiply(y, y)
    assert np.array_equal(x, y)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 8, 100])
def test_powers(n):
    x = random_blocks(1)[0]
    powers = gf128.powers(x, n)
    power = np.array([1, 0], np.uint64)
    for found in powers:
        power = gf128.multiply(power[None], x)[0]
        assert np.array_equal(found, power)
    assert len(powers) == n


def test_words_count_as_low_halves():
    words, key = random_blocks(9)[:, 0].copy(), random_blocks(1)[0]
    blocks = np.stack([words, np.zeros_like(words)], axis=1)
    assert np.array_equal(gf128.multiply_subspace(words, key), gf128.multiply(blocks, key))


def test_input_is_left_alone_and_need_not_be_contiguous():
    wide = random_blocks(20)
    a = wide[::2]
    before = wide.copy()
    assert np.array_equal(gf128.multiply(a, a), gf128.multiply(a.copy(), a.copy()))
    assert np.array_equal(wide, before)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (random_blocks(3), random_blocks(4)),
        (random_blocks(3).astype(np.int64), random_blocks(3)),
        (random_blocks(3)[:, :1], random_blocks(3)),
        ([[1, 2]], random_blocks(1)),
        (random_blocks(3), np.zeros(3, np.uint64)),
    ],
    ids=["lengths", "dtype", "shape", "list", "single block of three words"],
)
def test_bad_factors_are_refused(a, b):
    with pytest.raises(BadParameter):
        gf128.multiply(a, b)


def test_path_that_the_level_lacks_is_refused():
    with features.at_level("portable"), pytest.raises(BackendUnavailable):
        gf128.multiply(random_blocks(1), random_blocks(1), backend="avx2")
