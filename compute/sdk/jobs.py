"""Ordering jobs, following them, and opening their results. Results are plain JSON values."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

import compute.protocols.kinds  # noqa: F401 - registers every job kind
from compute.errors import BadInput, ComputeError, JobCancelled
from compute.keys import sealing
from compute.protocols.protocol import JobKind, Progress, Session, job_kind
from compute.protocols.workspace import Cache
from compute.sdk.attended import Attended
from compute.sdk.chain_view import ChainView
from compute.sdk.consumer_role import run_consumer_role
from compute.sdk.errors import JobEnded, WaitedTooLong
from compute.sdk.grants import Grants
from compute.sdk.identity import Identity
from compute.sdk.objects import Grant, Job, Timeline, TimelineEvent
from compute.sdk.orders import Order, prepare_order, same_grant
from compute.sdk.portal import Portal
from compute.sdk.workspace import JobRecord, Workspace
from compute.wire import canonical
from compute.wire.binding import result_context, session_binding
from compute.wire.canonical import from_hex
from compute.wire.messages import JobSpec
from compute.wire.signed_result import verify_result

OnProgress = Callable[[TimelineEvent], None]
OnStatus = Callable[[Job], None]
_POLL_S = 0.3
_ROLE_GRACE_S = 2.0
# After its deadline a job still needs the release of its reservation on chain to be final.
_AFTER_DEADLINE_S = 120


@dataclass(frozen=True, repr=False)  # holds a result: keep it out of logs
class JobResult:
    """A finished job: ``value`` is what its kind's README calls the result.

    ``metrics`` are the public quantities of the role that the consumer ran itself (bytes of a hint that was
    downloaded, queries asked); empty for a kind without such a role.
    """

    job: str
    state: str
    value: Any
    detail: Job = field(compare=False)
    metrics: Mapping[str, int] = field(default_factory=dict)


class KnownJobs:
    """``client.known_jobs``: what any party of a job may see and do, a provider too; needs no key file."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def list(self, **filters: Any) -> list[Job]:
        """The party's jobs, newest first; filters ``state``, ``kind``."""
        return [*self._portal.pages("jobs", Job, **filters)]

    def get(self, job: str) -> Job:
        """One job as the portal tells it."""
        return self._portal.get(f"jobs/{job}", Job)

    def events(self, job: str, after: int = 0) -> Timeline:
        """Timeline lines after an id."""
        return self._portal.get(f"jobs/{job}/events", Timeline, after=after)

    def cancel(self, job: str) -> Job:
        """Ask for the end of a job."""
        return self._portal.post(f"jobs/{job}/cancel", None, Job)


