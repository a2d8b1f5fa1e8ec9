"""What reconcile finds after somebody edited the portal's tables, and what rebuild_index mends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command

from market.audit import reconcile
from market.audit import services as audit
from market.audit.models import AuditEntry
from market.billing.models import Invoice, InvoiceLine
from market.catalog.models import Dataset, DatasetVersion, Offer
from market.grants.models import Grant
from market.jobs.models import Job
from market.ledger.models import Batch, Block, ChainEvent, Receipt, Reservation
from market.ledger.rebuild import rebuild
from market.parties.models import Party
from tests.market.conftest import Cast
from tests.market.parties import Stage


@pytest.fixture
def played(stage: Stage, cast: Cast, grant: Grant) -> Job:
    """One settled job, everything clean."""
    job = stage.submit(cast.bob, {"left": (grant, 40)})
    stage.round(5)
    job.refresh_from_db()
    assert job.state == "settled"
    assert reconcile.compare().clean
    return job


def codes(**options: Any) -> set[tuple[str, str]]:
    return {(d.code, d.field) for d in reconcile.compare(**options).differences}


Edit = Callable[[], Any]
EDITS: list[tuple[str, Edit, tuple[str, str]]] = [
    ("quota", lambda: Grant.objects.update(quota=10_000), ("grant.differs", "quota")),
    ("used", lambda: Grant.objects.update(used=1), ("grant.differs", "used")),
    ("expiry", lambda: Grant.objects.update(expiry=1), ("grant.differs", "expiry")),
    ("grant state", lambda: Grant.objects.update(state="revoked"), ("grant.differs", "revoked")),
    ("terms", lambda: edit_terms(), ("grant.terms", "terms")),
    ("grant row", lambda: forget_grant(), ("grant.missing", "")),
    ("units", lambda: Receipt.objects.update(units=4), ("receipt.differs", "units")),
    ("outcome", lambda: Receipt.objects.update(outcome="failed"), ("receipt.differs", "outcome")),
    ("transcript", lambda: Receipt.objects.update(transcript="0x" + "11" * 32), ("receipt.fields", "")),
    ("detail", lambda: edit_detail(), ("receipt.fields", "")),
    ("charged", lambda: Receipt.objects.update(charged_units=1), ("receipt.differs", "charged_units")),
    ("receipt row", lambda: Receipt.objects.all().delete(), ("receipt.missing", "")),
    ("root", lambda: Batch.objects.update(root="0x" + "22" * 32), ("batch.differs", "root")),
    ("batch", lambda: Batch.objects.update(signature="0x" + "1b" * 65), ("batch.signature", "signature")),
    ("line amount", lambda: InvoiceLine.objects.update(amount_credits=1), ("invoice.line", "amount_credits")),
    ("invoice", lambda: Invoice.objects.update(amount_credits=1), ("invoice.amount", "amount_credits")),
    ("invoice row", lambda: Invoice.objects.all().delete(), ("invoice.line_missing", "")),
    ("job state", lambda: Job.objects.update(state="failed"), ("job.state", "state")),
    ("job spec", lambda: Job.objects.update(spec={"kind": "psi"}), ("job.documents", "")),
    ("job purpose", lambda: Job.objects.update(purpose="other"), ("job.documents", "kind, purpose")),
    ("reservation", lambda: Reservation.objects.update(units=1), ("reservation.differs", "units")),
    ("dataset owner", lambda: swap_owner(), ("dataset.differs", "provider")),
    (
        "commitment",
        lambda: DatasetVersion.objects.update(commitment="0x" + "33" * 32),
        ("dataset_version.differs", "commitment"),
    ),
    ("party key", lambda: Party.objects.update(address="0x" + "44" * 20), ("party.differs", "address")),
    ("roles", lambda: Party.objects.filter(name="Bob").update(roles=15), ("party.differs", "roles")),
    ("event row", lambda: ChainEvent.objects.filter(name="LineSettled").delete(), ("event.missing", "")),
    ("event", lambda: ChainEvent.objects.filter(name="LineSettled").update(args={}), ("event.differs", "")),
    ("audit", lambda: AuditEntry.objects.filter(sequence=3).update(actor="x"), ("audit.chain_broken", "")),
    ("version", lambda: invent_version(), ("dataset_version.invented", "")),
    ("job", lambda: invent_job(), ("job.invented", "")),
    ("anchored batch", lambda: invent_batch(), ("batch.invented", "")),
    ("audit tail", lambda: cut_audit(), ("audit.chain_broken", "")),
]


def edit_terms() -> None:
    grant = Grant.objects.exclude(terms=None).get()
    grant.terms["price_credits"] = 1
    grant.save()


def edit_detail() -> None:
    receipt = Receipt.objects.get()
    receipt.detail["purpose"] = "another"
    receipt.save()


def forget_grant() -> None:
    Job.objects.all().delete()
    Grant.objects.all().delete()


def swap_owner() -> None:
    Dataset.objects.update(provider=Party.objects.get(name="Charlie"))


def cut_audit() -> None:
    AuditEntry.objects.order_by("-sequence").first().delete()  # type: ignore[union-attr]


def invent_version() -> None:
    row = DatasetVersion.objects.get()
    row.pk, row.version = None, 2
    row.save(force_insert=True)


def invent_job() -> None:
    row = Job.objects.get()
    row.job_id, row.state = "0x" + "66" * 32, "running"
    row.save(force_insert=True)


def invent_batch() -> None:
    row = Batch.objects.get()
    row.pk, row.first_sequence = None, 50
    row.save(force_insert=True)


@pytest.mark.parametrize(("edit", "expected"), [e[1:] for e in EDITS], ids=[e[0] for e in EDITS])
def test_every_edit_of_a_table_is_found(
    stage: Stage, cast: Cast, played: Job, edit: Edit, expected: tuple[str, str]
) -> None:
    edit()
    assert expected in codes()


def test_a_receipt_that_the_portal_invented_is_found(stage: Stage, cast: Cast, played: Job) -> None:
    row = Receipt.objects.get()
    row.digest, row.sequence = "0x" + "55" * 32, 99
    row.save(force_insert=True)
    found = codes()
    assert ("receipt.invented", "") in found
    assert ("receipt.unknown_to_node", "") in found


def test_a_silent_node_is_not_clean(stage: Stage, cast: Cast, played: Job) -> None:
    stage.nodes[cast.alice.id].reachable = False
    report = reconcile.compare()
    assert report.unreachable == [cast.alice.id]
    assert {d.code for d in report.differences} == {"node.unreachable"}
    assert reconcile.compare(nodes=False).clean


def test_the_command_says_so_and_exits_with_it(
    stage: Stage, cast: Cast, played: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("reconcile", "--json")
    assert json.loads(capsys.readouterr().out)["clean"] is True
    Grant.objects.update(quota=7)
    with pytest.raises(SystemExit) as ended:
        call_command("reconcile", "--json")
    assert ended.value.code == 1
    report = json.loads(capsys.readouterr().out)
    assert [(d["code"], d["field"], d["chain"], d["portal"]) for d in report["differences"]] == [
        ("grant.differs", "quota", 100, 7)
    ]
    with pytest.raises(SystemExit):
        call_command("reconcile")
    assert "grant.differs" in capsys.readouterr().out


def test_rebuild_mends_what_the_chain_and_the_nodes_know(stage: Stage, cast: Cast, played: Job) -> None:
    before = tables()
    Grant.objects.update(quota=10_000, used=0)
    Receipt.objects.update(units=4, transcript="0x" + "11" * 32)
    Reservation.objects.all().delete()
    Batch.objects.update(root="0x" + "22" * 32, signature="0x" + "1b" * 65)
    ChainEvent.objects.filter(name="LineSettled").delete()
    Invoice.objects.all().delete()
    Job.objects.update(state="failed")
    Dataset.objects.update(current_version=9)
    Party.objects.filter(name="Bob").update(roles=15, box_key="0x" + "66" * 32)
    assert not reconcile.compare().clean
    rebuild(stage.lab.chain)
    stage.round(3)
    assert reconcile.compare().plain()["differences"] == []
    assert tables() == before


def test_rebuild_of_a_clean_index_changes_nothing(stage: Stage, cast: Cast, played: Job) -> None:
    before = tables()
    rebuild(stage.lab.chain)
    assert tables() == before


def test_an_empty_database_fills_from_the_chain(stage: Stage, cast: Cast, played: Job) -> None:
    quota = Grant.objects.get().quota
    for model in (Invoice, Receipt, Batch, Reservation, ChainEvent, Block):
        model.objects.all().delete()
    forget_grant()
    Offer.objects.all().delete()
    Dataset.objects.all().delete()
    Party.objects.exclude(api_keys=None).update(name="gone")
    rebuild(stage.lab.chain)
    grant = Grant.objects.get()
    assert (grant.quota, grant.used, grant.state) == (quota, 40, "active")
    assert Dataset.objects.get().current_version == 1
    assert Job.objects.get().state == "settled"
    assert Receipt.objects.get().signature
    assert Batch.objects.get().signature


def test_a_restored_chain_is_unwound_and_read_again(stage: Stage, cast: Cast, grant: Grant) -> None:
    snapshot = stage.lab.chain.rpc.call("evm_snapshot")
    stage.submit(cast.bob, {"left": (grant, 40)})
    stage.settle()
    assert Reservation.objects.count() == 1
    stage.lab.chain.rpc.call("evm_revert", snapshot)
    # Another branch, at least as long: heights agree, hashes do not.
    for _ in range(5):
        stage.lab.advance(1)
    assert ("index.block", "hash") in codes(nodes=False)
    stage.index.catch_up()
    assert Reservation.objects.count() == 0
    assert ("index.block", "hash") not in codes(nodes=False)
    stage.settle()
    assert Reservation.objects.count() == 1


def test_the_audit_log_fails_closed(stage: Stage, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import DatabaseError

    from market.errors import AuditUnavailable

    def full(*args: Any, **options: Any) -> None:
        raise DatabaseError("disk full")

    offer = stage.offer(cast.alice, stage.dataset(cast.alice))
    monkeypatch.setattr(AuditEntry, "save", full)
    with pytest.raises(AuditUnavailable):
        stage.request(cast.bob, offer)
    assert not Grant.objects.exists()
    monkeypatch.undo()
    assert audit.first_break() is None


def tables() -> dict[str, Any]:
    """All that projections and invoices hold, without row ids."""
    return {
        "parties": list(Party.objects.order_by("pk").values("pk", "roles", "address", "box_key", "state")),
        "datasets": list(Dataset.objects.order_by("pk").values("pk", "provider", "state", "current_version")),
        "versions": list(
            DatasetVersion.objects.order_by("dataset", "version").values(
                "dataset", "version", "commitment", "registered_at", "block_number", "tx_hash"
            )
        ),
        "grants": list(
            Grant.objects.order_by("pk").values("pk", "quota", "used", "reserved", "state", "block_number")
        ),
        "jobs": list(Job.objects.order_by("pk").values("pk", "state", "reason")),
        "reservations": list(
            Reservation.objects.order_by("job_id").values(
                "job_id", "grant_id", "units", "units_used", "state"
            )
        ),
        "receipts": list(
            Receipt.objects.order_by("pk").values(
                "pk", "units", "transcript", "signature", "state", "charged_units", "tx_hash", "batch__root"
            )
        ),
        "batches": list(Batch.objects.order_by("pk").values("node", "count", "root", "signature", "state")),
        "invoices": list(Invoice.objects.values("provider", "consumer", "period", "units", "amount_credits")),
        "lines": list(InvoiceLine.objects.values("receipt_digest", "units", "amount_credits")),
        "events": ChainEvent.objects.count(),
    }


@pytest.mark.parametrize("read", ["party", "dataset", "grant", "reservation"])
def test_an_endpoint_that_hides_a_record_is_not_clean(
    stage: Stage, cast: Cast, played: Job, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    monkeypatch.setattr(stage.lab.chain, read, lambda *ids, block=None: None)
    assert f"{read}.unrecorded" in {difference.code for difference in reconcile.compare().differences}
