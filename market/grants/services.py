"""The only writers of grants: request, approve, decline, sign, revoke."""

from __future__ import annotations

import secrets
import time
import uuid
from contextlib import suppress
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from compute.wire import canonical, structs
from compute.wire.canonical import from_hex, to_hex
from compute.wire.messages import GrantProposal, GrantTerms, SignedGrant
from contracts import eip712
from market.audit import services as audit
from market.catalog.models import Offer
from market.errors import (
    BadRequest,
    BadSignature,
    NotFound,
    OfferClosed,
    OutsidePolicy,
    ScopeMissing,
    WrongState,
)
from market.grants.models import Grant
from market.ledger import outbox
from market.ledger.chain import chain
from market.ledger.signers import signed_by
from market.parties.actor import Actor

_DAY_S = 86_400
# The chain's clock may lag behind ours; a grant should not be refused for that.
_CLOCK_SKEW_S = 60
_State = Grant.State


@transaction.atomic
def request_grant(
    *,
    offer_id: Any,
    purpose: str,
    operations: list[str],
    columns: list[str],
    quota: int,
    days: int,
    actor: Actor,
    epsilon_micro: int = 0,
    note: str = "",
) -> Grant:
    """A consumer applies for a use under an offer's policy.

    Raises NotFound, OfferClosed, or OutsidePolicy naming the rule. Nothing goes on chain yet.
    """
    actor.require("grants")
    if actor.party is None or not actor.party.has_role(eip712.Role.CONSUMER):
        raise BadRequest("only a consumer applies for grants")
    # Lock first: closing an offer and applying under it must not interleave.
    offer = (
        Offer.objects.select_for_update(of=("self",))
        .select_related("dataset__provider")
        .filter(pk=offer_id)
        .first()
    )
    if offer is None:
        raise NotFound()
    if offer.state != Offer.State.OPEN:
        raise OfferClosed()
    _within(offer, purpose, operations, columns, quota, days, epsilon_micro)
    now = int(time.time())
    grant = Grant.objects.create(
        offer=offer,
        provider=offer.dataset.provider,
        consumer=actor.party,
        dataset=offer.dataset,
        purpose=purpose.strip(),
        operations=[name for name in offer.operations if name in operations],
        columns=[name for name in offer.columns if name in columns],
        quota=quota,
        epsilon_micro=epsilon_micro,
        not_before=now - _CLOCK_SKEW_S,
        expiry=now + days * _DAY_S,
        note=note[:4000],
    )
    audit.append("grant.requested", actor=actor, subject=str(grant.id), offer=str(offer.id), quota=quota)
    return grant


@transaction.atomic
def approve_grant(
    *, grant_id: Any, actor: Actor, quota: int | None = None, days: int | None = None, note: str = ""
) -> Grant:
    """The provider's staff fix the terms, possibly narrower; the drive worker then asks the node to sign.

    Repeating it on an approved grant changes nothing. Raises NotFound, WrongState, OutsidePolicy if the
    terms would be wider than requested.
    """
    grant = _given_by(actor, grant_id)
    if grant.state in (_State.PROPOSED, _State.SIGNED, *Grant.ON_CHAIN):
        return grant
    if grant.state != _State.REQUESTED:
        raise WrongState(f"the grant is {grant.state}; only a request can be approved")
    now = int(time.time())
    if quota is not None:
        if not 1 <= quota <= grant.quota:
            raise OutsidePolicy("quota may only be narrowed", rule="quota", asked=quota, at_most=grant.quota)
        grant.quota = quota
    if days is not None:
        if days < 1 or now + days * _DAY_S > grant.expiry + _DAY_S:
            raise OutsidePolicy("the expiry may only come earlier", rule="expiry")
        grant.expiry = min(grant.expiry, now + days * _DAY_S)
    if grant.expiry <= now:
        raise WrongState("the requested time is over", remedy="decline it; the consumer applies anew")
    terms = GrantTerms(
        offer=str(grant.offer_id),
        purpose=grant.purpose,
        operations=tuple(grant.operations),
        columns=tuple(grant.columns),
        min_cohort=grant.min_cohort,
        price_credits=grant.price_credits,
        # Without a salt the digest of such a short document could be guessed from the chain.
        salt=to_hex(secrets.token_bytes(32)),
    )
    grant.terms = msgspec.to_builtins(terms)
    grant.terms_hash = to_hex(canonical.digest(terms))
    grant.grant_id = to_hex(eip712.struct_hash(structs.grant(proposal(grant))))
    grant.state = _State.PROPOSED
    grant.note = note[:4000] or grant.note
    grant.save()
    audit.append("grant.approved", actor=actor, subject=str(grant.id), terms_hash=grant.terms_hash)
    return grant