class Jobs(KnownJobs):
    """``client.jobs``. Runs at the consumer; private keys stay here.

    ``cache`` keeps what roles that the consumer runs itself may use again (hints of a dataset version).
    """

    def __init__(
        self,
        portal: Portal,
        grants: Grants,
        chain: ChainView,
        identity: Identity,
        workspace: Workspace,
        cache: Cache,
    ) -> None:
        super().__init__(portal)
        self._grants = grants
        self._chain = chain
        self._identity = identity
        self._workspace = workspace
        self._cache = cache

    # ---- ordering

    def prepare(
        self,
        kind: str,
        *,
        purpose: str,
        grants: Mapping[str, Grant | str],
        params: Mapping[str, Any],
        units: Mapping[str, int] | None = None,
        deadline_s: int = 600,
    ) -> Order:
        """Build and sign an order without sending it. ``grants``: role → grant or its id."""
        resolved = {
            role: same_grant(grant, self._grants.get(grant.id if isinstance(grant, Grant) else grant))
            for role, grant in grants.items()
        }
        return prepare_order(
            job_kind(kind),
            purpose=purpose,
            grants=resolved,
            params=params,
            identity=self._identity,
            domain=self._chain.domain("UsageLedger"),
            units=units,
            deadline_s=deadline_s,
        )

    def submit(self, order: Order, *, draft: str | None = None) -> Job:
        """Send a signed order. Its secrets are on disk before the first byte leaves."""
        self._workspace.save(
            JobRecord(job=order.job, spec=canonical.encode(order.spec), secrets=order.secrets)
        )
        body: dict[str, Any] = {
            "spec": msgspec.to_builtins(order.spec),
            "request": msgspec.to_builtins(order.request),
        }
        if draft:
            body["draft"] = draft
        # The key is random: a second submission of one order is a replay and is to be refused as one.
        return self._portal.post("jobs", body, Job)

    def run(
        self,
        kind: str,
        *,
        purpose: str,
        grants: Mapping[str, Grant | str],
        params: Mapping[str, Any],
        units: Mapping[str, int] | None = None,
        deadline_s: int = 600,
        wait: bool = True,
        on_progress: OnProgress | None = None,
        on_status: OnStatus | None = None,
    ) -> JobResult:
        """Order a job and see it through; with ``wait=False`` the value is None and the state "submitted".

        A kind with a consumer role cannot run unattended: it needs ``wait=True``. ``on_progress`` gets each
        new line of the timeline, also of the consumer's own role; ``on_status`` the job as it stands, with
        rate and time left of its parts. Raises JobEnded naming code, rule and remedy if the job ends without
        a result, PortalRefused if the order is not taken. KeyboardInterrupt asks for the job's end.
        """
        order = self.prepare(
            kind, purpose=purpose, grants=grants, params=params, units=units, deadline_s=deadline_s
        )
        if not wait and order.kind.consumer_role is not None and order.kind.name != "eaas":
            raise BadInput(f"{kind}: the consumer runs a role itself, so wait=True is needed")
        if not wait:
            job = self.submit(order)
            return JobResult(job.job, job.state, None, job)
        return self.run_order(order, on_progress=on_progress, on_status=on_status)

    def run_draft(
        self,
        draft: str,
        *,
        params: Mapping[str, Any] | None = None,
        confirm: Callable[[Order], bool] = lambda order: True,
        on_progress: OnProgress | None = None,
        on_status: OnStatus | None = None,
    ) -> JobResult:
        """Sign and run what somebody prepared in the portal; raises JobCancelled if ``confirm`` says no.

        The portal may show one order and hold another: ``confirm`` sees what would really be ordered.
        ``params`` are added to the draft's: what a PIR query asks for must not be in a draft, since the
        portal would read it there.
        """
        order = self.prepare_draft(draft, params=params)
        if not confirm(order):
            raise JobCancelled("the order was not confirmed: nothing was sent")
        return self.run_order(order, draft=draft, on_progress=on_progress, on_status=on_status)

    def prepare_draft(self, draft: str, *, params: Mapping[str, Any] | None = None) -> Order:
        """Build and sign the order of a draft, without sending it; ``params`` as in `run_draft`."""
        document = self._portal.get(f"jobs/drafts/{draft}", dict[str, Any])["document"]
        grants = {
            item["role"]: item["grant"] for item in document.get("participants", []) if item.get("grant")
        }
        return self.prepare(
            document["kind"],
            purpose=document["purpose"],
            grants=grants,
            params={**document.get("params", {}), **(params or {})},
            units=document.get("units") or None,
        )

    def run_order(
        self,
        order: Order,
        *,
        draft: str | None = None,
        on_progress: OnProgress | None = None,
        on_status: OnStatus | None = None,
    ) -> JobResult:
        """Send a signed order and see it through, as `run` does."""
        self.submit(order, draft=draft)
        return self.follow(order, on_progress=on_progress, on_status=on_status)

    def follow(
        self, order: Order, *, on_progress: OnProgress | None = None, on_status: OnStatus | None = None
    ) -> JobResult:
        """Run the consumer's role if there is one, wait for the end, open the result."""
        attended = Attended(self, order) if order.kind.consumer_role is not None else None

        def status(job: Job) -> None:
            # The own role reports to nobody but us: its lines are told between the portal's.
            for event in attended.news() if attended is not None else ():
                if on_progress is not None:
                    on_progress(event)
            if on_status is not None:
                on_status(job)

        grace_s = _ROLE_GRACE_S
        try:
            job = self.wait(order.job, on_progress=on_progress, on_status=status)
        except KeyboardInterrupt:
            grace_s = 0.0
            with contextlib.suppress(ComputeError):
                self.cancel(order.job)
            raise
        finally:
            if attended is not None:
                attended.stop(grace_s)
        own = attended.error if attended is not None else None
        _require_result(job, own if attended is not None and not attended.stopped else None)
        if own is not None:
            raise own
        return self._opened(job)

    def wait(
        self,
        job: str,
        *,
        timeout_s: float | None = None,
        on_progress: OnProgress | None = None,
        on_status: OnStatus | None = None,
    ) -> Job:
        """Until the job is final; raises WaitedTooLong. Without a timeout: a while past its deadline."""
        end = time.time() + timeout_s if timeout_s is not None else None
        seen = 0
        while True:
            timeline = self.events(job, seen)
            for event in timeline.events:
                seen = max(seen, event.id)
                if on_progress is not None:
                    on_progress(event)
            current = self.get(job)
            if on_status is not None:
                on_status(current)
            if current.is_final:
                return current
            if time.time() > (end if end is not None else current.deadline + _AFTER_DEADLINE_S):
                raise WaitedTooLong(f"job {job} is still {current.state}", job=job, state=current.state)
            time.sleep(_POLL_S)

    def result(self, job: str) -> JobResult:
        """The opened result of a finished job that was ordered from this workspace."""
        current = self.get(job)
        if not current.is_final:
            raise WaitedTooLong(f"job {job} is still {current.state}", job=job, state=current.state)
        _require_result(current)
        return self._opened(current)

    # ---- inside

    def _opened(self, job: Job) -> JobResult:
        record = self._workspace.load(job.job)
        return JobResult(job.job, job.state, self._open(job.job, record), job, record.own_metrics)

    def _open(self, job: str, record: JobRecord) -> Any:
        spec = canonical.decode(JobSpec, record.spec)
        kind = job_kind(spec.kind)
        payloads: dict[str, bytes] = {}
        if record.own_payload is not None and kind.consumer_role is not None:
            payloads[kind.consumer_role] = record.own_payload
        parties = {item.role: item.party for item in spec.participants}
        for role in self.get(job).results:
            sealed = self._portal.download(f"jobs/{job}/result", role=role)
            if sealed is not None and role in parties:
                context = result_context(from_hex(job), role)
                signed = sealing.open_sealed(self._identity.box_private, sealed, context)
                # Anyone can seal to our key, the portal first: only the role's own node can sign.
                signers = self._chain.signers_of(parties[role])
                payloads[role] = verify_result(signed, from_hex(job), role, signers)
        if not payloads:
            return None
        return kind.open_result(self._session(kind, spec, job, record.secrets), payloads)

    def _session(
        self, kind: JobKind, spec: JobSpec, job: str, secrets: Mapping[str, bytes], min_cohort: int = 1
    ) -> Session:
        return Session(
            role=kind.consumer_role or "",
            spec=spec,
            params=kind.parse(spec),
            binding=session_binding(from_hex(job), canonical.digest(spec)),
            min_cohort=min_cohort,
            rng=os.urandom,
            secrets=secrets,
            cache=self._cache,
            parallel=os.cpu_count() or 1,
        )

    async def run_own_role(
        self, order: Order, cancel: asyncio.Event, on_progress: Callable[[Progress], None]
    ) -> None:
        """The consumer's role of a job, to its end; its output is kept in the workspace."""
        job = await asyncio.to_thread(self.get, order.job)
        result = await run_consumer_role(
            order.kind,
            self._session(order.kind, order.spec, order.job, order.secrets, order.min_cohort),
            order.job,
            {
                item.role: (item.party, job.peers[item.role])
                for item in order.spec.participants
                if item.role != order.kind.consumer_role
            },
            self._identity,
            self._chain.addresses_of,
            deadline=order.request.deadline,
            on_progress=on_progress,
            cancel=cancel,
        )
        self._workspace.save(
            JobRecord(
                job=order.job,
                spec=canonical.encode(order.spec),
                secrets=order.secrets,
                own_payload=result.output.sealed,
                own_metrics=dict(result.output.metrics)
                | {"bytes_in": result.bytes_in, "bytes_out": result.bytes_out},
            )
        )


def _require_result(job: Job, own: ComputeError | None = None) -> None:
    """Raise JobEnded unless the job settled; ``own`` is why the consumer's own role stopped, if it did."""
    if job.state == "settled":
        return
    ended = job.state if job.state in ("failed", "expired") else f"was {job.state}"
    reason = job.reason
    told = f": {reason.message or reason.code}" if reason else ""
    # A peer only learns that we stopped; why, we know ourselves.
    here = f" (here: {own})" if own is not None else ""
    raise JobEnded(
        f"the job {ended}{told}{here}",
        job=job.job,
        state=job.state,
        code=reason.code if reason else "",
        rule=reason.rule if reason else "",
        remedy=reason.remedy if reason else "",
        party=(reason.party or "") if reason else "",
    ) from own
