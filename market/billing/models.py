"""What consumers owe providers: derived from anchored receipts and signed terms, never entered by hand."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone

from market.fields import Hex32Field
from market.parties.models import Party


class Invoice(models.Model):
    """All uses of one provider's data by one consumer in one calendar month (UTC)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    provider = models.ForeignKey(Party, on_delete=models.PROTECT, related_name="invoices_issued")
    consumer = models.ForeignKey(Party, on_delete=models.PROTECT, related_name="invoices_received")
    period = models.CharField(max_length=7, help_text="YYYY-MM")
    units = models.BigIntegerField(default=0)
    amount_credits = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-period", "provider_id"]
        constraints = [
            models.UniqueConstraint(fields=["provider", "consumer", "period"], name="invoice_once"),
        ]

    def __str__(self) -> str:
        return f"{self.period} {self.consumer} → {self.provider}"


class InvoiceLine(models.Model):
    """One anchored receipt on an invoice."""

    invoice = models.ForeignKey(Invoice, on_delete=models.CASCADE, related_name="lines")
    receipt_digest = Hex32Field(unique=True)
    grant_id = Hex32Field()
    job_id = Hex32Field()
    units = models.BigIntegerField()
    price_credits = models.BigIntegerField()
    amount_credits = models.BigIntegerField()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.units} × {self.price_credits}"
