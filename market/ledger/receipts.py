"""Receipts and batches: taking them from nodes, queueing their anchoring, giving out evidence."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import Max, QuerySet

from compute.wire import canonical, structs
from compute.wire.canonical import from_hex, to_hex
from compute.wire.messages import SignedBatch, SignedReceipt, SignedRequest
from contracts import eip712, merkle
from contracts import evidence as bundles
from contracts.errors import BadEvidence, ChainUnreachable
from contracts.evidence_verify import CLOCK_SKEW_S
from market.audit import services as audit
from market.errors import BadRequest, BadSignature, ChainUnavailable, WrongState
from market.jobs.models import Job
from market.ledger import outbox
from market.ledger.chain import chain
from market.ledger.models import Batch, ChainTransaction, Receipt
from market.ledger.signers import signer_of
from market.parties.actor import Actor
from market.parties.models import Party

# Where a receipt's row keeps the fields of its document.
_COLUMNS = {
    name: {"job": "job_id", "grant": "grant_id"}.get(name, name) for name in SignedReceipt.__struct_fields__
}


def check(receipt: SignedReceipt, node: Party) -> None:
    """Raises BadSignature unless the receipt is what it says and a key of the node signed it.

    BadRequest for one from the future: months of invoices come from its time.
    """
    struct = structs.receipt(receipt)
    if receipt.node != node.party_id or to_hex(eip712.struct_hash(struct)) != receipt.digest:
        raise BadSignature("the receipt's digest is not that of its fields", rule="receipt")
    _check_signer(struct, receipt.signature, node, "receipt")
    if receipt.issued_at > time.time() + CLOCK_SKEW_S:
        raise BadRequest("the receipt is from the future", rule="issued_at", field="issued_at")


@transaction.atomic
def record_receipts(*, node: Party, receipts: Sequence[SignedReceipt], actor: Actor) -> int:
    """Keep what a node's receipt log shows; returns how many were new. Safe to repeat.

    Checks every signature first: what the node did not sign is not a receipt. A receipt that the index
    already knows from the chain gets its detail and signature.
    """
    new = 0
    for receipt in receipts:
        check(receipt, node)
        fields = {_COLUMNS[name]: value for name, value in msgspec.to_builtins(receipt).items()}
        del fields["digest"]
        row, created = Receipt.objects.get_or_create(digest=receipt.digest, defaults=fields)
        if not created and not row.signature:
            for name, value in fields.items():
                setattr(row, name, value)
            row.save(update_fields=list(fields))
            created = True
        if created:
            new += 1
            audit.append(
                "receipt.recorded",
                actor=actor,
                subject=receipt.digest,
                node=receipt.node,
                job=receipt.job,
                outcome=receipt.outcome,
                units=receipt.units,
            )
    return new


def record_batch(*, node: Party, batch: SignedBatch, actor: Actor) -> None:
    """Keep a node's signed batch and queue its anchoring. Safe to repeat; the chain decides once more."""
    for receipt in batch.receipts:
        check(receipt, node)
    members = [structs.receipt(receipt) for receipt in batch.receipts]
    count = len(members)
    root = merkle.root([eip712.struct_hash(member) for member in members])
    signed = eip712.Batch(
        node=from_hex(batch.node), first_sequence=batch.first_sequence, count=count, root=root
    )
    if to_hex(root) != batch.root:
        raise BadSignature("the batch's root is not that of its receipts", rule="batch")
    _check_signer(signed, batch.signature, node, "batch")
    call = chain().commit_call(members, bytes.fromhex(batch.signature[2:]))
    with transaction.atomic():
        record_receipts(node=node, receipts=batch.receipts, actor=actor)
        row, _created = Batch.objects.get_or_create(
            node=batch.node,
            first_sequence=batch.first_sequence,
            defaults={"count": count, "root": batch.root, "signature": batch.signature},
        )
        if row.state == Batch.State.ANCHORED and row.root == batch.root:
            row.signature = batch.signature
            row.save(update_fields=["signature"])
            Receipt.objects.filter(digest__in=[r.digest for r in batch.receipts]).update(batch=row)
            return
        key = f"commit:{batch.node}:{batch.first_sequence}"
        waiting = ChainTransaction.objects.filter(key=key).exclude(state=ChainTransaction.State.REVERTED)
        if row.state == Batch.State.ANCHORED or waiting.exists():
            return  # one anchoring of these sequences is on its way; the next round sees how it ended
        row.count, row.root, row.signature = count, batch.root, batch.signature
        row.save(update_fields=["count", "root", "signature"])
        Receipt.objects.filter(digest__in=[r.digest for r in batch.receipts]).update(batch=row)
        outbox.queue(
            purpose="commit",
            subject=f"{batch.node}:{batch.first_sequence}",
            key=key,
            call=call,
            actor=actor,
        )


