"""What a contract's refusal means to the person who asked: a code, the rule, and what would pass."""

from __future__ import annotations

from typing import Any

from contracts.errors import Reverted
from market.ledger.projection import plain

_REMEDIES = {
    "QuotaExceeded": "ask for fewer units, or apply for a new grant",
    "EpsilonExceeded": "ask for less epsilon, or apply for a new grant",
    "GrantRevoked": "the provider ended this grant: apply for a new one",
    "GrantExpired": "apply for a new grant",
    "GrantNotStarted": "wait until the grant starts",
    "GrantUnknown": "wait until the grant is active on chain",
    "NotGrantee": "use a grant that was given to you",
    "JobExists": "sign a new request with a fresh nonce",
    "DeadlinePassed": "sign a new request with a later deadline",
    "DeadlineTooFar": "sign a new request with an earlier deadline",
    "DatasetFrozen": "the owner or a regulator froze the dataset: ask them",
    "PartySuspended": "a party is suspended: ask the operator or the regulator",
    "NotPartyKey": "sign with the key that the chain names for the party",
    "RoleMissing": "ask the operator to add the role",
    "NotDatasetOwner": "only the dataset's owner grants its use",
    "UnitsMissing": "reserve at least one unit of every grant",
}


def refusal_of(error: Reverted) -> dict[str, Any]:
    """{code, rule, message, remedy, arguments} of a contract's typed error."""
    return {
        "code": error.code,
        "rule": error.name,
        "message": str(error),
        "remedy": _REMEDIES.get(error.name, ""),
        "arguments": plain(error.arguments),
    }
