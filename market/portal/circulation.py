"""What circulated between parties, from anchored receipts and the grants that they were charged to."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, Sum

from market.grants.services import visible_grants
from market.ledger.models import Receipt
from market.parties.actor import Actor
from market.parties.models import Party


@dataclass
class Flow:
    """Uses of one provider's data by one consumer."""

    provider: Party
    consumer: Party
    units: int
    jobs: int


def flows(actor: Actor) -> list[Flow]:
    """One flow per pair that the actor may see, largest first. Counts charged units only."""
    grants = {grant.grant_id: grant for grant in visible_grants(actor).filter(grant_id__isnull=False)}
    sums = (
        Receipt.objects.filter(grant_id__in=list(grants), state=Receipt.State.ANCHORED, charged_units__gt=0)
        .order_by()
        .values("grant_id")
        .annotate(units=Sum("charged_units"), jobs=Count("job_id", distinct=True))
    )
    pairs: dict[tuple[str, str], Flow] = {}
    for row in sums:
        grant = grants[row["grant_id"]]
        flow = pairs.setdefault(
            (grant.provider_id, grant.consumer_id), Flow(grant.provider, grant.consumer, 0, 0)
        )
        flow.units += row["units"]
        flow.jobs += row["jobs"]
    return sorted(pairs.values(), key=lambda flow: (-flow.units, flow.provider.name))
