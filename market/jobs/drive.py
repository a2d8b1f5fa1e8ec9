"""Portal to nodes and back: what the drive worker does when it visits one party's node.

Every step is safe to repeat and asks the database what is open, so a crash anywhere is healed by the next
visit. A silent node changes nothing until a deadline passes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db.models import Prefetch, Q
from django.utils import timezone

from compute.client import GrantPending, NodeClient, NodeRefused, NodeUnreachable
from compute.errors import ComputeError
from compute.wire import structs
from market.audit import services as audit
from market.catalog import services as catalog
from market.catalog.models import Dataset
from market.errors import ChainUnavailable, MarketError
from market.grants import services as grants
from market.grants.models import Grant
from market.jobs import progress, services
from market.jobs.models import Job, JobPart
from market.ledger import outbox, receipts
from market.ledger.chain import chain
from market.ledger.models import Batch, ChainTransaction, Reservation
from market.ledger.nodes import node_client
from market.parties.actor import Actor
from market.parties.models import NodeStatus, Party

log = logging.getLogger(__name__)
DRIVE = Actor.system("drive")
_RECEIPTS_PER_CALL = 200
_BATCH_LIMIT = 128
# A commit whose transaction reverted is tried again with what the node says then, but not in a tight loop.
_RETRY_COMMIT_S = 5.0


class Visit:
    """One look at one node: datasets, grants to sign, jobs to move, receipts to anchor."""

    def __init__(self, party: Party, client: NodeClient) -> None:
        self.party = party
        self.client = client
        self.troubles: list[str] = []

    def run(self, *, manifests: bool = True) -> None:
        """Do everything that is open between portal and this node.

        What the node refuses, or what does not fit, is noted in ``troubles`` and passed over: one dead grant
        must not keep receipts from being anchored. Raises NodeUnreachable, ChainUnavailable.
        """
        busy = self._jobs()
        self._sign_grants()
        self._revocations()
        self._wishes()
        if manifests:
            self._manifests()
        if busy or manifests:  # a quiet node is not asked several times a second
            self._receipts()

    @contextmanager
    def _apart(self, what: str) -> Iterator[None]:
        """Keep the trouble with one thing from ending the visit; silence of node or chain does end it."""
        try:
            yield
        except (NodeUnreachable, ChainUnavailable):
            raise
        except (ComputeError, MarketError) as error:
            log.warning("%s: %s: %s", self.party, what, error)
            self.troubles.append(f"{what}: {error}")

    # ---- catalogue and grants -------------------------------------------------------------------------

    def _manifests(self) -> None:
        identity = self.client.identity()
        for manifest in self.client.datasets():
            if manifest.provider != self.party.party_id:
                log.warning("%s shows a dataset of another party", self.party)
                continue
            with self._apart(f"dataset {manifest.name}"):
                catalog.propose_dataset(manifest=manifest, actor=DRIVE)
        NodeStatus.objects.update_or_create(
            party=self.party,
            defaults={
                "reachable": True,
                "software": identity.software[:100],
                "chain_block": identity.chain_block,
                "error": "",
                "checked_at": timezone.now(),
                "seen_at": timezone.now(),
            },
        )

    def _sign_grants(self) -> None:
        waiting = Grant.objects.filter(provider=self.party, state=Grant.State.PROPOSED)
        for grant in waiting.select_related("provider", "offer"):
            with self._apart(f"grant {grant.grant_id}"):
                self._sign_grant(grant)

    def _sign_grant(self, grant: Grant) -> None:
        try:
            signed = self.client.sign_grant(grants.proposal(grant))
        except GrantPending:
            return
        except NodeRefused as error:
            problem = error.problem
            refusal = {
                "code": problem.code or error.code,
                "rule": problem.rule,
                "message": problem.detail or problem.title,
                "remedy": problem.remedy,
            }
            grants.record_refusal(grant_pk=grant.pk, refusal=refusal, actor=DRIVE)
            return
        grants.record_signature(grant_pk=grant.pk, signed=signed, actor=DRIVE)

    def _revocations(self) -> None:
        wanted = Grant.objects.filter(provider=self.party, revoke_requested_at__isnull=False).filter(
            state__in=[Grant.State.ACTIVE, Grant.State.EXHAUSTED, Grant.State.EXPIRED]
        )
        for grant in wanted:
            if ChainTransaction.objects.filter(key=f"revoke:{grant.grant_id}").exists():
                continue
            with self._apart(f"revocation of {grant.grant_id}"):
                signed = self.client.revoke_grant(grant.grant_id or "")
                grants.record_revocation(
                    grant_pk=grant.pk, signature=bytes.fromhex(signed.signature[2:]), actor=DRIVE
                )

    def _wishes(self) -> None:
        for dataset in Dataset.objects.filter(provider=self.party).exclude(wish=""):
            if outbox.pending(dataset.wish, dataset.dataset_id):
                continue
            ask = self.client.freeze if dataset.wish == "freeze" else self.client.unfreeze
            with self._apart(f"{dataset.wish} of {dataset.dataset_id}"):
                signed = ask(dataset.dataset_id)
                catalog.relay_freeze(
                    action=structs.action(signed), signature=bytes.fromhex(signed.signature[2:]), actor=DRIVE
                )

    # ---- jobs -----------------------------------------------------------------------------------------

    def _jobs(self) -> bool:
        """Move this node's open parts; whether there were any."""
        open_parts = (
            JobPart.objects.filter(party=self.party, grant__isnull=False)
            .exclude(job__state__in=[*Job.FINAL, Job.State.SUBMITTED])
            .select_related("job", "grant")
            .prefetch_related(Prefetch("job__parts"))
        )
        for part in open_parts:
            with self._apart(f"job {part.job_id}"):
                try:
                    self._part(part)
                except NodeRefused as error:
                    self._part_refused(part, error)
            progress.derive(part.job_id)
        return bool(open_parts)

    def _part(self, part: JobPart) -> None:
        job = part.job
        others = [other for other in job.parts.all() if other.pk != part.pk and other.runs_at_node]
        ending = progress.cancelled(job, part, others)
        if part.node_state == "waiting":
            # Also when it is to end at once: only a node's receipt gives the reservation back early.
            progress.record_status(part, self.client.submit(services.submission(job)))
        elif part.node_state not in progress.NODE_FINAL:
            progress.record_status(part, self.client.job(job.job_id))
        if ending and part.node_state not in progress.NODE_FINAL:
            progress.record_status(part, self.client.cancel(job.job_id))
        elif part.node_state in progress.NODE_FINAL and not part.receipt_digest:
            progress.record_status(part, self.client.job(job.job_id))
        progress.record_events(part, self.client.events(job.job_id, part.events_after))
        if part.has_result and not job.results.filter(role=part.role).exists():
            payload = self.client.result(job.job_id)
            if payload is not None:
                progress.record_result(part, payload)

    def _part_refused(self, part: JobPart, error: NodeRefused) -> None:
        """The node will not even look at it (no receipt): the part ends here, the reservation by release."""
        problem = error.problem
        if part.node_state != "waiting" and problem.status != 404:
            log.warning("%s: job %s: %s", self.party, part.job_id, error.message)
            return
        JobPart.objects.filter(pk=part.pk).update(
            node_state="refused" if part.node_state == "waiting" else "failed",
            reason=(problem.code or error.code)[:100],
            rule=problem.rule[:100],
            message=problem.detail or problem.title,
            remedy=problem.remedy,
        )
        audit.append("job.part.refused", actor=DRIVE, subject=part.job_id, role=part.role, code=problem.code)

    # ---- receipts -------------------------------------------------------------------------------------

    def _receipts(self) -> None:
        node = self.party.party_id
        while True:
            fresh = self.client.receipts(receipts.last_known(node), _RECEIPTS_PER_CALL)
            if not fresh:
                break
            if not receipts.record_receipts(node=self.party, receipts=fresh, actor=DRIVE):
                break
            for job_id in {receipt.job for receipt in fresh}:
                progress.derive(job_id)
        for nameless in Batch.objects.filter(node=node, state=Batch.State.ANCHORED, signature=""):
            # Known from the chain alone: evidence needs the node's signature too.
            same = self.client.batch(nameless.first_sequence - 1, nameless.count)
            if same is not None and same.root == nameless.root:
                receipts.record_batch(node=self.party, batch=same, actor=DRIVE)
        tip = receipts.anchored_tip(node)
        if receipts.last_known(node) <= tip:
            return
        last = (
            ChainTransaction.objects.filter(purpose="commit", subject__startswith=f"{node}:")
            .order_by("-id")
            .first()
        )
        if last is not None and not _may_commit(last, tip):
            return
        batch = self.client.batch(tip, _BATCH_LIMIT)
        if batch is not None:
            receipts.record_batch(node=self.party, batch=batch, actor=DRIVE)


