"""Grants: request, decide, revoke. A grant reads as a sentence everywhere."""

from __future__ import annotations

import time
from typing import Any

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from market.catalog.models import Offer
from market.catalog.services import visible_offers
from market.errors import MarketError, NotFound
from market.grants import services
from market.grants.models import Grant
from market.ledger.models import ChainEvent
from market.ledger.receipts import visible_receipts
from market.portal import sentences, words
from market.portal.access import CONSUMER, PROVIDER, REGULATOR, actor_of, for_roles
from market.portal.forms import DecisionForm, GrantRequestForm, add_problem
from market.portal.listing import FilterForm, choice_field, export, listing, wants_export
from market.portal.shell import page

_WITHIN = (PROVIDER, CONSUMER, REGULATOR)
_DAY_S = 86_400
_DEFAULT_QUOTA, _DEFAULT_DAYS = 100, 90


class GrantFilter(FilterForm):
    state = choice_field(
        gettext_lazy("State"), [(code, words.STATES[code][1]) for code in Grant.State.values]
    )
    operation = choice_field(gettext_lazy("Operation"), words.OPERATIONS.items())


@for_roles(*_WITHIN)
def grants(request: HttpRequest) -> HttpResponse:
    """Grants the party gives or holds; all of them for a regulator."""
    form = GrantFilter(request.GET)
    rows = services.visible_grants(actor_of(request))
    for word in form.value("q").split()[:8]:
        rows = rows.filter(
            Q(dataset__name__icontains=word)
            | Q(purpose__icontains=word)
            | Q(provider__name__icontains=word)
            | Q(consumer__name__icontains=word)
            | Q(provider__name_zh__icontains=word)
            | Q(consumer__name_zh__icontains=word)
            | Q(grant_id__startswith=word.lower())
        )
    if state := form.value("state"):
        rows = rows.filter(state=state)
    if operation := form.value("operation"):
        rows = rows.filter(operations__icontains=f'"{operation}"')
    if wants_export(request):
        columns = (
            (_("Grant"), lambda row: row.grant_id or ""),
            (_("State"), lambda row: words.state(row.state)[2]),
            (_("Provider"), lambda row: row.provider.display_name),
            (_("Consumer"), lambda row: row.consumer.display_name),
            (_("Dataset"), lambda row: row.dataset.name),
            (_("Operations"), lambda row: words.joined(words.operation(name) for name in row.operations)),
            (_("Purpose"), lambda row: row.purpose),
            (_("Quota"), lambda row: row.quota),
            (_("Used"), lambda row: row.used),
            (_("Reserved"), lambda row: row.reserved),
            (_("Expiry"), lambda row: time.strftime("%Y-%m-%d", time.gmtime(row.expiry))),
        )
        return export("grants", columns, rows)
    return page(request, "portal/grants.html", {"list": listing(request, rows, form)})


@for_roles(*_WITHIN)
def grant(request: HttpRequest, grant_id: object) -> HttpResponse:
    """One grant: its sentence, its quota, how it came about, what was done under it."""
    actor = actor_of(request)
    return _grant_page(request, services.find(str(grant_id), actor))


def _grant_page(request: HttpRequest, found: Grant, form: DecisionForm | None = None) -> HttpResponse:
    actor = actor_of(request)
    is_provider = PROVIDER in actor.roles and found.provider_id == actor.party_id
    decision = form or _decision_form(found)
    receipts = visible_receipts(actor).filter(grant_id=found.grant_id) if found.grant_id else []
    return page(
        request,
        "portal/grant.html",
        {
            "grant": found,
            "decision": decision,
            "can_decide": is_provider and found.state == Grant.State.REQUESTED,
            "can_revoke": is_provider
            and found.revoke_requested_at is None
            and found.state in (Grant.State.SIGNED, Grant.State.ACTIVE, Grant.State.EXHAUSTED),
            "can_use": CONSUMER in actor.roles
            and found.consumer_id == actor.party_id
            and found.state == Grant.State.ACTIVE,
            "receipts": receipts[:20],
            "events": _chain_events(found),
            "is_revoking": found.revoke_requested_at is not None and found.state != Grant.State.REVOKED,
            "wording": sentences.Wording.active(),
        },
        status=422 if form is not None else 200,
    )


def _decision_form(grant: Grant, data: Any = None) -> DecisionForm:
    days = max(1, round((grant.expiry - time.time()) / _DAY_S))
    return DecisionForm(data, most_quota=grant.quota, most_days=days)


