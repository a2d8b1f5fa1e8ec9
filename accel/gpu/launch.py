"""Launching a kernel over a batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from accel.gpu import device

LARGEST_GRID = 2**31 - 1


def launch(kernel: Any, items: int, *arguments: Any, block: int = 128, grid: int | None = None) -> None:
    """Enqueue a kernel on the current stream with one thread per item, or with ``grid`` blocks.

    Arguments are device arrays, passed as pointers, and numpy scalars, passed by value: a plain int would
    leave its width to chance. A batch of nothing launches nothing.
    """
    for argument in arguments:
        if not isinstance(argument, np.generic) and not hasattr(argument, "data"):
            raise TypeError(f"pass device arrays and numpy scalars, not {type(argument).__name__}")
    if items < 1:
        return
    blocks = -(-items // block) if grid is None else grid
    kernel((min(blocks, LARGEST_GRID),), (block,), arguments)


def resident(blocks_each: int, items: int, *, block: int = 128) -> int:
    """Blocks that run at once, no more than the items need: for kernels whose threads own scratch memory."""
    return min(-(-max(items, 1) // block), device.multiprocessors() * blocks_each)
