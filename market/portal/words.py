"""The words of the house on screen: one name per state, operation, role, phase and rule.

Codes come from nodes, chain and tables; an unknown code is shown as it is rather than hidden, so a newer
node never leaves a hole in a page.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext, pgettext_lazy

Word = str | Promise

# Status hue and icon. Hue is never the only carrier: each chip has its icon and its word.
ACTIVE, WAITING, REFUSED, REVOKED, PLAIN = "active", "waiting", "refused", "revoked", "plain"
ICONS = {ACTIVE: "done", WAITING: "clock", REFUSED: "stop", REVOKED: "lift", PLAIN: "dash"}

STATES: dict[str, tuple[str, Word]] = {
    "requested": (WAITING, pgettext_lazy("state", "Requested")),
    "proposed": (WAITING, pgettext_lazy("state", "Proposed")),
    "signed": (WAITING, pgettext_lazy("state", "Signed")),
    "active": (ACTIVE, pgettext_lazy("state", "Active")),
    "exhausted": (REVOKED, pgettext_lazy("state", "Exhausted")),
    "expired": (REVOKED, pgettext_lazy("state", "Expired")),
    "revoked": (REVOKED, pgettext_lazy("state", "Revoked")),
    "revoking": (WAITING, pgettext_lazy("state", "Being revoked")),
    "declined": (REFUSED, pgettext_lazy("state", "Declined")),
    "refused": (REFUSED, pgettext_lazy("state", "Refused")),
    "registered": (ACTIVE, pgettext_lazy("state", "Registered")),
    "frozen": (REVOKED, pgettext_lazy("state", "Frozen")),
    "enrolled": (ACTIVE, pgettext_lazy("state", "Enrolled")),
    "suspended": (REVOKED, pgettext_lazy("state", "Suspended")),
    "open": (ACTIVE, pgettext_lazy("state", "Open")),
    "closed": (PLAIN, pgettext_lazy("state", "Closed")),
    "submitted": (WAITING, pgettext_lazy("state", "Submitted")),
    "reserved": (WAITING, pgettext_lazy("state", "Reserved")),
    "accepted": (WAITING, pgettext_lazy("state", "Accepted")),
    "running": (WAITING, pgettext_lazy("state", "Running")),
    "receipted": (WAITING, pgettext_lazy("state", "Receipted")),
    "settled": (ACTIVE, pgettext_lazy("state", "Settled")),
    "completed": (ACTIVE, pgettext_lazy("state", "Completed")),
    "failed": (REFUSED, pgettext_lazy("state", "Failed")),
    "cancelled": (REVOKED, pgettext_lazy("state", "Cancelled")),
    "queued": (WAITING, pgettext_lazy("state", "Queued")),
    "pending": (WAITING, pgettext_lazy("state", "Pending")),
    "sent": (WAITING, pgettext_lazy("state", "Sent")),
    "mined": (ACTIVE, pgettext_lazy("state", "Mined")),
    "reverted": (REFUSED, pgettext_lazy("state", "Reverted")),
    "received": (WAITING, pgettext_lazy("state", "Received")),
    "anchored": (ACTIVE, pgettext_lazy("state", "Anchored")),
    "committed": (ACTIVE, pgettext_lazy("state", "Anchored")),
    "unsettled": (WAITING, pgettext_lazy("state", "Unsettled")),
    "reachable": (ACTIVE, pgettext_lazy("state", "Reachable")),
    "unreachable": (REFUSED, pgettext_lazy("state", "Unreachable")),
    "unknown": (PLAIN, pgettext_lazy("state", "Unknown")),
}

OPERATIONS: dict[str, Word] = {
    "psi": _("PSI"),
    "stats": _("joint statistics"),
    "pir": _("PIR"),
    "fl": _("federated learning"),
    "eaas": _("encryption service"),
}

KINDS: dict[str, Word] = {
    "psi": _("Private set intersection (PSI)"),
    "stats.vertical": _("Joint statistics over an intersection"),
    "stats.horizontal": _("Joint statistics over stacked rows"),
    "pir.row": _("Private retrieval (PIR) by row"),
    "pir.keyword": _("Private retrieval (PIR) by keyword"),
    "fl.logistic": _("Federated logistic regression"),
    "eaas": _("Encryption service (EaaS)"),
}

PARTY_ROLES: dict[str, Word] = {
    "provider": _("Provider"),
    "consumer": _("Consumer"),
    "regulator": _("Regulator"),
    "operator": _("Operator"),
}

COLUMN_TYPES: dict[str, Word] = {
    "string": _("text"),
    "integer": _("integer"),
    "number": _("number"),
    "boolean": _("yes or no"),
    "date": _("date"),
    "timestamp": _("date and time"),
}

GRADES: dict[str, Word] = {
    "L1": _("L1, public"),
    "L2": _("L2, internal"),
    "L3": _("L3, sensitive"),
    "L4": _("L4, never leaves, not even as a statistic"),
}

DATASET_KINDS: dict[str, Word] = {"table": _("Table"), "service": _("Service")}

# Phases of a job at a node. Protocols keep these names stable; `words.phase` shows an unknown one as it is.
PHASES: dict[str, Word] = {
    "accepted": _("Accepted the request"),
    "queued": _("Waiting for a free worker"),
    "policy": _("Checked the grant on chain"),
    "checked": _("Checked the grant on chain"),
    "check": _("Checked the grant on chain"),
    "data": _("Read its rows"),
    "reading": _("Read its rows"),
    "read": _("Read its rows"),
    "commitment": _("Compared the rows with the registered version"),
    "connect": _("Connected to the peer"),
    "connecting": _("Connecting to the peer"),
    "connected": _("Connected to the peer"),
    "handshake": _("Proved its key to the peer"),
    "protocol": _("Computing under encryption"),
    "running": _("Computing under encryption"),
    "release": _("Checked the grant again before release"),
    "seal": _("Sealed the result to the consumer"),
    "sealed": _("Sealed the result to the consumer"),
    "receipt": _("Signed the receipt"),
    "receipted": _("Signed the receipt"),
    "completed": _("Completed"),
    "refused": _("Refused"),
    "failed": _("Failed"),
    "cancelled": _("Cancelled"),
    "expired": _("Expired"),
}

OUTCOMES: dict[str, Word] = {
    "completed": STATES["completed"][1],
    "refused": STATES["refused"][1],
    "failed": STATES["failed"][1],
    "cancelled": STATES["cancelled"][1],
    "expired": STATES["expired"][1],
}


def state(code: str) -> tuple[str, str, str]:
    """(hue, icon, word) of a state; an unknown state is plain and shown as its code."""
    hue, word = STATES.get(code, (PLAIN, code))
    return hue, ICONS[hue], str(word)


def operation(code: str) -> str:
    return str(OPERATIONS.get(code, code))


def kind(code: str) -> str:
    return str(KINDS.get(code, code))


def phase(code: str) -> str:
    return str(PHASES.get(code, code))


def party_role(code: str) -> str:
    return str(PARTY_ROLES.get(code, code))


def joined(items: Iterable[object]) -> str:
    """A list as people write it: "a, b and c", 「a、b和c」."""
    words = [str(item) for item in items]
    if len(words) < 2:
        return "".join(words)
    separator, last = list_separators()
    return separator.join(words[:-1]) + last + words[-1]


def list_separators() -> tuple[str, str]:
    """What stands between the items of a list and before its last item in the active language."""
    # Translators: between the items of a list; Chinese uses the enumeration comma.
    separator = pgettext("list", ", ")
    # Translators: before the last item of a list, with its spaces.
    last = pgettext("list", " and ")
    return separator, last
