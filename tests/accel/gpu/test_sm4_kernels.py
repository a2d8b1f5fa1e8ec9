"""SM4 as the GPU computes it, run on the processor."""

from __future__ import annotations

import numpy as np
import pytest

from accel import selftest
from accel.gpu import sm4 as gpu
from accel.reference import sm4 as reference
from accel.sm4_backends import CBC_DECRYPT, CTR, ECB
from tests.accel.gpu import sm90
from tests.accel.gpu.conftest import HostDevice

RNG = np.random.default_rng(4)
KEY = RNG.bytes(16)


@pytest.fixture(autouse=True)
def small_device(host_device: HostDevice) -> HostDevice:
    """So little memory that a few hundred blocks take several pieces."""
    host_device.free = 16_384
    return host_device


def octets(count: int) -> np.ndarray:
    return RNG.integers(0, 256, count, dtype=np.uint8)


def test_block_of_the_standard() -> None:
    case = selftest.vectors("sm4")["block"][0]
    key, plaintext = bytes.fromhex(case["key"]), bytes.fromhex(case["plaintext"])
    output = np.empty(16, np.uint8)
    gpu.ecb(key, np.frombuffer(plaintext, np.uint8), output, False)
    assert output.tobytes().hex() == case["ciphertext"]
    gpu.ecb(key, output, output, True)
    assert output.tobytes() == plaintext


def test_table_is_the_reference_s_round_function() -> None:
    for x, word in enumerate(gpu.table().tolist()):
        s = reference.SBOX[x] << 24
        turned = [(s << n | s >> (32 - n)) & 0xFFFFFFFF for n in (2, 10, 18, 24)]
        assert word == s ^ turned[0] ^ turned[1] ^ turned[2] ^ turned[3]


@pytest.mark.parametrize("blocks", [0, 1, 7, 8, 9, 255, 256, 257, 1000])
def test_whole_blocks_as_openssl_makes_them(blocks: int) -> None:
    data, iv = octets(16 * blocks), RNG.bytes(16)
    got, want = np.empty_like(data), np.empty_like(data)
    for decrypt in (False, True):
        gpu.ecb(KEY, data, got, decrypt)
        ECB.select("portable", batch=1)(KEY, data, want, decrypt)
        assert (got == want).all()
    gpu.cbc_decrypt(KEY, iv, data, got)
    CBC_DECRYPT.select("portable", batch=1)(KEY, iv, data, want)
    assert (got == want).all()


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 4095, 4096, 4097, 20_000])
@pytest.mark.parametrize("counter", [bytes(16), b"\xff" * 16, b"\0" * 7 + b"\1" + b"\xff" * 7 + b"\xf0"])
def test_key_stream_carries_its_counter(count: int, counter: bytes) -> None:
    data = octets(count)
    got, want = np.empty_like(data), np.empty_like(data)
    gpu.ctr(KEY, counter, data, got)
    CTR.select("portable", batch=1)(KEY, counter, data, want)
    assert (got == want).all()


def test_chain_in_place() -> None:
    data = octets(16 * 1000)
    want = np.empty_like(data)
    CBC_DECRYPT.select("portable", batch=1)(KEY, KEY, data, want)
    gpu.cbc_decrypt(KEY, KEY, data, data)
    assert (data == want).all()


def test_keys_and_texts_do_not_stay_in_the_device(small_device: HostDevice) -> None:
    data = octets(160)
    gpu.ctr(KEY, KEY, data, np.empty_like(data))
    assert len(small_device.secrets) == 2
    assert not any(array.any() for array in small_device.secrets)


def test_kernel_keeps_its_budget_on_sm90() -> None:
    usage = sm90.usage("sm4.cuh")["sm4_blocks"]
    assert usage.spilled == 0
    assert usage.registers <= 64
    assert usage.shared == 32768
