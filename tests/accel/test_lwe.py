import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import features, lwe, selftest
from accel.errors import BackendUnavailable, BadParameter
from accel.reference.lwe import cumulative_table

VECTORS = selftest.vectors("lwe")
DTYPES = [np.uint8, np.uint16, np.uint32]
SHAPES = [(0, 5), (5, 0), (1, 1), (4, 4), (7, 13), (13, 1000), (9, 257), (100, 64), (31, 63), (25, 129)]
FAST = [backend for backend in lwe.MATMUL.available() if backend != "reference"]
WIDTHS = [0, 1, 2, 4, 5, 8, 9, 16, 17, 40]  # one of every tile, beside it, and in panels
# Digits of both signs and their carries.
EDGES = [0, 1, 0x7F, 0x80, 0x7FFF, 0x8000, 0x7F7F7F7F, 0x80808080, 0xFF80FF80, 2**31 - 1, 2**31, 2**32 - 1]


def random_database(dtype, shape):
    source = np.random.default_rng(shape[0] * 1000 + shape[1])
    database = source.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)
    database[:1] = np.iinfo(dtype).max  # the largest entries, where an overflow would show
    return database, source


def random_factor(source, shape):
    factor = source.integers(0, 2**32, shape, dtype=np.uint32)
    factor.reshape(-1)[::3] = source.choice(np.array(EDGES, dtype=np.uint32), -(-factor.size // 3))
    return factor


def exact(database, matrix, offset):
    """Wraps modulo 2^64, which 2^32 divides."""
    centred = database.astype(np.uint64) - np.uint64(offset)
    return (centred @ matrix.astype(np.uint64)).astype(np.uint32)


@pytest.mark.parametrize("backend", lwe.MATVEC.available())
@pytest.mark.parametrize("case", VECTORS["products"], ids=lambda case: case["comment"])
def test_product_agrees_with_vectors(backend, case):
    database = np.array(case["database"], dtype=case["dtype"])
    vector = np.array(case["vector"], dtype=np.uint32)
    assert lwe.matvec(database, vector, offset=case["offset"], backend=backend).tolist() == case["result"]
    column = lwe.matmul(database, vector[:, None], offset=case["offset"], backend=backend)
    assert column[:, 0].tolist() == case["result"]


@pytest.mark.parametrize("case", VECTORS["invalid"], ids=lambda case: case["comment"])
def test_invalid_arguments_are_refused(case):
    database = np.array(case["database"], dtype=case["dtype"])
    vector = np.array(case["vector"], dtype=np.uint32)
    with pytest.raises(BadParameter):
        lwe.matvec(database, vector, offset=case["offset"])
    with pytest.raises(BadParameter):
        lwe.matmul(database, vector[:, None], offset=case["offset"])


@pytest.mark.parametrize(("level", "needs"), [("avx2", ()), ("ifma", ("avx512vnni",))])
def test_every_path_of_this_processor_is_there(level, needs):
    if (lacking := features.lacks(*needs)) is not None:
        pytest.skip(f"this processor lacks {lacking}")
    try:
        with features.at_level(level):
            assert level in lwe.MATVEC.available()
            assert level in lwe.MATMUL.available()
    except BackendUnavailable as error:
        pytest.skip(error.message)


def test_path_above_the_level_in_force_is_refused():
    with features.at_level("portable"), pytest.raises(BackendUnavailable):
        lwe.matmul(np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint32), backend="avx2")


def test_reference_multiplies_python_integers():
    database, source = random_database(np.uint16, (5, 7))
    matrix = random_factor(source, (7, 3))
    assert (lwe.matmul(database, matrix, offset=5, backend="reference") == exact(database, matrix, 5)).all()


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("offset", [0, 128, 2**32 - 1])
def test_backends_agree(backend, dtype, shape, offset):
    database, source = random_database(dtype, shape)
    for width in WIDTHS:
        matrix = random_factor(source, (shape[1], width))
        product = lwe.matmul(database, matrix, offset=offset, backend=backend)
        assert product.dtype == np.uint32
        assert product.shape == (shape[0], width)
        assert (product == exact(database, matrix, offset)).all()
    vector = random_factor(source, (shape[1],))
    product = lwe.matvec(database, vector, offset=offset, backend=backend)
    assert product.shape == (shape[0],)
    assert (product == exact(database, vector, offset)).all()


@pytest.mark.parametrize("backend", FAST)
@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 60),
    columns=st.integers(1, 200),
    width=st.integers(1, 40),
    dtype=st.sampled_from(DTYPES),
    offset=st.sampled_from([0, 1, 128, 2**31, 2**32 - 1]),
    seed=st.integers(0, 2**32),
)
def test_products_of_any_shape_are_exact(backend, rows, columns, width, dtype, offset, seed):
    source = np.random.default_rng(seed)
    database = source.integers(0, np.iinfo(dtype).max, (rows, columns), dtype=dtype, endpoint=True)
    matrix = random_factor(source, (columns, width))
    assert (
        lwe.matmul(database, matrix, offset=offset, backend=backend) == exact(database, matrix, offset)
    ).all()


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("width", [1, 3, 8, 17])
def test_products_stay_exact_beyond_one_block_of_columns(backend, width):
    database = np.full((3, 70001), 2**32 - 1, dtype=np.uint32)
    matrix = np.full((70001, width), 2**32 - 1, dtype=np.uint32)
    assert (lwe.matmul(database, matrix, backend=backend) == 70001).all()  # (-1) * (-1) each
    assert (lwe.matvec(database, matrix[:, 0].copy(), backend=backend) == 70001).all()


