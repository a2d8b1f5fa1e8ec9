"""Cutting a batch to the memory there is, and giving way when there is less than it seemed."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.errors import DeviceOutOfMemory
from accel.gpu import device, memory
from accel.gpu.field import Shape, best_window, digits_of


class Full(Exception):
    """Stands for CuPy's error."""


@given(count=st.integers(0, 10**9), each=st.integers(1, 10**5), free=st.integers(-(10**9), 10**12))
def test_pieces_in_flight_fit_unless_they_are_the_smallest(count: int, each: int, free: int) -> None:
    size = memory.piece_size(count, each, free)
    assert size >= 1
    if size < count:
        assert size % 32 == 0
        assert size == 32 or memory.PIECES_IN_FLIGHT * size * each <= free
    else:
        assert size <= 32 or size * each <= free


@given(count=st.integers(0, 5000), size=st.integers(1, 600), limit=st.integers(32, 700))
def test_every_element_is_done_once_and_in_order(count: int, size: int, limit: int) -> None:
    started: list[tuple[int, int]] = []
    finished: list[tuple[int, int]] = []

    def start(first: int, last: int) -> memory.Finish:
        if last - first > limit:
            raise Full
        assert len(started) - len(finished) < memory.PIECES_IN_FLIGHT
        started.append((first, last))
        return lambda: finished.append((first, last))

    memory.halving(count, size, start, Full)
    assert finished == started
    assert [i for first, last in finished for i in range(first, last)] == list(range(count))


def test_what_is_in_flight_ends_before_a_smaller_piece_is_tried() -> None:
    log: list[str] = []

    def start(first: int, last: int) -> memory.Finish:
        if first == 64 and last - first > 32:
            log.append("full")
            raise Full
        log.append(f"start {first}")
        return lambda: log.append(f"finish {first}")

    memory.halving(128, 64, start, Full, recover=lambda: log.append("recover"))
    assert log == ["start 0", "full", "finish 0", "recover", "start 64", "start 96", "finish 64", "finish 96"]


def test_nothing_fits() -> None:
    def start(first: int, last: int) -> memory.Finish:
        raise Full

    with pytest.raises(DeviceOutOfMemory) as caught:
        memory.halving(1000, 512, start, Full)
    assert caught.value.detail["elements"] == 32


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def start(first: int, last: int) -> memory.Finish:
        raise ValueError

    with pytest.raises(ValueError):
        memory.halving(10, 5, start, Full)


class Stream(nullcontext[None]):
    """A stream on which nothing ever runs."""

    made = 0

    def __init__(self, non_blocking: bool = False) -> None:
        super().__init__()
        Stream.made += non_blocking

    def synchronize(self) -> None:
        pass


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As much of CuPy as cutting a batch takes."""
    cuda = SimpleNamespace(
        Stream=Stream,
        get_current_stream=Stream,
        Device=lambda: SimpleNamespace(id=0),
        memory=SimpleNamespace(OutOfMemoryError=Full),
    )
    pool = SimpleNamespace(free_all_blocks=lambda: None)
    made = SimpleNamespace(cuda=cuda, get_default_memory_pool=lambda: pool)
    monkeypatch.setattr(device, "require", lambda: made)
    monkeypatch.setattr(device, "free_bytes", lambda: 1 << 20)
    monkeypatch.setattr(memory, "_own", memory._Own())
    monkeypatch.setattr(Stream, "made", 0)
    return made


@pytest.mark.parametrize("error", [Full, DeviceOutOfMemory])
def test_a_launcher_that_finds_the_device_full_gets_smaller_pieces(cupy: Any, error: type[Exception]) -> None:
    pieces: list[tuple[int, int]] = []

    def start(first: int, last: int) -> memory.Finish:
        if last - first > 64:
            raise error("full")
        return lambda: pieces.append((first, last))

    memory.in_pieces(200, 1, start)
    assert pieces == [(0, 32), (32, 64), (64, 96), (96, 128), (128, 160), (160, 192), (192, 200)]


def test_batches_share_the_streams_of_their_thread(cupy: Any) -> None:
    for _ in range(3):
        memory.in_pieces(200, 1, lambda first, last: lambda: None)
    assert Stream.made == memory.PIECES_IN_FLIGHT


def test_secrets_are_cleared_when_the_block_fails() -> None:
    kept = np.ones(5, np.uint32)

    def fail_with(secret: np.ndarray) -> None:
        with memory.secrets_in() as keep:
            keep(secret)
            raise ValueError

    with pytest.raises(ValueError):
        fail_with(kept)
    assert not kept.any()


@given(bits=st.integers(1, 16384))
def test_a_shape_holds_its_numbers_and_wastes_little(bits: int) -> None:
    shape = Shape.of(bits)
    assert shape.bits >= bits
    assert shape.block_limbs in (8, 16, 24, 32)
    # Blocks are multiples of 8 limbs, so at most 7 limbs a block are unused, and a limb in part.
    assert shape.bits - bits < 256 * shape.blocks


@given(value=st.integers(0, 2**200 - 1), window=st.integers(2, 8))
def test_digits_make_up_the_exponent(value: int, window: int) -> None:
    rows = np.frombuffer(value.to_bytes(25, "big"), np.uint8).reshape(1, 25)
    digits = digits_of(rows, 200, window)
    assert digits.shape == (-(-200 // window), 1)
    assert sum(int(d) << window * i for i, d in enumerate(digits[:, 0])) == value


def test_short_exponents_take_narrow_windows() -> None:
    assert best_window(2) == 2
    assert best_window(1024) == 4
