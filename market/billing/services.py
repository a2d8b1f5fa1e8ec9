"""The only writer of invoices. They are a function of settled receipts and signed terms."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import transaction

from market.billing.models import Invoice, InvoiceLine
from market.grants.models import Grant
from market.ledger.models import Receipt


@dataclass(frozen=True)
class Line:
    """What one anchored receipt costs."""

    provider: str
    consumer: str
    period: str
    receipt: str
    grant: str
    job: str
    units: int
    price_credits: int

    @property
    def amount_credits(self) -> int:
        """Whole credits: units times the price in the signed terms."""
        return self.units * self.price_credits


def expected_lines() -> list[Line]:
    """Every line that invoices must hold, from the units the contract charged. Reads only.

    A receipt whose grant's terms are not here (a rebuilt portal) is priced once they are back.
    """
    charged = Receipt.objects.filter(state=Receipt.State.ANCHORED, charged_units__gt=0)
    grants = {
        grant.grant_id: grant
        for grant in Grant.objects.filter(grant_id__in=charged.values("grant_id"), terms__isnull=False)
    }
    lines = []
    for receipt in charged.order_by("node", "sequence"):
        grant = grants.get(receipt.grant_id)
        if grant is None:
            continue
        lines.append(
            Line(
                provider=grant.provider_id,
                consumer=grant.consumer_id,
                period=datetime.fromtimestamp(receipt.issued_at, UTC).strftime("%Y-%m"),
                receipt=receipt.digest,
                grant=receipt.grant_id,
                job=receipt.job_id,
                units=receipt.charged_units,
                price_credits=grant.price_credits,
            )
        )
    return lines


@transaction.atomic
def derive() -> int:
    """Bring invoices up to what receipts say; returns how many lines were added. Safe to repeat.

    Lines are added, never edited: a line that was tampered with stays for reconcile to find. After a
    reorganisation `derive_anew` starts over.
    """
    present = set(InvoiceLine.objects.values_list("receipt_digest", flat=True))
    missing = [line for line in expected_lines() if line.receipt not in present]
    touched: dict[tuple[str, str, str], list[Line]] = defaultdict(list)
    for line in missing:
        touched[line.provider, line.consumer, line.period].append(line)
    for (provider, consumer, period), lines in touched.items():
        invoice, _created = Invoice.objects.get_or_create(
            provider_id=provider, consumer_id=consumer, period=period
        )
        for line in lines:
            InvoiceLine.objects.get_or_create(
                receipt_digest=line.receipt,
                defaults={
                    "invoice": invoice,
                    "grant_id": line.grant,
                    "job_id": line.job,
                    "units": line.units,
                    "price_credits": line.price_credits,
                    "amount_credits": line.amount_credits,
                },
            )
        # Added to, not summed up afresh: summing would launder an edited line.
        invoice.units += sum(line.units for line in lines)
        invoice.amount_credits += sum(line.amount_credits for line in lines)
        invoice.save(update_fields=["units", "amount_credits"])
    return len(missing)


@transaction.atomic
def derive_anew() -> int:
    """Throw all invoices away and derive them again: after an unwind or a rebuild."""
    InvoiceLine.objects.all().delete()
    Invoice.objects.all().delete()
    return derive()
