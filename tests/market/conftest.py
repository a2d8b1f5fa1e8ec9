"""The portal on a private chain, with stand-in nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rest_framework.test import APIClient

from contracts.eip712 import Role
from market.grants.models import Grant
from market.ledger import chain as door
from market.parties import services as parties
from tests.chain_lab import Anvil, Lab
from tests.market.parties import SYSTEM, Member, Stage


@pytest.fixture(scope="session")
def market_lab() -> Iterator[Lab]:
    """A chain for the portal's tests alone: the index reads it from the first block."""
    process = Anvil()
    process.start()
    yield Lab(process.url)
    process.stop()


@pytest.fixture
def stage(db: None, market_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """The portal's services and workers, one turn at a time, on a chain that forgets afterwards."""
    snapshot = market_lab.chain.rpc.call("evm_snapshot")
    yield staged(market_lab, monkeypatch)
    door.use(None)
    market_lab.chain.rpc.call("evm_revert", snapshot)


@pytest.fixture
def mortal(db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Stage, Anvil]]:
    """A stage whose chain can be killed: it keeps its state on disk, as the embedded one does."""
    process = Anvil(state=tmp_path / "chain.json")
    process.start()
    yield staged(Lab(process.url), monkeypatch), process
    door.use(None)
    process.kill()


def staged(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A stage whose nodes are stand-ins."""
    made = Stage(lab)
    monkeypatch.setattr("market.jobs.drive.node_client", lambda party: made.nodes[party.party_id])
    monkeypatch.setattr("market.audit.compare_nodes.node_client", lambda party: made.nodes[party.party_id])
    monkeypatch.setattr(
        "market.jobs.drive.parties_with_nodes", lambda: [node.member.row for node in made.nodes.values()]
    )
    return made


@dataclass
class Cast:
    """Alice provides, Bob consumes, Charlie is another consumer and provider, Dora regulates."""

    alice: Member
    bob: Member
    charlie: Member
    dora: Member


@pytest.fixture
def cast(stage: Stage) -> Cast:
    """Everyone, enrolled."""
    return Cast(
        alice=stage.enrol("Alice", Role.PROVIDER, node=True),
        bob=stage.enrol("Bob", Role.CONSUMER),
        charlie=stage.enrol("Charlie", Role.PROVIDER | Role.CONSUMER, node=True),
        dora=stage.enrol("Dora", Role.REGULATOR),
    )


@pytest.fixture
def grant(stage: Stage, cast: Cast) -> Grant:
    """Bob may run PSI on Alice's panel, 100 units."""
    return stage.grant(cast.alice, cast.bob)


@pytest.fixture
def client_of(db: None) -> Callable[..., APIClient]:
    """REST as a party: ``client_of(cast.bob)``, or with some scopes only."""

    def make(member: Member, *scopes: str) -> APIClient:
        wanted = list(scopes) or ["read", "catalog", "grants", "jobs", "audit", "operate"]
        _key, token = parties.create_api_key(party=member.row, name="test", scopes=wanted, actor=SYSTEM)
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
        return client

    return make
