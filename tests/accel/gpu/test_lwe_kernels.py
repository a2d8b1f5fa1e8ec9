"""The kernels of ``lwe.cuh`` on the processor, and the launchers that cut the work for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from accel import lwe, selftest
from accel.gpu import lwe as gpu_lwe
from bench.gpu import lwe as bench_lwe
from tests.accel.gpu import sm90
from tests.accel.gpu.conftest import HostDevice

EDGES = [0, 1, 0x7F, 0x80, 0x7FFF, 0x8000, 0x7F7F7F7F, 0x80808080, 0xFF80FF80, 2**31 - 1, 2**31, 2**32 - 1]


def random_product(
    dtype: Any, rows: int, columns: int, width: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    source = np.random.default_rng([seed, rows, columns, width])
    top = np.iinfo(dtype).max
    database = source.integers(0, top, (rows, columns), dtype=dtype, endpoint=True)
    database.reshape(-1)[::5] = source.choice(
        np.array([0, 1, top // 2, top // 2 + 1, top], dtype=dtype), -(-database.size // 5)
    )
    matrix = source.integers(0, 2**32, (columns, width), dtype=np.uint32)
    matrix.reshape(-1)[::3] = source.choice(np.array(EDGES, dtype=np.uint32), -(-matrix.size // 3))
    return database, matrix


def exact(database: np.ndarray, matrix: np.ndarray, offset: int) -> np.ndarray:
    centred = database.astype(np.uint64) - np.uint64(offset)
    product: np.ndarray = (centred @ matrix.astype(np.uint64)).astype(np.uint32)
    return product


@pytest.mark.parametrize("case", selftest.vectors("lwe")["products"], ids=lambda case: case["comment"])
def test_kernels_agree_with_vectors(host_device: HostDevice, case: dict[str, Any]) -> None:
    database = np.array(case["database"], dtype=case["dtype"])
    vector = np.array(case["vector"], dtype=np.uint32)
    assert gpu_lwe.matvec(database, vector, case["offset"]).tolist() == case["result"]
    wide = gpu_lwe.matmul(database, np.repeat(vector[:, None], 3, axis=1), case["offset"])
    assert [column.tolist() for column in wide.T] == [case["result"]] * 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_a_hundred_thousand_inner_products_with_vectors(host_device: HostDevice, dtype: Any) -> None:
    for seed, columns in enumerate((1, 15, 16, 64, 129, 257, 600)):
        database, matrix = random_product(dtype, 14400, columns, 1, seed)
        product = gpu_lwe.matvec(database, matrix[:, 0], 128)
        assert (product == exact(database, matrix, 128)[:, 0]).all()
    assert set(host_device.launched) == {"lwe_pack_vector", "lwe_matvec"}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_a_hundred_thousand_inner_products_with_matrices(host_device: HostDevice, dtype: Any) -> None:
    for rows, columns, width in [(1, 1, 2), (127, 65, 40), (6300, 64, 16), (900, 130, 100), (300, 33, 17)]:
        database, matrix = random_product(dtype, rows, columns, width)
        assert (gpu_lwe.matmul(database, matrix, 2**32 - 1) == exact(database, matrix, 2**32 - 1)).all()
    assert "lwe_matvec" not in host_device.launched


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 15, 16, 17, 31, 33, 1000])
def test_odd_numbers_of_rows(host_device: HostDevice, rows: int) -> None:
    database, matrix = random_product(np.uint8, rows, 77, 9)
    assert (gpu_lwe.matmul(database, matrix, 0) == exact(database, matrix, 0)).all()
    assert (gpu_lwe.matvec(database, matrix[:, 0], 0) == exact(database, matrix, 0)[:, 0]).all()


@pytest.mark.parametrize(("rows", "columns", "width"), [(0, 5, 3), (5, 0, 3), (5, 3, 0)])
def test_empty_products(host_device: HostDevice, rows: int, columns: int, width: int) -> None:
    database, matrix = random_product(np.uint16, rows, columns, width)
    assert (gpu_lwe.matmul(database, matrix, 9) == np.zeros((rows, width), np.uint32)).all()
    assert host_device.launched == []


def test_resident_database_is_multiplied_where_it_lies(host_device: HostDevice) -> None:
    database, matrix = random_product(np.uint16, 300, 100, 5)
    kept = gpu_lwe.resident(database)
    assert kept.shape == (300, 100)
    assert kept.pitch == 256
    assert (gpu_lwe.matmul(kept, matrix, 7) == exact(database, matrix, 7)).all()
    assert (gpu_lwe.matvec(kept, matrix[:, 0], 7) == exact(database, matrix[:, :1], 7)[:, 0]).all()


def test_pieces_of_a_database_too_large_for_the_device(host_device: HostDevice) -> None:
    database, matrix = random_product(np.uint8, 1000, 300, 20)
    host_device.largest_piece = 96
    assert (gpu_lwe.matmul(database, matrix, 1) == exact(database, matrix, 1)).all()
    assert len(host_device.pieces) > 10


def test_nothing_of_a_query_stays_on_the_device(host_device: HostDevice) -> None:
    database, matrix = random_product(np.uint8, 40, 100, 1)
    gpu_lwe.matvec(gpu_lwe.resident(database), matrix[:, 0], 3)
    words = [buffer for buffer in host_device.buffers if buffer.dtype == np.uint32]
    assert len(words) == 3  # the factor, its digits, the answer
    assert all(not buffer.any() for buffer in words)
    assert len(host_device.secrets) == 1


def test_check_of_the_gpu_suite(host_device: HostDevice) -> None:
    bench_lwe.check(((1, 1, 2), (33, 100, 17), (130, 65, 3)))


@pytest.mark.parametrize(("sides", "blocks"), [(2, 3), (4, 2)])
def test_kernels_fit_the_multiprocessor_without_spills(sides: int, blocks: int) -> None:
    registers_of_a_thread = {"lwe_matvec": 128, "lwe_matmul": 65536 // 128 // blocks}
    for name, usage in sm90.usage("lwe.cuh", LWE_SIDES=sides).items():
        assert usage.spilled == 0, name
        assert usage.stack == 0, name
        assert usage.registers <= registers_of_a_thread.get(name, 64), name


def test_resident_database_does_not_run_elsewhere() -> None:
    kept = lwe.DeviceDatabase(np.zeros((1, 64), np.uint8), 1, 64, 1)
    for backend in ("cpu", "reference"):
        with pytest.raises(lwe.BadParameter):
            lwe.matvec(kept, np.zeros(64, np.uint32), backend=backend)
