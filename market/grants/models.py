"""Rights to use a dataset, from request to end."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from market.catalog.models import Dataset, Offer
from market.fields import Hex32Field
from market.parties.models import Party


class Grant(models.Model):
    """A request that became, or did not become, a grant.

    The chain's facts (used, reserved, revoked, active) are projections of its events; `market.ledger`
    writes them. A request that no node signs is never a grant.
    """

    class State(models.TextChoices):
        REQUESTED = "requested", _("requested")
        PROPOSED = "proposed", _("proposed")
        SIGNED = "signed", _("signed")
        ACTIVE = "active", _("active")
        EXHAUSTED = "exhausted", _("exhausted")
        EXPIRED = "expired", _("expired")
        REVOKED = "revoked", _("revoked")
        DECLINED = "declined", _("declined")
        REFUSED = "refused", _("refused")

    # States in which the grant is on chain.
    ON_CHAIN = (State.ACTIVE, State.EXHAUSTED, State.EXPIRED, State.REVOKED)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    grant_id = Hex32Field(null=True, blank=True, unique=True, help_text="struct hash, once a node signed")
    offer = models.ForeignKey(Offer, on_delete=models.PROTECT, null=True, blank=True, related_name="grants")
    provider = models.ForeignKey(Party, on_delete=models.PROTECT, related_name="grants_given")
    consumer = models.ForeignKey(Party, on_delete=models.PROTECT, related_name="grants_held")
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="grants")
    purpose = models.TextField(blank=True)
    operations = models.JSONField(default=list)
    columns = models.JSONField(default=list)
    quota = models.BigIntegerField(default=0)
    epsilon_micro = models.BigIntegerField(default=0)
    not_before = models.BigIntegerField(default=0)
    expiry = models.BigIntegerField(default=0)
    terms = models.JSONField(null=True, blank=True, help_text="the GrantTerms document, once proposed")
    terms_hash = models.CharField(max_length=66, blank=True)
    signature = models.CharField(max_length=132, blank=True)
    state = models.CharField(max_length=12, choices=State.choices, default=State.REQUESTED)
    note = models.TextField(blank=True, help_text="the provider's words on approving or declining")
    used = models.BigIntegerField(default=0)
    reserved = models.BigIntegerField(default=0)
    epsilon_used = models.BigIntegerField(default=0)
    epsilon_reserved = models.BigIntegerField(default=0)
    refusal = models.JSONField(null=True, blank=True, help_text="{code, rule, message, remedy}")
    revoke_requested_at = models.DateTimeField(null=True, blank=True)
    block_number = models.BigIntegerField(null=True, blank=True, help_text="block of its activation")
    tx_hash = models.CharField(max_length=66, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.consumer} → {self.dataset}"

    @property
    def left(self) -> int:
        """Units that may still be reserved."""
        return max(0, self.quota - self.used - self.reserved)

    @property
    def min_cohort(self) -> int:
        """The smallest group a result may describe, from the fixed terms or else the offer."""
        if self.terms:
            return int(self.terms.get("min_cohort", 1))
        return self.offer.min_cohort if self.offer else 1

    @property
    def price_credits(self) -> int:
        """Credits per unit, from the fixed terms or else the offer."""
        if self.terms:
            return int(self.terms.get("price_credits", 0))
        return self.offer.price_credits if self.offer else 0
