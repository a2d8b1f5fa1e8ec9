"""The writers of jobs on behalf of people: submit, cancel, draft, and who may see what.

What nodes and chain report is written by `market.jobs.progress`.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from compute.wire import canonical, structs
from compute.wire.canonical import from_hex, to_hex
from compute.wire.messages import JobSpec, JobSubmission, SignedRequest
from contracts import eip712
from market.audit import services as audit
from market.errors import BadRequest, BadSignature, JobExists, JobRejected, NotFound, ScopeMissing
from market.grants.models import Grant
from market.jobs.kinds import job_kind
from market.jobs.models import Draft, Job, JobEvent, JobPart
from market.jobs.parameters import check_parameters
from market.ledger import chain as door
from market.ledger import outbox
from market.ledger.signers import signed_by
from market.parties.actor import Actor

# A draft is a form's content, not a store for files.
_MAX_DRAFT_BYTES = 64 << 10
_MAX_PARTICIPANTS = 16


def submit_job(*, spec: JobSpec, request: SignedRequest, actor: Actor, draft_id: Any = None) -> Job:
    """Take a consumer's signed order, queue its reservation on chain.

    The portal checks what makes an order an order: it is the caller's, signed by the key the chain names, its
    digests and lines fit, its parameters those of its kind. Whether it is *allowed* the nodes and the chain
    decide. Raises JobExists for a request that was used before, JobRejected naming the rule, BadRequest
    naming the parameter, BadSignature, ChainUnavailable (new work waits when the chain is silent).
    """
    actor.require("jobs")
    if actor.party is None or spec.consumer != actor.party_id or request.consumer != actor.party_id:
        raise JobRejected("the order must name the calling party as its consumer", rule="consumer")
    if canonical.digest(spec) != from_hex(request.spec_hash):
        raise JobRejected("spec_hash is not the digest of the spec", rule="spec_hash")
    struct = structs.job_request(request)
    if to_hex(eip712.struct_hash(struct)) != request.job:
        raise JobRejected("job is not the struct hash of the request", rule="job_id")
    # Before anything else that could differ: a replay must be told as a replay.
    if Job.objects.filter(pk=request.job).exists():
        raise JobExists(rule="replay", remedy="sign a new request with a fresh nonce")
    try:
        check_parameters(spec.kind, spec.params)
    except NotFound:
        raise JobRejected(f"unknown job kind {spec.kind!r}", rule="kind") from None
    if request.deadline <= time.time():
        raise JobRejected("the deadline has passed", rule="deadline")
    door.require()
    signature = bytes.fromhex(request.signature[2:])
    if not signed_by(actor.party.address, "UsageLedger", struct, signature):
        raise BadSignature("the request is not signed by the consumer's active key", rule="signature")
    grants = _grants_of(spec, request, actor)
    call = door.chain().reserve_call(struct, signature)
    with transaction.atomic():
        try:
            with transaction.atomic():
                job = Job.objects.create(
                    job_id=request.job,
                    consumer=actor.party,
                    kind=spec.kind,
                    purpose=spec.purpose,
                    spec=msgspec.to_builtins(spec),
                    request=msgspec.to_builtins(request),
                    deadline=request.deadline,
                )
        except IntegrityError:  # the same request, submitted at the same moment
            raise JobExists(rule="replay", remedy="sign a new request with a fresh nonce") from None
        for participant in spec.participants:
            JobPart.objects.create(
                job=job,
                role=participant.role,
                party_id=participant.party,
                grant=grants[participant.grant] if participant.grant else None,
            )
        if draft_id:
            Draft.objects.filter(pk=draft_id, consumer=actor.party).update(job=job)
        note(job, "submitted")
        audit.append("job.submitted", actor=actor, subject=job.job_id, kind=job.kind, purpose=job.purpose)
        outbox.queue(
            purpose="reserve", subject=job.job_id, key=f"reserve:{job.job_id}", call=call, actor=actor
        )
    return job


@transaction.atomic
def cancel_job(*, job_id: str, actor: Actor) -> Job:
    """Ask for the end of a job; the drive worker tells the nodes. A final job stays as it is.

    The consumer may, and each provider whose node takes part: who may revoke the grant may end its use.
    """
    job = visible_jobs(actor).filter(pk=job_id).first()
    if job is None:
        raise NotFound()
    as_provider = job.consumer_id != actor.party_id and takes_part(job, actor)
    actor.require("grants" if as_provider else "jobs")
    if actor.party is not None and job.consumer_id != actor.party_id and not as_provider:
        raise ScopeMissing("only the consumer and the providers that take part cancel a job")
    job = Job.objects.select_for_update(of=("self",)).get(pk=job_id)
    if not job.is_final and job.cancel_requested_at is None:
        job.cancel_requested_at = timezone.now()
        job.save(update_fields=["cancel_requested_at", "updated_at"])
        note(job, "cancel requested", str(actor.party or ""))
        audit.append("job.cancel.requested", actor=actor, subject=job_id)
    return job


@transaction.atomic
def save_draft(*, document: dict[str, Any], actor: Actor) -> Draft:
    """Keep a prepared job for the SDK to sign. The document is checked when it is signed, not now.

    Raises BadRequest for an unknown kind or an oversized document.
    """
    actor.require("jobs")
    if actor.party is None:
        raise BadRequest("a draft belongs to a consumer")
    if len(msgspec.json.encode(document)) > _MAX_DRAFT_BYTES:
        raise BadRequest(f"a draft has at most {_MAX_DRAFT_BYTES} bytes", field="document")
    try:
        job_kind(str(document.get("kind")))
    except NotFound as error:
        raise BadRequest(error.message, field="document.kind") from None
    draft = Draft.objects.create(consumer=actor.party, document=document)
    audit.append("job.drafted", actor=actor, subject=str(draft.id), kind=document["kind"])
    return draft


@transaction.atomic
def delete_draft(*, draft_id: Any, actor: Actor) -> None:
    """Throw a draft away; repeating it changes nothing."""
    actor.require("jobs")
    visible_drafts(actor).filter(pk=draft_id).delete()


def note(job: Job, phase: str, message: str = "") -> None:
    """Add one of the portal's own lines to a job's timeline, once per phase."""
    if JobEvent.objects.filter(job=job, role="", phase=phase).exists():
        return
    count = JobEvent.objects.filter(job=job, role="").count()
    JobEvent.objects.get_or_create(
        job=job,
        role="",
        sequence=count + 1,
        defaults={"at_ms": time.time_ns() // 1_000_000, "phase": phase, "message": message},
    )


def submission(job: Job) -> JobSubmission:
    """What the nodes of a job get: spec, request, the terms behind the grants, where the peers listen."""
    terms: dict[str, Any] = {}
    peers: dict[str, str] = {}
    for part in job.parts.select_related("party", "grant"):
        if part.grant is not None and part.grant.terms is not None:
            terms[part.grant.grant_id or ""] = part.grant.terms
        if part.runs_at_node:
            peers[part.role] = part.party.node_url
    return canonical.convert(
        JobSubmission, {"spec": job.spec, "request": job.request, "terms": terms, "peers": peers}
    )


def visible_jobs(actor: Actor) -> QuerySet[Job]:
    """Jobs the actor's party ordered or takes part in; all, for regulators and operators."""
    jobs = Job.objects.select_related("consumer")
    if actor.sees_everything:
        return jobs
    return jobs.filter(Q(consumer_id=actor.party_id) | Q(parts__party_id=actor.party_id)).distinct()


