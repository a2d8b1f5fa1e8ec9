"""On a machine with a GPU: what `python -m bench gpu` checks, and the launch path with CuPy's own memory."""

from __future__ import annotations

import numpy as np
import pytest

from accel import features
from accel.errors import DeviceOutOfMemory
from accel.gpu import memory
from bench.gpu import families
from bench.gpu.entry import Entry

pytestmark = pytest.mark.skipif(features.gpu_missing() is not None, reason=f"{features.gpu_missing()}")


@pytest.mark.parametrize("entry", families(), ids=lambda entry: entry.name)
def test_kernels_agree_with_integers(entry: Entry) -> None:
    entry.check()


def test_copies_come_back() -> None:
    values = np.arange(100_000, dtype=np.uint64).reshape(10, -1)
    back = np.zeros_like(values)
    memory.download(memory.upload(values, secret=True), back, secret=True)()
    assert (back == values).all()


def test_secrets_are_zero_after_the_block() -> None:
    with memory.secrets_in() as secret:
        there = secret(memory.upload(np.full(1000, 7, np.uint32)))
    assert not there.get().any()


def test_more_than_the_device_has_is_our_error() -> None:
    with pytest.raises(DeviceOutOfMemory), memory.translated():
        memory.empty((1 << 50,), np.uint8)
