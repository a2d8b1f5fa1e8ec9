"""What an actor may read of invoices and parties: the same narrowing as the other services."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from market.billing.models import Invoice
from market.parties.actor import Actor
from market.parties.models import Party


def visible_invoices(actor: Actor) -> QuerySet[Invoice]:
    """Invoices the actor's party issues or receives; all, for regulators and operators."""
    invoices = Invoice.objects.select_related("provider", "consumer")
    if actor.sees_everything:
        return invoices
    return invoices.filter(Q(provider_id=actor.party_id) | Q(consumer_id=actor.party_id))


def visible_parties(actor: Actor) -> QuerySet[Party]:
    """Everyone on chain; proposals only for regulators, operators and the party itself."""
    if actor.sees_everything:
        return Party.objects.all()
    return Party.objects.filter(~Q(state=Party.State.PROPOSED) | Q(pk=actor.party_id))
