"""Receipts with their evidence, invoices, and the circulation between parties."""

from __future__ import annotations

import json
import time
from typing import Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from market.errors import NotFound
from market.grants.models import Grant
from market.grants.services import visible_grants
from market.jobs.models import Job
from market.jobs.services import visible_jobs
from market.ledger.models import Receipt
from market.ledger.receipts import evidence, visible_receipts
from market.parties.models import Party
from market.portal import words
from market.portal.access import CONSUMER, PROVIDER, REGULATOR, actor_of, for_roles
from market.portal.circulation import flows
from market.portal.listing import FilterForm, choice_field, export, listing, wants_export
from market.portal.reading import visible_invoices
from market.portal.shell import page

_WITHIN = (PROVIDER, CONSUMER, REGULATOR)


class ReceiptFilter(FilterForm):
    outcome = choice_field(gettext_lazy("Outcome"), words.OUTCOMES.items())
    state = choice_field(
        gettext_lazy("State"), [(code, words.STATES[code][1]) for code in Receipt.State.values]
    )


@for_roles(*_WITHIN)
def receipts(request: HttpRequest) -> HttpResponse:
    """Receipts of the party's node and of its jobs; all for a regulator."""
    form = ReceiptFilter(request.GET)
    rows = visible_receipts(actor_of(request))
    for word in form.value("q").split()[:8]:
        rows = rows.filter(
            Q(digest__startswith=word.lower())
            | Q(job_id__startswith=word.lower())
            | Q(grant_id__startswith=word.lower())
            | Q(node__in=_parties_named(word))
            | Q(detail__kind__icontains=word)
            | Q(detail__purpose__icontains=word)
        )
    if outcome := form.value("outcome"):
        rows = rows.filter(outcome=outcome)
    if state := form.value("state"):
        rows = rows.filter(state=state)
    if wants_export(request):
        columns = (
            (_("Receipt"), lambda row: row.digest),
            (_("Node"), lambda row: row.node),
            (_("Sequence"), lambda row: row.sequence),
            (_("Job"), lambda row: row.job_id),
            (_("Grant"), lambda row: row.grant_id),
            (_("Outcome"), lambda row: words.state(row.outcome)[2]),
            (_("Units"), lambda row: row.units),
            (_("Charged"), lambda row: row.charged_units),
            (_("Issued"), lambda row: time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(row.issued_at))),
            (_("Block"), lambda row: row.block_number if row.block_number is not None else ""),
        )
        return export("receipts", columns, rows)
    shown = listing(request, rows, form)
    names = Party.objects.in_bulk([row.node for row in shown.rows])
    for row in shown.rows:
        row.node_party = names.get(row.node)
    return page(request, "portal/receipts.html", {"list": shown})


def _parties_named(word: str) -> Any:
    return Party.objects.filter(Q(name__icontains=word) | Q(name_zh__icontains=word)).values("party_id")


@for_roles(*_WITHIN)
def receipt(request: HttpRequest, digest: str) -> HttpResponse:
    """One receipt: what the node signed, and how it hangs on the chain."""
    actor = actor_of(request)
    found = _find(request, digest)
    return page(
        request,
        "portal/receipt.html",
        {
            "receipt": found,
            "node": Party.objects.filter(pk=found.node).first(),
            "grant": visible_grants(actor).filter(grant_id=found.grant_id).first(),
            "job": visible_jobs(actor).filter(pk=found.job_id).first(),
            "metrics": sorted((found.detail or {}).get("metrics", {}).items()),
        },
    )


@for_roles(*_WITHIN)
def receipt_evidence(request: HttpRequest, digest: str) -> HttpResponse:
    """The evidence bundle as a file that `liutong audit verify --offline` checks with no network."""
    bundle = evidence(_find(request, digest), actor_of(request))
    response = HttpResponse(json.dumps(bundle, indent=1, sort_keys=True), content_type="application/json")
    response.headers["Content-Disposition"] = f'attachment; filename="evidence-{digest[2:14]}.json"'
    return response


def _find(request: HttpRequest, digest: str) -> Receipt:
    found = visible_receipts(actor_of(request)).filter(pk=digest).first()
    if found is None:
        raise NotFound()
    return found


class InvoiceFilter(FilterForm):
    pass


@for_roles(*_WITHIN)
def invoices(request: HttpRequest) -> HttpResponse:
    """Invoices the party issues or receives."""
    form = InvoiceFilter(request.GET)
    rows = visible_invoices(actor_of(request))
    for word in form.value("q").split()[:8]:
        rows = rows.filter(
            Q(period__startswith=word)
            | Q(provider__name__icontains=word)
            | Q(consumer__name__icontains=word)
            | Q(provider__name_zh__icontains=word)
            | Q(consumer__name_zh__icontains=word)
        )
    if wants_export(request):
        columns = (
            (_("Period"), lambda row: row.period),
            (_("Provider"), lambda row: row.provider.display_name),
            (_("Consumer"), lambda row: row.consumer.display_name),
            (_("Units"), lambda row: row.units),
            (_("Credits"), lambda row: row.amount_credits),
        )
        return export("invoices", columns, rows)
    return page(request, "portal/invoices.html", {"list": listing(request, rows, form)})


@for_roles(*_WITHIN)
def invoice(request: HttpRequest, invoice_id: str) -> HttpResponse:
    """One invoice: every line is an anchored receipt."""
    actor = actor_of(request)
    found = visible_invoices(actor).filter(pk=invoice_id).first()
    if found is None:
        raise NotFound()
    lines = list(found.lines.all())
    if wants_export(request):
        columns = (
            (_("Receipt"), lambda row: row.receipt_digest),
            (_("Grant"), lambda row: row.grant_id),
            (_("Job"), lambda row: row.job_id),
            (_("Units"), lambda row: row.units),
            (_("Price per use"), lambda row: row.price_credits),
            (_("Credits"), lambda row: row.amount_credits),
        )
        return export(f"invoice-{found.period}", columns, lines)
    jobs = Job.objects.in_bulk([line.job_id for line in lines])
    grants = {
        grant.grant_id: grant
        for grant in Grant.objects.select_related("dataset").filter(
            grant_id__in=[line.grant_id for line in lines]
        )
    }
    blocks = dict(
        Receipt.objects.filter(digest__in=[line.receipt_digest for line in lines]).values_list(
            "digest", "block_number"
        )
    )
    for line in lines:
        line.job, line.grant = jobs.get(line.job_id), grants.get(line.grant_id)
        line.block = blocks.get(line.receipt_digest)
    return page(request, "portal/invoice.html", {"invoice": found, "lines": lines})


@for_roles(*_WITHIN)
def circulation(request: HttpRequest) -> HttpResponse:
    """Who used how much of whose data: a table, and a chart drawn from it."""
    rows = flows(actor_of(request))
    if wants_export(request):
        columns = (
            (_("Provider"), lambda row: row.provider.display_name),
            (_("Consumer"), lambda row: row.consumer.display_name),
            (_("Jobs"), lambda row: row.jobs),
            (_("Units"), lambda row: row.units),
        )
        return export("circulation", columns, rows)
    return page(request, "portal/circulation.html", {"rows": rows, "total": sum(row.units for row in rows)})