@pytest.mark.parametrize("backend", FAST)
def test_products_stay_exact_beyond_one_block_of_rows(backend):
    database, source = random_database(np.uint8, (1000, 70))
    matrix = random_factor(source, (70, 33))
    assert (lwe.matmul(database, matrix, offset=128, backend=backend) == exact(database, matrix, 128)).all()


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("width", [1, 4, 8, 16])
def test_ranges_of_rows_in_several_threads_make_one_product(monkeypatch, backend, width):
    monkeypatch.setenv("LIUTONG_THREADS", "3")
    database, source = random_database(np.uint8, (500, 9001))
    matrix = random_factor(source, (9001, width))
    assert (lwe.matmul(database, matrix, offset=128, backend=backend) == exact(database, matrix, 128)).all()


@pytest.mark.parametrize("backend", FAST)
def test_nothing_behind_the_database_is_read_into_the_result(backend):
    """Kernels read past the end of a row: what lies there must not count, and the last rows must not end
    the process."""
    database, source = random_database(np.uint8, (50, 61))
    vector = random_factor(source, (61,))
    inside = np.full((52, 61), 255, dtype=np.uint8)
    inside[1:51] = database
    assert (lwe.matvec(inside[1:51], vector, backend=backend) == exact(database, vector, 0)).all()


@pytest.mark.parametrize("backend", FAST)
def test_queries_held_as_rows_multiply_as_columns(backend):
    database, source = random_database(np.uint8, (20, 90))
    queries = random_factor(source, (8, 90))
    answers = lwe.matmul(database, queries.T, offset=128, backend=backend)
    for query, answer in zip(queries, answers.T, strict=True):
        assert (answer == lwe.matvec(database, query, offset=128, backend=backend)).all()


@pytest.mark.parametrize("backend", FAST)
def test_views_with_gaps_are_multiplied_right(backend):
    database, source = random_database(np.uint8, (20, 30))
    vector = source.integers(0, 2**32, 60, dtype=np.uint32)
    view, every_other = database[::2, ::2], vector[::4]
    expected = lwe.matvec(view, every_other, backend="reference")
    assert (lwe.matvec(view, every_other, backend=backend) == expected).all()
    assert (
        lwe.matvec(database.T, vector[:20], backend=backend)
        == lwe.matvec(database.T, vector[:20], backend="reference")
    ).all()


def test_products_from_several_threads_do_not_disturb_each_other():
    database, source = random_database(np.uint8, (400, 300))
    vector = source.integers(0, 2**32, 300, dtype=np.uint32)
    expected = lwe.matvec(database, vector)
    wrong = []

    def work():
        for _ in range(20):
            if not (lwe.matvec(database, vector) == expected).all():
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("case", VECTORS["expand"], ids=lambda case: case["comment"])
def test_expansion_agrees_with_aes_blocks(case):
    row = lwe.expand_rows(bytes.fromhex(case["seed"]), case["row"], case["row"] + 1, case["columns"])
    assert row[0, :4].tolist() == case["first"]


def test_any_range_of_rows_is_a_part_of_the_whole():
    whole = lwe.expand_rows(b"s" * 32, 0, 20, 12)
    assert (lwe.expand_rows(b"s" * 32, 7, 11, 12) == whole[7:11]).all()
    assert lwe.expand_rows(b"s" * 32, 4, 4, 12).shape == (0, 12)
    assert not (lwe.expand_rows(b"t" * 32, 0, 20, 12) == whole).any(axis=1).all()


def test_moduli_keep_the_noise_below_half_a_step():
    """p^2 <= q / (sigma sqrt(2 m ln(2^41))): the correctness bound of the paper, theorem C.1."""
    for log_columns in range(1, 22):
        columns = 1 << log_columns
        p = lwe.parameters(columns).plaintext_modulus
        table_columns = max(columns, 1 << 13)
        assert p**2 <= 2**32 / (lwe.ERROR_SIGMA * math.sqrt(2 * table_columns * math.log(2**41)))


