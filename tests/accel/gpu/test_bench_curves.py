"""The GPU suite's entries for curves, hash and cipher do what they say, on the processor."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.gpu import curves, symmetric
from bench.gpu.entry import Ceilings
from tests.accel.gpu.conftest import HostDevice

CEILINGS = Ceilings(wide_per_s=1e12, carry_per_s=1e12, copy_bytes_per_s=1e12)


def one_second(work: Callable[[], object]) -> float:
    work()
    return 1.0


def test_checks_pass(host_device: HostDevice) -> None:
    curves.check25519(9)
    curves.check_oprf(9)
    curves.check_weierstrass(20)
    symmetric.check(20)


def test_checks_notice_a_wrong_result(host_device: HostDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "SCALAR", curves.SCALAR[::-1])  # not clamped: the ladder and RFC 7748 differ
    with pytest.raises(ArithmeticError):
        curves.check25519(2)
    with pytest.raises(ArithmeticError):
        curves.check_oprf(9)


def test_every_rate_has_its_ceiling(host_device: HostDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "BATCH", 64)
    rows = [
        *curves.time25519(one_second, CEILINGS, True),
        *curves.time_oprf(one_second, CEILINGS, True),
        *curves.time_weierstrass(one_second, CEILINGS, True),
    ]
    assert len(rows) == 15
    assert all(row.size == row.value == 16 and row.peer_value for row in rows)
    assert [row.target for row in rows if row.target] == list(curves.TARGETS.values())


def test_hash_and_cipher_have_theirs(host_device: HostDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symmetric, "BATCH", 64)
    rows = list(symmetric.time(one_second, CEILINGS, True))
    assert [(row.size, row.value) for row in rows] == [(16, 16), (1024, 1024)]
    assert all(row.peer_value and row.target for row in rows)
