"""Check an evidence bundle off line. Nothing here reaches for a network, a chain or a portal.

What verification establishes, link by link:

    detail → receipt → (node's signature) → Merkle path → batch → (node's signature) → storage of UsageLedger
    keys → storage of PartyRegistry; both contracts → storage of AddressBook; all three → state root → header
    grant → storage; order → the consumer's signature over the job that the receipt answers

What remains to be trusted is that the header belongs to the real chain: give ``trusted_block_hash`` (from the
verifier's own checkpoint or node) and ``trusted_address_book``. Without them the report says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts import block_header, merkle, slots, state_proof
from contracts import evidence_bundle as document
from contracts.eip712 import Batch, Domain, Grant, JobRequest, Outcome, Receipt, Struct, recover, struct_hash
from contracts.errors import BadEvidence, BadSignature, BadStruct
from contracts.evidence_bundle import AccountProof, Bundle, data, hexadecimal
from contracts.records import ReservationState

# Nodes stamp receipts by their own clock, key periods are by the chain's.
CLOCK_SKEW_S = 900


@dataclass(frozen=True)
class EvidenceReport:
    """What a verified bundle proves. ``links`` are the checks in the order in which they held.

    ``reservation`` and ``reserved_units`` are None if the job never reserved under the grant. ``ordered``
    says that the consumer's signed request is part of the bundle. ``block_trusted`` and ``book_trusted`` say
    that the caller vouched for block and address book; without both, the bundle is consistent and no more.
    """

    chain_id: int
    block_number: int
    block_hash: bytes
    block_time: int
    address_book: str
    receipt: Receipt
    digest: bytes
    outcome: Outcome
    detail: Mapping[str, Any]
    granted: bool
    consumer: bytes | None
    reservation: ReservationState | None
    reserved_units: int | None
    ordered: bool
    block_trusted: bool
    book_trusted: bool
    links: tuple[str, ...]


def verify(
    bundle: Mapping[str, Any],
    *,
    trusted_block_hash: bytes | None = None,
    trusted_address_book: str | None = None,
) -> EvidenceReport:
    """Check every link of a bundle off line; raises BadEvidence naming the first that does not hold.

    ``trusted_block_hash`` must be the bundle's block, ``trusted_address_book`` its address book, if given.
    """
    return _Verification(document.read(bundle)).run(trusted_block_hash, trusted_address_book)


class _Verification:
    """One run over one bundle; each step appends its name to ``links``."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.links: list[str] = []
        self.receipt = document.structure(Receipt, bundle.receipt, "receipt")
        self.batch = document.structure(Batch, bundle.batch, "batch")
        self.domain = Domain(bundle.where.chain_id, bundle.where.usage_ledger)
        self.digest = _hash(self.receipt, "receipt")
        _hash(self.batch, "batch")  # every number fits its type from here on

    def run(self, trusted_block_hash: bytes | None, trusted_address_book: str | None) -> EvidenceReport:
        bundle, receipt = self.bundle, self.receipt
        outcome = self._detail()
        self._path()
        self._header(trusted_block_hash)
        state_root = document.data(bundle.header["stateRoot"])
        where = bundle.where
        if trusted_address_book is not None and trusted_address_book.lower() != where.address_book.lower():
            raise BadEvidence("book: the bundle rests on another address book than the trusted one")
        book = _State(state_root, where.address_book, bundle.book, "book")
        ledger = _State(state_root, where.usage_ledger, bundle.ledger, "ledger")
        registry = _State(state_root, where.party_registry, bundle.registry, "registry")
        _listed(book, "UsageLedger", bundle.ledger_index, where.usage_ledger, ledger)
        _listed(book, "PartyRegistry", bundle.registry_index, where.party_registry, registry)
        self.links.append("book")
        self._anchored(ledger)
        self._signed(registry)
        self._granted(ledger)
        reservation = self._reservation(ledger)
        self._ordered(registry)
        grant = bundle.grant
        return EvidenceReport(
            chain_id=where.chain_id,
            block_number=block_header.quantity(bundle.header, "number"),
            block_hash=data(bundle.block_hash),
            block_time=block_header.quantity(bundle.header, "timestamp"),
            address_book=where.address_book,
            receipt=receipt,
            digest=self.digest,
            outcome=outcome,
            detail=bundle.detail,
            granted=grant is not None,
            consumer=None if grant is None else document.structure(Grant, grant, "grant").consumer,
            reservation=None if reservation is None else reservation[1],
            reserved_units=None if reservation is None else reservation[0],
            ordered=bundle.order is not None,
            block_trusted=trusted_block_hash is not None,
            book_trusted=trusted_address_book is not None,
            links=tuple(self.links),
        )

    def _detail(self) -> Outcome:
        if hashlib.sha256(_canonical(self.bundle.detail)).digest() != self.receipt.detail:
            raise BadEvidence("detail: it is not the document that the receipt's digest names")
        try:
            outcome = Outcome(self.receipt.outcome)
        except ValueError as error:
            raise BadEvidence(f"receipt: {self.receipt.outcome} is no outcome") from error
        self.links.append("detail")
        return outcome

    def _path(self) -> None:
        path, batch = self.bundle.path, self.batch
        if batch.node != self.receipt.node:
            raise BadEvidence("path: the batch is another node's")
        if path.size != batch.count or batch.first_sequence + path.index != self.receipt.sequence:
            raise BadEvidence("path: its index and size do not fit batch and sequence number")
        merkle.verify(self.digest, path.index, path.size, [data(s) for s in path.siblings], batch.root)
        self.links.append("path")

    def _header(self, trusted: bytes | None) -> None:
        computed = block_header.header_hash(self.bundle.header)
        if computed != data(self.bundle.block_hash):
            raise BadEvidence("header: it does not hash to the block hash")
        if trusted is not None and computed != trusted:
            raise BadEvidence("header: it is not the trusted block's")
        self.links.append("header")

    def _anchored(self, ledger: _State) -> None:
        root_slot, count_slot = slots.batch(self.batch.node, self.batch.first_sequence)
        if ledger.word(root_slot) != int.from_bytes(self.batch.root, "big"):
            raise BadEvidence("ledger: the chain does not hold this batch root")
        if slots.split_count(ledger.word(count_slot)) != self.batch.count:
            raise BadEvidence("ledger: the chain holds this root for another number of receipts")
        self.links.append("ledger")

    def _signed(self, registry: _State) -> None:
        bundle, node = self.bundle, self.receipt.node
        signed = _Signed(self.receipt, bundle.signature, bundle.key_index, "signature")
        valid_from, valid_until = signed.check(self.domain, registry, node)
        issued_at = self.receipt.issued_at
        if issued_at + CLOCK_SKEW_S < valid_from or (valid_until and issued_at > valid_until + CLOCK_SKEW_S):
            raise BadEvidence("signature: the receipt is dated outside the time of the key that signed it")
        self.links.append("signature")
        _Signed(self.batch, bundle.batch_signature, bundle.batch_key_index, "batch").check(
            self.domain, registry, node
        )
        self.links.append("batch")

    def _granted(self, ledger: _State) -> None:
        provider = ledger.word(slots.grant_provider(self.receipt.grant))
        if self.bundle.grant is None:
            if provider:
                raise BadEvidence("grant: the chain holds it and the bundle leaves it out")
            return
        grant = document.structure(Grant, self.bundle.grant, "grant")
        if _hash(grant, "grant") != self.receipt.grant:
            raise BadEvidence("grant: it is not the one that the receipt names")
        # A node may receipt its refusal of somebody else's grant; it can never have charged it.
        if provider != int.from_bytes(grant.provider, "big"):
            raise BadEvidence("grant: the chain does not hold it")
        if self.receipt.settles and grant.provider != self.receipt.node:
            raise BadEvidence("grant: a node settles under its own grants only")
        self.links.append("grant")

    def _reservation(self, ledger: _State) -> tuple[int, ReservationState] | None:
        word = ledger.word(slots.reservation(self.receipt.job, self.receipt.grant))
        units, epsilon_micro, _, state = slots.split_reservation(word)
        if state == 0:
            return None
        try:
            named = ReservationState(state)
        except ValueError as error:
            raise BadEvidence("reservation: its state is unknown") from error
        if (
            named is ReservationState.SETTLED
            and self.receipt.settles
            and (self.receipt.units > units or self.receipt.epsilon_micro > epsilon_micro)
        ):
            raise BadEvidence("reservation: the receipt charges more than was reserved")
        self.links.append("reservation")
        return units, named

    def _ordered(self, registry: _State) -> None:
        order = self.bundle.order
        if order is None:
            return
        request = document.request(order.request)
        if _hash(request, "order") != self.receipt.job:
            raise BadEvidence("order: it is not the job that the receipt names")
        if request.spec_hash != self.receipt.spec_hash:
            raise BadEvidence("order: it is for another specification")
        if self.bundle.grant is not None:
            grant = document.structure(Grant, self.bundle.grant, "grant")
            if self.receipt.settles and grant.consumer != request.consumer:
                raise BadEvidence("order: its consumer does not hold the grant")
        _Signed(request, order.signature, order.key_index, "order").check(
            self.domain, registry, request.consumer
        )
        self.links.append("order")


