"""`accel.gpu.paillier` gives the reference's ciphertexts and plaintexts, and leaves no key on the device."""

from __future__ import annotations

import random

import gmpy2
import numpy as np
import pytest

from accel.gpu import paillier
from accel.limbs import LimbArray
from accel.modulus import Modulus
from accel.reference import paillier as reference
from tests.accel.gpu.conftest import HostDevice


def primes(bits: int) -> tuple[int, int]:
    return tuple(int(gmpy2.next_prime((3 << bits - 2) + salt)) for salt in (1, 12345))


def rows(exponents: list[int], width: int) -> np.ndarray:
    return np.frombuffer(b"".join(e.to_bytes(width, "big") for e in exponents), np.uint8).reshape(-1, width)


def plain(ciphertexts: LimbArray, n: int) -> list[int]:
    m = Modulus(n * n)
    return [m.from_montgomery(c) for c in ciphertexts.to_ints()]


@pytest.fixture(autouse=True)
def _no_table_of_another_test() -> None:
    paillier._table.cache_clear()


@pytest.mark.parametrize("bits", [256, 300, 512])
@pytest.mark.parametrize("count", [0, 1, 7, 40])
def test_encryption_agrees_and_decrypts(host_device: HostDevice, bits: int, count: int) -> None:
    p, q = primes(bits)
    n = p * q
    rng = random.Random(count)
    residues = [0, 1, n - 1, *(rng.randrange(n) for _ in range(count))][:count]
    width = reference.encryption_bytes(n)
    exponents = [0, (1 << 8 * width) - 1, *(rng.getrandbits(8 * width) for _ in range(count))][:count]
    if not count:
        assert len(paillier.encrypt(n, [], np.zeros((0, width), np.uint8))) == 0
        assert paillier.decrypt(p, q, Modulus(n * n).array([])) == []
        return
    ciphertexts = paillier.encrypt(n, residues, rows(exponents, width))
    assert plain(ciphertexts, n) == reference.encrypt(n, residues, exponents)
    assert paillier.decrypt(p, q, ciphertexts) == residues


def test_rerandomizing_agrees(host_device: HostDevice) -> None:
    p, q = primes(256)
    n = p * q
    m = Modulus(n * n)
    width = reference.rerandomization_bytes(n)
    exponents = [0, (1 << 8 * width) - 1, 12345]
    ciphertexts = [reference.encrypt_with(n, i, 5 + i) for i in range(3)]
    got = paillier.rerandomize(n, m.array([m.to_montgomery(c) for c in ciphertexts]), rows(exponents, width))
    assert plain(got, n) == reference.rerandomize(n, ciphertexts, exponents)


def test_primes_of_unlike_size_decrypt(host_device: HostDevice) -> None:
    p, q = int(gmpy2.next_prime(1 << 600)), int(gmpy2.next_prime(1 << 500))
    n, m = p * q, Modulus((p * q) ** 2)
    residues = [0, 1, n - 1, n // 3]
    ciphertexts = [m.to_montgomery(reference.encrypt_with(n, r, 7)) for r in residues]
    assert paillier.decrypt(p, q, m.array(ciphertexts)) == residues


def test_a_batch_of_paillier_2048_in_pieces(host_device: HostDevice) -> None:
    p, q = primes(1024)
    n, rng = p * q, random.Random(1)
    residues = [rng.randrange(n) for _ in range(70)]
    width = reference.encryption_bytes(n)
    exponents = [rng.getrandbits(8 * width) for _ in residues]
    host_device.free = 40 * 9 * 512 * 2
    ciphertexts = paillier.encrypt(n, residues, rows(exponents, width))
    assert len(host_device.pieces) > 1
    host_device.free = 1 << 30
    assert paillier.decrypt(p, q, ciphertexts) == residues


def test_keys_and_plaintexts_are_cleared(host_device: HostDevice) -> None:
    p, q = primes(256)
    n = p * q
    width = reference.encryption_bytes(n)
    ciphertexts = paillier.encrypt(n, [5, 6], rows([7, 8], width))
    paillier.decrypt(p, q, ciphertexts)
    left = [b for b in host_device.buffers if b.any()]
    # The table of the public base is all that stays.
    assert [b.shape for b in left] == [(-(-8 * width // 6), 64, 32)]
