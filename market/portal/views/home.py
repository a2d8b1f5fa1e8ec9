"""The overview: what waits, what runs, what was used; one page per role."""

from __future__ import annotations

import time
from typing import Any

from django.db.models import Count, Q, Sum
from django.http import HttpRequest, HttpResponse

from market.audit.models import AuditEntry, Reconciliation
from market.catalog.models import Dataset, Offer
from market.catalog.services import visible_datasets
from market.grants.models import Grant
from market.grants.services import visible_grants
from market.jobs.models import Job
from market.jobs.services import visible_jobs
from market.ledger.models import Receipt
from market.ledger.receipts import visible_receipts
from market.parties.actor import Actor
from market.portal.access import EVERYONE, OPERATOR, PROVIDER, REGULATOR, actor_of, for_roles
from market.portal.cockpit import cockpit
from market.portal.reading import visible_invoices
from market.portal.shell import page

_RUNNING = (Job.State.SUBMITTED, Job.State.RESERVED, Job.State.RUNNING, Job.State.RECEIPTED)
_SHORTLIST = 6
_DAY_S = 86_400
_USE_DAYS = 30


@for_roles(*EVERYONE)
def home(request: HttpRequest) -> HttpResponse:
    """Send each role to its own overview; a person with several sees the one that decides most."""
    actor = actor_of(request)
    if OPERATOR in actor.roles:
        return page(request, "portal/home_operator.html", cockpit())
    if REGULATOR in actor.roles:
        return page(request, "portal/home_regulator.html", _regulator(actor))
    if PROVIDER in actor.roles:
        return page(request, "portal/home_provider.html", _provider(actor))
    return page(request, "portal/home_consumer.html", _consumer(actor))


def _provider(actor: Actor) -> dict[str, Any]:
    grants = visible_grants(actor).filter(provider=actor.party)
    invoices = visible_invoices(actor).filter(provider=actor.party)
    receipts = visible_receipts(actor).filter(node=actor.party_id)
    return {
        "requests": grants.filter(state=Grant.State.REQUESTED).order_by("created_at"),
        "active_grants": grants.filter(state=Grant.State.ACTIVE)[:_SHORTLIST],
        "active_count": grants.filter(state=Grant.State.ACTIVE).count(),
        "datasets": Dataset.objects.filter(provider=actor.party).annotate(
            open_offers=Count("offers", filter=Q(offers__state=Offer.State.OPEN))
        ),
        "receipts": receipts[:_SHORTLIST],
        "units": receipts.aggregate(n=Sum("charged_units"))["n"] or 0,
        "credits": invoices.aggregate(n=Sum("amount_credits"))["n"] or 0,
        "use": _use_by_day(receipts),
        "use_days": _USE_DAYS,
    }


def _consumer(actor: Actor) -> dict[str, Any]:
    grants = visible_grants(actor).filter(consumer=actor.party)
    jobs = visible_jobs(actor).filter(consumer=actor.party)
    invoices = visible_invoices(actor).filter(consumer=actor.party)
    return {
        "active_grants": grants.filter(state=Grant.State.ACTIVE)[:_SHORTLIST],
        "active_count": grants.filter(state=Grant.State.ACTIVE).count(),
        "waiting": grants.filter(state__in=[Grant.State.REQUESTED, Grant.State.PROPOSED, Grant.State.SIGNED]),
        "jobs": jobs[:_SHORTLIST],
        "running": jobs.filter(state__in=_RUNNING).count(),
        "settled": jobs.filter(state=Job.State.SETTLED).count(),
        "credits": invoices.aggregate(n=Sum("amount_credits"))["n"] or 0,
        "new_datasets": visible_datasets(actor)
        .filter(offers__state=Offer.State.OPEN)
        .distinct()
        .order_by("-created_at")[:_SHORTLIST],
    }


def _regulator(actor: Actor) -> dict[str, Any]:
    receipts = visible_receipts(actor)
    return {
        "reconciliation": Reconciliation.objects.first(),
        "datasets": Dataset.objects.filter(state=Dataset.State.REGISTERED).count(),
        "frozen": Dataset.objects.filter(state=Dataset.State.FROZEN).count(),
        "active_grants": visible_grants(actor).filter(state=Grant.State.ACTIVE).count(),
        "revoked_grants": visible_grants(actor).filter(state=Grant.State.REVOKED).count(),
        "anchored": receipts.filter(state=Receipt.State.ANCHORED).count(),
        "waiting_receipts": receipts.filter(state=Receipt.State.SIGNED).count(),
        "refusals": receipts.exclude(outcome="completed")[:_SHORTLIST],
        "refused_count": receipts.exclude(outcome="completed").count(),
        "entries": AuditEntry.objects.all()[:_SHORTLIST],
    }


def _use_by_day(receipts: Any) -> list[dict[str, Any]]:
    """Units charged on each of the last days, oldest first, with bar geometry in a 0–100 box."""
    today = int(time.time()) // _DAY_S
    totals = dict.fromkeys(range(today - _USE_DAYS + 1, today + 1), 0)
    since = (today - _USE_DAYS + 1) * _DAY_S
    for issued_at, units in receipts.filter(issued_at__gte=since).values_list("issued_at", "charged_units"):
        if issued_at // _DAY_S in totals:
            totals[issued_at // _DAY_S] += units
    peak = max(totals.values(), default=0) or 1
    width = 300 / _USE_DAYS
    return [
        {
            "at": day * _DAY_S,
            "units": units,
            "x": f"{index * width + 1:.2f}",
            "width": f"{width - 2:.2f}",
            "y": f"{46 - 44 * units / peak:.2f}",
            "height": f"{44 * units / peak:.2f}",
        }
        for index, (day, units) in enumerate(sorted(totals.items()))
    ]
