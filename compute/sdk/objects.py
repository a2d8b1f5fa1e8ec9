"""What the portal's REST API answers, as typed objects. Fields as in market/api/README.md.

Fields that this version does not know are ignored: a newer portal may add some.
"""

from __future__ import annotations

from typing import Any

import msgspec

FINAL_JOB_STATES = ("settled", "refused", "failed", "cancelled", "expired")
FINAL_GRANT_STATES = ("exhausted", "expired", "revoked", "declined", "refused")


class _Object(msgspec.Struct, frozen=True, kw_only=True):
    """Base: immutable, tolerant of new fields."""


class PartyRef(_Object, frozen=True):
    """Who, in short."""

    party: str
    name: str = ""
    name_zh: str = ""


class Whoami(_Object, frozen=True):
    """What the portal takes this API key for."""

    party: str
    name: str
    roles: list[str]
    scopes: list[str]
    address: str = ""


class ChainInfo(_Object, frozen=True):
    """Which chain the portal relays to. A hint: pin the address book where it matters."""

    chain_id: int
    rpc_url: str
    address_book: str
    addresses: dict[str, str]
    head: Any = None
    release_grace_s: int | None = None


class Dataset(_Object, frozen=True):
    """One dataset of the catalogue."""

    dataset: str
    provider: PartyRef
    name: str
    kind: str
    state: str
    description: str = ""
    operations: list[str] = []
    version: int | None = None
    columns: list[dict[str, Any]] = []
    row_count: int | None = None
    commitment: str | None = None
    offers: list[Any] = []


class Offer(_Object, frozen=True):
    """Terms under which a provider grants use of a dataset."""

    id: str
    dataset: str
    provider: PartyRef
    title: str
    dataset_name: str = ""
    description: str = ""
    operations: list[str] = []
    purposes: list[str] = []
    columns: list[str] = []
    min_cohort: int = 1
    max_quota: int = 0
    max_days: int = 0
    price_credits: int = 0
    state: str = ""


class Grant(_Object, frozen=True):
    """A right of use on its way or in force. ``grant`` is None until its terms are fixed."""

    id: str
    provider: PartyRef
    consumer: PartyRef
    dataset: str
    purpose: str
    operations: list[str]
    columns: list[str]
    quota: int
    state: str
    grant: str | None = None
    offer: Any = None
    dataset_name: str = ""
    commitment: str | None = None
    min_cohort: int | None = None
    price_credits: int | None = None
    used: int | None = None
    reserved: int | None = None
    left: int | None = None
    epsilon_micro: int = 0
    not_before: int | None = None
    expiry: int | None = None
    terms: dict[str, Any] | None = None
    terms_hash: str | None = None
    signature: str | None = None
    note: str = ""
    refusal: dict[str, Any] | None = None


class Part(_Object, frozen=True):
    """One role of a job, as the portal last heard of it."""

    role: str
    party: PartyRef
    state: str = ""
    grant: str | None = None
    phase: str = ""
    done: int = 0
    total: int = 0
    rate_milli: int | None = None
    seconds_left: int | None = None
    attempts: int = 0
    reason: str = ""
    rule: str = ""
    message: str = ""
    remedy: str = ""
    receipt: str | None = None
    has_result: bool = False


class Reason(_Object, frozen=True):
    """Why a job ended without a result, and what would help."""

    code: str = ""
    rule: str = ""
    message: str = ""
    remedy: str = ""
    party: str | None = None


class Job(_Object, frozen=True):
    """A job as the portal tells it; what counts is what the chain says."""

    job: str
    kind: str
    state: str
    purpose: str = ""
    reason: Reason | None = None
    spec: dict[str, Any] = {}
    request: dict[str, Any] = {}
    deadline: int = 0
    parts: list[Part] = []
    peers: dict[str, str] = {}
    terms: dict[str, Any] = {}
    results: list[str] = []
    receipts: list[str] = []

    @property
    def is_final(self) -> bool:
        """Whether the state will not change any more."""
        return self.state in FINAL_JOB_STATES


class TimelineEvent(_Object, frozen=True):
    """One line of a job's timeline; ``role`` "" is the portal itself."""

    id: int
    role: str
    phase: str
    at_ms: int = 0
    message: str = ""
    done: int = 0
    total: int = 0


class Timeline(_Object, frozen=True):
    """New lines, and the job's state when they were read."""

    events: list[TimelineEvent]
    state: str = ""


class Receipt(_Object, frozen=True):
    """A node's receipt; ``state`` anchored once its batch is on chain."""

    digest: str
    node: str
    sequence: int
    job: str
    grant: str
    units: int
    outcome: str
    settles: bool
    node_name: str = ""
    state: str = ""
    charged_units: int | None = None
    detail: dict[str, Any] = {}
    issued_at: int = 0
    batch: dict[str, Any] | None = None
    seal: dict[str, Any] | None = None


class Invoice(_Object, frozen=True):
    """What committed receipts of one provider cost one consumer in one period."""

    id: Any
    provider: PartyRef
    consumer: PartyRef
    period: str
    units: int
    amount_credits: int
    lines: list[dict[str, Any]] = []
