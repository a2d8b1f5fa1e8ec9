"""The kernels of ``lwe.cuh`` on the processor, and the launchers that cut the work for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from accel import lwe, selftest
from accel.gpu import lwe as gpu_lwe
from tests.accel.gpu import host, sm90

EDGES = [0, 1, 0x7F, 0x80, 0x7FFF, 0x8000, 0x7F7F7F7F, 0x80808080, 0xFF80FF80, 2**31 - 1, 2**31, 2**32 - 1]
PIECE_ROWS = 480  # so that a test's database takes more than one piece


@pytest.fixture
def on_host(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The launchers with numpy in the place of CuPy and the host's kernels in the place of the GPU's."""
    built = host.library("lwe.cuh")
    seen = SimpleNamespace(launched=[], cleared=[])

    def launch(kernel: str, items: int, *arguments: Any, block: int = 128, grid: int | None = None) -> None:
        seen.launched.append(kernel)
        host.run(built, kernel, -(-items // block) if grid is None else grid, block, *arguments)

    def in_pieces(count: int, _: int, start: Callable[[int, int], Callable[[], None]]) -> None:
        for first in range(0, count, PIECE_ROWS):
            start(first, min(first + PIECE_ROWS, count))()

    @contextmanager
    def secrets_in() -> Iterator[Callable[[Any], Any]]:
        yield lambda array: seen.cleared.append(array) or array
        for array in seen.cleared:
            array.fill(0)

    def download(array: Any, into: Any, *, secret: bool) -> Callable[[], None]:
        assert secret
        return lambda: into.__setitem__(..., array)

    memory = SimpleNamespace(
        upload=lambda array, secret=False: array.copy(),
        download=download,
        in_pieces=in_pieces,
        secrets_in=secrets_in,
        translated=nullcontext,
        clear=lambda array: array.fill(0),
        Finish=Callable[[], None],
    )
    fake = SimpleNamespace(
        empty=lambda size, dtype: np.full(size, 0xAA, dtype),
        zeros=np.zeros,
        uint8=np.uint8,
        ndarray=type(None),
        ascontiguousarray=np.ascontiguousarray,
    )
    monkeypatch.setattr(gpu_lwe, "memory", memory)
    monkeypatch.setattr(gpu_lwe, "launch", SimpleNamespace(launch=launch))
    monkeypatch.setattr(gpu_lwe, "gpu_compile", SimpleNamespace(kernel=lambda file, name: name))
    monkeypatch.setattr(gpu_lwe, "device", SimpleNamespace(require=lambda: fake, multiprocessors=lambda: 2))
    return seen


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
def test_kernels_agree_with_vectors(on_host: SimpleNamespace, case: dict[str, Any]) -> None:
    database = np.array(case["database"], dtype=case["dtype"])
    vector = np.array(case["vector"], dtype=np.uint32)
    assert gpu_lwe.matvec(database, vector, case["offset"]).tolist() == case["result"]
    wide = gpu_lwe.matmul(database, np.repeat(vector[:, None], 3, axis=1), case["offset"])
    assert [column.tolist() for column in wide.T] == [case["result"]] * 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_a_hundred_thousand_inner_products_with_vectors(on_host: SimpleNamespace, dtype: Any) -> None:
    for seed, columns in enumerate((1, 15, 16, 64, 129, 257, 600)):
        database, matrix = random_product(dtype, 14400, columns, 1, seed)
        product = gpu_lwe.matvec(database, matrix[:, 0], 128)
        assert (product == exact(database, matrix, 128)[:, 0]).all()
    assert on_host.launched.count("lwe_matvec") == 7 * 14400 // PIECE_ROWS


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_a_hundred_thousand_inner_products_with_matrices(on_host: SimpleNamespace, dtype: Any) -> None:
    for rows, columns, width in [(1, 1, 2), (127, 65, 40), (128, 64, 16), (900, 130, 100), (300, 33, 17)]:
        database, matrix = random_product(dtype, rows, columns, width)
        assert (gpu_lwe.matmul(database, matrix, 2**32 - 1) == exact(database, matrix, 2**32 - 1)).all()
    assert "lwe_matvec" not in on_host.launched


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 15, 16, 17, 31, 33, 1000])
def test_odd_numbers_of_rows(on_host: SimpleNamespace, rows: int) -> None:
    database, matrix = random_product(np.uint8, rows, 77, 9)
    assert (gpu_lwe.matmul(database, matrix, 0) == exact(database, matrix, 0)).all()
    assert (gpu_lwe.matvec(database, matrix[:, 0], 0) == exact(database, matrix, 0)[:, 0]).all()


@pytest.mark.parametrize(("rows", "columns", "width"), [(0, 5, 3), (5, 0, 3), (5, 3, 0)])
def test_empty_products(on_host: SimpleNamespace, rows: int, columns: int, width: int) -> None:
    database, matrix = random_product(np.uint16, rows, columns, width)
    assert (gpu_lwe.matmul(database, matrix, 9) == np.zeros((rows, width), np.uint32)).all()
    assert on_host.launched == []


def test_resident_database_is_multiplied_where_it_lies(on_host: SimpleNamespace) -> None:
    database, matrix = random_product(np.uint16, 300, 100, 5)
    kept = gpu_lwe.resident(database)
    assert kept.shape == (300, 100)
    assert kept.pitch == 256
    assert (gpu_lwe.matmul(kept, matrix, 7) == exact(database, matrix, 7)).all()
    assert (gpu_lwe.matvec(kept, matrix[:, 0], 7) == exact(database, matrix[:, :1], 7)[:, 0]).all()


def test_factor_and_its_digits_are_cleared(on_host: SimpleNamespace) -> None:
    database, matrix = random_product(np.uint8, 40, 100, 1)
    gpu_lwe.matvec(database, matrix[:, 0], 3)
    assert len(on_host.cleared) == 3  # the factor, its sums, its digits
    assert all(not array.any() for array in on_host.cleared)


def test_kernels_fit_four_blocks_to_a_multiprocessor_without_spills() -> None:
    for name, usage in sm90.usage("lwe.cuh").items():
        assert usage.spilled == 0, name
        assert usage.stack == 0, name
        assert usage.registers <= 128, name


def test_resident_database_does_not_run_elsewhere() -> None:
    kept = lwe.DeviceDatabase(np.zeros((1, 64), np.uint8), 1, 64, 1)
    for backend in ("cpu", "reference"):
        with pytest.raises(lwe.BadParameter):
            lwe.matvec(kept, np.zeros(64, np.uint32), backend=backend)
