"""whoami, chain, parties, nodes."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from compute.wire import canonical, structs
from compute.wire.messages import Enrolment, SignedAction
from contracts.eip712 import Role
from contracts.errors import ChainUnreachable
from market.api.idempotency import idempotent
from market.api.inputs import ActionInput, EnrolInput
from market.api.serializers import PartySerializer
from market.api.views.base import ApiView
from market.errors import BadRequest, ChainUnavailable
from market.ledger.chain import chain
from market.ledger.models import Block
from market.parties import enrolment
from market.parties.actor import Actor
from market.parties.models import NodeStatus, Party


def visible_parties(actor: Actor) -> QuerySet[Party]:
    """Everyone on chain; proposals only for regulators, operators and the party itself."""
    parties = Party.objects.all()
    if actor.sees_everything:
        return parties
    return parties.exclude(state=Party.State.PROPOSED) | parties.filter(pk=actor.party_id)


class WhoAmI(ApiView):
    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        """The calling party, its roles and what this key may do."""
        actor = self.actor
        party = actor.party
        return Response(
            {
                "party": actor.party_id,
                "name": party.name if party else "",
                "name_zh": party.name_zh if party else "",
                "roles": sorted(actor.roles),
                "scopes": sorted(actor.scopes),
                "label": actor.label,
                "address": party.address if party else "",
                "box_key": party.box_key if party else "",
            }
        )


class ChainView(ApiView):
    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        """Which chain and contracts this market rests on, its head, and how far the index is."""
        try:
            contracts = chain()
            head = contracts.head()
            answer: dict[str, Any] = {
                "chain_id": contracts.chain_id,
                "rpc_url": settings.CHAIN_RPC_URL,
                "address_book": contracts.address_book,
                "addresses": dict(contracts.addresses),
                "head": {"number": head.number, "hash": "0x" + head.hash.hex(), "timestamp": head.timestamp},
                "finality_depth": settings.FINALITY_DEPTH,
                "release_grace_s": contracts.release_grace_s,
            }
        except ChainUnreachable as error:
            raise ChainUnavailable() from error
        cursor = Block.objects.order_by("-number").first()
        answer["indexed"] = {"number": cursor.number, "hash": cursor.hash} if cursor else None
        return Response(answer)


class Parties(ApiView):
    write_scope = "operate"

    @extend_schema(responses=PartySerializer(many=True))
    def get(self, request: Request) -> Response:
        """Parties of the market."""
        return self.page(self.filtered(visible_parties(self.actor), state="state"), PartySerializer)

    @extend_schema(request=EnrolInput, responses={201: PartySerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Relay a party's enrolment to the chain."""
        given = self.given(EnrolInput)
        roles = Role(0)
        for name in given["roles"]:
            roles |= Role[name.upper()]
        party = enrolment.propose_party(
            enrolment=canonical.convert(Enrolment, given["enrolment"]),
            roles=roles,
            actor=self.actor,
            name_zh=given["name_zh"],
            node_url=given["node_url"],
        )
        return Response(PartySerializer(party).data, status=201)


class PartyDetail(ApiView):
    @extend_schema(responses=PartySerializer)
    def get(self, request: Request, party: str) -> Response:
        """One party."""
        return Response(PartySerializer(self.one(visible_parties(self.actor), pk=party)).data)


class PartySuspension(ApiView):
    # The operator's own, or a regulator's that it signed: which is allowed is checked below.
    write_scope = "read"
    suspended = True

    @extend_schema(request=ActionInput, responses=PartySerializer)
    @idempotent
    def post(self, request: Request, party: str) -> Response:
        """Queue the suspension of a party or its lifting: the operator's, or a regulator's signed action."""
        given = self.given(ActionInput)
        if "action" in given:
            self.actor.require("audit")
            signed = canonical.convert(SignedAction, given["action"])
            if signed.subject != party or signed.verb != (3 if self.suspended else 4):
                raise BadRequest("the action is about something else", field="action")
            changed = enrolment.relay_suspension(
                action=structs.action(signed), signature=bytes.fromhex(signed.signature[2:]), actor=self.actor
            )
        else:
            changed = enrolment.set_suspension(party_id=party, suspended=self.suspended, actor=self.actor)
        return Response(PartySerializer(changed).data)


class Nodes(ApiView):
    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        """Every party's node and what was last heard of it."""
        statuses = {status.party_id: status for status in NodeStatus.objects.all()}
        rows = []
        for party in visible_parties(self.actor).exclude(node_url=""):
            status = statuses.get(party.party_id)
            rows.append(
                {
                    "party": party.party_id,
                    "name": party.name,
                    "name_zh": party.name_zh,
                    "url": party.node_url,
                    "state": party.state,
                    "reachable": bool(status and status.reachable),
                    "software": status.software if status else "",
                    "chain_block": status.chain_block if status else None,
                    "checked_at": status.checked_at if status else None,
                    "seen_at": status.seen_at if status else None,
                    # Addresses and stack traces of others' machines are nobody else's business.
                    "error": status.error if status and self.actor.sees_everything else "",
                }
            )
        return Response(rows)
