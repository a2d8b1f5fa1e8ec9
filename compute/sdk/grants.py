"""Asking for grants, and (for a provider's program) answering."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from compute.sdk.errors import GrantEnded, WaitedTooLong
from compute.sdk.objects import FINAL_GRANT_STATES, Grant, Offer
from compute.sdk.portal import Portal

_POLL_S = 0.4


class Grants:
    """``client.grants``."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def list(self, **filters: Any) -> list[Grant]:
        """Grants the party gave or holds; filters ``state``, ``dataset``, ``side`` (given or held)."""
        return [*self._portal.pages("grants", Grant, **filters)]

    def get(self, grant: str) -> Grant:
        """One grant by its UUID or its id on chain."""
        return self._portal.get(f"grants/{grant}", Grant)

    def request(
        self,
        offer: Offer | str,
        *,
        purpose: str,
        operations: Sequence[str],
        columns: Sequence[str],
        quota: int,
        days: int,
        note: str = "",
    ) -> Grant:
        """Apply under an offer. The provider decides; its node signs. Raises PortalRefused."""
        body = {
            "offer": offer.id if isinstance(offer, Offer) else offer,
            "purpose": purpose,
            "operations": list(operations),
            "columns": list(columns),
            "quota": quota,
            "days": days,
        }
        if note:
            body["note"] = note
        return self._portal.post("grants", body, Grant)

    def approve(
        self, grant: Grant | str, *, quota: int | None = None, days: int | None = None, note: str = ""
    ) -> Grant:
        """Provider: fix the terms, at most as asked. Signature and activation follow by themselves."""
        limits = {"quota": quota, "days": days, "note": note or None}
        body = {name: value for name, value in limits.items() if value is not None}
        return self._act(grant, "approve", body)

    def decline(self, grant: Grant | str, note: str = "") -> Grant:
        """Provider: say no."""
        return self._act(grant, "decline", {"note": note} if note else {})

    def revoke(self, grant: Grant | str, note: str = "") -> Grant:
        """Provider: end a grant before its expiry."""
        return self._act(grant, "revoke", {"note": note} if note else {})

    def wait(self, grant: Grant | str, state: str = "active", *, timeout_s: float = 60.0) -> Grant:
        """Until a grant reaches a state; raises GrantEnded if it ends otherwise, WaitedTooLong."""
        end = time.monotonic() + timeout_s
        while True:
            current = self.get(_id(grant))
            if current.state == state:
                return current
            if current.state in FINAL_GRANT_STATES:
                refusal = current.refusal or {}
                why = refusal.get("message") or current.note or "no reason given"
                raise GrantEnded(
                    f"the grant is {current.state}: {why}",
                    state=current.state,
                    code=str(refusal.get("code", "")),
                    rule=str(refusal.get("rule", "")),
                    remedy=str(refusal.get("remedy", "")),
                )
            if time.monotonic() > end:
                raise WaitedTooLong(
                    f"the grant is still {current.state}", grant=current.id, state=current.state
                )
            time.sleep(_POLL_S)

    def _act(self, grant: Grant | str, verb: str, body: dict[str, Any]) -> Grant:
        return self._portal.post(f"grants/{_id(grant)}/{verb}", body, Grant)


def _id(grant: Grant | str) -> str:
    return grant.id if isinstance(grant, Grant) else grant
