"""Receipts, evidence, invoices, workers."""

from __future__ import annotations

from django.db.models import Count, Q, QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from market.api.serializers import InvoiceSerializer, ReceiptSerializer
from market.api.views.base import ApiView
from market.billing.models import Invoice
from market.jobs.models import Job
from market.ledger import receipts
from market.ledger.models import ChainTransaction, Receipt, WorkerBeat
from market.parties.actor import Actor


def visible_invoices(actor: Actor) -> QuerySet[Invoice]:
    """Invoices the actor's party issues or receives; all, for regulators and operators."""
    invoices = Invoice.objects.select_related("provider", "consumer").prefetch_related("lines")
    if actor.sees_everything:
        return invoices
    return invoices.filter(Q(provider_id=actor.party_id) | Q(consumer_id=actor.party_id))


class Receipts(ApiView):
    @extend_schema(responses=ReceiptSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Receipts of the caller's node and of the caller's jobs."""
        found = receipts.visible_receipts(self.actor)
        return self.page(
            self.filtered(
                found, job="job_id", grant="grant_id", node="node", outcome="outcome", state="state"
            ),
            ReceiptSerializer,
        )


class ReceiptDetail(ApiView):
    @extend_schema(responses=ReceiptSerializer)
    def get(self, request: Request, digest: str) -> Response:
        """One receipt."""
        return Response(ReceiptSerializer(self.one(receipts.visible_receipts(self.actor), pk=digest)).data)


class ReceiptEvidence(ApiView):
    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, digest: str) -> Response:
        """Everything needed to verify the receipt without this portal and without a network."""
        receipt = self.one(receipts.visible_receipts(self.actor), pk=digest)
        return Response(receipts.evidence(receipt, self.actor))


class Invoices(ApiView):
    @extend_schema(responses=InvoiceSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Invoices the caller issues or receives."""
        return self.page(self.filtered(visible_invoices(self.actor), period="period"), InvoiceSerializer)


class InvoiceDetail(ApiView):
    @extend_schema(responses=InvoiceSerializer)
    def get(self, request: Request, invoice: str) -> Response:
        """One invoice with its lines."""
        return Response(InvoiceSerializer(self.one(visible_invoices(self.actor), pk=invoice)).data)


class Workers(ApiView):
    read_scope = "operate"

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        """When the background workers last gave a sign of life, and what waits in the outbox."""
        waiting = dict.fromkeys(ChainTransaction.State.values, 0)
        waiting.update(
            ChainTransaction.objects.order_by()
            .values_list("state")
            .annotate(count=Count("id"))
            .values_list("state", "count")
        )
        return Response(
            {
                "workers": list(WorkerBeat.objects.order_by("name").values("name", "at", "note")),
                "outbox": waiting,
                "jobs_open": Job.objects.exclude(state__in=Job.FINAL).count(),
                "receipts_waiting": Receipt.objects.filter(state=Receipt.State.SIGNED).count(),
            }
        )
