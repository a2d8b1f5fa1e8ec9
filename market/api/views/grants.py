"""Grants: apply, approve, decline, revoke."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from market.api.idempotency import idempotent
from market.api.inputs import ApproveInput, GrantInput, NoteInput
from market.api.serializers import GrantSerializer
from market.api.views.base import ApiView
from market.grants import services


class Grants(ApiView):
    write_scope = "grants"

    @extend_schema(responses=GrantSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Grants the caller gives or holds."""
        found = services.visible_grants(self.actor)
        side = request.query_params.get("side", "")
        if side == "given":
            found = found.filter(provider_id=self.actor.party_id)
        elif side == "held":
            found = found.filter(consumer_id=self.actor.party_id)
        return self.page(
            self.filtered(found, state="state", dataset="dataset_id", offer="offer_id"), GrantSerializer
        )

    @extend_schema(request=GrantInput, responses={201: GrantSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Apply for a grant under an offer."""
        given = self.given(GrantInput)
        grant = services.request_grant(offer_id=given.pop("offer"), actor=self.actor, **given)
        return Response(GrantSerializer(grant).data, status=201)


class GrantDetail(ApiView):
    @extend_schema(responses=GrantSerializer)
    def get(self, request: Request, grant: str) -> Response:
        """One grant, by its uuid or its id on chain."""
        return Response(GrantSerializer(services.find(grant, self.actor)).data)


class GrantApprove(ApiView):
    write_scope = "grants"

    @extend_schema(request=ApproveInput, responses=GrantSerializer)
    @idempotent
    def post(self, request: Request, grant: str) -> Response:
        """Fix the terms; the provider's node is then asked to sign."""
        given = self.given(ApproveInput)
        row = services.approve_grant(grant_id=grant, actor=self.actor, **given)
        return Response(GrantSerializer(row).data)


class GrantDecline(ApiView):
    write_scope = "grants"

    @extend_schema(request=NoteInput, responses=GrantSerializer)
    @idempotent
    def post(self, request: Request, grant: str) -> Response:
        """Turn a request down."""
        row = services.decline_grant(grant_id=grant, actor=self.actor, **self.given(NoteInput))
        return Response(GrantSerializer(row).data)


class GrantRevoke(ApiView):
    write_scope = "grants"

    @extend_schema(request=NoteInput, responses=GrantSerializer)
    @idempotent
    def post(self, request: Request, grant: str) -> Response:
        """End a grant before its expiry."""
        row = services.request_revocation(grant_id=grant, actor=self.actor, **self.given(NoteInput))
        return Response(GrantSerializer(row).data)
