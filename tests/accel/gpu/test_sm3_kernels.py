"""SM3 and HMAC-SM3 as the GPU computes them, run on the processor."""

from __future__ import annotations

import random

import numpy as np
import pytest

from accel import selftest
from accel.byte_rows import ByteRows
from accel.gpu import sm3 as gpu
from accel.reference import sm3 as reference
from accel.sm3 import DIGEST_MANY, HMAC_MANY
from tests.accel.gpu import sm90
from tests.accel.gpu.conftest import HostDevice

# Around the ends of blocks of 64 bytes, where the padding takes another block.
LENGTHS = [0, 1, 3, 4, 54, 55, 56, 57, 63, 64, 65, 118, 119, 120, 127, 128, 129, 1000]


@pytest.fixture(autouse=True)
def small_device(host_device: HostDevice) -> HostDevice:
    host_device.free = 100_000
    return host_device


def mixed(count: int) -> list[bytes]:
    rng = random.Random(count)
    return [rng.randbytes(LENGTHS[i % len(LENGTHS)]) for i in range(count)]


def test_vectors_of_the_standard() -> None:
    cases = selftest.vectors("sm3")["digest"]
    got = gpu.digest_many(ByteRows.of([bytes.fromhex(case["message"]) for case in cases]))
    assert [row.tobytes().hex() for row in got] == [case["digest"] for case in cases]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 15, 16, 17, 1000])
def test_digests_of_mixed_lengths(count: int) -> None:
    rows = ByteRows.of(mixed(count))
    assert (gpu.digest_many(rows) == DIGEST_MANY.select("portable", batch=count)(rows)).all()


def test_digests_of_a_matrix_and_of_chosen_rows() -> None:
    matrix = np.random.default_rng(1).integers(0, 256, (500, 64), dtype=np.uint8)
    rows = ByteRows.of(matrix)
    assert (gpu.digest_many(rows) == DIGEST_MANY.select("portable", batch=500)(rows)).all()
    few = rows.take(np.array([400, 3, 3, 77]))
    want = [reference.digest(matrix[i].tobytes()) for i in (400, 3, 3, 77)]
    assert [row.tobytes() for row in gpu.digest_many(few)] == want


@pytest.mark.parametrize("own", [False, True])
def test_authenticators_under_one_key_and_under_many(own: bool) -> None:
    messages = ByteRows.of(mixed(100))
    keys = np.random.default_rng(2).integers(0, 256, (100 if own else 1, 64), dtype=np.uint8)
    want = HMAC_MANY.select("portable", batch=100)(keys, messages)
    assert (gpu.hmac_many(keys, messages) == want).all()


def test_messages_do_not_stay_in_the_device(small_device: HostDevice) -> None:
    gpu.hmac_many(np.full((1, 64), 7, np.uint8), ByteRows.of([b"a secret of some length"] * 3))
    assert len(small_device.secrets) == 2
    assert not any(array.any() for array in small_device.secrets)


def test_kernels_keep_their_budgets_on_sm90() -> None:
    usage = sm90.usage("sm3.cuh")
    assert all(kernel.spilled == 0 and kernel.registers <= 80 for kernel in usage.values())