def visible_drafts(actor: Actor) -> QuerySet[Draft]:
    """Drafts of the actor's own party only: an unsigned intention is nobody else's business."""
    return Draft.objects.filter(consumer_id=actor.party_id)


def takes_part(job: Job, actor: Actor) -> bool:
    """Whether the actor's party runs one of the job's roles at its node, under a grant it gave."""
    return actor.party is not None and job.parts.filter(party=actor.party, grant__isnull=False).exists()


def find_job(job_id: str, actor: Actor) -> Job:
    """A visible job; raises NotFound."""
    job = visible_jobs(actor).filter(pk=job_id).first()
    if job is None:
        raise NotFound()
    return job


def _grants_of(spec: JobSpec, request: SignedRequest, actor: Actor) -> dict[str, Grant]:
    """The grants of the participants, each held by the caller and given by the participant."""
    if not 1 <= len(spec.participants) <= _MAX_PARTICIPANTS:
        raise JobRejected(f"a job has 1 to {_MAX_PARTICIPANTS} participants", rule="participants")
    if len({participant.role for participant in spec.participants}) != len(spec.participants):
        raise JobRejected("a role is named twice", rule="participants")
    named = {participant.grant for participant in spec.participants if participant.grant}
    if named != {line.grant for line in request.lines} or len(request.lines) != len(named):
        raise JobRejected("the request's lines are not the participants' grants", rule="lines")
    grants = {
        grant.grant_id: grant
        for grant in Grant.objects.filter(grant_id__in=named, consumer_id=actor.party_id)
    }
    for participant in spec.participants:
        if participant.grant is None:
            if participant.party != actor.party_id:
                raise JobRejected(f"role {participant.role} needs a grant", rule="participants")
            continue
        grant = grants.get(participant.grant)
        if grant is None:
            raise JobRejected(
                f"role {participant.role}: you hold no grant by this id", rule="grant", remedy="request one"
            )
        if (grant.provider_id, grant.dataset_id) != (participant.party, participant.dataset):
            raise JobRejected(f"role {participant.role}: the grant is another party's", rule="grant")
    for line in request.lines:
        quota = grants[line.grant].quota
        # What is left the chain knows best; more than the whole quota it can never grant.
        if line.units > quota:
            raise JobRejected(
                f"the request reserves {line.units} units of a grant that allows {quota} in all",
                rule="quota",
                remedy="ask for less (fewer elements, queries or groups), or apply for a larger grant",
            )
    return {key: grant for key, grant in grants.items() if key}
