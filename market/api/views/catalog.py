"""Datasets, offers, job kinds."""

from __future__ import annotations

from django.db.models import Q
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from compute.wire import canonical, structs
from compute.wire.messages import SignedAction
from market.api.idempotency import idempotent
from market.api.inputs import ActionInput, EmptyInput, OfferInput
from market.api.serializers import DatasetSerializer, OfferSerializer
from market.api.views.base import ApiView
from market.catalog import services
from market.catalog.models import Dataset
from market.errors import BadRequest, ScopeMissing
from market.jobs import kinds


class Datasets(ApiView):
    @extend_schema(responses=DatasetSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The catalogue; ``q`` searches names, descriptions, providers and columns."""
        query = request.query_params.get("q", "")
        if "\0" in query or len(query) > 500:
            raise BadRequest("a search has at most 500 characters and no NUL", field="q")
        found = services.visible_datasets(self.actor, query)
        operation = request.query_params.get("operation", "")
        if operation:
            found = found.filter(operations__icontains=f'"{operation[:20]}"')
        return self.page(
            self.filtered(found, provider="provider_id", kind="kind", state="state"), DatasetSerializer
        )


class DatasetDetail(ApiView):
    @extend_schema(responses=DatasetSerializer)
    def get(self, request: Request, dataset: str) -> Response:
        """One dataset with its versions."""
        return Response(DatasetSerializer(self.one(services.visible_datasets(self.actor), pk=dataset)).data)


class DatasetFreeze(ApiView):
    # Regulators freeze too, with a signed action; what is allowed is checked below.
    write_scope = "read"
    frozen = True

    @extend_schema(request=ActionInput, responses=DatasetSerializer)
    @idempotent
    def post(self, request: Request, dataset: str) -> Response:
        """Freeze or unfreeze: the owner asks its node, a regulator sends an action it signed."""
        given = self.given(ActionInput)
        if "action" in given:
            if not {"catalog", "audit"} & self.actor.scopes:
                raise ScopeMissing('this needs the scope "catalog" or "audit"')
            signed = canonical.convert(SignedAction, given["action"])
            if signed.subject != dataset or signed.verb != (1 if self.frozen else 2):
                raise BadRequest("the action is about something else", field="action")
            services.relay_freeze(
                action=structs.action(signed), signature=bytes.fromhex(signed.signature[2:]), actor=self.actor
            )
        else:
            services.request_freeze(dataset_id=dataset, frozen=self.frozen, actor=self.actor)
        row = Dataset.objects.select_related("provider").get(pk=dataset)
        return Response(DatasetSerializer(row).data)


class Offers(ApiView):
    write_scope = "catalog"

    @extend_schema(responses=OfferSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Offers that are open, and the caller's own."""
        found = services.visible_offers(self.actor)
        for word in request.query_params.get("q", "")[:500].replace("\0", "").split()[:8]:
            found = found.filter(
                Q(title__icontains=word) | Q(description__icontains=word) | Q(dataset__name__icontains=word)
            )
        return self.page(self.filtered(found, dataset="dataset_id", state="state"), OfferSerializer)

    @extend_schema(request=OfferInput, responses={201: OfferSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Publish an offer on a dataset of the caller's."""
        given = self.given(OfferInput)
        offer = services.publish_offer(dataset_id=given.pop("dataset"), actor=self.actor, **given)
        return Response(OfferSerializer(offer).data, status=201)


class OfferDetail(ApiView):
    @extend_schema(responses=OfferSerializer)
    def get(self, request: Request, offer: str) -> Response:
        """One offer."""
        return Response(OfferSerializer(self.one(services.visible_offers(self.actor), pk=offer)).data)


class OfferClose(ApiView):
    write_scope = "catalog"

    @extend_schema(request=EmptyInput, responses=OfferSerializer)
    @idempotent
    def post(self, request: Request, offer: str) -> Response:
        """Take no further applications."""
        self.given(EmptyInput)
        self.one(services.visible_offers(self.actor), pk=offer)
        return Response(OfferSerializer(services.close_offer(offer_id=offer, actor=self.actor)).data)


class JobKinds(ApiView):
    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        """Every kind of job with its roles and parameter schema."""
        return Response(list(kinds.job_kinds()))


class JobKindDetail(ApiView):
    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, name: str) -> Response:
        """One kind of job."""
        return Response(kinds.job_kind(name))
