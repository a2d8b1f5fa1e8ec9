"""What a contract's refusal means to the person who asked: a code, the rule, and what would pass."""

from __future__ import annotations

from typing import Any

from contracts.errors import Reverted
from market.ledger.projection import plain

# Custom error -> what happened (its arguments by name), and what would pass.
_MEANINGS = {
    "QuotaExceeded": (
        "{asked} units are asked for and {left} are left on the grant",
        "ask for fewer units, or apply for a new grant",
    ),
    "EpsilonExceeded": (
        "ε of {asked} millionths is asked for and {left} are left on the grant",
        "ask for less ε, or apply for a new grant",
    ),
    "GrantRevoked": ("the provider revoked the grant", "apply for a new one"),
    "GrantExpired": ("the grant has expired", "apply for a new one"),
    "GrantNotStarted": ("the grant is not in force yet", "wait until it starts"),
    "GrantUnknown": ("the chain knows no such grant", "wait until it is active on chain"),
    "NotGrantee": ("the grant is another consumer's", "use a grant that was given to you"),
    "JobExists": ("this signed request was used before", "sign a new request with a fresh nonce"),
    "DeadlinePassed": ("the request's deadline has passed", "sign a new request with a later deadline"),
    "DeadlineTooFar": (
        "the deadline is too far away",
        "sign a request with an earlier deadline",
    ),
    "DatasetFrozen": ("the dataset is frozen", "ask its owner or the regulator"),
    "PartySuspended": ("a party of the job is suspended", "ask the operator or the regulator"),
    "NotPartyKey": (
        "the signature is not by the key that the chain names",
        "sign with the key that the chain names for the party",
    ),
    "RoleMissing": ("the party lacks the role this takes", "ask the operator to add the role"),
    "NotDatasetOwner": ("the dataset is another provider's", "only the dataset's owner grants its use"),
    "UnitsMissing": ("a grant is named with no unit of it", "reserve at least one unit of every grant"),
}


def refusal_of(error: Reverted) -> dict[str, Any]:
    """{code, rule, message, remedy, arguments} of a contract's typed error."""
    meaning, remedy = _MEANINGS.get(error.name, (str(error), ""))
    try:
        message = meaning.format_map(error.arguments) if remedy else meaning
    except KeyError:  # a later contract version may name its arguments otherwise
        message = str(error)
    return {
        "code": error.code,
        "rule": error.name,
        "message": message,
        "remedy": remedy,
        "arguments": plain(error.arguments),
    }
