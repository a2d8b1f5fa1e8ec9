"""Call data for everything that the contracts accept, as `contracts.bindings.Chain` offers it.

The signatures inside a call decide whether it counts; who sends it matters only where a docstring says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contracts import abi
from contracts.eip712 import Action, DatasetVersion, Grant, JobRequest, NodeKey, Receipt, Revocation
from contracts.records import Call


class Calls:
    """Builders of calls; the subclass knows where the contracts are."""

    @property
    def addresses(self) -> dict[str, str]:
        """Contract name -> current address."""
        raise NotImplementedError

    def calldata(self, contract: str, function: str, *arguments: Any) -> Call:
        """Any function of any of our contracts; raises BadStruct if an argument does not fit."""
        return Call(self.addresses[contract], abi.of(contract).encode_call(function, *arguments))

    def enrol_call(self, party: bytes, roles: int, key: NodeKey, signature: bytes) -> Call:
        """Operator only. ``signature`` is the key's own over ``key``."""
        return self.calldata("PartyRegistry", "enrol", party, int(roles), key, signature)

    def add_roles_call(self, party: bytes, roles: int) -> Call:
        """Operator only."""
        return self.calldata("PartyRegistry", "addRoles", party, int(roles))

    def rotate_call(self, next_key: NodeKey, signature_old: bytes, signature_new: bytes) -> Call:
        return self.calldata("PartyRegistry", "rotate", next_key, signature_old, signature_new)

    def suspend_call(self, party: bytes) -> Call:
        """Operator only; a regulator uses `act_call`."""
        return self.calldata("PartyRegistry", "suspend", party)

    def reinstate_call(self, party: bytes) -> Call:
        """Operator only; lifts the operator's own suspension."""
        return self.calldata("PartyRegistry", "reinstate", party)

    def act_call(self, action: Action, signature: bytes) -> Call:
        """A regulator suspends (verb 3) or reinstates (verb 4) a party."""
        return self.calldata("PartyRegistry", "act", action, signature)

    def register_call(self, version: DatasetVersion, signature: bytes) -> Call:
        return self.calldata("DatasetRegistry", "register", version, signature)

    def freeze_call(self, action: Action, signature: bytes) -> Call:
        """Owner or regulator; the verb decides: 1 freezes, 2 unfreezes."""
        function = "unfreeze" if action.verb == 2 else "freeze"
        return self.calldata("DatasetRegistry", function, action, signature)

    def activate_call(self, grant: Grant, signature: bytes) -> Call:
        return self.calldata("UsageLedger", "activate", grant, signature)

    def revoke_call(self, revocation: Revocation, signature: bytes) -> Call:
        return self.calldata("UsageLedger", "revoke", revocation, signature)

    def reserve_call(self, request: JobRequest, signature: bytes) -> Call:
        return self.calldata("UsageLedger", "reserve", request, signature)

    def commit_call(self, receipts: Sequence[Receipt], batch_signature: bytes) -> Call:
        return self.calldata("UsageLedger", "commit", list(receipts), batch_signature)

    def release_call(self, job: bytes, grant: bytes) -> Call:
        return self.calldata("UsageLedger", "release", job, grant)
