"""Keys are made once: generating one takes longer than all tests of a file."""

from __future__ import annotations

import pytest

from accel import paillier, selftest


@pytest.fixture(scope="session")
def private() -> paillier.PrivateKey:
    case = selftest.vectors("paillier")["valid"][0]
    return paillier.PrivateKey(int(case["p"], 16), int(case["q"], 16))


@pytest.fixture(scope="session")
def public(private: paillier.PrivateKey) -> paillier.PublicKey:
    return private.public


@pytest.fixture(scope="session")
def other() -> paillier.PrivateKey:
    return paillier.generate(2048)