def batch_signed(batch: Batch) -> bool:
    """Whether a batch row carries a signature over its own root by a key of its node."""
    struct = eip712.Batch(
        node=from_hex(batch.node),
        first_sequence=batch.first_sequence,
        count=batch.count,
        root=from_hex(batch.root),
    )
    try:
        signer = signer_of("UsageLedger", struct, bytes.fromhex(batch.signature[2:]))
    except ValueError:  # not hexadecimal: the row was edited
        return False
    node = Party.objects.filter(pk=batch.node).first()
    if node is None or signer is None:
        return False
    return signer.lower() == node.address.lower() or _was_key_of(signer, node)


def last_known(node: str) -> int:
    """The highest receipt sequence of a node that the portal holds with its signature."""
    held = Receipt.objects.filter(node=node).exclude(signature="")
    return int(held.aggregate(most=Max("sequence"))["most"] or 0)


def anchored_tip(node: str) -> int:
    """The last sequence of a node that the index saw anchored."""
    last = Batch.objects.filter(node=node, state=Batch.State.ANCHORED).order_by("-first_sequence").first()
    return last.first_sequence + last.count - 1 if last else 0


def visible_receipts(actor: Actor) -> QuerySet[Receipt]:
    """Receipts of the actor's node and of its jobs; all, for regulators and operators."""
    receipts = Receipt.objects.select_related("batch")
    if actor.sees_everything:
        return receipts
    own_jobs = Job.objects.filter(consumer_id=actor.party_id).values("job_id")
    return receipts.filter(node=actor.party_id) | receipts.filter(job_id__in=own_jobs)


def document(receipt: Receipt) -> SignedReceipt:
    """The receipt as the node signed it; raises WrongState if the portal has only the chain's part."""
    if receipt.detail is None or not receipt.signature:
        raise WrongState("the node's part of this receipt is not here yet", remedy="wait for the node")
    return canonical.convert(
        SignedReceipt, {name: getattr(receipt, column) for name, column in _COLUMNS.items()}
    )


def evidence(receipt: Receipt, actor: Actor) -> dict[str, Any]:
    """The bundle that proves an anchored receipt with no network (see contracts.evidence).

    Raises WrongState until the receipt is anchored, ChainUnavailable. Reading evidence is recorded.
    """
    batch = receipt.batch
    if batch is None or batch.state != Batch.State.ANCHORED:
        raise WrongState("the receipt is not anchored yet", remedy="wait for its batch")
    members = list(
        Receipt.objects.filter(
            node=batch.node,
            sequence__gte=batch.first_sequence,
            sequence__lt=batch.first_sequence + batch.count,
        ).order_by("sequence")
    )
    if len(members) != batch.count or not batch.signature:
        raise WrongState("some receipts of the batch are missing here", remedy="run rebuild_index")
    signed = document(receipt)
    try:
        bundle = bundles.collect(
            chain(),
            receipt=structs.receipt(signed),
            signature=bytes.fromhex(signed.signature[2:]),
            detail=msgspec.to_builtins(signed.detail),
            batch_digests=[from_hex(member.digest) for member in members],
            batch_first_sequence=batch.first_sequence,
            batch_signature=bytes.fromhex(batch.signature[2:]),
            order=_order(receipt.job_id),
        )
    except ChainUnreachable as error:
        raise ChainUnavailable() from error
    except BadEvidence as error:
        # The portal's copy does not fit the chain: never hand out what does not hold.
        raise WrongState(
            f"the portal's copy does not prove this receipt: {error}", rule="evidence"
        ) from error
    audit.append("evidence.collected", actor=actor, subject=receipt.digest)
    return bundle


def _order(job_id: str) -> tuple[eip712.JobRequest, bytes] | None:
    """The consumer's signed order behind a job, if the portal has it whole."""
    job = Job.objects.filter(pk=job_id).first()
    if job is None or "signature" not in job.request:
        return None
    request = canonical.convert(SignedRequest, job.request)
    return structs.job_request(request), bytes.fromhex(request.signature[2:])


def _check_signer(struct: eip712.Struct, signature: str, node: Party, rule: str) -> None:
    signer = signer_of("UsageLedger", struct, bytes.fromhex(signature[2:]))
    if signer is not None:
        if signer.lower() == node.address.lower():
            return
        if rule == "receipt" and _was_key_of(signer, node):
            return
    raise BadSignature(f"the {rule} is not signed by a key of the node", rule=rule)


def _was_key_of(address: str, node: Party) -> bool:
    """A receipt outlives the key that signed it: any key of the party's history counts."""
    record = chain().party(from_hex(node.party_id))
    return record is not None and any(key.address.lower() == address.lower() for key in record.keys)
