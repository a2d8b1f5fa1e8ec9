"""The documents that cross between consumer, portal, nodes and regulator. Types only.

All are frozen, reject unknown fields, and are encoded by `compute.wire.canonical`. Ids and digests are
``0x`` + 64 hexadecimal digits; times are Unix seconds; money is whole credits; ε is in millionths.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

# A regular expression's $ also matches before a last line break, hence (?!\n).
Hex32 = Annotated[str, Meta(pattern=r"^0x[0-9a-f]{64}$(?!\n)")]
Address = Annotated[str, Meta(pattern=r"^0x[0-9a-fA-F]{40}$(?!\n)")]
Signature = Annotated[str, Meta(pattern=r"^0x[0-9a-f]{130}$(?!\n)")]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=4000)]
Count = Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]
OperationName = Literal["psi", "stats", "pir", "fl", "eaas"]
Grade = Literal["L1", "L2", "L3", "L4"]
ColumnType = Literal["string", "integer", "number", "boolean", "date", "timestamp"]
OutcomeName = Literal["completed", "refused", "failed", "cancelled", "expired"]


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=False):
    """Base of every document."""


class Column(Document, frozen=True):
    """One column of a dataset. L1 is public, L4 never leaves even as a statistic."""

    name: Name
    type: ColumnType
    grade: Grade = "L2"
    description: Text = ""


class DatasetManifest(Document, frozen=True):
    """What a provider's node tells the world about a dataset version: everything but its rows.

    ``commitment`` is the Merkle root of salted row digests; ``kind`` "service" is EaaS (no rows).
    ``signature`` is the node's EIP-712 `DatasetVersion` signature.
    """

    dataset: Hex32
    provider: Hex32
    version: Annotated[int, Meta(ge=1, le=(1 << 32) - 1)]
    kind: Literal["table", "service"]
    name: Name
    description: Text
    columns: tuple[Column, ...]
    row_count: Count
    commitment: Hex32
    schema_hash: Hex32
    signature: Signature
    operations: tuple[OperationName, ...] = ()  # what the node's own ceiling would sign at most


class GrantTerms(Document, frozen=True):
    """The fixed terms of a grant; their digest is signed and stored on chain.

    ``price_credits`` is per unit. ``min_cohort`` is the smallest group any result may describe.
    ``salt`` keeps the digest from being guessed.
    """

    offer: Name
    purpose: Text
    operations: tuple[OperationName, ...]
    columns: tuple[Name, ...]
    min_cohort: Annotated[int, Meta(ge=1, le=1_000_000)]
    price_credits: Count
    salt: Hex32


class GrantProposal(Document, frozen=True):
    """What the portal asks a provider's node to sign. ``terms_hash`` is the digest of ``terms``."""

    provider: Hex32
    consumer: Hex32
    dataset: Hex32
    terms: GrantTerms
    quota: Count
    epsilon_micro: Count
    not_before: Count
    expiry: Count


class SignedGrant(Document, frozen=True):
    """A proposal that a node signed: with it anyone may activate the grant on chain."""

    grant: Hex32
    proposal: GrantProposal
    signature: Signature


class Participant(Document, frozen=True):
    """One role of a job. A consumer that runs a role itself has neither grant nor dataset.

    ``commitment`` pins the dataset version the consumer means; ``columns`` is all the role may read.
    """

    role: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$(?!\n)")]
    party: Hex32
    grant: Hex32 | None = None
    dataset: Hex32 | None = None
    commitment: Hex32 | None = None
    columns: tuple[Name, ...] = ()


class JobSpec(Document, frozen=True):
    """What is to be computed, by whom, on which versions, for which purpose. Its digest is signed.

    ``params`` is validated against the job kind's own parameter type. ``result_key`` is the X25519
    public key that results are sealed to; only the consumer holds the other half.
    """

    kind: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.]{0,63}$(?!\n)")]
    purpose: Text
    consumer: Hex32
    result_key: Hex32
    participants: tuple[Participant, ...]
    params: dict[str, Any]
    version: Literal[1] = 1


class RequestLine(Document, frozen=True):
    """Upper bound of what the job may use of one grant."""

    grant: Hex32
    units: Count
    epsilon_micro: Count = 0


class SignedRequest(Document, frozen=True):
    """A consumer's EIP-712 `JobRequest` with its signature; ``job`` is its struct hash."""

    job: Hex32
    consumer: Hex32
    spec_hash: Hex32
    nonce: Hex32
    deadline: Count
    lines: tuple[RequestLine, ...]
    signature: Signature


