"""Jobs: submit, watch, cancel, fetch; drafts."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from compute.wire import canonical
from compute.wire.messages import JobSpec, SignedRequest
from market.api.idempotency import idempotent
from market.api.inputs import DraftInput, EmptyInput, JobInput
from market.api.serializers import (
    DraftSerializer,
    JobEventSerializer,
    JobEventsSerializer,
    JobSerializer,
    JobSummarySerializer,
)
from market.api.views.base import ApiView
from market.errors import BadRequest, NotFound
from market.jobs import services
from market.ledger.chain import require as require_chain

_EVENTS_PER_ANSWER = 500


class Jobs(ApiView):
    write_scope = "jobs"

    @extend_schema(responses=JobSummarySerializer(many=True))
    def get(self, request: Request) -> Response:
        """Jobs the caller ordered or takes part in."""
        found = services.visible_jobs(self.actor).prefetch_related("parts__party", "parts__grant")
        return self.page(self.filtered(found, state="state", kind="kind"), JobSummarySerializer)

    def prepare(self, request: Request, **kwargs: Any) -> None:
        """Ask the chain before a transaction is open: it may take its time."""
        require_chain()

    @extend_schema(request=JobInput, responses={201: JobSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Submit a signed job request."""
        given = self.given(JobInput)
        job = services.submit_job(
            spec=canonical.convert(JobSpec, given["spec"]),
            request=canonical.convert(SignedRequest, given["request"]),
            actor=self.actor,
            draft_id=given.get("draft"),
        )
        return Response(JobSerializer(job).data, status=201)


class JobDetail(ApiView):
    @extend_schema(responses=JobSerializer)
    def get(self, request: Request, job: str) -> Response:
        """One job with its parts, peers and terms."""
        return Response(JobSerializer(services.find_job(job, self.actor)).data)


class JobEvents(ApiView):
    @extend_schema(responses=JobEventsSerializer)
    def get(self, request: Request, job: str) -> Response:
        """The timeline after an event id, and the job's state."""
        row = services.find_job(job, self.actor)
        try:
            after = int(request.query_params.get("after", "0"))
        except ValueError:
            raise BadRequest("after is the id of an event", field="after") from None
        events = row.events.filter(id__gt=after).order_by("id")[:_EVENTS_PER_ANSWER]
        return Response({"events": JobEventSerializer(events, many=True).data, "state": row.state})


class JobCancel(ApiView):
    write_scope = "read"  # which scope is needed depends on the side: the service asks

    @extend_schema(request=EmptyInput, responses=JobSerializer)
    @idempotent
    def post(self, request: Request, job: str) -> Response:
        """Ask for the end of a job, as its consumer or as a provider that takes part."""
        self.given(EmptyInput)
        return Response(JobSerializer(services.cancel_job(job_id=job, actor=self.actor)).data)


class JobResult(ApiView):
    read_scope = "jobs"

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Request, job: str) -> HttpResponse:
        """A result as the node sealed it. Only the consumer may fetch what only it can open."""
        row = services.find_job(job, self.actor)
        if row.consumer_id != self.actor.party_id:
            raise NotFound()
        results = row.results.all()
        role = request.query_params.get("role", "")
        result = results.filter(role=role).first() if role else results.first()
        if result is None:
            raise NotFound("there is no result (yet)")
        response = HttpResponse(bytes(result.payload), content_type="application/octet-stream")
        response["Liutong-Role"] = result.role
        return response


class Drafts(ApiView):
    read_scope = "jobs"
    write_scope = "jobs"

    @extend_schema(responses=DraftSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The caller's prepared jobs."""
        return self.page(services.visible_drafts(self.actor), DraftSerializer)

    @extend_schema(request=DraftInput, responses={201: DraftSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Keep a prepared job for the SDK to sign."""
        draft = services.save_draft(actor=self.actor, **self.given(DraftInput))
        return Response(DraftSerializer(draft).data, status=201)


class DraftDetail(ApiView):
    read_scope = "jobs"
    write_scope = "jobs"

    @extend_schema(responses=DraftSerializer)
    def get(self, request: Request, draft: str) -> Response:
        """One prepared job."""
        return Response(DraftSerializer(self.one(services.visible_drafts(self.actor), pk=draft)).data)

    @extend_schema(responses={204: None})
    @idempotent
    def delete(self, request: Request, draft: str) -> Response:
        """Throw a draft away."""
        self.one(services.visible_drafts(self.actor), pk=draft)
        services.delete_draft(draft_id=draft, actor=self.actor)
        return Response(None, status=204)
