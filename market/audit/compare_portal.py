"""The portal against itself: documents against digests, states against facts, invoices against receipts."""

from __future__ import annotations

from collections import defaultdict

from compute.errors import BadInput
from compute.wire import canonical, structs
from compute.wire.canonical import to_hex
from compute.wire.messages import GrantTerms, JobSpec, SignedRequest
from contracts import eip712, merkle
from market.audit import services as log
from market.audit.report import Report
from market.billing.models import Invoice, InvoiceLine
from market.billing.services import expected_lines
from market.errors import MarketError
from market.grants.models import Grant
from market.jobs.models import Job
from market.ledger.models import Batch, Receipt, Reservation
from market.ledger.receipts import batch_signed, document


def compare(report: Report) -> None:
    """Everything that the portal's own rows prove or disprove about each other."""
    broken = log.first_break()
    if broken is not None:
        report.add("audit.chain_broken", str(broken), message="the audit log was edited or cut here")
    _grants(report)
    _jobs(report)
    _receipts(report)
    _invoices(report)


def _grants(report: Report) -> None:
    for grant in Grant.objects.exclude(terms=None):
        subject = grant.grant_id or str(grant.pk)
        try:
            terms = canonical.convert(GrantTerms, grant.terms)
            digest = to_hex(canonical.digest(terms))
        except BadInput as error:
            report.add("grant.terms", subject, field="terms", message=str(error))
            continue
        if digest != grant.terms_hash:
            report.add(
                "grant.terms",
                subject,
                field="terms",
                chain=grant.terms_hash,
                portal=digest,
                message="the stored terms are not the ones whose digest was signed",
            )
        told = {
            "purpose": (terms.purpose, grant.purpose),
            "operations": (sorted(terms.operations), sorted(grant.operations)),
            "columns": (sorted(terms.columns), sorted(grant.columns)),
        }
        report.compare("grant.terms", subject, told)


def _jobs(report: Report) -> None:
    receipts: dict[str, list[Receipt]] = defaultdict(list)
    for receipt in Receipt.objects.all():
        receipts[receipt.job_id].append(receipt)
    held: dict[str, list[Reservation]] = defaultdict(list)
    for reservation in Reservation.objects.all():
        held[reservation.job_id].append(reservation)
    for job in Job.objects.prefetch_related("parts"):
        _job_documents(job, report)
        outcomes = {receipt.outcome for receipt in receipts[job.job_id] if receipt.settles}
        states = {reservation.state for reservation in held[job.job_id]}
        bad = outcomes - {"completed"}
        if job.state in (Job.State.SETTLED, Job.State.RECEIPTED) and (bad or not outcomes):
            report.add(
                "job.state",
                job.job_id,
                field="state",
                portal=job.state,
                node=sorted(bad),
                message="receipts disagree",
            )
        if job.state == Job.State.SETTLED and Reservation.State.HELD in states:
            report.add("job.state", job.job_id, field="state", portal=job.state, chain=sorted(states))
        if job.state in ("refused", "failed", "cancelled") and outcomes == {"completed"}:
            nodes = sum(1 for part in job.parts.all() if part.runs_at_node)
            if len([r for r in receipts[job.job_id] if r.settles]) >= nodes > 0:
                report.add(
                    "job.state",
                    job.job_id,
                    field="state",
                    portal=job.state,
                    node=["completed"],
                    message="every receipt says completed",
                )
        if job.state == Job.State.SUBMITTED and held[job.job_id]:
            report.add("job.state", job.job_id, field="state", portal=job.state, chain=sorted(states))
        by_digest = {receipt.digest for receipt in receipts[job.job_id]}
        for part in job.parts.all():
            if part.receipt_digest and part.receipt_digest not in by_digest:
                report.add(
                    "receipt.missing",
                    part.receipt_digest,
                    message=f"role {part.role} of {job.job_id} names it",
                )


