"""Turns what a consumer wants into a signed order: spec, request and the secrets to open the result with."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from compute.errors import BadInput
from compute.protocols.protocol import JobKind, Rng
from compute.sdk.errors import BadPortalAnswer
from compute.sdk.identity import Identity
from compute.sdk.objects import Grant
from compute.wire import canonical, structs
from compute.wire.canonical import from_hex, to_hex
from compute.wire.messages import GrantProposal, GrantTerms, JobSpec, Participant, RequestLine, SignedRequest
from contracts import eip712


@dataclass(frozen=True, repr=False)  # holds the secrets of prepare(): keep it out of logs
class Order:
    """A signed order of one job."""

    kind: JobKind
    spec: JobSpec
    params: Any
    request: SignedRequest
    secrets: dict[str, bytes]
    min_cohort: int

    @property
    def job(self) -> str:
        """The job's id."""
        return self.request.job


def prepare_order(
    kind: JobKind,
    *,
    purpose: str,
    grants: Mapping[str, Grant],
    params: Mapping[str, Any],
    identity: Identity,
    domain: eip712.Domain,
    units: Mapping[str, int] | None = None,
    deadline_s: int = 600,
    rng: Rng = os.urandom,
    clock: float | None = None,
) -> Order:
    """Build, check and sign an order. ``grants`` maps each role but the consumer's own to its grant.

    ``units`` overrides what is reserved per role. Where ``max_elements`` is what a job reserves and is left
    out, it is what the grants have left, its default at most. ``domain`` is UsageLedger's. Raises BadInput
    for parameters that do not fit, BadPortalAnswer for a grant whose terms are not what was signed.
    """
    terms = {role: checked_terms(grant, identity.party) for role, grant in grants.items()}
    final_params, secrets = kind.prepare(dict(params), rng)
    participants = [
        Participant(
            role=role,
            party=grant.provider.party,
            grant=grant.grant,
            dataset=grant.dataset,
            commitment=grant.commitment,
        )
        for role, grant in grants.items()
    ]
    if kind.consumer_role is not None:
        participants.append(Participant(role=kind.consumer_role, party=identity.party))
    spec = JobSpec(
        kind=kind.name,
        purpose=purpose,
        consumer=identity.party,
        result_key=to_hex(identity.box_public),
        participants=tuple(participants),
        params=final_params,
    )
    typed = kind.parse(spec)
    if "max_elements" not in params and hasattr(typed, "max_elements"):
        charged = [
            grant for role, grant in grants.items() if kind.units(spec, typed, role) == typed.max_elements
        ]
        left = [grant.left for grant in charged if grant.left]
        final_params = {**final_params, "max_elements": min([typed.max_elements, *left])}
        spec = msgspec.structs.replace(spec, params=final_params)
        typed = kind.parse(spec)
    kind.roles(spec, typed)
    spec = msgspec.structs.replace(
        spec,
        participants=tuple(
            msgspec.structs.replace(item, columns=kind.columns(spec, typed, item.role))
            if item.grant
            else item
            for item in spec.participants
        ),
    )
    lines: dict[str, int] = {}
    for role, grant in grants.items():
        wanted = (units or {}).get(role, kind.units(spec, typed, role))
        lines[_active(grant)] = lines.get(_active(grant), 0) + wanted
    request = _sign(
        spec, lines, identity, domain, deadline=int(clock if clock is not None else time.time()) + deadline_s
    )
    return Order(
        kind=kind,
        spec=spec,
        params=typed,
        request=request,
        secrets=secrets,
        min_cohort=max((item.min_cohort for item in terms.values()), default=1),
    )


def checked_terms(grant: Grant, consumer: str) -> GrantTerms:
    """A grant's terms, after checking that they are the ones behind its id, and the grant ``consumer``'s.

    Raises BadPortalAnswer, BadInput if there are no terms yet.
    """
    if grant.consumer.party != consumer:
        raise BadPortalAnswer(f"grant {grant.grant} is another consumer's")
    if grant.terms is None or grant.grant is None or grant.not_before is None or grant.expiry is None:
        raise BadInput(f"grant {grant.id} is {grant.state}: its terms are not fixed yet")
    proposal = GrantProposal(
        provider=grant.provider.party,
        consumer=grant.consumer.party,
        dataset=grant.dataset,
        terms=canonical.convert(GrantTerms, grant.terms),
        quota=grant.quota,
        epsilon_micro=grant.epsilon_micro,
        not_before=grant.not_before,
        expiry=grant.expiry,
    )
    if to_hex(eip712.struct_hash(structs.grant(proposal))) != grant.grant:
        raise BadPortalAnswer(
            f"the terms that the portal shows for grant {grant.grant} are not what was signed"
        )
    return proposal.terms


def same_grant(asked: Grant | str, shown: Grant) -> Grant:
    """``shown``, if it is the grant that was asked for; raises BadPortalAnswer.

    A portal that shows another grant of the party would have it sign away that one.
    """
    if isinstance(asked, Grant):
        same = shown.id == asked.id and asked.grant in (None, shown.grant)
    else:
        same = asked in (shown.id, shown.grant)
    if not same:
        raise BadPortalAnswer("the portal shows another grant than the one asked for")
    return shown


def _active(grant: Grant) -> str:
    if grant.grant is None:
        raise BadInput(f"grant {grant.id} is {grant.state}: it cannot be used yet")
    return grant.grant


def _sign(
    spec: JobSpec, lines: Mapping[str, int], identity: Identity, domain: eip712.Domain, *, deadline: int
) -> SignedRequest:
    struct = eip712.JobRequest(
        consumer=from_hex(spec.consumer),
        spec_hash=canonical.digest(spec),
        nonce=os.urandom(32),
        deadline=deadline,
        lines=tuple(eip712.Line(from_hex(grant), units, 0) for grant, units in lines.items()),
    )
    return SignedRequest(
        job=to_hex(eip712.struct_hash(struct)),
        consumer=spec.consumer,
        spec_hash=to_hex(struct.spec_hash),
        nonce=to_hex(struct.nonce),
        deadline=deadline,
        lines=tuple(RequestLine(grant=grant, units=units) for grant, units in lines.items()),
        signature=to_hex(identity.signer.sign(domain, struct)),
    )
