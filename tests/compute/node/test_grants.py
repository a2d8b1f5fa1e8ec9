"""Proposals at the node: what staff decides stays decided, and what is signed can be withdrawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compute.errors import BadInput, Refused
from compute.keys.signer import NodeSigner
from compute.node.config import load
from compute.node.grants import Grants
from compute.node.store import Store
from compute.wire import structs
from compute.wire.canonical import from_hex, to_hex
from compute.wire.messages import GrantProposal, GrantTerms
from contracts import eip712
from contracts.eip712 import Domain, Role
from contracts.records import PartyRecord
from tests.compute.node.rig import table_toml

NOW = 1_800_000_000
PARTY, CONSUMER, DATASET = ("0x" + byte * 32 for byte in ("0a", "aa", "dd"))
TERMS = GrantTerms(
    offer="1", purpose="care", operations=("psi",), columns=("patient_id",), min_cohort=2, price_credits=1,
    salt="0x" + "55" * 32,
)  # fmt: skip
PROPOSAL = GrantProposal(
    provider=PARTY, consumer=CONSUMER, dataset=DATASET, terms=TERMS, quota=10, epsilon_micro=0,
    not_before=NOW, expiry=NOW + 3600,
)  # fmt: skip
GRANT = to_hex(eip712.struct_hash(structs.grant(PROPOSAL)))


class Ledger:
    """A chain that knows the consumer."""

    def party(self, party: str) -> PartyRecord:
        return PartyRecord(from_hex(party), Role.CONSUMER, False, ())

    def dataset(self, dataset: str) -> None:
        return None

    def domain(self, contract: str) -> Domain:
        return Domain(31337, "0x" + "11" * 20)


def grants(home: Path, approval: str) -> Grants:
    """The node's grants, opened on the same database with this ``approval``."""
    path = home / "node.toml"
    ceiling = f'approval = "{approval}"'
    path.write_text(f'name = "N"\nparty = "{PARTY}"\n' + table_toml(DATASET, "p.csv", ceiling=ceiling))
    ledger: Any = Ledger()
    return Grants(load(path, {}), Store(home / "node.db"), ledger, NodeSigner(b"\1" * 32), lambda: float(NOW))


def test_staff_decides_once_and_a_declined_proposal_stays_declined(tmp_path: Path) -> None:
    node = grants(tmp_path, "node")
    assert node.sign(PROPOSAL) is None
    node.decide(GRANT, approve=False)
    with pytest.raises(BadInput):
        node.decide(GRANT, approve=True)
    for again in (node, grants(tmp_path, "portal")):
        with pytest.raises(Refused) as caught:
            again.sign(PROPOSAL)
        assert caught.value.rule == "grant.declined"


def test_what_waited_when_the_staff_stopped_deciding_is_signed_and_can_be_revoked(tmp_path: Path) -> None:
    assert grants(tmp_path, "node").sign(PROPOSAL) is None
    node = grants(tmp_path, "portal")
    assert node.sign(PROPOSAL) is not None
    assert not node.withdrawn(GRANT)
    assert node.revoke(GRANT) is not None
    assert node.withdrawn(GRANT)


def test_what_was_signed_stays_signed_when_the_staff_begins_to_decide(tmp_path: Path) -> None:
    signed = grants(tmp_path, "portal").sign(PROPOSAL)
    assert signed is not None
    assert grants(tmp_path, "node").sign(PROPOSAL) == signed


def test_a_proposal_nobody_signed_cannot_be_revoked(tmp_path: Path) -> None:
    node = grants(tmp_path, "node")
    assert node.revoke(GRANT) is None
    node.sign(PROPOSAL)
    assert node.revoke(GRANT) is None
