"""Chain against portal: what the contracts hold, and what the tables say they hold."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from contracts.bindings import Chain
from contracts.records import BlockRef, ReservationState
from contracts.records import ChainEvent as DecodedEvent
from market.audit.report import Report
from market.catalog.models import Dataset, DatasetVersion
from market.catalog.services import OPERATION_NAMES
from market.grants.models import Grant
from market.jobs.models import Job
from market.ledger.models import Batch, ChainEvent, Receipt, Reservation
from market.ledger.projection import operation_names, outcome_name, plain
from market.parties.models import Party

_SPAN_BLOCKS = 1000
_RESERVATION = {
    ReservationState.OPEN: Reservation.State.HELD,
    ReservationState.SETTLED: Reservation.State.SETTLED,
    ReservationState.RELEASED: Reservation.State.RELEASED,
}
# A job ends refused, failed, cancelled or expired also without any reservation.
_NEEDS_RESERVATION = (Job.State.RESERVED, Job.State.RUNNING, Job.State.RECEIPTED, Job.State.SETTLED)
Events = dict[str, list[DecodedEvent]]


def compare(chain: Chain, at: BlockRef | None, report: Report) -> None:
    """Compare everything on chain up to block ``at`` with the tables, in both directions."""
    events = _read(chain, at)
    _event_log(events, report)
    by_name: Events = defaultdict(list)
    for event in events:
        by_name[event.name].append(event)
    _parties(chain, at, by_name, report)
    _datasets(chain, at, by_name, report)
    _grants(chain, at, by_name, report)
    _jobs(chain, at, by_name, report)
    _receipts(by_name, report)


def _read(chain: Chain, at: BlockRef | None) -> list[DecodedEvent]:
    events: list[DecodedEvent] = []
    if at is not None:
        for first in range(0, at.number + 1, _SPAN_BLOCKS):
            events += chain.events(first, min(at.number, first + _SPAN_BLOCKS - 1))
    return events


def _event_log(events: list[DecodedEvent], report: Report) -> None:
    """The portal's copy of the events, entry by entry."""
    stored = {(row.block_number, row.log_index): row for row in ChainEvent.objects.all()}
    for event in events:
        row = stored.pop((event.block_number, event.log_index), None)
        subject = f"{event.name}@{event.block_number}:{event.log_index}"
        if row is None:
            report.add("event.missing", subject, message="the portal's event table lacks this event")
        elif (row.name, row.args) != (event.name, plain(event.args)):
            report.add("event.differs", subject, chain=plain(event.args), portal=row.args)
    for row in stored.values():
        report.add(
            "event.invented",
            f"{row.name}@{row.block_number}:{row.log_index}",
            message="the chain has no such event",
        )


# Contracts write record and event in one transaction: an endpoint that shows one alone does not tell all.
_UNRECORDED = "the chain announced it in an event and returns no record of it: ask another endpoint"


def _parties(chain: Chain, at: BlockRef | None, events: Events, report: Report) -> None:
    rows = {row.party_id: row for row in Party.objects.all()}
    seen = set()
    for event in events["PartyEnrolled"]:
        identifier = plain(event.args["party"])
        seen.add(identifier)
        record = chain.party(event.args["party"], block=at)
        row = rows.get(identifier)
        if row is None:
            report.add("party.missing", identifier, message="the portal has no row for this party")
            continue
        if record is None:
            report.add("party.unrecorded", identifier, message=_UNRECORDED)
            continue
        report.compare(
            "party.differs",
            identifier,
            {
                "roles": (int(record.roles), row.roles),
                "address": (record.address.lower(), row.address.lower()),
                "box_key": (plain(record.box_key), row.box_key),
                "he_key_digest": (plain(record.he_key_digest), row.he_key_digest),
                "suspended": (record.suspended, row.state == Party.State.SUSPENDED),
            },
        )
    for identifier, row in rows.items():
        if identifier not in seen and row.state != Party.State.PROPOSED:
            report.add("party.invented", identifier, portal=row.state, message="the chain has no such party")


