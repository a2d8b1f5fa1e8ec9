"""Every leaf's path leads to the root, and only for its own index and size."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import merkle
from contracts.errors import BadEvidence, BadStruct


def digests(count: int) -> list[bytes]:
    return [hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(count)]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.data())
def test_every_path_verifies(size: int, data: st.DataObject) -> None:
    leaves = digests(size)
    index = data.draw(st.integers(0, size - 1))
    merkle.verify(leaves[index], index, size, merkle.path(leaves, index), merkle.root(leaves))


@pytest.mark.parametrize("size", [2, 3, 5, 6, 7, 8, 9])
def test_a_path_holds_for_no_other_index_size_or_leaf(size: int) -> None:
    leaves = digests(size)
    root = merkle.root(leaves)
    for index in range(size):
        path = merkle.path(leaves, index)
        for other_index in range(size + 1):
            if other_index != index:
                with pytest.raises(BadEvidence, match=r"^path"):
                    merkle.verify(leaves[index], other_index, size, path, root)
        with pytest.raises(BadEvidence, match=r"^path"):
            merkle.verify(leaves[(index + 1) % size], index, size, path, root)
        with pytest.raises(BadEvidence, match=r"^path"):
            merkle.verify(leaves[index], index, size, [*path, bytes(32)], root)


def test_a_node_does_not_pass_for_a_leaf() -> None:
    leaves = digests(4)
    inner = merkle.leaf(leaves[0]) + merkle.leaf(leaves[1])
    with pytest.raises(BadEvidence):
        merkle.verify(inner, 0, 2, [merkle.path(leaves, 0)[1]], merkle.root(leaves))


def test_trees_over_different_lists_have_different_roots() -> None:
    leaves = digests(6)
    roots = {merkle.root(leaves[:size]) for size in range(1, 7)}
    roots.add(merkle.root([*leaves[:3], leaves[2]]))  # an odd last leaf is not simply counted twice
    assert len(roots) == 7


def test_what_is_no_list_of_digests_is_refused() -> None:
    for bad in ([], [b"short"]):
        with pytest.raises(BadStruct):
            merkle.root(bad)
    with pytest.raises(BadStruct):
        merkle.path(digests(3), 3)
