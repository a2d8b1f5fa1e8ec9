"""Nesting is bounded by counting, not by how much stack the process happens to have."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute.errors import BadInput
from compute.wire.nesting import MAX_DEPTH, refuse_deep


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@pytest.mark.parametrize("pair", ["[]", '{"a":}'])
def test_the_bound_is_exact(pair):
    head, tail = pair[:-1], pair[-1]
    refuse_deep((head * MAX_DEPTH + "1" + tail * MAX_DEPTH).encode())
    with pytest.raises(BadInput, match="64 levels"):
        refuse_deep((head * (MAX_DEPTH + 1) + "1" + tail * (MAX_DEPTH + 1)).encode())


@pytest.mark.parametrize(
    "text", ["[" * 200, '"' + "[" * 200, '\\"' + "[" * 200, "\\", '[\\"', "\\" * 7 + '"' + "[" * 200 + '\\"']
)
def test_brackets_in_texts_do_not_count(text):
    refuse_deep(json.dumps({"a": text, "b": [text] * 100}).encode())


@pytest.mark.parametrize("text", ["", "a", "\\", '"', '\\"', '\\\\"'])
def test_a_text_before_the_bomb_does_not_hide_it(text):
    with pytest.raises(BadInput):
        refuse_deep(b"[" + json.dumps(text).encode() + b"," + b"[" * 100 + b"]" * 101)


def test_many_brackets_side_by_side_are_fine():
    refuse_deep(json.dumps([[], {}] * 50_000).encode())


@given(
    st.recursive(
        st.text(alphabet='[]{}"\\a', max_size=12),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text('[{"\\', max_size=3), inner, max_size=4)
        ),
        max_leaves=120,
    )
)
def test_counting_agrees_with_parsing(value):
    levels = depth(value)
    for padding in (0, MAX_DEPTH - levels, MAX_DEPTH - levels + 1):
        data = b"[" * padding + json.dumps(value).encode() + b"]" * padding
        if padding + levels > MAX_DEPTH:
            with pytest.raises(BadInput):
                refuse_deep(data)
        else:
            refuse_deep(data)


def test_a_process_without_a_recursion_limit_survives_a_bomb():
    """In a process of its own: if this fails, the process dies of a segmentation fault."""
    program = """
import sys
sys.setrecursionlimit(100_000)
from compute.errors import BadInput
from compute.wire import canonical
from compute.wire.messages import JobSpec
try:
    canonical.decode(JobSpec, b'{"params":{"a":' + b"[" * 400_000 + b"]" * 400_000 + b"}}")
except BadInput as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "a document nests at most 64 levels")
