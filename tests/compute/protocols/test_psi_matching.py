"""Equal tags are matched, and the rows of a result are taken."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compute.protocols.psi import delivery
from compute.protocols.psi.matching import match


@settings(max_examples=200, deadline=None)
@given(
    st.sets(st.integers(0, 300), max_size=60), st.sets(st.integers(0, 300), max_size=60), st.integers(6, 16)
)
def test_matching_finds_equal_tags(left: set[int], right: set[int], width: int) -> None:
    def tags(numbers: Iterable[int]) -> np.ndarray:
        rows = [number.to_bytes(width, "little") for number in numbers]
        return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, width)

    mine, theirs = list(left), list(right)
    first, second = match(tags(mine), tags(theirs))
    assert sorted(mine[i] for i in first) == sorted(left & right)
    assert [mine[i] for i in first] == [theirs[i] for i in second]


def test_a_repeated_tag_counts_once_and_its_sender_cannot_tell_whether_it_is_ours() -> None:
    def tags(*numbers: int) -> np.ndarray:
        return np.frombuffer(b"".join(number.to_bytes(9, "big") for number in numbers), np.uint8).reshape(
            -1, 9
        )

    first, second = match(tags(1, 2, 3), tags(3, 4, 3))
    assert (first.tolist(), second.tolist()) == ([2], [0])
    first, second = match(tags(1, 2, 3), tags(3, 4, 4, 4, 4))
    assert (first.tolist(), second.tolist()) == ([2], [0])


@pytest.mark.parametrize("count", [0, 1, 7, 40])
@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_rows_are_taken_from_a_table_in_chunks_as_from_one(
    count: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_TAKEN_AT_ONCE", at_once)
    pieces = [
        pa.table({"id": [f"{start}-{i}" for i in range(5)], "n": [None, 1, 2, 3, start]})
        for start in range(8)
    ]
    table = pa.concat_tables(pieces)
    rows = np.random.default_rng(count).permutation(40)[:count].astype(np.int64)
    assert delivery.taken(table, rows).equals(table.take(pa.array(rows)))
