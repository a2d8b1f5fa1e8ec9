import math
import threading

import numpy as np
import pytest

from accel import lwe, selftest
from accel.cpu.gaussian import cumulative_table
from accel.errors import BadParameter

VECTORS = selftest.vectors("lwe")
DTYPES = [np.uint8, np.uint16, np.uint32]
SHAPES = [(0, 5), (5, 0), (1, 1), (4, 4), (7, 13), (13, 1000), (9, 257)]


def random_database(dtype, shape):
    source = np.random.default_rng(shape[0] * 1000 + shape[1])
    database = source.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)
    database[:1] = np.iinfo(dtype).max  # the largest entries, where an overflow would show
    return database, source


@pytest.mark.parametrize("backend", lwe.MATVEC.available())
def test_product_agrees_with_vectors(backend):
    case = VECTORS["product"]
    database = np.array(case["database"], dtype=np.uint8)
    vector = np.array(case["vector"], dtype=np.uint32)
    assert lwe.matvec(database, vector, offset=case["offset"], backend=backend).tolist() == case["result"]
    column = lwe.matmul(database, vector[:, None], offset=case["offset"], backend=backend)
    assert column[:, 0].tolist() == case["result"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("offset", [0, 128, 2**32 - 1])
def test_backends_agree(dtype, shape, offset):
    database, source = random_database(dtype, shape)
    matrix = source.integers(0, 2**32, (shape[1], 6), dtype=np.uint32)
    matrix[:, :1] = 2**32 - 1
    slow = lwe.matmul(database, matrix, offset=offset, backend="reference")
    assert (lwe.matmul(database, matrix, offset=offset, backend="cpu") == slow).all()
    for column in range(2):
        fast = lwe.matvec(database, matrix[:, column].copy(), offset=offset, backend="cpu")
        assert (fast == slow[:, column]).all()


def test_products_stay_exact_beyond_one_block_of_columns():
    database = np.full((3, 70001), 2**32 - 1, dtype=np.uint32)
    matrix = np.full((70001, 2), 2**32 - 1, dtype=np.uint32)
    assert (lwe.matmul(database, matrix) == 70001).all()  # (-1) * (-1) each
    assert (lwe.matvec(database, matrix[:, 0].copy()) == 70001).all()


def test_views_with_gaps_are_multiplied_right():
    database, source = random_database(np.uint8, (20, 30))
    vector = source.integers(0, 2**32, 60, dtype=np.uint32)
    view, every_other = database[::2, ::2], vector[::4]
    expected = lwe.matvec(view, every_other, backend="reference")
    assert (lwe.matvec(view, every_other, backend="cpu") == expected).all()
    assert (
        lwe.matvec(database.T, vector[:20], backend="cpu")
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
    table = [int(entry) for entry in cumulative_table()]
    assert table == sorted(table)
    assert all(abs(a + b - 2**64) <= 1 for a, b in zip(table, reversed(table), strict=True))


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
    ):
        with pytest.raises(BadParameter):
            call()
