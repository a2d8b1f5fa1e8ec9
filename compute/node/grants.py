"""Grants at the provider's node: signing within the ceiling, waiting for staff, revoking, freezing.

    proposed ──▶ signed ──▶ revoked          approval = "portal"
    proposed ──▶ pending ──▶ signed | declined    approval = "node": staff decides on the command line

Signatures are deterministic (RFC 6979), so asking again gives the same answer. A revocation counts here from
the moment it is signed, whether or not anybody relays it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec

from compute.errors import BadInput, Refused
from compute.keys.signer import NodeSigner
from compute.node import ceiling
from compute.node.config import NodeConfig
from compute.node.ledger import Ledger
from compute.node.store import Store
from compute.wire import structs
from compute.wire.canonical import from_hex, to_hex
from compute.wire.messages import GrantProposal, SignedAction, SignedGrant, SignedRevocation
from contracts import eip712
from contracts.eip712 import Action, Revocation

State = Literal["pending", "signed", "declined", "revoked"]
FREEZE, UNFREEZE = 1, 2


@dataclass(frozen=True)
class GrantRow:
    """A proposal that reached this node, and what became of it."""

    grant: str
    state: State
    proposal: GrantProposal


class Grants:
    """All proposals of this node. Blocking and thread-safe: call from worker threads."""

    def __init__(
        self,
        config: NodeConfig,
        store: Store,
        ledger: Ledger,
        signer: NodeSigner,
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._store = store
        self._ledger = ledger
        self._signer = signer
        self._clock = clock

    def sign(self, proposal: GrantProposal) -> SignedGrant | None:
        """Sign a proposal that the ceiling allows; None while the node's staff has to decide.

        Raises Refused, or ChainUnreachable: the consumer must be one that the chain knows.
        """
        grant = to_hex(eip712.struct_hash(structs.grant(proposal)))
        row = self.find(grant)
        if row is not None and row.state == "signed":
            return self._signed(row)
        if row is not None and row.state in ("declined", "revoked"):
            raise Refused(
                "grant.declined", f"this grant was {row.state} at the node", remedy="propose another"
            )
        consumer = self._ledger.party(proposal.consumer)
        dataset = self._ledger.dataset(proposal.dataset)
        settings = ceiling.sign_grant(proposal, consumer, dataset, self._config, int(self._clock()))
        state: State = "pending" if settings.ceiling.approval == "node" else "signed"
        with self._store.transaction() as db:
            # What waits is decided by the configuration as it is now; what was decided stays.
            db.execute(
                "INSERT INTO grants VALUES (?, ?, ?, ?)"
                " ON CONFLICT (grant_id) DO UPDATE SET state = excluded.state WHERE state = 'pending'",
                (grant, state, msgspec.json.encode(proposal), int(self._clock())),
            )
        return None if state == "pending" else self._signed(GrantRow(grant, state, proposal))

    def decide(self, grant: str, *, approve: bool) -> GrantRow:
        """Approve or decline a pending proposal; raises BadInput if it is not pending. Run by the staff."""
        row = self.find(grant)
        if row is None or row.state != "pending":
            raise BadInput(f"there is no pending grant {grant}")
        return self._move(row, "signed" if approve else "declined")

    def revoke(self, grant: str) -> SignedRevocation | None:
        """Withdraw a grant; None if this node never signed it. Takes effect here at once. Repeatable."""
        row = self.find(grant)
        if row is None or row.state not in ("signed", "revoked"):
            return None
        self._move(row, "revoked")
        signature = self._signer.sign(self._ledger.domain("UsageLedger"), Revocation(from_hex(grant)))
        return SignedRevocation(grant=grant, signature=to_hex(signature))

    def withdrawn(self, grant: str) -> bool:
        """Whether this node revoked the grant, on chain already or not."""
        row = self.find(grant)
        return row is not None and row.state == "revoked"

    def act(self, dataset: str, verb: int) -> SignedAction | None:
        """Sign the freeze (1) or unfreeze (2) of an own dataset; None if there is no such dataset."""
        if self._config.find_dataset(dataset) is None:
            return None
        nonce = self._ledger.action_nonce()
        action = Action(from_hex(self._config.party), from_hex(dataset), verb, nonce)
        signature = self._signer.sign(self._ledger.domain("DatasetRegistry"), action)
        return SignedAction(
            party=self._config.party, subject=dataset, verb=verb, nonce=nonce, signature=to_hex(signature)
        )

    def find(self, grant: str) -> GrantRow | None:
        """One proposal by its grant id."""
        rows = self._store.rows("SELECT * FROM grants WHERE grant_id = ?", grant)
        return _row(rows[0]) if rows else None

    def all(self) -> list[GrantRow]:
        """All proposals, oldest first."""
        return [_row(row) for row in self._store.rows("SELECT * FROM grants ORDER BY created_at, grant_id")]

    def _move(self, row: GrantRow, state: State) -> GrantRow:
        with self._store.transaction() as db:
            db.execute("UPDATE grants SET state = ? WHERE grant_id = ?", (state, row.grant))
        return GrantRow(row.grant, state, row.proposal)

    def _signed(self, row: GrantRow) -> SignedGrant:
        signature = self._signer.sign(self._ledger.domain("UsageLedger"), structs.grant(row.proposal))
        return SignedGrant(grant=row.grant, proposal=row.proposal, signature=to_hex(signature))


def _row(row: sqlite3.Row) -> GrantRow:
    proposal = msgspec.json.decode(row["document"], type=GrantProposal)
    return GrantRow(row["grant_id"], row["state"], proposal)