def _job_documents(job: Job, report: Report) -> None:
    if "signature" not in job.request:
        return  # known from the chain alone
    try:
        spec = canonical.convert(JobSpec, job.spec)
        request = canonical.convert(SignedRequest, job.request)
        digest = to_hex(canonical.digest(spec))
        identifier = to_hex(eip712.struct_hash(structs.job_request(request)))
    except BadInput as error:
        report.add("job.documents", job.job_id, message=str(error))
        return
    if digest != request.spec_hash:
        report.add("job.documents", job.job_id, field="spec", chain=request.spec_hash, portal=digest)
    if identifier != job.job_id:
        report.add("job.documents", job.job_id, field="request", portal=identifier)
    if (spec.kind, spec.purpose) != (job.kind, job.purpose):
        report.add("job.documents", job.job_id, field="kind, purpose", portal=[job.kind, job.purpose])


def _receipts(report: Report) -> None:
    digests: dict[tuple[str, int], bytes] = {}
    for receipt in Receipt.objects.select_related("batch"):
        if receipt.detail is None or not receipt.signature:
            report.add(
                "receipt.incomplete",
                receipt.digest,
                message="only the chain's part is here; the node has not been asked yet",
            )
            continue
        try:
            digest = eip712.struct_hash(structs.receipt(document(receipt)))
        except (BadInput, MarketError, KeyError) as error:
            report.add("receipt.fields", receipt.digest, message=str(error))
            continue
        digests[receipt.node, receipt.sequence] = digest
        if to_hex(digest) != receipt.digest:
            report.add(
                "receipt.fields",
                receipt.digest,
                portal=to_hex(digest),
                message="the stored fields are not the ones the node signed",
            )
    for batch in Batch.objects.filter(state=Batch.State.ANCHORED):
        numbers = range(batch.first_sequence, batch.first_sequence + batch.count)
        members = [digests.get((batch.node, number)) for number in numbers]
        known = [member for member in members if member is not None]
        if not batch.signature:
            report.add("batch.incomplete", f"{batch.node}:{batch.first_sequence}", field="signature")
        elif not batch_signed(batch):
            report.add("batch.signature", f"{batch.node}:{batch.first_sequence}", field="signature")
        if len(known) == batch.count and to_hex(merkle.root(known)) != batch.root:
            report.add("batch.root", f"{batch.node}:{batch.first_sequence}", chain=batch.root)


def _invoices(report: Report) -> None:
    lines = {line.receipt_digest: line for line in InvoiceLine.objects.select_related("invoice")}
    sums: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for expected in expected_lines():
        total = sums[expected.provider, expected.consumer, expected.period]
        total[0] += expected.units
        total[1] += expected.amount_credits
        line = lines.pop(expected.receipt, None)
        if line is None:
            report.add("invoice.line_missing", expected.receipt)
            continue
        report.compare(
            "invoice.line",
            expected.receipt,
            {
                "units": (expected.units, line.units),
                "price_credits": (expected.price_credits, line.price_credits),
                "amount_credits": (expected.amount_credits, line.amount_credits),
                "provider": (expected.provider, line.invoice.provider_id),
                "consumer": (expected.consumer, line.invoice.consumer_id),
                "period": (expected.period, line.invoice.period),
            },
        )
    for digest, line in lines.items():
        report.add(
            "invoice.line_invented",
            digest,
            portal=line.amount_credits,
            message="no charged receipt behind it",
        )
    for invoice in Invoice.objects.all():
        units, amount = sums.pop((invoice.provider_id, invoice.consumer_id, invoice.period), [0, 0])
        report.compare(
            "invoice.amount",
            str(invoice.pk),
            {"units": (units, invoice.units), "amount_credits": (amount, invoice.amount_credits)},
        )
    for (provider, consumer, period), (units, amount) in sums.items():
        report.add(
            "invoice.missing", f"{provider}:{consumer}:{period}", chain={"units": units, "amount": amount}
        )
