"""Evidence of one receipt that a regulator checks without network and without trusting the portal.

`collect` gathers a bundle from the chain; `verify` needs the bundle alone (see `contracts.evidence_verify`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import msgspec

from contracts import block_header, merkle, slots
from contracts import evidence_bundle as document
from contracts.bindings import Chain
from contracts.eip712 import Batch, Domain, Grant, JobRequest, Receipt, recover, struct_hash
from contracts.errors import BadEvidence, BadSignature
from contracts.evidence_bundle import AccountProof, Bundle, hexadecimal
from contracts.evidence_verify import EvidenceReport, verify
from contracts.records import BlockRef, PartyRecord

__all__ = ["EvidenceReport", "collect", "verify"]


def collect(
    chain: Chain,
    *,
    receipt: Receipt,
    signature: bytes,
    detail: Mapping[str, Any],
    batch_digests: Sequence[bytes],
    batch_first_sequence: int,
    batch_signature: bytes,
    order: tuple[JobRequest, bytes] | None = None,
    block: BlockRef | None = None,
) -> dict[str, Any]:
    """The evidence bundle of a receipt that is anchored at ``block`` (default: the head), as JSON values.

    ``batch_digests`` are the digests of all receipts of its batch in order; ``order`` is the consumer's
    request with its signature. Raises BadEvidence if the parts do not belong together or the batch is not
    anchored, ChainUnreachable or BlockUnknown from the chain. Leaks what is in the bundle: metadata, no data.
    """
    at = block or chain.head()
    batch = Batch(receipt.node, batch_first_sequence, len(batch_digests), merkle.root(batch_digests))
    index = receipt.sequence - batch_first_sequence
    if not 0 <= index < len(batch_digests) or batch_digests[index] != struct_hash(receipt):
        raise BadEvidence("path: the receipt is not part of this batch")
    domain = chain.domain("UsageLedger")
    node = chain.party(receipt.node, block=at)
    key_index = _key_index(node, domain, receipt, signature, "signature")
    batch_key = _key_index(node, domain, batch, batch_signature, "batch")
    registry_slots = [*slots.key(receipt.node, key_index), *slots.key(receipt.node, batch_key)]

    order_part = None
    if order is not None:
        request, order_signature = order
        order_key = _key_index(
            chain.party(request.consumer, block=at), domain, request, order_signature, "order"
        )
        registry_slots += slots.key(request.consumer, order_key)
        order_part = document.Order(
            request=document.plain(request), signature=hexadecimal(order_signature), key_index=order_key
        )

    record = chain.grant(receipt.grant, block=at)
    grant = None
    if record is not None:
        grant = Grant(**{field.name: getattr(record, field.name) for field in fields(Grant)})
    ledger_slots = [
        *slots.batch(receipt.node, batch_first_sequence),
        slots.grant_provider(receipt.grant),
        slots.reservation(receipt.job, receipt.grant),
    ]
    ledger_index = chain.book_index("UsageLedger", block=at)
    registry_index = chain.book_index("PartyRegistry", block=at)
    book_slots = [
        *slots.book_entry("UsageLedger", ledger_index),
        *slots.book_entry("PartyRegistry", registry_index),
    ]
    bundle = Bundle(
        format="liutong.evidence/1",
        where=document.Where(
            chain_id=chain.chain_id,
            address_book=chain.address_book,
            party_registry=chain.addresses["PartyRegistry"],
            usage_ledger=chain.addresses["UsageLedger"],
        ),
        receipt=document.plain(receipt),
        signature=hexadecimal(signature),
        key_index=key_index,
        detail=dict(detail),
        path=document.Path(
            index=index,
            size=len(batch_digests),
            siblings=tuple(hexadecimal(s) for s in merkle.path(batch_digests, index)),
        ),
        batch=document.plain(batch),
        batch_signature=hexadecimal(batch_signature),
        batch_key_index=batch_key,
        grant=None if grant is None else document.plain(grant),
        order=order_part,
        ledger_index=ledger_index,
        registry_index=registry_index,
        ledger=_proof(chain, chain.addresses["UsageLedger"], ledger_slots, at),
        registry=_proof(chain, chain.addresses["PartyRegistry"], registry_slots, at),
        book=_proof(chain, chain.address_book, book_slots, at),
        header=block_header.fields_of(chain.raw_block(at)),
        block_hash=hexadecimal(at.hash),
    )
    plain: dict[str, Any] = msgspec.to_builtins(bundle)
    verify(plain)  # never hand out evidence that does not hold
    return plain


def _proof(chain: Chain, address: str, wanted: Sequence[int], at: BlockRef) -> AccountProof:
    names = list(dict.fromkeys(slots.name(slot) for slot in wanted))
    account_nodes, slot_nodes = chain.storage_proof(address, names, block=at)
    return AccountProof(
        account=tuple(hexadecimal(node) for node in account_nodes),
        slots={
            name: tuple(hexadecimal(node) for node in nodes)
            for name, nodes in zip(names, slot_nodes, strict=True)
        },
    )


def _key_index(
    party: PartyRecord | None,
    domain: Domain,
    value: Receipt | Batch | JobRequest,
    signature: bytes,
    link: str,
) -> int:
    try:
        signer = recover(domain, value, signature)
    except BadSignature as error:
        raise BadEvidence(f"{link}: the signature is malformed") from error
    addresses = [key.address for key in party.keys] if party else []
    if signer not in addresses:
        raise BadEvidence(f"{link}: it is not signed by a key that the chain names")
    return addresses.index(signer)
