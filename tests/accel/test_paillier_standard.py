"""The numerical example of ISO/IEC 18033-6:2019, on every backend."""

from __future__ import annotations

import pytest

from accel import modular, paillier, selftest
from accel.encrypted_backends import ADD
from accel.paillier_backends import DECRYPT, square
from accel.reference import paillier as reference

EXAMPLE = {
    name: int(value, 16)
    for name, value in selftest.vectors("paillier")["standard"].items()
    if name != "comment"
}
P, Q = EXAMPLE["p"], EXAMPLE["q"]
N = P * Q


@pytest.mark.parametrize("number", ["1", "2"])
def test_the_reference_encrypts_as_the_standard_does(number):
    made = reference.encrypt_with(N, EXAMPLE[f"m{number}"], EXAMPLE[f"r{number}"])
    assert made == EXAMPLE[f"c{number}"]


@pytest.mark.parametrize("backend", DECRYPT.available())
def test_every_backend_decrypts_the_standards_ciphertexts(backend):
    ciphertexts = [EXAMPLE[name] for name in ("c1", "c2", "c1c2")]
    m = square(N)
    elements = modular.enter(m.array(ciphertexts), m)
    expected = [EXAMPLE[name] for name in ("m1", "m2", "m1m2")]
    assert DECRYPT.select(backend, batch=3)(P, Q, elements) == expected


@pytest.mark.parametrize("backend", ADD.available())
def test_every_backend_adds_to_the_standards_sum(backend):
    m = square(N)
    left, right = (modular.enter(m.array([EXAMPLE[name]]), m) for name in ("c1", "c2"))
    total = ADD.select(backend, batch=1)(left, right, m)
    assert modular.leave(total, m).to_ints() == [EXAMPLE["c1c2"]]


def test_the_facade_takes_the_standards_key_and_ciphertexts():
    private = paillier.PrivateKey(P, Q)
    array = paillier.EncryptedArray.from_ciphertexts(
        private.public, [EXAMPLE["c1"], EXAMPLE["c2"]], bound=EXAMPLE["m1"]
    )
    assert paillier.decrypt_ints(private, array) == [EXAMPLE["m1"], EXAMPLE["m2"]]
    assert paillier.decrypt_ints(private, array.sum()) == [EXAMPLE["m1m2"]]