@transaction.atomic
def decline_grant(*, grant_id: Any, actor: Actor, note: str = "") -> Grant:
    """The provider's staff turn a request down. Repeating it changes nothing."""
    grant = _given_by(actor, grant_id)
    if grant.state == _State.DECLINED:
        return grant
    if grant.state not in (_State.REQUESTED, _State.PROPOSED):
        raise WrongState(f"the grant is {grant.state}; only a request can be declined")
    grant.state = _State.DECLINED
    grant.note = note[:4000] or grant.note
    grant.save(update_fields=["state", "note", "updated_at"])
    audit.append("grant.declined", actor=actor, subject=str(grant.id))
    return grant


@transaction.atomic
def request_revocation(*, grant_id: Any, actor: Actor, note: str = "") -> Grant:
    """The provider's staff end a grant; the drive worker gets the node's signature and it goes on chain.

    Repeating it changes nothing. Raises NotFound, WrongState if the grant never was active.
    """
    grant = _given_by(actor, grant_id)
    if grant.state == _State.REVOKED:
        return grant
    if grant.state not in (_State.SIGNED, _State.ACTIVE, _State.EXHAUSTED, _State.EXPIRED):
        raise WrongState(f"the grant is {grant.state}; only a standing grant can be revoked")
    if grant.revoke_requested_at is None:
        grant.revoke_requested_at = timezone.now()
        grant.note = note[:4000] or grant.note
        grant.save(update_fields=["revoke_requested_at", "note", "updated_at"])
        audit.append("grant.revocation.requested", actor=actor, subject=str(grant.id))
    return grant


def record_signature(*, grant_pk: uuid.UUID, signed: SignedGrant, actor: Actor) -> Grant:
    """Keep a node's signature and queue the activation. The drive worker runs this; safe to repeat.

    Raises BadSignature unless the signature is the provider's over exactly the approved terms.
    """
    grant = Grant.objects.select_related("provider").get(pk=grant_pk)
    struct = structs.grant(proposal(grant))
    signature = bytes.fromhex(signed.signature[2:])
    by_provider = signed_by(grant.provider.address, "UsageLedger", struct, signature)
    if signed.grant != grant.grant_id or not by_provider:
        raise BadSignature("the node signed something else, or with another key")
    call = chain().activate_call(struct, signature)
    with transaction.atomic():
        # Another worker may have got there first.
        moved = Grant.objects.filter(pk=grant_pk, state=_State.PROPOSED).update(
            state=_State.SIGNED, signature=signed.signature, refusal=None, updated_at=timezone.now()
        )
        if moved:
            audit.append("grant.signed", actor=actor, subject=str(grant.id), grant=signed.grant)
            outbox.queue(
                purpose="activate",
                subject=signed.grant,
                key=f"activate:{signed.grant}",
                call=call,
                actor=actor,
            )
    grant.refresh_from_db()
    return grant


@transaction.atomic
def record_refusal(*, grant_pk: uuid.UUID, refusal: dict[str, str], actor: Actor) -> None:
    """The node, or the chain, will not have this grant. ``refusal`` is {code, rule, message, remedy}."""
    moved = Grant.objects.filter(pk=grant_pk, state__in=[_State.PROPOSED, _State.SIGNED]).update(
        state=_State.REFUSED, refusal=refusal, updated_at=timezone.now()
    )
    if moved:
        audit.append("grant.refused", actor=actor, subject=str(grant_pk), **refusal)


