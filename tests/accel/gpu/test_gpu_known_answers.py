"""The GPU backends pass the self-tests that a process with a GPU will hold them to, on the processor."""

from __future__ import annotations

from typing import Any

import pytest

from accel import curve25519, curve25519_oprf, sm3, sm4_backends, weierstrass_backends
from accel.registry import Op
from tests.accel.gpu.conftest import HostDevice

OPS: list[Op[..., Any]] = [
    op
    for module in (curve25519, curve25519_oprf, sm3, sm4_backends, weierstrass_backends)
    for op in vars(module).values()
    if isinstance(op, Op) and "gpu" in op._backends
]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_known_answer(op: Op[..., Any], host_device: HostDevice) -> None:
    assert op._known_answer is not None
    op._known_answer(op._backends["gpu"].run)
    assert host_device.launched