def _may_commit(last: ChainTransaction, tip: int) -> bool:
    """Whether the node's last anchoring is over, and long enough ago if it failed."""
    if last.state in (ChainTransaction.State.QUEUED, ChainTransaction.State.SENT):
        return False
    first = int(last.subject.rpartition(":")[2])
    if last.state == ChainTransaction.State.MINED:
        return first <= tip  # the index has seen it
    return timezone.now().timestamp() - last.created_at.timestamp() > _RETRY_COMMIT_S * (last.attempts + 1)


def visit(party: Party, *, manifests: bool = True) -> str:
    """Visit one node; returns "" or why it could not be completed. Raises nothing a node can cause."""
    try:
        with node_client(party) as client:
            look = Visit(party, client)
            look.run(manifests=manifests)
    except NodeUnreachable as error:
        NodeStatus.objects.update_or_create(
            party=party,
            defaults={"reachable": False, "error": error.message[:300], "checked_at": timezone.now()},
        )
        return error.message
    except (ComputeError, MarketError) as error:
        log.warning("visit of %s: %s", party, error)
        return _troubled(party, str(error))
    return _troubled(party, look.troubles[0]) if look.troubles else ""


def _troubled(party: Party, trouble: str) -> str:
    """Note what went wrong with a node that did answer."""
    NodeStatus.objects.update_or_create(
        party=party, defaults={"error": trouble[:300], "checked_at": timezone.now()}
    )
    return trouble


