"""Parties, nodes and the outbox: what the operator watches and relays."""

from __future__ import annotations

import msgspec
from django.conf import settings
from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from compute.wire.messages import Enrolment
from contracts.eip712 import Role
from market.catalog.services import visible_datasets
from market.errors import MarketError, NotFound
from market.ledger.models import ChainEvent, ChainTransaction
from market.parties import enrolment
from market.parties.models import Party
from market.portal import words
from market.portal.access import EVERYONE, OPERATOR, REGULATOR, actor_of, for_roles
from market.portal.forms import EnrolmentForm, add_problem
from market.portal.listing import FilterForm, choice_field, export, listing, wants_export
from market.portal.reading import visible_parties
from market.portal.shell import page


class PartyFilter(FilterForm):
    state = choice_field(
        gettext_lazy("State"), [(code, words.STATES[code][1]) for code in Party.State.values]
    )


@for_roles(REGULATOR, OPERATOR)
def parties(request: HttpRequest) -> HttpResponse:
    """Who takes part."""
    actor = actor_of(request)
    form = PartyFilter(request.GET)
    rows = visible_parties(actor)
    for word in form.value("q").split()[:8]:
        rows = rows.filter(
            Q(name__icontains=word) | Q(name_zh__icontains=word) | Q(party_id__startswith=word.lower())
        )
    if state := form.value("state"):
        rows = rows.filter(state=state)
    if wants_export(request):
        columns = (
            (_("Party"), lambda row: row.display_name),
            (_("State"), lambda row: words.state(row.state)[2]),
            (_("Roles"), lambda row: words.joined(words.party_role(name) for name in row.role_names)),
            (_("Address"), lambda row: row.address),
            (_("Id"), lambda row: row.party_id),
        )
        return export("parties", columns, rows)
    return page(
        request,
        "portal/parties.html",
        {"list": listing(request, rows, form), "can_enrol": OPERATOR in actor.roles},
    )


@for_roles(*EVERYONE)
def party(request: HttpRequest, party_id: str) -> HttpResponse:
    """One party: its keys as the chain keeps them, its datasets."""
    actor = actor_of(request)
    found = visible_parties(actor).filter(pk=party_id).first()
    if found is None:
        raise NotFound()
    return page(
        request,
        "portal/party.html",
        {
            "party": found,
            "datasets": visible_datasets(actor).filter(provider=found),
            "events": ChainEvent.objects.filter(args__party=found.party_id).order_by(
                "block_number", "log_index"
            )[:100],
            "can_operate": OPERATOR in actor.roles,
        },
    )


@require_POST
@for_roles(OPERATOR)
def suspend(request: HttpRequest, party_id: str) -> HttpResponse:
    """Queue a party's suspension on chain, or its lifting."""
    suspended = request.POST.get("suspended") == "yes"
    enrolment.set_suspension(party_id=party_id, suspended=suspended, actor=actor_of(request))
    messages.success(request, _("Queued. It holds from the block that takes it."))
    return redirect("party", party_id=party_id)


@for_roles(OPERATOR)
def enrol(request: HttpRequest) -> HttpResponse:
    """Relay a party's enrolment to the chain; the signature in it proves that the party holds its key."""
    form = EnrolmentForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        roles = Role(0)
        for name in values["roles"]:
            roles |= Role[name.upper()]
        try:
            document = msgspec.json.decode(values["document"].encode(), type=Enrolment)
            made = enrolment.propose_party(
                enrolment=document, roles=roles, actor=actor_of(request), name_zh=values["name_zh"]
            )
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            form.add_error("document", _("This is no enrolment document: {reason}").format(reason=error))
        except MarketError as error:
            add_problem(form, error)
        else:
            messages.success(request, _("The enrolment is queued for the chain."))
            return redirect("party", party_id=made.party_id)
    return page(request, "portal/enrol.html", {"form": form}, status=422 if form.errors else 200)


@for_roles(OPERATOR)
def nodes(request: HttpRequest) -> HttpResponse:
    """What the drive worker last heard from each party's node."""
    rows = Party.objects.exclude(node_url="").select_related("node_status")
    return page(request, "portal/nodes.html", {"rows": rows})


class OutboxFilter(FilterForm):
    state = choice_field(
        gettext_lazy("State"), [(code, words.STATES[code][1]) for code in ChainTransaction.State.values]
    )
    purpose = choice_field(gettext_lazy("Purpose"), words.PURPOSES.items())


@for_roles(OPERATOR)
def outbox(request: HttpRequest) -> HttpResponse:
    """Calls to the chain: queued, sent, mined, reverted."""
    form = OutboxFilter(request.GET)
    rows = ChainTransaction.objects.order_by("-id")
    for word in form.value("q").split()[:8]:
        rows = rows.filter(Q(subject__startswith=word.lower()) | Q(tx_hash__startswith=word.lower()))
    if state := form.value("state"):
        rows = rows.filter(state=state)
    if purpose := form.value("purpose"):
        rows = rows.filter(purpose=purpose)
    if wants_export(request):
        columns = (
            (_("Purpose"), lambda row: words.purpose(row.purpose)),
            (_("Subject"), lambda row: row.subject),
            (_("State"), lambda row: words.state(row.state)[2]),
            (_("Transaction"), lambda row: row.tx_hash),
            (_("Block"), lambda row: row.block_number if row.block_number is not None else ""),
            (_("Gas"), lambda row: row.gas_used if row.gas_used is not None else ""),
        )
        return export("outbox", columns, rows)
    return page(
        request,
        "portal/outbox.html",
        {"list": listing(request, rows, form), "chain_url": settings.CHAIN_RPC_URL},
    )