def _datasets(chain: Chain, at: BlockRef | None, events: Events, report: Report) -> None:
    rows = {row.dataset_id: row for row in Dataset.objects.all()}
    versions = {(row.dataset_id, row.version): row for row in DatasetVersion.objects.all()}
    seen: set[str] = set()
    registered: set[tuple[str, int]] = set()
    for event in events["DatasetRegistered"]:
        identifier = plain(event.args["dataset"])
        if identifier in seen:
            continue
        seen.add(identifier)
        record = chain.dataset(event.args["dataset"], block=at)
        row = rows.get(identifier)
        if row is None:
            report.add("dataset.missing", identifier, message="the portal has no row for this dataset")
            continue
        if record is None:
            report.add("dataset.unrecorded", identifier, message=_UNRECORDED)
            continue
        report.compare(
            "dataset.differs",
            identifier,
            {
                "provider": (plain(record.owner), row.provider_id),
                "version": (record.latest, row.current_version),
                "frozen": (record.frozen, row.state == Dataset.State.FROZEN),
            },
        )
        for version in record.versions:
            stored = versions.get((identifier, version.version))
            subject = f"{identifier}:{version.version}"
            if stored is None:
                report.add("dataset_version.missing", subject)
                continue
            registered.add((identifier, version.version))
            report.compare(
                "dataset_version.differs",
                subject,
                {
                    "commitment": (plain(version.commitment), stored.commitment),
                    "schema_hash": (plain(version.schema_hash), stored.schema_hash),
                },
            )
    for identifier, row in rows.items():
        if identifier not in seen and row.state != Dataset.State.PROPOSED:
            report.add("dataset.invented", identifier, message="the chain has no such dataset")
    for key, stored in versions.items():
        if key not in registered and stored.registered_at is not None:
            report.add(
                "dataset_version.invented", f"{key[0]}:{key[1]}", message="the chain has no such version"
            )


def _grants(chain: Chain, at: BlockRef | None, events: Events, report: Report) -> None:
    rows = {row.grant_id: row for row in Grant.objects.exclude(grant_id=None)}
    seen = set()
    for event in events["GrantActivated"]:
        identifier = plain(event.args["grant"])
        seen.add(identifier)
        record = chain.grant(event.args["grant"], block=at)
        row = rows.get(identifier)
        if row is None:
            report.add("grant.missing", identifier, message="the portal has no row for this grant")
            continue
        if record is None:
            report.add("grant.unrecorded", identifier, message=_UNRECORDED)
            continue
        report.compare(
            "grant.differs",
            identifier,
            {
                "provider": (plain(record.provider), row.provider_id),
                "consumer": (plain(record.consumer), row.consumer_id),
                "dataset": (plain(record.dataset), row.dataset_id),
                "terms_hash": (plain(record.terms_hash), row.terms_hash),
                "operations": (operation_names(record.operations), _sorted_operations(row.operations)),
                "quota": (record.quota, row.quota),
                "epsilon_micro": (record.epsilon_micro, row.epsilon_micro),
                "not_before": (record.not_before, row.not_before),
                "expiry": (record.expiry, row.expiry),
                "used": (record.used, row.used),
                "reserved": (record.reserved, row.reserved),
                "epsilon_used": (record.epsilon_used, row.epsilon_used),
                "epsilon_reserved": (record.epsilon_reserved, row.epsilon_reserved),
                "revoked": (record.revoked, row.state == Grant.State.REVOKED),
                "on_chain": (True, row.state in Grant.ON_CHAIN),
            },
        )
    for identifier, row in rows.items():
        if identifier not in seen and row.state in Grant.ON_CHAIN:
            report.add(
                "grant.invented",
                identifier or str(row.pk),
                portal=row.state,
                message="the chain has no such grant",
            )


