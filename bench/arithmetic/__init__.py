"""The parts of the suite `accel`: each yields rows, ours beside named peers, measured one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from accel.cpu import threads


@contextmanager
def one_core() -> Iterator[None]:
    """Batches inside the block run on one thread, as rates per core are meant."""
    before = os.environ.get(threads.SWITCH)
    os.environ[threads.SWITCH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[threads.SWITCH]
        else:
            os.environ[threads.SWITCH] = before
