"""What nodes and chain report about jobs, and the one function that derives a job's state from it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from compute.wire.messages import JobEvent as NodeEvent
from compute.wire.messages import JobStatus
from market.audit import services as audit
from market.jobs.models import Job, JobEvent, JobPart, SealedResult
from market.jobs.services import note
from market.ledger.models import ChainTransaction, Receipt, Reservation
from market.parties.actor import Actor

NODE_FINAL = frozenset({"completed", "refused", "failed", "cancelled", "expired"})
# What a job is called when its parts ended differently: the first of these that occurs.
# A role that the consumer runs itself reports to nobody: its state is what the job's says about it.
_OWN_ROLE = {"settled": "completed", "receipted": "running", "submitted": "waiting", "reserved": "waiting"}
_WORST_FIRST = ("refused", "failed", "expired", "cancelled")
# What a node reports of a part that ended because another's did: why is known there, not here.
_ECHOES = {"protocol.abort": 1, "job.cancelled_elsewhere": 1, "wire.peer_lost": 2}
_DRIVE = Actor.system("drive")


def record_status(part: JobPart, status: JobStatus) -> None:
    """Keep a node's view of its part; a final view is never overwritten by a different one."""
    fields: dict[str, Any] = {
        "node_state": status.state,
        "phase": status.phase,
        "done": status.done,
        "total": status.total,
        "rate_milli": status.rate_milli,
        "seconds_left": status.seconds_left,
        "attempts": status.attempts,
        "reason": status.reason[:100],
        "rule": status.rule[:100],
        "message": status.message,
        "remedy": status.remedy,
        "receipt_digest": status.receipt or "",
        "has_result": status.has_result,
    }
    if all(getattr(part, name) == value for name, value in fields.items()):
        return
    if part.node_state in NODE_FINAL and status.state != part.node_state:
        return
    JobPart.objects.filter(pk=part.pk).update(**fields)
    for name, value in fields.items():
        setattr(part, name, value)


@transaction.atomic
def record_events(part: JobPart, events: Sequence[NodeEvent]) -> None:
    """Copy a node's timeline lines; lines that are here already are passed over."""
    fresh = [event for event in events if event.sequence > part.events_after]
    if not fresh:
        return
    JobEvent.objects.bulk_create(
        [
            JobEvent(
                job_id=part.job_id,
                role=part.role,
                sequence=event.sequence,
                at_ms=event.at_ms,
                phase=event.phase,
                message=event.message,
                done=event.done,
                total=event.total,
            )
            for event in fresh
        ],
        ignore_conflicts=True,
    )
    part.events_after = max(event.sequence for event in fresh)
    JobPart.objects.filter(pk=part.pk).update(events_after=part.events_after)


@transaction.atomic
def record_result(part: JobPart, payload: bytes) -> None:
    """Keep a sealed result until the consumer fetches it. Nobody here can open it."""
    _row, created = SealedResult.objects.get_or_create(
        job_id=part.job_id, role=part.role, defaults={"payload": payload}
    )
    if created:
        audit.append("job.result.kept", actor=_DRIVE, subject=part.job_id, role=part.role, bytes=len(payload))


def derive(job_id: str, now: float | None = None) -> str:
    """Move a job to the state that its reservations, parts and receipts amount to; returns the state.

    A final state stays. Safe to call at any time, by any worker, any number of times.
    """
    moment = time.time() if now is None else now
    seen = Job.objects.filter(pk=job_id).first()
    if seen is None or seen.is_final or _amounts_to(seen, moment)[0] == seen.state:
        return seen.state if seen else ""  # the usual case, and it locks nothing
    with transaction.atomic():
        job = Job.objects.select_for_update(of=("self",)).filter(pk=job_id).first()
        if job is None or job.is_final:
            return job.state if job else ""
        state, reason = _amounts_to(job, moment)
        if state == job.state:
            return state
        if state in Job.FINAL:
            _end(job, state, reason)
        else:
            job.state = state
            job.save(update_fields=["state", "updated_at"])
            _tell_own_role(job)
            note(job, state)
        return state


def cancelled(job: Job, part: JobPart, others: Sequence[JobPart]) -> bool:
    """Whether this part should end because the consumer or another part's end says so."""
    if part.node_state in NODE_FINAL:
        return False
    if job.cancel_requested_at is not None:
        return True
    return any(other.node_state in NODE_FINAL - {"completed"} for other in others)