def test_one_query_recovers_every_entry_of_a_column():
    database, _ = random_database(np.uint8, (40, 5000))
    p = lwe.parameters(5000)
    seed = b"q" * 32
    a = lwe.expand_rows(seed, 0, 5000)
    hint = lwe.matmul(database, a, offset=128)
    for wanted in (0, 4999):
        secret = lwe.sample_secret(p.lwe_dimension)
        query = lwe.matvec(a, secret) + lwe.sample_error(5000)
        query[wanted] += np.uint32(p.delta)
        noisy = lwe.matvec(database, query, offset=128) - lwe.matvec(hint, secret)
        steps = np.rint(noisy.astype(np.float64) / p.delta).astype(np.int64) % p.plaintext_modulus
        centred = np.where(steps > p.plaintext_modulus // 2, steps - p.plaintext_modulus, steps)
        assert (centred + 128 == database[:, wanted]).all()


def test_error_distribution_is_the_discrete_gaussian():
    samples = lwe.sample_error(400_000).astype(np.int32)
    assert abs(samples.mean()) < 0.06
    assert abs(samples.std() - lwe.ERROR_SIGMA) < 0.05
    weight = {x: math.exp(-(x**2) / (2 * lwe.ERROR_SIGMA**2)) for x in range(-70, 71)}
    total = sum(weight.values())
    for x in (-13, -6, -1, 0, 1, 6, 13):
        expected = weight[x] / total
        assert abs((samples == x).mean() - expected) < 6 * math.sqrt(expected / 400_000)


def test_error_table_is_symmetric_and_complete():
    table = cumulative_table()
    assert table == sorted(table)
    assert len(table) == 2 * 58
    assert all(a + b == 2**64 for a, b in zip(table, reversed(table), strict=True))  # so it may be folded


@pytest.mark.parametrize("backend", lwe.GAUSSIAN.available())
def test_samples_agree_with_vectors(backend):
    words = b"".join(case["word"].to_bytes(8, "little") for case in VECTORS["gaussian"])
    samples = lwe.sample_error(len(VECTORS["gaussian"]), rng=lambda length: words[:length], backend=backend)
    assert samples.astype(np.int32).tolist() == [case["sample"] for case in VECTORS["gaussian"]]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000, 40_000])
def test_sampling_backends_agree(count):
    words = np.random.default_rng(count).bytes(8 * count)
    slow = lwe.sample_error(count, rng=lambda length: words, backend="reference")
    assert (lwe.sample_error(count, rng=lambda length: words, backend="cpu") == slow).all()


def test_more_samples_than_are_drawn_at_once_use_the_source_once_each():
    data = np.random.default_rng(1).bytes(8 * 300_000)
    served = []

    def source(length):
        start = sum(served)
        served.append(length)
        return data[start : start + length]

    samples = lwe.sample_error(300_000, rng=source)
    assert sum(served) == len(data)
    assert (samples[-1000:] == lwe.sample_error(1000, rng=lambda length: data[-length:])).all()
    assert not (lwe.sample_error(1000) == lwe.sample_error(1000)).all()


@pytest.mark.parametrize(("word", "expected"), [(0, -58), (2**64 - 1, 58), (2**63, 0)])
def test_extreme_random_words_give_the_tails_and_the_centre(word, expected):
    sample = lwe.sample_error(1, rng=lambda length: word.to_bytes(length, "little"))
    assert int(sample.astype(np.int32)[0]) == expected


def test_secret_is_uniform_words_of_the_source():
    assert lwe.sample_secret(2, rng=lambda length: bytes(range(length))).tolist() == [0x03020100, 0x07060504]


@pytest.mark.parametrize(
    ("database", "vector"),
    [
        (np.zeros((2, 3), np.int64), np.zeros(3, np.uint32)),
        (np.zeros((2, 3), np.uint8), np.zeros(3, np.int32)),
        (np.zeros((2, 3), np.uint8), np.zeros(4, np.uint32)),
        (np.zeros(3, np.uint8), np.zeros(3, np.uint32)),
        (np.zeros((2, 3), np.uint8), np.zeros((3, 1), np.uint32)),
        ([[0, 0, 0]], np.zeros(3, np.uint32)),
        (np.zeros((2, 3), np.uint8), [0, 0, 0]),
    ],
)
def test_wrong_types_and_shapes_are_refused(database, vector):
    with pytest.raises(BadParameter):
        lwe.matvec(database, vector)


def test_out_of_range_parameters_are_refused():
    for call in (
        lambda: lwe.parameters(0),
        lambda: lwe.parameters((1 << 21) + 1),
        lambda: lwe.expand_rows(b"short", 0, 1),
        lambda: lwe.expand_rows(bytes(32), 0, 1, 6),
        lambda: lwe.expand_rows(bytes(32), 2, 1),
        lambda: lwe.expand_rows(bytes(32), -1, 1),
        lambda: lwe.sample_error(-1),
        lambda: lwe.sample_secret(-1),
        lambda: lwe.matvec(np.zeros((1, 1), np.uint8), np.zeros(1, np.uint32), offset=-1),
        lambda: lwe.matvec(np.zeros((1, 1), np.uint8), np.zeros(1, np.uint32), offset=0.5),
    ):
        with pytest.raises(BadParameter):
            call()