def _jobs(chain: Chain, at: BlockRef | None, events: Events, report: Report) -> None:
    jobs = {row.job_id: row for row in Job.objects.all()}
    rows = {(row.job_id, row.grant_id): row for row in Reservation.objects.all()}
    for event in events["JobReserved"]:
        identifier = plain(event.args["job"])
        job = jobs.pop(identifier, None)
        if job is None:
            report.add("job.missing", identifier, message="the portal has no row for this job")
            continue
        report.compare(
            "job.differs",
            identifier,
            {
                "consumer": (plain(event.args["consumer"]), job.consumer_id),
                "spec_hash": (plain(event.args["specHash"]), job.request.get("spec_hash")),
                "deadline": (event.args["deadline"], job.deadline),
            },
        )
    for identifier, job in jobs.items():
        if job.state in _NEEDS_RESERVATION:
            report.add(
                "job.invented", identifier, portal=job.state, message="the chain never admitted this job"
            )
    for event in events["LineReserved"]:
        key = (plain(event.args["job"]), plain(event.args["grant"]))
        subject = f"{key[0]}:{key[1]}"
        record = chain.reservation(event.args["job"], event.args["grant"], block=at)
        row = rows.pop(key, None)
        if row is None:
            report.add("reservation.missing", subject)
            continue
        if record is None:
            report.add("reservation.unrecorded", subject, message=_UNRECORDED)
            continue
        report.compare(
            "reservation.differs",
            subject,
            {
                "units": (record.units, row.units),
                "epsilon_micro": (record.epsilon_micro, row.epsilon_micro),
                "deadline": (record.deadline, row.deadline),
                "state": (str(_RESERVATION[record.state]), row.state),
            },
        )
    for job_id, grant_id in rows:
        report.add(
            "reservation.invented", f"{job_id}:{grant_id}", message="the chain has no such reservation"
        )


def _receipts(events: Events, report: Report) -> None:
    rows = {row.digest: row for row in Receipt.objects.select_related("batch")}
    charged = {plain(e.args["receipt"]): e.args["units"] for e in events["LineSettled"]}
    seen = set()
    for event in events["ReceiptAnchored"]:
        digest = plain(event.args["digest"])
        seen.add(digest)
        row = rows.get(digest)
        if row is None:
            report.add("receipt.missing", digest, message="the portal has no row for this anchored receipt")
            continue
        facts: dict[str, tuple[Any, Any]] = {
            "node": (plain(event.args["node"]), row.node),
            "job": (plain(event.args["job"]), row.job_id),
            "grant": (plain(event.args["grant"]), row.grant_id),
            "sequence": (event.args["sequence"], row.sequence),
            "units": (event.args["units"], row.units),
            "epsilon_micro": (event.args["epsilonMicro"], row.epsilon_micro),
            "outcome": (outcome_name(event.args["outcome"]), row.outcome),
            "settles": (event.args["settles"], row.settles),
            "charged_units": (charged.get(digest, 0), row.charged_units),
            "state": (Receipt.State.ANCHORED.value, row.state),
        }
        report.compare("receipt.differs", digest, facts)
    for digest, row in rows.items():
        if digest not in seen and row.state == Receipt.State.ANCHORED:
            report.add("receipt.invented", digest, message="the chain has not anchored this receipt")
    batches = {(row.node, row.first_sequence): row for row in Batch.objects.all()}
    for event in events["BatchAnchored"]:
        key = (plain(event.args["node"]), event.args["firstSequence"])
        batch = batches.pop(key, None)
        subject = f"{key[0]}:{key[1]}"
        if batch is None:
            report.add("batch.missing", subject)
            continue
        report.compare(
            "batch.differs",
            subject,
            {"root": (plain(event.args["root"]), batch.root), "count": (event.args["count"], batch.count)},
        )
    for node, first in (key for key, batch in batches.items() if batch.state == Batch.State.ANCHORED):
        report.add("batch.invented", f"{node}:{first}", message="the chain has not anchored this batch")


def _sorted_operations(names: list[str]) -> list[str]:
    """Operation names in the order of their bits, as the chain's mask gives them."""
    return [name for name in OPERATION_NAMES if name in names]
