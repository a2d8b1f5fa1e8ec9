"""The only writer of the audit log. It fails closed: what cannot be recorded does not happen."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import Any

import msgspec
from django.db import DatabaseError, transaction

from market.audit.models import AuditEntry, AuditHead
from market.errors import AuditUnavailable
from market.fields import ZERO
from market.parties.actor import Actor

# Separates these digests from every other SHA-256 in the system.
_DOMAIN = b"liutong/audit/1\n"


def append(verb: str, *, actor: Actor, subject: str = "", **detail: Any) -> AuditEntry:
    """Record an act in the caller's transaction, so that act and record stand or fall together.

    ``subject`` is an id (party, dataset, grant, job, receipt, transaction). ``detail`` must be public
    metadata: no secret, no row, no query. Raises AuditUnavailable, which undoes the caller's transaction.
    """
    try:
        with transaction.atomic():
            AuditHead.objects.get_or_create(id=1)
            # Locked until the caller commits: sequence numbers have neither gaps nor twins.
            head = AuditHead.objects.select_for_update().get(id=1)
            entry = AuditEntry(
                sequence=head.sequence + 1,
                at_ms=time.time_ns() // 1_000_000,
                verb=verb,
                actor=actor.label,
                party_id=actor.party_id,
                subject=subject,
                detail=msgspec.to_builtins(detail, str_keys=True),
                previous=head.digest,
            )
            entry.digest = digest_of(entry)
            entry.save(force_insert=True)
            head.sequence, head.digest = entry.sequence, entry.digest
            head.save(update_fields=["sequence", "digest"])
            return entry
    except (DatabaseError, TypeError) as error:
        raise AuditUnavailable() from error


def digest_of(entry: AuditEntry) -> str:
    """SHA-256 over every field and the previous digest, as canonical JSON."""
    body = msgspec.json.encode(
        [
            entry.sequence,
            entry.at_ms,
            entry.verb,
            entry.actor,
            entry.party_id,
            entry.subject,
            entry.detail,
            entry.previous,
        ],
        order="sorted",
    )
    return "0x" + hashlib.sha256(_DOMAIN + body).hexdigest()


def first_break() -> int | None:
    """The sequence number of the first entry that does not follow from the one before, or None.

    A cut-off tail shows as the head's number. Runs in one pass over the table.
    """
    previous, expected = ZERO, 1
    for entry in _in_order():
        if entry.sequence != expected or entry.previous != previous or entry.digest != digest_of(entry):
            return expected
        previous, expected = entry.digest, expected + 1
    head = AuditHead.objects.filter(id=1).first()
    if head is not None and (head.sequence != expected - 1 or head.digest != previous):
        return expected
    return None


def export(after: int = 0) -> Iterator[bytes]:
    """Every entry after a sequence number as JSON lines, oldest first."""
    for entry in _in_order(after):
        yield (
            msgspec.json.encode(
                {
                    "sequence": entry.sequence,
                    "at_ms": entry.at_ms,
                    "verb": entry.verb,
                    "actor": entry.actor,
                    "party_id": entry.party_id,
                    "subject": entry.subject,
                    "detail": entry.detail,
                    "previous": entry.previous,
                    "digest": entry.digest,
                },
                order="sorted",
            )
            + b"\n"
        )


def _in_order(after: int = 0) -> Iterator[AuditEntry]:
    return AuditEntry.objects.filter(sequence__gt=after).order_by("sequence").iterator(chunk_size=500)