@for_roles(CONSUMER)
def request_grant(request: HttpRequest, offer_id: str) -> HttpResponse:
    """Apply for a grant under an offer; the sentence changes with the form."""
    actor = actor_of(request)
    offer = visible_offers(actor).filter(pk=offer_id).first()
    if offer is None:
        raise NotFound()
    form = GrantRequestForm(
        request.POST or None,
        offer=offer,
        initial={
            "operations": offer.operations,
            "columns": offer.columns,
            "quota": min(offer.max_quota, _DEFAULT_QUOTA),
            "days": min(offer.max_days, _DEFAULT_DAYS),
        },
    )
    if request.method == "POST" and form.is_valid():
        try:
            made = services.request_grant(
                offer_id=offer.id, actor=actor, **{"columns": [], **form.cleaned_data}
            )
        except MarketError as error:
            add_problem(form, error)
        else:
            messages.success(
                request, _("Your request is with the provider. It becomes a grant when its node signs.")
            )
            return redirect("grant", grant_id=made.id)
    return page(
        request,
        "portal/grant_request.html",
        {
            "form": form,
            "offer": offer,
            "draft": _draft(form, offer, actor.party),
            "wording": sentences.Wording.active(),
            "operation_words": [(name, words.operation(name)) for name in offer.operations],
            "is_open": offer.state == Offer.State.OPEN,
        },
        status=422 if form.errors else 200,
    )


@require_POST
@for_roles(PROVIDER)
def approve(request: HttpRequest, grant_id: object) -> HttpResponse:
    """Fix the terms, possibly narrower; the provider's node signs next."""
    actor = actor_of(request)
    found = services.find(str(grant_id), actor)
    form = _decision_form(found, request.POST)
    if form.is_valid():
        try:
            services.approve_grant(grant_id=found.id, actor=actor, **form.cleaned_data)
        except MarketError as error:
            add_problem(form, error)
        else:
            messages.success(
                request,
                _("Approved. Your node now checks the terms and signs; then the chain activates them."),
            )
            return redirect("grant", grant_id=found.id)
    return _grant_page(request, found, form)


@require_POST
@for_roles(PROVIDER)
def decline(request: HttpRequest, grant_id: object) -> HttpResponse:
    """Turn a request down."""
    actor = actor_of(request)
    found = services.find(str(grant_id), actor)
    services.decline_grant(grant_id=found.id, actor=actor, note=_note(request))
    messages.success(request, _("Declined. Nothing went on chain."))
    return redirect("grant", grant_id=found.id)


@require_POST
@for_roles(PROVIDER)
def revoke(request: HttpRequest, grant_id: object) -> HttpResponse:
    """End a standing grant before its expiry."""
    actor = actor_of(request)
    found = services.find(str(grant_id), actor)
    services.request_revocation(grant_id=found.id, actor=actor, note=_note(request))
    messages.success(
        request, _("Your node signs the revocation next. From the block that holds it no job is admitted.")
    )
    return redirect("grant", grant_id=found.id)


def _note(request: HttpRequest) -> str:
    return request.POST.get("note", "").replace("\x00", "")[:4000]


def _chain_events(grant: Grant) -> list[ChainEvent]:
    """What the chain says about this grant, oldest first."""
    if not grant.grant_id:
        return []
    return list(
        ChainEvent.objects.filter(args__grant=grant.grant_id).order_by("block_number", "log_index")[:50]
    )


def _draft(form: GrantRequestForm, offer: Offer, consumer: Any) -> Grant:
    """An unsaved grant with the form's present values, for the sentence before any script runs."""

    def value(name: str) -> Any:
        return form[name].value() if name in form.fields else None

    def whole(name: str, otherwise: int) -> int:
        text = str(value(name) or "")
        return int(text) if text.isdigit() and len(text) < 16 else otherwise

    first_purpose = "…" if "*" in offer.purposes else offer.purposes[0]
    days = min(whole("days", _DEFAULT_DAYS), 36_500)
    return Grant(
        offer=offer,
        provider=offer.dataset.provider,
        consumer=consumer,
        dataset=offer.dataset,
        purpose=str(value("purpose") or first_purpose)[:4000],
        operations=[name for name in offer.operations if name in (value("operations") or [])],
        columns=[name for name in offer.columns if name in (value("columns") or [])],
        quota=whole("quota", _DEFAULT_QUOTA),
        expiry=int(time.time()) + days * _DAY_S,
    )
