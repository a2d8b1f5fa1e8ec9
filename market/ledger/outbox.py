"""Queueing calls to the chain. The relay worker is the only one that sends them."""

from __future__ import annotations

from contracts.bindings import Call
from market.audit import services as audit
from market.ledger.models import ChainTransaction
from market.parties.actor import Actor


def queue(*, purpose: str, subject: str, key: str, call: Call, actor: Actor) -> ChainTransaction:
    """Put a call into the outbox, in the caller's transaction; the same ``key`` queues once.

    An intent whose transaction reverted is queued afresh with the new calldata: what made it revert (a
    missing registration, an early release) may have passed.
    """
    row, created = ChainTransaction.objects.get_or_create(
        key=key,
        defaults={"purpose": purpose, "subject": subject, "to": call.to, "data": _hex(call.data)},
    )
    if not created:
        if row.state != ChainTransaction.State.REVERTED:
            return row
        requeue(row, call)
    audit.append(f"chain.{purpose}.queued", actor=actor, subject=subject, key=key)
    return row


def requeue(row: ChainTransaction, call: Call | None = None) -> None:
    """Forget a failed attempt and queue again. Only for a row that is on no chain."""
    if call is not None:
        row.to, row.data = call.to, _hex(call.data)
    row.state = ChainTransaction.State.QUEUED
    row.attempts += 1  # whoever queues again and again can slow down by it
    row.nonce, row.raw, row.tx_hash, row.error = None, "", "", None
    row.block_number, row.block_hash, row.sent_at, row.mined_at = None, "", None, None
    row.save()


def pending(purpose: str, subject: str) -> bool:
    """Whether a call of this kind for this subject is queued or on its way."""
    return ChainTransaction.objects.filter(
        purpose=purpose,
        subject=subject,
        state__in=[ChainTransaction.State.QUEUED, ChainTransaction.State.SENT],
    ).exists()


def _hex(data: bytes | str) -> str:
    return data if isinstance(data, str) else "0x" + data.hex()
