"""From enrolment to invoice on a real chain, with nodes that sign what nodes sign."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from compute.client import NodeRefused
from compute.wire import structs
from compute.wire.messages import Problem, SignedGrant
from contracts.eip712 import Grant as Terms
from contracts.eip712 import Role, struct_hash
from market.audit import reconcile
from market.audit.models import AuditEntry
from market.billing.models import Invoice
from market.catalog.models import Dataset
from market.errors import BadRequest, BadSignature, JobExists, JobRejected, OutsidePolicy
from market.grants import services as grants
from market.grants.models import Grant
from market.jobs import services as jobs
from market.jobs.models import Job, JobEvent, SealedResult
from market.ledger.models import ChainTransaction, Receipt, Reservation
from market.parties.models import NodeStatus, Party
from tests.market.conftest import Cast
from tests.market.parties import Stage


def test_a_party_is_enrolled_once_the_chain_says_so(stage: Stage) -> None:
    member = stage.enrol("Alice", Role.PROVIDER, node=True)
    assert member.row.state == Party.State.ENROLLED
    assert member.row.role_names == ["provider"]
    assert member.row.box_key == "0x" + member.keys.box_key.hex()


def test_a_dataset_is_registered_by_its_node(stage: Stage, cast: Cast) -> None:
    stage.nodes[cast.alice.id].manifests.append(stage.manifest(cast.alice, "Panel"))
    stage.round()
    dataset = Dataset.objects.get(name="Panel")
    assert (dataset.state, dataset.current_version) == ("registered", 1)
    assert dataset.current is not None
    assert dataset.current.block_number


def test_a_manifest_signed_by_another_is_not_taken(stage: Stage, cast: Cast) -> None:
    manifest = stage.manifest(cast.charlie)
    stage.nodes[cast.alice.id].manifests.append(manifest)
    stage.round()
    assert not Dataset.objects.filter(pk=manifest.dataset).exists()


def test_request_approval_signature_activation(stage: Stage, cast: Cast) -> None:
    offer = stage.offer(cast.alice, stage.dataset(cast.alice))
    grant = stage.request(cast.bob, offer)
    assert grant.state == "requested"
    assert grant.grant_id is None
    grants.approve_grant(grant_id=grant.id, actor=cast.alice.actor(), quota=50)
    stage.round()
    grant.refresh_from_db()
    assert (grant.state, grant.quota, grant.used, grant.left) == ("active", 50, 0, 50)
    record = stage.lab.chain.grant(bytes.fromhex((grant.grant_id or "")[2:]))
    assert record is not None
    assert record.quota == 50


def test_a_grant_is_never_wider_than_the_offer_or_the_request(stage: Stage, cast: Cast) -> None:
    offer = stage.offer(cast.alice, stage.dataset(cast.alice))
    for change, rule in (
        ({"purpose": "something else"}, "purpose"),
        ({"operations": ["pir"]}, "operations"),
        ({"columns": ["name"]}, "columns"),
        ({"quota": 1001}, "quota"),
        ({"days": 31}, "expiry"),
    ):
        with pytest.raises(OutsidePolicy) as caught:
            stage.request(cast.bob, offer, **change)
        assert caught.value.rule == rule
    grant = stage.request(cast.bob, offer)
    with pytest.raises(OutsidePolicy):
        grants.approve_grant(grant_id=grant.id, actor=cast.alice.actor(), quota=101)


def test_what_the_node_refuses_is_refused_with_its_reason(stage: Stage, cast: Cast) -> None:
    offer = stage.offer(cast.alice, stage.dataset(cast.alice))
    grant = stage.request(cast.bob, offer)
    grants.approve_grant(grant_id=grant.id, actor=cast.alice.actor())
    stage.nodes[cast.alice.id].refuse_grants = Problem(
        type="about:blank", title="no", status=403, detail="too wide", code="policy.refused", rule="max_quota"
    )
    stage.round()
    grant.refresh_from_db()
    assert grant.state == "refused"
    assert grant.refusal["rule"] == "max_quota"


def test_a_job_runs_to_its_invoice_and_everybody_agrees(stage: Stage, cast: Cast, grant: Grant) -> None:
    other = stage.grant(cast.charlie, cast.bob)
    job = stage.submit(cast.bob, {"left": (grant, 40), "right": (other, 20)})
    assert job.state == "submitted"
    stage.settle()
    job.refresh_from_db()
    assert job.state == "reserved"
    grant.refresh_from_db()
    assert grant.reserved == 40
    stage.round(4)
    job.refresh_from_db()
    grant.refresh_from_db()
    assert job.state == "settled"
    assert (grant.used, grant.reserved, grant.left) == (40, 0, 60)
    assert Receipt.objects.filter(job_id=job.job_id, state="anchored").count() == 2
    assert SealedResult.objects.filter(job=job).count() == 2
    invoice = Invoice.objects.get(provider=cast.alice.row)
    assert (invoice.units, invoice.amount_credits) == (40, 120)
    phases = list(JobEvent.objects.filter(job=job).values_list("role", "phase"))
    assert ("", "submitted") in phases
    assert ("left", "working") in phases
    assert AuditEntry.objects.filter(verb="job.settled", subject=job.job_id).exists()
    assert reconcile.compare().plain()["differences"] == []


def test_workers_may_repeat_every_step(stage: Stage, cast: Cast, grant: Grant) -> None:
    job = stage.submit(cast.bob, {"left": (grant, 10)})
    stage.round(5)
    counts = (Receipt.objects.count(), ChainTransaction.objects.count(), AuditEntry.objects.count())
    stage.round(3)
    assert counts == (Receipt.objects.count(), ChainTransaction.objects.count(), AuditEntry.objects.count())
    job.refresh_from_db()
    assert job.state == "settled"


def test_exhausted_quota_is_refused_without_a_transaction(stage: Stage, cast: Cast, grant: Grant) -> None:
    stage.submit(cast.bob, {"left": (grant, 60)})
    stage.settle()
    before = stage.lab.chain.nonce(stage.relay.account)
    job = stage.submit(cast.bob, {"left": (grant, 60)})
    stage.settle()
    job.refresh_from_db()
    assert job.state == "refused"
    assert job.reason["rule"] == "QuotaExceeded"
    assert job.reason["arguments"]["left"] == 40
    assert job.reason["remedy"]
    assert stage.lab.chain.nonce(stage.relay.account) == before


def test_a_revoked_grant_reserves_nothing(stage: Stage, cast: Cast, grant: Grant) -> None:
    grants.request_revocation(grant_id=grant.id, actor=cast.alice.actor())
    stage.round()
    grant.refresh_from_db()
    assert grant.state == "revoked"
    job = stage.submit(cast.bob, {"left": (grant, 1)})
    stage.settle()
    job.refresh_from_db()
    assert (job.state, job.reason["rule"]) == ("refused", "GrantRevoked")


def test_a_replayed_request_is_told_as_one(stage: Stage, cast: Cast, grant: Grant) -> None:
    spec, request = stage.order(cast.bob, {"left": (grant, 1)})
    jobs.submit_job(spec=spec, request=request, actor=cast.bob.actor())
    with pytest.raises(JobExists):
        jobs.submit_job(spec=spec, request=request, actor=cast.bob.actor())


def test_an_order_that_does_not_hold_together_is_no_job(stage: Stage, cast: Cast, grant: Grant) -> None:
    spec, request = stage.order(cast.bob, {"left": (grant, 1)})
    other_spec, _ = stage.order(cast.bob, {"left": (grant, 1)}, purpose="another")
    with pytest.raises(JobRejected) as caught:
        jobs.submit_job(spec=other_spec, request=request, actor=cast.bob.actor())
    assert caught.value.rule == "spec_hash"
    with pytest.raises(JobRejected) as caught:
        jobs.submit_job(spec=spec, request=request, actor=cast.charlie.actor())
    assert caught.value.rule == "consumer"
    spec, request = stage.order(cast.bob, {"left": (grant, 1)}, deadline=int(time.time()) - 1)
    with pytest.raises(JobRejected) as caught:
        jobs.submit_job(spec=spec, request=request, actor=cast.bob.actor())
    assert caught.value.rule == "deadline"
    assert not Job.objects.exists()


def test_a_request_signed_by_another_key_is_no_job(stage: Stage, cast: Cast, grant: Grant) -> None:
    import msgspec

    spec, request = stage.order(cast.bob, {"left": (grant, 1)})
    forged = stage.sign_request(structs.job_request(request), cast.charlie)
    with pytest.raises(BadSignature):
        jobs.submit_job(
            spec=spec,
            request=msgspec.structs.replace(request, signature=forged.signature),
            actor=cast.bob.actor(),
        )


def test_a_refusal_by_one_node_ends_the_job_and_frees_the_units(
    stage: Stage, cast: Cast, grant: Grant
) -> None:
    other = stage.grant(cast.charlie, cast.bob)
    stage.nodes[cast.alice.id].behaviour = lambda submission: "refused"
    stage.nodes[cast.charlie.id].behaviour = lambda submission: "running"
    job = stage.submit(cast.bob, {"left": (grant, 40), "right": (other, 20)})
    stage.round(5)
    job.refresh_from_db()
    assert job.state == "refused"
    assert (job.reason["rule"], job.reason["party"]) == ("purpose", cast.alice.id)
    assert set(Reservation.objects.filter(job_id=job.job_id).values_list("state", flat=True)) == {"settled"}
    for row in (grant, other):
        row.refresh_from_db()
        assert (row.used, row.reserved) == (0, 0)
    assert not Invoice.objects.exists()
    assert reconcile.compare().clean


def test_cancelling_ends_the_part_at_its_node(stage: Stage, cast: Cast, grant: Grant) -> None:
    stage.nodes[cast.alice.id].behaviour = lambda submission: "running"
    job = stage.submit(cast.bob, {"left": (grant, 40)})
    stage.round(2)
    job.refresh_from_db()
    assert job.state == "running"
    jobs.cancel_job(job_id=job.job_id, actor=cast.bob.actor())
    stage.round(3)
    job.refresh_from_db()
    grant.refresh_from_db()
    assert job.state == "cancelled"
    assert grant.reserved == 0


def test_cancelling_before_the_reservation_needs_no_transaction(
    stage: Stage, cast: Cast, grant: Grant
) -> None:
    job = stage.submit(cast.bob, {"left": (grant, 40)})
    jobs.cancel_job(job_id=job.job_id, actor=cast.bob.actor())
    stage.round(2)
    job.refresh_from_db()
    assert job.state == "cancelled"
    assert not Reservation.objects.filter(job_id=job.job_id).exists()


def test_a_silent_node_delays_and_then_expires(stage: Stage, cast: Cast, grant: Grant) -> None:
    from market.jobs import drive

    stage.nodes[cast.alice.id].reachable = False
    job = stage.submit(cast.bob, {"left": (grant, 40)})
    stage.round(2)
    job.refresh_from_db()
    assert job.state == "reserved"
    drive.sweep(now=job.deadline + 31)
    job.refresh_from_db()
    assert (job.state, job.reason["party"]) == ("expired", cast.alice.id)


def test_a_receipt_that_the_node_did_not_sign_is_not_kept(stage: Stage, cast: Cast, grant: Grant) -> None:
    import msgspec

    job = stage.submit(cast.bob, {"left": (grant, 10)})
    stage.round(1)
    node = stage.nodes[cast.alice.id]
    stage.round(1)
    stolen = msgspec.structs.replace(node.log[-1], units=9, sequence=2, digest=node.log[-1].digest)
    node.log.append(stolen)
    stage.round(2)
    assert Receipt.objects.filter(job_id=job.job_id).count() == 1


@pytest.mark.parametrize("asked", ["revoke", "freeze", "sign"])
def test_what_a_node_will_not_sign_keeps_nothing_else_waiting(
    stage: Stage, cast: Cast, grant: Grant, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from market.catalog.services import request_freeze

    node = stage.nodes[cast.alice.id]

    def refuse(*unused: object) -> None:
        raise NodeRefused(Problem(type="about:blank", title="Not found", status=404))

    if asked == "revoke":
        grants.request_revocation(grant_id=grant.id, actor=cast.alice.actor())
        monkeypatch.setattr(node, "revoke_grant", refuse)
    elif asked == "freeze":
        request_freeze(dataset_id=grant.dataset_id, frozen=True, actor=cast.alice.actor())
        monkeypatch.setattr(node, "freeze", refuse)
    else:
        offer = stage.offer(cast.alice, stage.dataset(cast.alice))
        grants.approve_grant(grant_id=stage.request(cast.bob, offer).id, actor=cast.alice.actor())
        monkeypatch.setattr(
            node,
            "sign_grant",
            lambda proposal: SignedGrant(
                grant="0x" + "11" * 32, proposal=proposal, signature="0x" + "1b" * 65
            ),
        )
    job = stage.submit(cast.bob, {"left": (grant, 40)})
    stage.round(5)
    job.refresh_from_db()
    assert job.state == "settled"
    assert NodeStatus.objects.get(party=cast.alice.row).error


def test_numbers_that_no_table_holds_do_not_stop_the_index(stage: Stage, cast: Cast, grant: Grant) -> None:
    most = 2**64 - 1
    huge = Terms(
        provider=cast.alice.keys.id,
        consumer=cast.bob.keys.id,
        dataset=bytes.fromhex(grant.dataset_id[2:]),
        terms_hash=b"t" * 32,
        operations=1,
        quota=most,
        epsilon_micro=most,
        not_before=0,
        expiry=most,
    )
    signature = stage.lab.sign("UsageLedger", huge, cast.alice.keys)
    stage.lab.send(stage.lab.chain.activate_call(huge, signature))
    stage.settle()
    row = Grant.objects.get(grant_id="0x" + struct_hash(huge).hex())
    assert (row.state, row.quota) == ("active", 2**53 - 1)
    found = {(d.code, d.subject, d.field) for d in reconcile.compare().differences}
    assert ("grant.differs", row.grant_id, "quota") in found


def test_an_offer_costs_no_more_than_an_invoice_holds(stage: Stage, cast: Cast) -> None:
    dataset = stage.dataset(cast.alice)
    with pytest.raises(BadRequest, match="max_quota times price_credits"):
        stage.offer(cast.alice, dataset, max_quota=2**53 - 1, price_credits=2)
    assert stage.offer(cast.alice, dataset, max_quota=2**53 - 1, price_credits=1).price_credits == 1


def test_a_receipt_from_the_future_is_not_kept(stage: Stage, cast: Cast, grant: Grant) -> None:
    job = stage.submit(cast.bob, {"left": (grant, 10)})
    with pytest.MonkeyPatch.context() as patch:
        # The portal's clock an hour behind is the node's an hour ahead.
        patch.setattr("market.ledger.receipts.time", SimpleNamespace(time=lambda: time.time() - 3600))
        stage.round(2)
        assert stage.nodes[cast.alice.id].log
        assert not Receipt.objects.filter(job_id=job.job_id).exists()
    stage.round(1)
    assert Receipt.objects.filter(job_id=job.job_id).exists()


def test_freezing_by_the_owner_goes_through_its_node(stage: Stage, cast: Cast, grant: Grant) -> None:
    from market.catalog.services import request_freeze

    request_freeze(dataset_id=grant.dataset_id, frozen=True, actor=cast.alice.actor())
    stage.round()
    grant.dataset.refresh_from_db()
    assert (grant.dataset.state, grant.dataset.wish) == ("frozen", "")
    job = stage.submit(cast.bob, {"left": (grant, 1)})
    stage.settle()
    job.refresh_from_db()
    assert job.reason["rule"] == "DatasetFrozen"
    request_freeze(dataset_id=grant.dataset_id, frozen=False, actor=cast.alice.actor())
    stage.round()
    grant.dataset.refresh_from_db()
    assert grant.dataset.state == "registered"
