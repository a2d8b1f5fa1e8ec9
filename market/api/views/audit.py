"""The audit log and reconciliations. A regulator's own reads are recorded too."""

from __future__ import annotations

from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from market.api.idempotency import idempotent
from market.api.inputs import EmptyInput
from market.api.serializers import AuditEntrySerializer, ReconciliationSerializer
from market.api.views.base import ApiView
from market.audit import reconcile, services
from market.audit.models import AuditEntry, Reconciliation
from market.errors import BadRequest


class Entries(ApiView):
    read_scope = "audit"

    @extend_schema(responses=AuditEntrySerializer(many=True))
    def get(self, request: Request) -> Response:
        """Who did what, newest first."""
        services.append("audit.read", actor=self.actor, subject=request.query_params.get("subject", "")[:140])
        return self.page(
            self.filtered(AuditEntry.objects.all(), subject="subject", party="party_id", verb="verb"),
            AuditEntrySerializer,
        )


class Export(ApiView):
    read_scope = "audit"

    @extend_schema(responses={(200, "application/jsonl"): OpenApiTypes.STR})
    def get(self, request: Request) -> StreamingHttpResponse:
        """The log as JSON lines, oldest first; each line's digest covers the one before."""
        try:
            after = int(request.query_params.get("after", "0"))
        except ValueError:
            raise BadRequest("after is a sequence number", field="after") from None
        services.append("audit.exported", actor=self.actor, after=after)
        return StreamingHttpResponse(services.export(after), content_type="application/jsonl")


class Reconciliations(ApiView):
    read_scope = "audit"
    write_scope = "audit"

    @extend_schema(responses=ReconciliationSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Past comparisons, newest first."""
        return self.page(Reconciliation.objects.all(), ReconciliationSerializer)

    def prepare(self, request: Request, **kwargs: Any) -> None:
        """Compare before a transaction is open: chain and nodes take their time."""
        self.report = reconcile.compare_settled()

    @extend_schema(request=EmptyInput, responses={201: ReconciliationSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Compare chain, portal and nodes now."""
        self.given(EmptyInput)
        row = reconcile.record(self.report, actor=self.actor)
        return Response(ReconciliationSerializer(row).data, status=201)
