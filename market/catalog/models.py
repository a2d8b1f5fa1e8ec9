"""What may be used: datasets that providers' nodes registered, and offers with a policy."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from market.fields import Hex32Field
from market.parties.models import Party


class Dataset(models.Model):
    """A dataset that stays at its provider. Words come from the node's manifest, state from the chain."""

    class State(models.TextChoices):
        PROPOSED = "proposed", _("proposed")
        REGISTERED = "registered", _("registered")
        FROZEN = "frozen", _("frozen")

    class Kind(models.TextChoices):
        TABLE = "table", _("table")
        SERVICE = "service", _("service")

    dataset_id = Hex32Field(primary_key=True)
    provider = models.ForeignKey(Party, on_delete=models.PROTECT, related_name="datasets")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.TABLE)
    operations = models.JSONField(default=list, help_text="operation names the node would sign at most")
    state = models.CharField(max_length=12, choices=State.choices, default=State.PROPOSED)
    current_version = models.PositiveIntegerField(default=0, help_text="0 until a version is on chain")
    wish = models.CharField(
        max_length=8,
        blank=True,
        choices=[("freeze", _("freeze")), ("unfreeze", _("unfreeze"))],
        help_text="what the owner's node is to be asked for next",
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name", "dataset_id"]

    def __str__(self) -> str:
        return self.name

    @property
    def current(self) -> DatasetVersion | None:
        """The version that is registered last, or None before the first."""
        return self.versions.filter(version=self.current_version).first()


class DatasetVersion(models.Model):
    """One registered state of a dataset: a job is pinned to its commitment."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="versions")
    version = models.PositiveIntegerField()
    columns = models.JSONField(default=list, help_text="[{name, type, grade, description}]")
    row_count = models.BigIntegerField(default=0)
    commitment = Hex32Field()
    schema_hash = Hex32Field()
    signature = models.CharField(max_length=132, blank=True)
    registered_at = models.DateTimeField(null=True, blank=True)
    block_number = models.BigIntegerField(null=True, blank=True)
    tx_hash = models.CharField(max_length=66, blank=True)

    class Meta:
        ordering = ["dataset_id", "-version"]
        constraints = [models.UniqueConstraint(fields=["dataset", "version"], name="dataset_version_once")]

    def __str__(self) -> str:
        return f"{self.dataset} v{self.version}"


class Offer(models.Model):
    """What a provider would grant at most, and for how much. The portal's own; nodes still decide."""

    class State(models.TextChoices):
        OPEN = "open", _("open")
        CLOSED = "closed", _("closed")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="offers")
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    operations = models.JSONField(default=list)
    purposes = models.JSONField(default=list, help_text='allowed purposes; ["*"] allows any')
    columns = models.JSONField(default=list)
    min_cohort = models.PositiveIntegerField(default=5)
    max_quota = models.BigIntegerField(default=1000)
    max_days = models.PositiveIntegerField(default=365)
    price_credits = models.BigIntegerField(default=1, help_text="per unit")
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.title

    @property
    def policy(self) -> dict[str, Any]:
        """The policy as one document, for display and for comparison with a request."""
        return {
            "operations": self.operations,
            "purposes": self.purposes,
            "columns": self.columns,
            "min_cohort": self.min_cohort,
            "max_quota": self.max_quota,
            "max_days": self.max_days,
            "price_credits": self.price_credits,
        }
