"""What counts as a GPU."""

import sys
from types import SimpleNamespace

import pytest

from accel import features


@pytest.mark.parametrize(("capability", "says"), [("75", "75"), ("80", None), ("90", None), ("100", None)])
def test_a_gpu_without_the_instructions_of_our_kernels_is_none(monkeypatch, capability, says):
    runtime = SimpleNamespace(CUDARuntimeError=RuntimeError, getDeviceCount=lambda: 1)
    cuda = SimpleNamespace(runtime=runtime, Device=lambda: SimpleNamespace(compute_capability=capability))
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda))
    missing = features.gpu_missing.__wrapped__()
    assert missing is None if says is None else says in missing


def test_a_driver_that_answers_with_an_error_is_quoted(monkeypatch):
    def fail():
        raise RuntimeError("no CUDA-capable device is detected")

    runtime = SimpleNamespace(CUDARuntimeError=RuntimeError, getDeviceCount=fail)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(runtime=runtime)))
    assert "no CUDA-capable device" in features.gpu_missing.__wrapped__()