def record_revocation(*, grant_pk: uuid.UUID, signature: bytes, actor: Actor) -> None:
    """Queue a node-signed revocation; the grant becomes revoked when the chain says so."""
    grant = Grant.objects.select_related("provider").get(pk=grant_pk)
    revocation = eip712.Revocation(grant=from_hex(grant.grant_id or ""))
    if not signed_by(grant.provider.address, "UsageLedger", revocation, signature):
        raise BadSignature("the node's revocation is not signed by its active key")
    call = chain().revoke_call(revocation, signature)
    with transaction.atomic():
        outbox.queue(
            purpose="revoke",
            subject=grant.grant_id or "",
            key=f"revoke:{grant.grant_id}",
            call=call,
            actor=actor,
        )


def proposal(grant: Grant) -> GrantProposal:
    """What the provider's node is asked to sign, from an approved grant."""
    return GrantProposal(
        provider=grant.provider_id,
        consumer=grant.consumer_id,
        dataset=grant.dataset_id,
        terms=canonical.convert(GrantTerms, grant.terms),
        quota=grant.quota,
        epsilon_micro=grant.epsilon_micro,
        not_before=grant.not_before,
        expiry=grant.expiry,
    )


def visible_grants(actor: Actor) -> QuerySet[Grant]:
    """Grants the actor's party gives or holds; all, for regulators and operators."""
    grants = Grant.objects.select_related("provider", "consumer", "dataset", "offer")
    if actor.sees_everything:
        return grants
    return grants.filter(Q(provider_id=actor.party_id) | Q(consumer_id=actor.party_id))


def find(reference: str, actor: Actor) -> Grant:
    """A visible grant by its uuid or its id on chain; raises NotFound."""
    grants = visible_grants(actor)
    grant = None
    if reference.startswith("0x"):
        grant = grants.filter(grant_id=reference).first()
    else:
        with suppress(ValueError):
            grant = grants.filter(pk=uuid.UUID(reference)).first()
    if grant is None:
        raise NotFound()
    return grant


def _given_by(actor: Actor, reference: Any) -> Grant:
    """The grant, locked, if the actor's party gives it and the actor may manage grants."""
    grant = find(str(reference), actor)
    if actor.party is not None and grant.provider_id != actor.party_id:
        # The other side may see the grant, so this is about the right, not about existence.
        raise ScopeMissing("only the grant's provider may do that")
    actor.require("grants")
    return Grant.objects.select_for_update(of=("self",)).select_related("offer", "provider").get(pk=grant.pk)


def _within(
    offer: Offer,
    purpose: str,
    operations: list[str],
    columns: list[str],
    quota: int,
    days: int,
    epsilon_micro: int,
) -> None:
    if not purpose.strip() or len(purpose) > 4000:
        raise BadRequest("state a purpose of 1 to 4000 characters", field="purpose")
    if "*" not in offer.purposes and purpose.strip() not in offer.purposes:
        raise OutsidePolicy(
            "the offer does not allow this purpose",
            rule="purpose",
            remedy=f"one of: {', '.join(offer.purposes)}",
        )
    extra = sorted(set(operations) - set(offer.operations))
    if extra or not operations:
        raise OutsidePolicy(
            f"operations allowed are {', '.join(offer.operations)}", rule="operations", asked=operations
        )
    extra = sorted(set(columns) - set(offer.columns))
    if extra:
        raise OutsidePolicy(f"columns not offered: {', '.join(extra[:10])}", rule="columns")
    if not 1 <= quota <= offer.max_quota:
        raise OutsidePolicy(f"quota is 1 to {offer.max_quota}", rule="quota", asked=quota)
    if not 1 <= days <= offer.max_days:
        raise OutsidePolicy(f"days is 1 to {offer.max_days}", rule="expiry", asked=days)
    if not 0 <= epsilon_micro < 2**53:
        raise BadRequest("epsilon_micro is a whole number of millionths", field="epsilon_micro")
