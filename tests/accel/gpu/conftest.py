"""The launchers of `accel.gpu` over kernels that g++ compiled: the same code, host memory as the device's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from accel.gpu import compile as gpu_compile
from accel.gpu import device, memory
from tests.accel.gpu import host


class Exhausted(Exception):
    """The device is full."""


class HostDevice:
    """Runs kernels on the processor; ``free`` bytes for a batch, none for pieces above ``largest_piece``."""

    def __init__(self) -> None:
        self.free = 1 << 30
        self.largest_piece: int | None = None
        self.pieces: list[tuple[int, int]] = []
        self.launched: list[str] = []
        self.buffers: list[np.ndarray] = []
        self.secrets: list[np.ndarray] = []

    def kernel(self, file: str, name: str, **defines: int) -> Callable[..., None]:
        library = host.library(file, **defines)

        def run(grid: tuple[int], block: tuple[int], arguments: tuple[Any, ...]) -> None:
            self.launched.append(name)
            host.run(library, name, grid[0], block[0], *arguments)

        return run

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        # As on a GPU, memory holds what was there before.
        made = np.full(shape, 0xA5, dtype)
        self.buffers.append(made)
        return made

    def upload(self, array: np.ndarray, *, secret: bool = False) -> np.ndarray:
        made = np.array(array, order="C")
        self.buffers.append(made)
        if secret:
            self.secrets.append(made)
        return made

    def download(self, array: np.ndarray, into: np.ndarray, *, secret: bool = False) -> memory.Finish:
        copied = array.copy()

        def deliver() -> None:
            into[...] = copied

        return deliver

    def in_pieces(
        self, count: int, bytes_each: int, start: Any, *, fixed: int = 0, multiple: int = 32
    ) -> None:
        size = memory.piece_size(count, bytes_each, self.free - fixed, multiple=multiple)

        def checked(first: int, last: int) -> memory.Finish:
            if self.largest_piece is not None and last - first > self.largest_piece:
                raise Exhausted
            self.pieces.append((first, last))
            return start(first, last)

        memory.halving(count, size, checked, Exhausted, multiple=multiple)


@pytest.fixture
def host_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostDevice]:
    """`accel.gpu` works on the processor."""
    made = HostDevice()
    monkeypatch.setattr(gpu_compile, "kernel", made.kernel)
    monkeypatch.setattr(device, "multiprocessors", lambda: 1)
    for name in ("empty", "upload", "download", "in_pieces"):
        monkeypatch.setattr(memory, name, getattr(made, name))
    monkeypatch.setattr(device, "require", lambda: _NoCupy)
    return made


class _NoCupy:
    """What `memory.translated` looks at."""

    class cuda:  # noqa: N801
        class memory:  # noqa: N801
            OutOfMemoryError = Exhausted
