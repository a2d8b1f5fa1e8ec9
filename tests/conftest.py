"""Fixtures of every test folder. Tests of the portal, the nodes and the SDK share one private chain."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contracts.bindings import Chain
from tests.chain_lab import Anvil, Lab


@pytest.fixture(scope="session")
def anvil() -> Iterator[Anvil]:
    """A chain in memory for the whole run."""
    process = Anvil()
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="session")
def lab(anvil: Anvil) -> Lab:
    """Contracts on that chain, the operator's key, and short cuts. Make fresh parties; share nothing."""
    return Lab(anvil.url)


@pytest.fixture(scope="session")
def chain(lab: Lab) -> Chain:
    """The binding to that chain."""
    return lab.chain


@pytest.fixture
def fresh_lab() -> Iterator[Lab]:
    """A chain of its own, for a test that moves the clock or stops the chain."""
    process = Anvil()
    process.start()
    yield Lab(process.url)
    process.stop()
