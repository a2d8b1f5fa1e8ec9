"""The catalogue, a dataset, an offer: what may be used."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from market.catalog import services
from market.catalog.models import Dataset, Offer
from market.errors import MarketError, NotFound
from market.grants.services import visible_grants
from market.parties.models import Party
from market.portal import words
from market.portal.access import EVERYONE, PROVIDER, actor_of, for_roles
from market.portal.forms import OfferForm, add_problem
from market.portal.listing import FilterForm, Listing, choice_field, export, listing, wants_export
from market.portal.shell import page


class CatalogueFilter(FilterForm):
    operation = choice_field(gettext_lazy("Operation"), words.OPERATIONS.items())
    provider = forms.ChoiceField(label=gettext_lazy("Provider"), required=False)
    offered = choice_field(gettext_lazy("Offers"), [("open", gettext_lazy("With an open offer"))])

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        field: Any = self.fields["provider"]
        parties = Party.objects.filter(datasets__isnull=False).distinct()
        field.choices = [("", _("All")), *((party.party_id, party.display_name) for party in parties)]


_DATASET_COLUMNS = (
    (gettext_lazy("Dataset"), lambda row: row.name),
    (gettext_lazy("Provider"), lambda row: row.provider.display_name),
    (gettext_lazy("State"), lambda row: words.state(row.state)[2]),
    (gettext_lazy("Version"), lambda row: row.current_version),
    (gettext_lazy("Operations"), lambda row: words.joined(words.operation(name) for name in row.operations)),
    (gettext_lazy("Id"), lambda row: row.dataset_id),
)


@for_roles(*EVERYONE)
def catalogue(request: HttpRequest) -> HttpResponse:
    """Every registered dataset, searchable, with what is offered on it."""
    actor = actor_of(request)
    form = CatalogueFilter(request.GET)
    rows = services.visible_datasets(actor, form.value("q"))
    if provider := form.value("provider"):
        rows = rows.filter(provider_id=provider)
    if form.value("offered"):
        rows = rows.filter(offers__state=Offer.State.OPEN).distinct()
    if operation := form.value("operation"):
        # A list in JSON: quoted, so that no operation is found inside another's name.
        rows = rows.filter(operations__icontains=f'"{operation}"')
    if wants_export(request):
        return export("catalogue", _DATASET_COLUMNS, rows)
    rows = rows.prefetch_related(
        Prefetch("offers", Offer.objects.filter(state=Offer.State.OPEN), to_attr="open_offers")
    )
    return page(request, "portal/catalogue.html", {"list": _with_version(listing(request, rows, form))})


def _with_version(shown: Listing) -> Listing:
    """Give each row its current version from what is loaded already: no query per row."""
    for row in shown.rows:
        row.shown_version = next(
            (item for item in row.versions.all() if item.version == row.current_version), None
        )
    return shown


class DatasetFilter(FilterForm):
    state = choice_field(
        gettext_lazy("State"), [(code, words.STATES[code][1]) for code in Dataset.State.values]
    )


@for_roles(PROVIDER)
def datasets(request: HttpRequest) -> HttpResponse:
    """The provider's own datasets, in every state."""
    actor = actor_of(request)
    form = DatasetFilter(request.GET)
    rows = services.visible_datasets(actor, form.value("q")).filter(provider=actor.party)
    if state := form.value("state"):
        rows = rows.filter(state=state)
    if wants_export(request):
        return export("datasets", _DATASET_COLUMNS, rows)
    return page(request, "portal/datasets.html", {"list": _with_version(listing(request, rows, form))})


@for_roles(*EVERYONE)
def dataset(request: HttpRequest, dataset_id: str) -> HttpResponse:
    """One dataset: columns with grades, versions with commitment and seal, offers, grants on it."""
    actor = actor_of(request)
    found = services.visible_datasets(actor).filter(pk=dataset_id).first()
    if found is None:
        raise NotFound()
    shown = request.GET.get("version", "")
    versions = list(found.versions.all())
    version = next((row for row in versions if str(row.version) == shown), None) or found.current
    return page(
        request,
        "portal/dataset.html",
        {
            "dataset": found,
            "versions": versions,
            # A proposed dataset has no version on chain yet: show what its node proposes.
            "version": version or (versions[0] if versions else None),
            "offers": services.visible_offers(actor).filter(dataset=found),
            "grants": visible_grants(actor).filter(dataset=found)[:20],
            "is_owner": PROVIDER in actor.roles and found.provider_id == actor.party_id,
        },
    )


class OfferFilter(FilterForm):
    state = choice_field(
        gettext_lazy("State"), [(code, words.STATES[code][1]) for code in Offer.State.values]
    )


@for_roles(PROVIDER)
def offers(request: HttpRequest) -> HttpResponse:
    """The provider's own offers."""
    actor = actor_of(request)
    form = OfferFilter(request.GET)
    rows = services.visible_offers(actor).filter(dataset__provider=actor.party)
    if query := form.value("q"):
        rows = rows.filter(title__icontains=query) | rows.filter(dataset__name__icontains=query)
    if state := form.value("state"):
        rows = rows.filter(state=state)
    if wants_export(request):
        columns = (
            (_("Offer"), lambda row: row.title),
            (_("Dataset"), lambda row: row.dataset.name),
            (_("State"), lambda row: words.state(row.state)[2]),
            (_("Operations"), lambda row: words.joined(words.operation(name) for name in row.operations)),
            (_("Most uses"), lambda row: row.max_quota),
            (_("Price per use"), lambda row: row.price_credits),
        )
        return export("offers", columns, rows)
    return page(request, "portal/offers.html", {"list": listing(request, rows, form)})


@for_roles(*EVERYONE)
def offer(request: HttpRequest, offer_id: str) -> HttpResponse:
    """One offer: its policy, and what a consumer could learn under it."""
    actor = actor_of(request)
    found = services.visible_offers(actor).filter(pk=offer_id).first()
    if found is None:
        raise NotFound()
    return page(
        request,
        "portal/offer.html",
        {
            "offer": found,
            "dataset": found.dataset,
            "grants": visible_grants(actor).filter(offer=found)[:20],
            "is_owner": PROVIDER in actor.roles and found.dataset.provider_id == actor.party_id,
        },
    )


@for_roles(PROVIDER)
def new_offer(request: HttpRequest, dataset_id: str) -> HttpResponse:
    """Publish an offer on one of the provider's own datasets."""
    actor = actor_of(request)
    found = services.visible_datasets(actor).filter(pk=dataset_id, provider=actor.party).first()
    if found is None:
        raise NotFound()
    form = OfferForm(request.POST or None, dataset=found, initial={"title": found.name, "purposes": "*"})
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        try:
            made = services.publish_offer(
                dataset_id=found.dataset_id, actor=actor, **{"columns": [], **values}
            )
        except MarketError as error:
            add_problem(form, error)
        else:
            messages.success(request, _("The offer is open. Consumers find it in the catalogue."))
            return redirect("offer", offer_id=made.id)
    status = 422 if form.errors else 200
    return page(request, "portal/offer_form.html", {"form": form, "dataset": found}, status=status)


@require_POST
@for_roles(PROVIDER)
def close_offer(request: HttpRequest, offer_id: str) -> HttpResponse:
    """Take no further applications."""
    services.close_offer(offer_id=offer_id, actor=actor_of(request))
    messages.success(request, _("The offer is closed. Grants that stand are not touched."))
    return redirect("offer", offer_id=offer_id)
