"""What the chain says, as typed records.

Ids and digests are 32 bytes, times are Unix seconds, ε is in millionths.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from contracts.eip712 import Role


@dataclass(frozen=True)
class BlockRef:
    """One block. Reads at a BlockRef go by its hash, so a reorganisation cannot slip in unseen."""

    number: int
    hash: bytes
    timestamp: int
    parent: bytes


@dataclass(frozen=True)
class KeyRecord:
    """One key of a party's history; ``valid_until`` 0 while it is the current one."""

    address: str
    box_key: bytes
    he_key_digest: bytes
    valid_from: int
    valid_until: int


@dataclass(frozen=True)
class PartyRecord:
    """A party with its whole key history, oldest first."""

    party: bytes
    roles: Role
    suspended: bool
    keys: tuple[KeyRecord, ...]

    @property
    def current(self) -> KeyRecord:
        return self.keys[-1]

    @property
    def address(self) -> str:
        """The current signing address."""
        return self.current.address

    @property
    def box_key(self) -> bytes:
        return self.current.box_key

    @property
    def he_key_digest(self) -> bytes:
        return self.current.he_key_digest


@dataclass(frozen=True)
class VersionRecord:
    """One version of a dataset; ``kind`` is a `contracts.eip712.DatasetKind`."""

    version: int
    commitment: bytes
    schema_hash: bytes
    kind: int
    registered_at: int


@dataclass(frozen=True)
class DatasetRecord:
    """A dataset with every version, version 1 first."""

    dataset: bytes
    owner: bytes
    frozen: bool
    versions: tuple[VersionRecord, ...]

    @property
    def latest(self) -> int:
        """The number of the newest version."""
        return len(self.versions)

    @property
    def current(self) -> VersionRecord:
        return self.versions[-1]

    @property
    def commitment(self) -> bytes:
        return self.current.commitment

    @property
    def schema_hash(self) -> bytes:
        return self.current.schema_hash

    @property
    def kind(self) -> int:
        return self.current.kind


@dataclass(frozen=True)
class GrantRecord:
    """A grant as activated, with its counters; ``revoked_at`` 0 unless revoked."""

    grant: bytes
    provider: bytes
    consumer: bytes
    dataset: bytes
    terms_hash: bytes
    operations: int
    quota: int
    epsilon_micro: int
    not_before: int
    expiry: int
    used: int
    reserved: int
    epsilon_used: int
    epsilon_reserved: int
    activated_at: int
    revoked_at: int

    @property
    def revoked(self) -> bool:
        return self.revoked_at != 0

    @property
    def left(self) -> int:
        """Units that may still be reserved."""
        return self.quota - self.used - self.reserved

    @property
    def epsilon_left(self) -> int:
        return self.epsilon_micro - self.epsilon_used - self.epsilon_reserved


class ReservationState(IntEnum):
    """Values are on chain: never reuse one."""

    OPEN = 1
    SETTLED = 2
    RELEASED = 3


@dataclass(frozen=True)
class ReservationRecord:
    """What a job reserved of one grant; the amounts stay after it closes."""

    job: bytes
    grant: bytes
    spec_hash: bytes
    units: int
    epsilon_micro: int
    deadline: int
    state: ReservationState


@dataclass(frozen=True)
class NodeTip:
    """The last receipt of a node that is anchored; sequence 0 and a zero digest if there is none."""

    sequence: int
    digest: bytes


@dataclass(frozen=True)
class BatchRecord:
    """An anchored Merkle root over receipts ``first_sequence … first_sequence + count - 1``."""

    node: bytes
    first_sequence: int
    count: int
    root: bytes
    anchored_at: int


class Unsettled(IntEnum):
    """Why a receipt was anchored without effect (event ReceiptUnsettled). Values are on chain."""

    NOTHING = 0
    UNITS_WITHOUT_SETTLING = 1
    OUTCOME_INVALID = 2
    UNITS_OF_REFUSAL = 3
    RESERVATION_MISSING = 4
    RESERVATION_SETTLED = 5
    NOT_PROVIDER = 6
    SPEC_MISMATCH = 7
    RESERVATION_EXCEEDED = 8
    QUOTA_GONE = 9


@dataclass(frozen=True)
class ChainEvent:
    """One log entry of one of our contracts, decoded. ``args`` keeps the Solidity names and order."""

    name: str
    args: dict[str, Any]
    contract: str
    address: str
    block_number: int
    block_hash: bytes
    tx_hash: bytes
    log_index: int


@dataclass(frozen=True)
class Call:
    """A transaction to be relayed by anyone: where to and with what data."""

    to: str
    data: bytes


@dataclass(frozen=True)
class TransactionReceipt:
    """What became of a mined transaction."""

    tx_hash: bytes
    succeeded: bool
    block_number: int
    block_hash: bytes
    gas_used: int
    contract_address: str | None
