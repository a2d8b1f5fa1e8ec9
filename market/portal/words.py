"""The words of the house on screen: one name per state, operation, role, phase and rule.

Codes come from nodes, chain and tables; an unknown code is shown as it is rather than hidden, so a newer
node never leaves a hole in a page.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.functional import Promise
from django.utils.translation import gettext, pgettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

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
    "held": (WAITING, pgettext_lazy("state", "Held")),
    "released": (REVOKED, pgettext_lazy("state", "Released")),
    "waiting": (WAITING, pgettext_lazy("state", "Waiting")),
    "working": (ACTIVE, pgettext_lazy("state", "Working")),
    "silent": (REFUSED, pgettext_lazy("state", "Silent")),
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
    "psi.cardinality": _("Size of an intersection or a union (PSI)"),
    "psi.sum": _("Sum over an intersection (PSI)"),
    "psi.many": _("Private set intersection of several parties (PSI)"),
    "stats.vertical": _("Joint statistics over an intersection"),
    "stats.horizontal": _("Joint statistics over stacked rows"),
    "pir.row": _("Private retrieval (PIR) by row"),
    "pir.keyword": _("Private retrieval (PIR) by keyword"),
    "pir.member": _("Private membership, yes or no (PIR)"),
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

# Phases of a job at a node. Protocols keep these names stable; `words.phase` has words for unknown ones.
PHASES: dict[str, Word] = {
    # the portal's own lines
    "submitted": _("Order received"),
    "reserved": _("Uses reserved on chain"),
    "running": _("Nodes at work"),
    "receipted": _("All nodes signed receipts"),
    "settled": _("Settled on chain"),
    "cancel requested": _("Cancellation asked for"),
    # a node's lines
    "accepted": _("Checked the grant, accepted"),
    "waiting": _("Waiting for a free worker"),
    "reading": _("Read and verified its rows"),
    "connecting": _("Met the other parties"),
    "reconnecting": _("Meets the other parties again"),
    "resuming": _("Goes on from the last checkpoint"),
    "open": _("Serves calls"),
    "awaiting_chain": _("Waits for the chain before release"),
    "completed": _("Checked the grant again, completed"),
    "refused": _("Refused"),
    "failed": _("Failed"),
    "cancelled": _("Cancelled"),
    "expired": _("Expired"),
    # protocols
    "psi.blind": _("Blinds its keys"),
    "psi.receive": _("Receives blinded keys"),
    "psi.double_blind": _("Blinds the peer's keys once more"),
    "psi.match": _("Compares blinded keys"),
    "psi.prepare": _("Prepares its set, once per dataset version"),
    "psi.tags": _("Hands over its prepared set, encrypted"),
    "psi.keys": _("Brings its keys into one form"),
    "psi.labels": _("Gives out columns for matches, encrypted"),
    "psi.result": _("Tells the other side its part of the result"),
    "psi.hint": _("Programs its shares for the leader"),
    "psi.choice.ecdh": _("Chose the protocol: ECDH"),
    "psi.choice.rr22": _("Chose the protocol: RR22"),
    "psi.choice.unbalanced": _("Chose the protocol: unbalanced"),
    "psi.bucket": _("Works through its buckets"),
    "psi.table": _("Hands over its encoded set"),
    "psi.correlate": _("Makes correlated randomness"),
    "stats.encrypt": _("Encrypts values"),
    "stats.receive": _("Receives encrypted values"),
    "pir.encode": _("Encodes its records"),
    "pir.setup": _("Agrees on the shape of the records"),
    "pir.hint": _("Sends the hint"),
    "pir.keys": _("Gives out one record key per query, unseen"),
    "pir.query": _("Asks without telling"),
    "pir.answer": _("Answers without learning"),
    "fl.round": _("Rounds with masked updates"),
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
    if code in PHASES:
        return str(PHASES[code])
    return gettext("A step of its own ({code})").format(code=code)


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


# What the portal's workers put on chain.
PURPOSES: dict[str, Word] = {
    "enrol": _("enrol a party"),
    "rotate": _("rotate a key"),
    "suspend": _("suspend a party"),
    "reinstate": _("reinstate a party"),
    "register": _("register a dataset version"),
    "freeze": _("freeze a dataset"),
    "unfreeze": _("unfreeze a dataset"),
    "activate": _("activate a grant"),
    "revoke": _("revoke a grant"),
    "reserve": _("reserve uses for a job"),
    "commit": _("anchor receipts"),
    "release": _("release a reservation"),
}

# Acts of the audit log, events of the chain, kinds of difference: shown as their code if unknown.
VERBS: dict[str, Word] = {
    "party.proposed": _("proposed a party"),
    "party.described": _("described a party"),
    "login.created": _("made a login"),
    "api_key.created": _("made an API key"),
    "api_key.revoked": _("revoked an API key"),
    "dataset.proposed": _("proposed a dataset version"),
    "dataset.freeze.requested": _("asked for a freeze"),
    "dataset.unfreeze.requested": _("asked to lift a freeze"),
    "offer.published": _("published an offer"),
    "offer.closed": _("closed an offer"),
    "grant.requested": _("applied for a grant"),
    "grant.approved": _("approved a grant"),
    "grant.declined": _("declined a grant"),
    "grant.signed": _("got a grant signed"),
    "grant.refused": _("recorded a refusal of a grant"),
    "grant.revocation.requested": _("asked to revoke a grant"),
    "job.drafted": _("prepared a job"),
    "job.settled": _("settled a job"),
    "job.refused": _("closed a job as refused"),
    "job.failed": _("closed a job as failed"),
    "job.cancelled": _("closed a job as cancelled"),
    "job.expired": _("closed a job as expired"),
    "job.submitted": _("submitted a job"),
    "job.cancel.requested": _("asked to cancel a job"),
    "job.part.refused": _("recorded a node's refusal"),
    "job.result.kept": _("kept a sealed result"),
    "receipt.recorded": _("recorded a receipt"),
    "index.rebuilt": _("rebuilt the tables from the chain"),
    "party.created": _("created a party"),
    "reconciled": _("reconciled chain, portal and nodes"),
    "audit.read": _("read the audit log"),
    "audit.exported": _("exported the audit log"),
    "audit.timeline.read": _("read a timeline"),
    "evidence.collected": _("fetched evidence"),
}

# Titles for the stable codes of errors; the message beside it carries the particulars.
ERRORS: dict[str, Word] = {
    "request.invalid": _("A field does not fit"),
    "auth.scope_missing": _("Your role may not do that"),
    "object.wrong_state": _("Its state does not allow that"),
    "offer.closed": _("The offer is closed"),
    "offer.outside_policy": _("This goes beyond what the offer allows"),
    "signature.invalid": _("The signature is not by the party's active key"),
    "job.exists": _("This signed request was used before"),
    "job.rejected": _("The job request does not hold together"),
    "chain.unreachable": _("The chain does not answer; try again later"),
    "node.unreachable": _("The party's node does not answer; try again later"),
    "node.refused": _("The party's node refused"),
    "node.restarted": _("The node was restarted in the middle of the job"),
    "audit.unavailable": _("It could not be recorded, so it did not happen"),
    "config.key_missing": _("A key file is not configured"),
    "policy.refused": _("The node's policy does not allow it"),
    "protocol.cohort_too_small": _("A group is smaller than the floor of the grant"),
    "protocol.abort": _("The protocol stopped: a peer or an input broke a rule"),
    "wire.peer_lost": _("The peer went silent"),
    "wire.peer_refused": _("The peer does not take part"),
    "wire.handshake_failed": _("The peer could not prove its key"),
    "wire.bad_message": _("The peer sent something that does not decode"),
    "data.disk_full": _("The disk is full; nothing half-written counts"),
    "compute.out_of_memory": _("The computation needs more memory than the node has"),
    "executor.failed": _("The workers of the node could not do their part"),
    "accel": _("A value does not fit the computation"),
    "node.internal": _("Something unforeseen at the node; its operator finds it in the log"),
    "data.invalid": _("The data source cannot be read as declared"),
    "input.invalid": _("A value cannot be used"),
    "job.cancelled": _("The job was cancelled"),
    "job.cancelled_elsewhere": _("Another party's part was cancelled, so this one ended too"),
    "grant.ended": _("The grant ended while the job ran"),
    "meter.exceeded": _("More was used than was reserved"),
    "eaas.closed": _("The session is closed"),
    "eaas.call_failed": _("The service could not do this call"),
    "eaas.key_unknown": _("The service holds no such key"),
    "eaas.key_limit": _("The session holds as many keys as it may"),
    "node.busy": _("The node has too much to do; try again later"),
    "peer.not_ready": _("The peer is not ready for this job"),
    "peer.ended": _("The peer has ended its part"),
    "evidence.invalid": _("The evidence does not hold"),
    "job.expired": _("The deadline passed before the job ended"),
    "job.deadline": _("The deadline passed before the job ended"),
    "chain.reverted": _("The chain refused the transaction"),
}

# Rules of the node's policy and of the contracts, as a refusal names them.
RULES: dict[str, Word] = {
    "grant.missing": _("a role that reads data needs a grant"),
    "grant.unknown": _("the grant must be on chain"),
    "grant.consumer": _("the grant must be the consumer's"),
    "grant.provider": _("the grant must be this node's"),
    "grant.dataset": _("the grant must be for this dataset"),
    "grant.terms": _("the terms must be the ones that were signed"),
    "grant.not_started": _("the grant must have begun"),
    "grant.expired": _("the grant must not be expired"),
    "grant.revoked": _("the grant must not be revoked"),
    "consumer.unknown": _("the consumer must be enrolled"),
    "consumer.role": _("the party must be a consumer"),
    "consumer.suspended": _("the consumer must not be suspended"),
    "node.suspended": _("the provider must not be suspended"),
    "dataset.unknown": _("the node must hold the dataset"),
    "dataset.owner": _("the dataset must be this node's"),
    "dataset.frozen": _("the dataset must not be frozen"),
    "dataset.content": _("the rows must be those of the registered version"),
    "grant.declined": _("the node's owner must agree"),
    "dataset.version": _("the rows must be those of the registered version"),
    "operation": _("the operation must be granted"),
    "operations": _("the operations must be granted"),
    "purpose": _("the purpose must be the granted one"),
    "columns": _("the columns must be granted"),
    "columns.grade": _("columns of grade L4 are never used"),
    "columns.unknown": _("the columns must exist"),
    "ceiling.operations": _("the operations must be within the node's own ceiling"),
    "ceiling.purposes": _("the purpose must be within the node's own ceiling"),
    "ceiling.columns": _("the columns must be within the node's own ceiling"),
    "cohort": _("groups must reach the floor"),
    "quota": _("the quota must cover the use"),
    "epsilon": _("the ε budget must cover the use"),
    "units": _("the reservation must cover the units"),
    "reservation": _("the chain must hold a reservation for the job"),
    "request.job": _("the job's id must be that of its request"),
    "request.consumer": _("the consumer must have ordered it"),
    "request.signature": _("the consumer's active key must have signed"),
    "request.deadline": _("the deadline must not have passed"),
    "request.replayed": _("a signed request is good for one job"),
    "request.malformed": _("the request must be well formed"),
    "request.unknown": _("the request must be known"),
    "replay": _("a signed request is good for one job"),
    "spec.hash": _("the order must be the signed one"),
    "spec.kind": _("the kind of job must be known"),
    "spec.params": _("the parameters must fit the kind"),
    "spec.roles": _("the roles must fit the kind"),
    "spec.participants": _("a node takes one role of a job"),
    "spec.peers": _("peer addresses must fit the roles"),
    "signature": _("the consumer's active key must have signed"),
    "expiry": _("the time must be within the offer"),
    "deadline": _("the deadline must not have passed"),
}


def error(code: str) -> str:
    # All that accel may raise stands under one word: what failed inside a kernel tells nobody here more.
    return str(ERRORS.get("accel" if code.startswith("accel.") else code, code))


def rule(code: str) -> str:
    return str(RULES.get(code, code))


def purpose(code: str) -> str:
    return str(PURPOSES.get(code, code))


def verb(code: str) -> str:
    """An act of the audit log; what the outbox did is told through its purpose."""
    if code.startswith("chain."):
        return f"{purpose(code.split('.')[1])} ({code.rpartition('.')[2]})"
    return str(VERBS.get(code, code))


# Roles of job kinds; p1…pN are told by their number.
JOB_ROLES: dict[str, Word] = {
    "left": _("left side"),
    "right": _("right side"),
    "values": _("holds the values"),
    "members": _("holds the members"),
    "server": _("answers queries"),
    "client": _("asks"),
    "coordinator": _("adds up masked updates"),
    "service": _("serves calls"),
}


def job_role(code: str) -> str:
    if code[:1] == "p" and code[1:].isdigit():
        return gettext("party {n}").format(n=code[1:])
    return str(JOB_ROLES.get(code, code))


# What the contracts emit, as the index stores it.
CHAIN_EVENTS: dict[str, Word] = {
    "PartyEnrolled": _("Party enrolled"),
    "RolesAdded": _("Roles added"),
    "KeyChanged": _("Key taken into use"),
    "SuspensionLaid": _("Party suspended"),
    "SuspensionLifted": _("Suspension lifted"),
    "DatasetRegistered": _("Dataset version registered"),
    "FreezeLaid": _("Dataset frozen"),
    "FreezeLifted": _("Freeze lifted"),
    "GrantActivated": _("Grant activated"),
    "GrantWithdrawn": _("Grant revoked"),
    "JobReserved": _("Job admitted"),
    "LineReserved": _("Uses reserved"),
    "LineSettled": _("Uses settled"),
    "LineReleased": _("Reservation released"),
    "BatchAnchored": _("Batch of receipts anchored"),
    "ReceiptAnchored": _("Receipt anchored"),
    "ReceiptUnsettled": _("Receipt anchored without settling"),
}


def chain_event(code: str) -> str:
    return str(CHAIN_EVENTS.get(code, code))


# Public quantities that metering rests on.
METRICS: dict[str, Word] = {
    "bytes_in": _("bytes received"),
    "bytes_out": _("bytes sent"),
    "bytes_to_consumer": _("bytes sent to the consumer"),
    "rounds": _("rounds"),
    "elements": _("distinct keys"),
    "peer_elements": _("distinct keys of the peer"),
    "queries": _("queries"),
    "records": _("records"),
    "parties": _("parties"),
    "buckets": _("buckets"),
    "attempts": _("attempts"),
    "repeats": _("parts begun again after a cut"),
    "protocol": _("protocol"),
    "rows_unfit": _("rows whose key does not fit its form"),
    "hint_bytes": _("bytes of hints downloaded"),
    "hint_cached": _("hints were there already"),
    "database_cached": _("the database was prepared already"),
    "calls": _("calls"),
    "calls_reserved": _("calls reserved"),
    "groups": _("groups"),
    "groups_suppressed": _("groups suppressed"),
    "rows": _("rows"),
    "rows_repeated": _("rows with a repeated key"),
    "rows_skipped": _("rows without a value"),
    "rows_without_key": _("rows without a key"),
}


def metric(code: str) -> str:
    return str(METRICS.get(code, code))


# The metric "protocol" is a number, since metrics are numbers: a test compares it with the nodes' code.
PROTOCOLS: dict[int, str] = {1: "ECDH", 2: "RR22", 3: "unbalanced"}


def metric_value(code: str, value: object) -> str:
    """A metric's value as people read it."""
    if code == "protocol" and isinstance(value, int):
        return PROTOCOLS.get(value, str(value))
    return f"{value:,}" if isinstance(value, int) else str(value)


# What a kind of job is charged by.
UNITS: dict[str, Word] = {
    "call": _("call"),
    "round": _("round"),
    "query": _("query"),
    "distinct key compared": _("distinct key compared"),
    "group": _("group"),
}


def unit(code: str) -> str:
    return str(UNITS.get(code, code))
