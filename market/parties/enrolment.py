"""Bringing a party into the market: the portal relays what the party signed; the chain decides."""

from __future__ import annotations

from django.db import transaction

from compute.wire import structs
from compute.wire.canonical import from_hex
from compute.wire.messages import Enrolment
from contracts import eip712
from market.audit import services as audit
from market.errors import BadRequest, BadSignature, NotFound, WrongState
from market.ledger import outbox
from market.ledger.chain import chain
from market.ledger.models import ChainTransaction
from market.ledger.signers import signed_by, signer_of
from market.parties.actor import Actor
from market.parties.models import Party


def propose_party(
    *, enrolment: Enrolment, roles: eip712.Role, actor: Actor, name_zh: str = "", node_url: str = ""
) -> Party:
    """Record a party and queue its enrolment on chain; repeating it changes nothing.

    The enrolment's signature proves that whoever made it holds the key. Raises BadSignature, BadRequest
    without a role, WrongState if the id is taken by another key, ChainUnavailable. The operator runs this.
    """
    actor.require("operate")
    if not roles:
        raise BadRequest("a party needs at least one role", field="roles")
    key = structs.node_key(enrolment)
    signature = bytes.fromhex(enrolment.signature[2:])
    signer = signer_of("PartyRegistry", key, signature)
    if signer is None or signer.lower() != enrolment.address.lower():
        raise BadSignature("the enrolment is not signed by the key it names")
    call = chain().enrol_call(key.party, int(roles), key, signature)
    with transaction.atomic():
        party, created = Party.objects.select_for_update().get_or_create(
            party_id=enrolment.party,
            defaults={
                "name": enrolment.name,
                "name_zh": name_zh,
                "roles": int(roles),
                "address": signer,
                "box_key": enrolment.box_key,
                "he_key_digest": enrolment.he_key_digest,
                "node_url": node_url or enrolment.url,
            },
        )
        if not created and party.address.lower() != signer.lower():
            raise WrongState("a party by this id has another key; keys change by rotation only")
        if created:
            audit.append("party.proposed", actor=actor, subject=party.party_id, roles=party.role_names)
        if party.state == Party.State.PROPOSED:
            outbox.queue(
                purpose="enrol",
                subject=party.party_id,
                key=f"enrol:{party.party_id}",
                call=call,
                actor=actor,
            )
    return party


@transaction.atomic
def describe_party(
    *,
    party_id: str,
    actor: Actor,
    name: str | None = None,
    name_zh: str | None = None,
    node_url: str | None = None,
) -> Party:
    """Change what the portal alone knows of a party: names and where its node listens."""
    party = Party.objects.select_for_update().filter(pk=party_id).first()
    if party is None:
        raise NotFound()
    if "operate" not in actor.scopes:
        actor.require_party(party)
    changes = {
        field: value
        for field, value in {"name": name, "name_zh": name_zh, "node_url": node_url}.items()
        if value is not None and value != getattr(party, field)
    }
    if changes:
        for field, value in changes.items():
            setattr(party, field, value)
        party.save(update_fields=list(changes))
        audit.append("party.described", actor=actor, subject=party_id, **changes)
    return party


def relay_suspension(*, action: eip712.Action, signature: bytes, actor: Actor) -> Party:
    """Queue a regulator's signed suspension (verb 3) or reinstatement (verb 4) of a party.

    Raises NotFound, BadRequest for another verb, BadSignature unless the acting regulator signed it.
    """
    purposes = {3: "suspend", 4: "reinstate"}
    if action.verb not in purposes:
        raise BadRequest("verb is 3 (suspend) or 4 (reinstate)", field="verb")
    regulator = Party.objects.filter(pk="0x" + action.party.hex()).first()
    party = Party.objects.filter(pk="0x" + action.subject.hex()).first()
    if regulator is None or party is None:
        raise NotFound()
    actor.require_party(regulator)
    if not signed_by(regulator.address, "PartyRegistry", action, signature):
        raise BadSignature()
    call = chain().act_call(action, signature)
    with transaction.atomic():
        outbox.queue(
            purpose=purposes[action.verb],
            subject=party.party_id,
            key=f"act:{regulator.party_id}:{action.nonce}",
            call=call,
            actor=actor,
        )
    return party


@transaction.atomic
def set_suspension(*, party_id: str, suspended: bool, actor: Actor) -> Party:
    """Queue the operator's suspension of a party on chain, or its lifting."""
    actor.require("operate")
    party = Party.objects.select_for_update().filter(pk=party_id).first()
    if party is None:
        raise NotFound()
    if (party.state == Party.State.SUSPENDED) == suspended:
        return party
    purpose = "suspend" if suspended else "reinstate"
    contract = chain()
    call = (contract.suspend_call if suspended else contract.reinstate_call)(from_hex(party_id))
    # Counted, because the same act may be wanted again later.
    turn = ChainTransaction.objects.filter(
        purpose=purpose, subject=party_id, state=ChainTransaction.State.MINED
    ).count()
    outbox.queue(
        purpose=purpose, subject=party_id, key=f"{purpose}:{party_id}:{turn}", call=call, actor=actor
    )
    return party
