"""One object through time: what the chain says, what nodes signed and what people did, in one column."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from market.audit.models import AuditEntry
from market.catalog.models import Dataset
from market.grants.models import Grant
from market.jobs.models import Job, JobEvent
from market.ledger.models import Block, ChainEvent, Receipt
from market.parties.models import Party
from market.portal import words

SUBJECTS: dict[str, Any] = {"dataset": _("Dataset"), "party": _("Party"), "job": _("Job")}
CHAIN, NODE, PORTAL = "chain", "node", "portal"
_LIMIT = 500


@dataclass
class Entry:
    """One line. ``source`` says whose word it is; only the chain's carry a block."""

    at_ms: int
    source: str
    title: str
    block: int | None = None
    subject: str = ""
    receipt: Receipt | None = None
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass
class Timeline:
    """An object's name and its lines, oldest first."""

    kind: str
    identifier: str
    name: str
    entries: list[Entry]


def suggestions(kind: str) -> list[tuple[str, str]]:
    """(id, name) of the latest objects of a kind, to choose from."""
    if kind == "party":
        return [(row.party_id, row.display_name) for row in Party.objects.all()[:50]]
    if kind == "job":
        return [
            (
                row.job_id,
                f"{words.kind(row.kind)} · {row.consumer.display_name} · {row.created_at:%Y-%m-%d %H:%M}",
            )
            for row in Job.objects.select_related("consumer")[:50]
        ]
    return [
        (row.dataset_id, f"{row.name} · {row.provider.display_name}")
        for row in Dataset.objects.select_related("provider")[:50]
    ]


def timeline_of(kind: str, identifier: str) -> Timeline | None:
    """The object's timeline, or None if nothing has that id."""
    if kind == "dataset":
        dataset = Dataset.objects.filter(pk=identifier).first()
        if dataset is None:
            return None
        grants = list(
            Grant.objects.filter(dataset=dataset, grant_id__isnull=False).values_list("grant_id", "id")
        )
        ids = [identifier, *(str(grant) for pair in grants for grant in pair)]
        on_chain = [identifier, *(grant_id for grant_id, _pk in grants)]
        receipts = Receipt.objects.filter(grant_id__in=[grant_id for grant_id, _pk in grants])
        return Timeline(kind, identifier, dataset.name, _merged(on_chain, ids, receipts))
    if kind == "party":
        party = Party.objects.filter(pk=identifier).first()
        if party is None:
            return None
        receipts = Receipt.objects.filter(node=identifier)
        return Timeline(kind, identifier, party.display_name, _merged([identifier], [identifier], receipts))
    job = Job.objects.filter(pk=identifier).first()
    if job is None:
        return None
    entries = _merged([identifier], [identifier], Receipt.objects.filter(job_id=identifier))
    for event in JobEvent.objects.filter(job=job).exclude(role="")[:_LIMIT]:
        entries.append(Entry(event.at_ms, NODE, f"{words.job_role(event.role)}: {words.phase(event.phase)}"))
    return Timeline(kind, identifier, words.kind(job.kind), _sorted(entries))


def _merged(on_chain: list[str], subjects: list[str], receipts: Any) -> list[Entry]:
    entries = [*_chain_entries(on_chain), *_audit_entries(subjects)]
    for receipt in receipts.order_by("-issued_at")[:_LIMIT]:
        entries.append(
            Entry(
                receipt.issued_at * 1000,
                NODE,
                words.state(receipt.outcome)[2],
                receipt.block_number,
                receipt.digest,
                receipt,
            )
        )
    return _sorted(entries)


def _chain_entries(identifiers: list[str]) -> list[Entry]:
    about = Q()
    for name in ("party", "provider", "consumer", "node", "dataset", "grant", "job"):
        about |= Q(**{f"args__{name}__in": identifiers})
    events = list(ChainEvent.objects.filter(about).order_by("-block_number", "-log_index")[:_LIMIT])
    times = dict(
        Block.objects.filter(number__in={event.block_number for event in events}).values_list(
            "number", "timestamp"
        )
    )
    return [
        Entry(
            times.get(event.block_number, 0) * 1000,
            CHAIN,
            words.chain_event(event.name),
            event.block_number,
            event.tx_hash,
            detail=event.args,
        )
        for event in events
    ]


def _audit_entries(subjects: list[str]) -> list[Entry]:
    about = Q(subject__in=subjects) | Q(party_id__in=subjects)
    return [
        Entry(entry.at_ms, PORTAL, f"{entry.actor}: {words.verb(entry.verb)}", None, entry.subject)
        for entry in AuditEntry.objects.filter(about)[:_LIMIT]
    ]


def _sorted(entries: list[Entry]) -> list[Entry]:
    # Within one second the chain's word comes before what was made of it.
    order = {CHAIN: 0, NODE: 1, PORTAL: 2}
    return sorted(entries, key=lambda entry: (entry.at_ms // 1000, order[entry.source], entry.at_ms))
