"""Rows taken and looked up as NumPy and a dictionary do it, whatever their width, order and repeats."""

import numpy as np
import pytest

from accel import rows
from accel.errors import BadParameter


def some(count: int, width: int, symbols: int = 3) -> np.ndarray:
    return np.random.default_rng(count * width).integers(0, symbols, (count, width), dtype=np.uint8)


@pytest.mark.parametrize("backend", rows.TAKE.available())
@pytest.mark.parametrize("width", [1, 5, 8, 10, 16, 32, 47])
def test_rows_are_taken_by_number(width: int, backend: str) -> None:
    source = some(301, width + 3, 256)
    numbers = np.random.default_rng(width).integers(0, 301, 1009)
    for part in (source, source[:, 2 : 2 + width], source[::3, 3:]):
        within = numbers % len(part)
        assert np.array_equal(rows.take(part, within, backend=backend), part[within])
    assert rows.take(source, numbers[:0], backend=backend).shape == (0, width + 3)


@pytest.mark.parametrize("backend", rows.PLACES.available())
@pytest.mark.parametrize("width", [1, 6, 8, 9, 10, 16])
@pytest.mark.parametrize(("count", "asked"), [(0, 5), (5, 0), (1, 1), (77, 301), (1000, 999)])
def test_the_first_equal_row_is_found_in_any_order(width: int, count: int, asked: int, backend: str) -> None:
    table, wanted = some(count, width), some(asked, width + 2)[:, 1 : 1 + width]
    for given in (table, table[np.lexsort(table.T[::-1])]):
        places = {}
        for place, row in enumerate(given.tolist()):
            places.setdefault(tuple(row), place)
        expected = [places.get(tuple(row), -1) for row in wanted.tolist()]
        assert rows.places(given, wanted, backend=backend).tolist() == expected


def test_many_rows_of_one_beginning_are_found() -> None:
    table = np.zeros((70_001, 10), np.uint8)
    table[:, 7:] = np.arange(70_001, dtype=">u4").view(np.uint8).reshape(-1, 4)[:, 1:]
    order = np.random.default_rng(1).permutation(len(table))
    assert np.array_equal(rows.places(table, table[order]), order)


def test_what_are_no_rows_or_numbers_is_refused() -> None:
    for numbers in (np.array([-1]), np.array([5]), np.array([0.0]), np.array([[0]])):
        with pytest.raises(BadParameter, match="numbers of rows"):
            rows.take(some(5, 9), numbers)
    for table in (some(5, 17), some(5, 8), some(5, 9).astype(np.int64), some(5, 9)[:, :0]):
        with pytest.raises(BadParameter, match="rows"):
            rows.places(table, some(5, 17) if table.shape[1] == 17 else some(5, 9))