def parties_with_nodes() -> list[Party]:
    """The parties whose nodes are visited."""
    return list(Party.objects.exclude(node_url="").exclude(state=Party.State.PROPOSED))


def sweep(now: float | None = None) -> None:
    """What needs no node: withdraw cancelled jobs, expire grants and jobs, release reservations."""
    moment = time.time() if now is None else now
    _withdraw_cancelled()
    on_chain = Grant.objects.filter(state__in=[Grant.State.ACTIVE, Grant.State.EXHAUSTED])
    on_chain.filter(expiry__lte=moment).update(state=Grant.State.EXPIRED)
    for grant in on_chain.filter(Q(state=Grant.State.EXHAUSTED) | Q(used__gt=0)):
        wanted = Grant.State.EXHAUSTED if grant.used >= grant.quota else Grant.State.ACTIVE
        if grant.state != wanted:
            Grant.objects.filter(pk=grant.pk, state=grant.state).update(state=wanted)
    for job_id in Job.objects.exclude(state__in=Job.FINAL).values_list("job_id", flat=True):
        progress.derive(job_id, moment)
    _release(moment)


def _withdraw_cancelled() -> None:
    """A job that is cancelled before its reservation was sent needs none."""
    waiting = Job.objects.filter(state=Job.State.SUBMITTED, cancel_requested_at__isnull=False)
    for job_id in waiting.values_list("job_id", flat=True):
        moved = ChainTransaction.objects.filter(
            key=f"reserve:{job_id}", state=ChainTransaction.State.QUEUED
        ).update(
            state=ChainTransaction.State.REVERTED,
            error={"code": "job.cancelled", "rule": "", "message": "cancelled before it was reserved"},
        )
        if moved:
            progress.derive(job_id)


def _release(moment: float) -> None:
    """Give back what no receipt settled, once the contract allows it."""
    held = Reservation.objects.filter(state=Reservation.State.HELD, deadline__lt=moment)
    if not held.exists():
        return
    contracts = chain()
    for reservation in held.filter(deadline__lt=moment - contracts.release_grace_s - 1):
        key = f"release:{reservation.job_id}:{reservation.grant_id}"
        tried = ChainTransaction.objects.filter(key=key).first()
        if tried is not None and moment - tried.created_at.timestamp() < 10 * (tried.attempts + 1):
            continue
        outbox.queue(
            purpose="release",
            subject=f"{reservation.job_id}:{reservation.grant_id}",
            key=key,
            call=contracts.release_call(
                bytes.fromhex(reservation.job_id[2:]), bytes.fromhex(reservation.grant_id[2:])
            ),
            actor=DRIVE,
        )
