"""The portal's own log of who did what, chained so that removing or editing an entry shows."""

from __future__ import annotations

from django.db import models

from market.fields import ZERO, Hex32Field


class AuditEntry(models.Model):
    """One act. ``digest`` covers every field and the digest before it (see services.append)."""

    sequence = models.BigIntegerField(primary_key=True)
    at_ms = models.BigIntegerField()
    verb = models.CharField(max_length=60)
    actor = models.CharField(max_length=200)
    party_id = models.CharField(max_length=66, blank=True, db_index=True)
    subject = models.CharField(max_length=140, blank=True, db_index=True)
    detail = models.JSONField(default=dict)
    previous = Hex32Field()
    digest = Hex32Field(unique=True)

    class Meta:
        ordering = ["-sequence"]
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.sequence} {self.verb}"


class AuditHead(models.Model):
    """The one row that is locked to append: two writers must not take the same sequence number."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    sequence = models.BigIntegerField(default=0)
    digest = Hex32Field(default=ZERO)


class Reconciliation(models.Model):
    """One run of the comparison of chain, portal and nodes."""

    at = models.DateTimeField(auto_now_add=True)
    block_number = models.BigIntegerField(null=True, blank=True)
    agreed = models.BooleanField()
    differences = models.JSONField(default=list)
    unreachable = models.JSONField(default=list, help_text="party ids of nodes that did not answer")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {'clean' if self.agreed else 'differences'}"