class JobSubmission(Document, frozen=True):
    """What a node gets to start its part: nothing in it is believed before it is checked on chain.

    ``terms`` maps grant id to the terms behind its hash; ``peers`` maps role to the peer's base URL
    (a hint: whoever answers there must still prove the key that the chain names).
    """

    spec: JobSpec
    request: SignedRequest
    terms: dict[Hex32, GrantTerms]
    peers: dict[str, str]


class ReceiptDetail(Document, frozen=True):
    """The part of a receipt that is too wordy for the chain; only its digest goes there.

    ``reason`` is a stable error code when the outcome is not "completed"; ``metrics`` are the public
    quantities that metering rests on (elements, queries, bytes in and out, rounds).
    """

    kind: str
    role: str
    purpose: Text
    reason: str = ""
    rule: str = ""
    message: Text = ""
    metrics: dict[str, Count] = {}


class SignedReceipt(Document, frozen=True):
    """A node's EIP-712 `Receipt` with its detail and signature; ``digest`` is its struct hash."""

    digest: Hex32
    node: Hex32
    sequence: Annotated[int, Meta(ge=1)]
    previous: Hex32
    job: Hex32
    grant: Hex32
    spec_hash: Hex32
    commitment: Hex32
    transcript: Hex32
    units: Count
    epsilon_micro: Count
    outcome: OutcomeName
    settles: bool
    issued_at: Count
    detail: ReceiptDetail
    signature: Signature


class SignedBatch(Document, frozen=True):
    """Consecutive receipts of one node, ready to be anchored by anyone."""

    node: Hex32
    first_sequence: Annotated[int, Meta(ge=1)]
    root: Hex32
    receipts: tuple[SignedReceipt, ...]
    signature: Signature


class JobEvent(Document, frozen=True):
    """One line of a job's timeline at one node. ``total`` 0 means that the length is not known."""

    sequence: Annotated[int, Meta(ge=1)]
    at_ms: Count
    phase: Name
    message: Text = ""
    done: Count = 0
    total: Count = 0


JobState = Literal["accepted", "running", "completed", "refused", "failed", "cancelled", "expired"]


class JobStatus(Document, frozen=True):
    """A node's view of its part in a job. The last five states are final and have a receipt.

    ``rate_milli`` is how many items of the phase are done in 1000 seconds and ``seconds_left`` how long the
    phase still takes at that rate; None while nobody can tell (no total, too early, no part of a phase).
    ``attempts`` counts how often the job began: more than one after a cut or a restart.
    """

    job: Hex32
    role: str
    state: JobState
    phase: str = ""
    done: Count = 0
    total: Count = 0
    reason: str = ""
    rule: str = ""
    message: Text = ""
    remedy: Text = ""
    receipt: Hex32 | None = None
    has_result: bool = False
    rate_milli: Count | None = None
    seconds_left: Count | None = None
    attempts: Count = 0


class NodeIdentity(Document, frozen=True):
    """What a node publishes about itself; the chain decides whether its keys count."""

    party: Hex32
    name: Name
    address: Address
    box_key: Hex32
    he_key_digest: Hex32
    software: str
    chain_id: Count
    chain_block: Count | None = None


class Enrolment(Document, frozen=True):
    """What a party hands to the operator to be put on chain, signed by the key it names (`NodeKey`)."""

    party: Hex32
    name: Name
    address: Address
    box_key: Hex32
    he_key_digest: Hex32
    signature: Signature
    url: str = ""  # where its node listens; empty for a consumer


class DatasetSchema(Document, frozen=True):
    """What ``schema_hash`` of a dataset version is the digest of."""

    kind: Literal["table", "service"]
    columns: tuple[Column, ...]


class SignedRevocation(Document, frozen=True):
    """A provider's node ends a grant: with it anyone may revoke on chain."""

    grant: Hex32
    signature: Signature


class SignedAction(Document, frozen=True):
    """A node's EIP-712 `Action` (freeze 1, unfreeze 2) on one of its datasets."""

    party: Hex32
    subject: Hex32
    verb: Annotated[int, Meta(ge=1, le=255)]
    nonce: Count
    signature: Signature


class BatchOrder(Document, frozen=True):
    """Which receipts to batch: up to ``limit`` of those after sequence ``after``."""

    after: Count
    limit: Annotated[int, Meta(ge=1, le=256)] = 128


class Health(Document, frozen=True):
    """A node's own view of whether it can take jobs."""

    status: Literal["ok", "degraded"]
    chain: Literal["ok", "unreachable"]
    block: Count | None
    running: Count


class Problem(Document, frozen=True):
    """RFC 9457 problem details with a stable ``code``, the policy ``rule`` and what would help."""

    type: str
    title: str
    status: int
    detail: str = ""
    code: str = ""
    rule: str = ""
    remedy: str = ""