def _amounts_to(job: Job, moment: float) -> tuple[str, dict[str, Any] | None]:
    held = list(Reservation.objects.filter(job_id=job.job_id))
    parts = [part for part in job.parts.select_related("party") if part.runs_at_node]
    overdue = moment > job.deadline + settings.JOB_EXPIRY_GRACE_S
    bad = [part for part in parts if part.node_state in NODE_FINAL and part.node_state != "completed"]
    all_ended = bool(parts) and all(part.node_state in NODE_FINAL for part in parts)
    if not parts:
        return _without_parts(job, held, overdue)
    if not held:
        doomed = _never_reserved(job)
        if doomed is not None:
            return doomed
    if bad and (all_ended or overdue):
        return _worst(job, bad)
    if all_ended:
        if _receipted(job, parts):
            return _settlement(held, parts)
        return Job.State.RUNNING, None
    if overdue:
        silent = [part for part in parts if part.node_state not in NODE_FINAL]
        return Job.State.EXPIRED, {
            "code": "job.expired",
            "message": "the deadline passed before every node was done",
            "remedy": "submit again with a later deadline once the nodes answer",
            "party": silent[0].party_id if silent else "",
        }
    if any(part.node_state != "waiting" for part in parts):
        return Job.State.RUNNING, None
    return (Job.State.RESERVED if held else Job.State.SUBMITTED), None


def _never_reserved(job: Job) -> tuple[str, dict[str, Any]] | None:
    """How a job ended whose reservation the chain refused, or that was withdrawn before it was sent."""
    attempt = ChainTransaction.objects.filter(purpose="reserve", subject=job.job_id).first()
    if attempt is None or attempt.state != ChainTransaction.State.REVERTED:
        return None
    reason = dict(attempt.error or {"code": "chain.reverted"})
    return (Job.State.CANCELLED if reason.get("code") == "job.cancelled" else Job.State.REFUSED), reason


def _settlement(held: list[Reservation], parts: Sequence[JobPart]) -> tuple[str, dict[str, Any] | None]:
    """Completed at every node: settled once nothing is held and every receipt is anchored."""
    digests = {part.receipt_digest for part in parts}
    waiting = Receipt.objects.filter(digest__in=digests).exclude(state=Receipt.State.ANCHORED).exists()
    if waiting or not held or any(r.state == Reservation.State.HELD for r in held):
        return Job.State.RECEIPTED, None
    if all(r.state == Reservation.State.SETTLED for r in held):
        return Job.State.SETTLED, None
    return Job.State.SETTLED, {
        "code": "receipt.unsettled",
        "message": "a receipt was anchored after its reservation was released: too late to be charged",
    }


def _without_parts(job: Job, held: list[Reservation], overdue: bool) -> tuple[str, dict[str, Any] | None]:
    """A job known from the chain alone: its reservations are all there is to go by."""
    if held and all(r.state == Reservation.State.SETTLED for r in held):
        outcomes = set(
            Receipt.objects.filter(job_id=job.job_id, settles=True).values_list("outcome", flat=True)
        )
        for outcome in _WORST_FIRST:
            if outcome in outcomes:
                return outcome, {"code": f"job.{outcome}", "message": "known from the chain alone"}
        return Job.State.SETTLED, None
    if held and all(r.state != Reservation.State.HELD for r in held):
        return Job.State.EXPIRED, {"code": "job.expired", "message": "its reservation was released"}
    if overdue:
        return Job.State.EXPIRED, {"code": "job.expired", "message": "the deadline passed"}
    return (Job.State.RESERVED if held else Job.State.SUBMITTED), None


def _receipted(job: Job, parts: Sequence[JobPart]) -> bool:
    wanted = {part.receipt_digest for part in parts if part.receipt_digest}
    have = Receipt.objects.filter(digest__in=wanted).exclude(signature="").count()
    roles = set(job.results.values_list("role", flat=True))
    fetched = all(part.role in roles for part in parts if part.has_result)
    return len(wanted) == have and all(part.receipt_digest for part in parts) and fetched


def _worst(job: Job, bad: Sequence[JobPart]) -> tuple[str, dict[str, Any]]:
    order: tuple[str, ...] = _WORST_FIRST
    if job.cancel_requested_at is not None:
        # Who is cancelled mid-protocol may see its peer vanish first: that is the cancellation, not a fault.
        order = ("refused", "cancelled", "failed", "expired")
    for state in order:
        ended = [part for part in bad if part.node_state == state]
        if ended:
            part = min(ended, key=lambda part: _ECHOES.get(part.reason, 0))
            return state, {
                "code": part.reason or f"job.{state}",
                "rule": part.rule,
                "message": part.message,
                "remedy": part.remedy,
                "party": part.party_id,
                "role": part.role,
            }
    raise ValueError("a part that did not complete has none of the known final states")


def _end(job: Job, state: str, reason: dict[str, Any] | None) -> None:
    job.state, job.reason = state, reason
    job.updated_at = timezone.now()
    job.save(update_fields=["state", "reason", "updated_at"])
    _tell_own_role(job)
    note(job, state, str((reason or {}).get("message", ""))[:4000])
    audit.append(
        f"job.{state}", actor=_DRIVE, subject=job.job_id, code=str((reason or {}).get("code", ""))[:100]
    )


def _tell_own_role(job: Job) -> None:
    job.parts.filter(grant=None).update(node_state=_OWN_ROLE.get(job.state, job.state))