class _State:
    """One account of the block's state with its proven slots."""

    def __init__(self, state_root: bytes, address: str, proof: AccountProof, link: str) -> None:
        nodes = [data(node) for node in proof.account]
        self._account = state_proof.account(state_root, bytes.fromhex(address[2:]), nodes, link)
        self._proof = proof
        self._link = link

    @property
    def code_hash(self) -> bytes:
        return self._account.code_hash

    def word(self, slot: int) -> int:
        """The proven word of a slot; raises BadEvidence if the bundle has no proof of it."""
        nodes = self._proof.slots.get(slots.name(slot))
        if nodes is None:
            raise BadEvidence(f"{self._link}: a storage proof is missing")
        return state_proof.slot(self._account.storage_root, slot, [data(node) for node in nodes], self._link)


@dataclass(frozen=True)
class _Signed:
    """A structure with its signature and the place of the signing key in its party's history."""

    value: Receipt | Batch | JobRequest
    signature: str
    key_index: int
    link: str

    def check(self, domain: Domain, registry: _State, party: bytes) -> tuple[int, int]:
        """The signer is the party's key at ``key_index``: its start and end (0: still current)."""
        address_slot, until_slot = slots.key(party, self.key_index)
        address, valid_from = slots.split_address(registry.word(address_slot))
        try:
            signer = recover(domain, self.value, data(self.signature))
        except (BadSignature, BadStruct) as error:
            raise BadEvidence(f"{self.link}: the signature is malformed") from error
        if address == bytes(20) or signer.lower() != hexadecimal(address):
            raise BadEvidence(f"{self.link}: it is not signed by the key that the chain names")
        return valid_from, registry.word(until_slot) & ((1 << 64) - 1)


def _listed(book: _State, name: str, index: int, address: str, contract: _State) -> None:
    """The address book names this contract, with the code that the block has there."""
    target_slot, code_slot = slots.book_entry(name, index)
    target, _ = slots.split_address(book.word(target_slot))
    if hexadecimal(target) != address.lower():
        raise BadEvidence(f"book: it does not name this {name}")
    if book.word(code_slot) != int.from_bytes(contract.code_hash, "big"):
        raise BadEvidence(f"book: the code of {name} is not the code that was entered")


def _hash(value: Struct, link: str) -> bytes:
    try:
        return struct_hash(value)
    except BadStruct as error:
        raise BadEvidence(f"{link}: {error}") from error


def _canonical(detail: Mapping[str, Any]) -> bytes:
    """The canonical bytes of a document, from its parsed JSON (see README, "Documents")."""
    try:
        _refuse_floats(detail)
        text = json.dumps(detail, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise BadEvidence("detail: it is not a canonical document") from error


def _refuse_floats(value: Any) -> None:
    if isinstance(value, float):
        raise BadEvidence("detail: a canonical document holds no floating-point number")
    for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        _refuse_floats(item)
