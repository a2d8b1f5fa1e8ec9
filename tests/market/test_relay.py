"""The one sender: crashes on either side, refusals, and a chain that comes back short."""

from __future__ import annotations

import time

import pytest

from contracts.eip712 import Role
from contracts.errors import ChainUnreachable
from market.audit import reconcile
from market.grants.models import Grant
from market.jobs.models import Job
from market.ledger.models import ChainEvent, ChainTransaction, Reservation
from market.ledger.outbox import requeue
from market.ledger.relay import Relay
from tests.chain_lab import Anvil
from tests.market.conftest import Cast
from tests.market.parties import Stage


class Crash(Exception):
    """The process dies here."""


def test_a_crash_between_saving_and_sending_sends_the_saved_bytes_once(
    stage: Stage, cast: Cast, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = stage.submit(cast.bob, {"left": (grant, 10)})
    monkeypatch.setattr(stage.lab.chain, "send_raw", _die)
    with pytest.raises(Crash):
        stage.relay.step()
    monkeypatch.undo()
    row = ChainTransaction.objects.get(purpose="reserve")
    assert (row.state, bool(row.raw), row.nonce is not None) == ("sent", True, True)
    saved = row.raw
    revived(stage)
    row.refresh_from_db()
    assert (row.state, row.raw) == ("mined", saved)
    assert Reservation.objects.get(job_id=job.job_id).units == 10


def test_a_crash_after_sending_does_not_send_a_second_transaction(
    stage: Stage, cast: Cast, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.submit(cast.bob, {"left": (grant, 10)})
    send = stage.lab.chain.send_raw

    def send_and_die(raw: bytes) -> bytes:
        send(raw)
        raise Crash

    before = stage.lab.chain.nonce(stage.relay.account)
    monkeypatch.setattr(stage.lab.chain, "send_raw", send_and_die)
    with pytest.raises(Crash):
        stage.relay.step()
    monkeypatch.setattr(stage.lab.chain, "send_raw", send)
    revived(stage)
    assert ChainTransaction.objects.get(purpose="reserve").state == "mined"
    assert stage.lab.chain.nonce(stage.relay.account) == before + 1


def test_an_answer_that_is_lost_is_looked_up(
    stage: Stage, cast: Cast, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.submit(cast.bob, {"left": (grant, 10)})
    send = stage.lab.chain.send_raw

    def lost(raw: bytes) -> bytes:
        send(raw)
        raise ChainUnreachable("the line went dead")

    monkeypatch.setattr(stage.lab.chain, "send_raw", lost)
    with pytest.raises(ChainUnreachable):
        stage.relay.step()
    monkeypatch.setattr(stage.lab.chain, "send_raw", send)
    stage.settle()
    assert ChainTransaction.objects.get(purpose="reserve").state == "mined"


def test_what_a_shortened_chain_lost_is_sent_again_in_order(stage: Stage, cast: Cast, grant: Grant) -> None:
    node = stage.nodes[cast.alice.id]
    snapshot = stage.lab.chain.rpc.call("evm_snapshot")
    jobs = [stage.submit(cast.bob, {"left": (grant, units)}) for units in (10, 20, 30)]
    stage.round(4)
    assert [Job.objects.get(pk=job.pk).state for job in jobs] == ["settled"] * 3
    hashes = list(
        ChainTransaction.objects.filter(state="mined").order_by("nonce").values_list("tx_hash", flat=True)
    )
    stage.lab.chain.rpc.call("evm_revert", snapshot)
    stage.index.catch_up()
    assert not Reservation.objects.exists()
    grant.refresh_from_db()
    assert (grant.used, grant.reserved) == (0, 0)
    stage.round(3)
    grant.refresh_from_db()
    assert (grant.used, grant.reserved) == (60, 0)
    again = ChainTransaction.objects.filter(state="mined").order_by("nonce")
    assert list(again.values_list("tx_hash", flat=True)) == hashes
    assert stage.lab.chain.node_tip(cast.alice.keys.id).sequence == len(node.log)
    assert reconcile.compare().plain()["differences"] == []


def test_a_killed_chain_that_comes_back_short_is_made_whole(mortal: tuple[Stage, Anvil]) -> None:
    stage, process = mortal
    alice = stage.enrol("Alice", Role.PROVIDER, node=True)
    bob = stage.enrol("Bob", Role.CONSUMER)
    grant = stage.grant(alice, bob)
    time.sleep(1.6)  # the chain writes its state once a second
    jobs = [stage.submit(bob, {"left": (grant, units)}) for units in (10, 20)]
    stage.round(3)
    before = stage.lab.chain.head().number
    process.kill()
    with pytest.raises(ChainUnreachable):
        stage.relay.step()
    process.start()
    assert stage.lab.chain.head().number <= before
    stage.round(3)
    grant.refresh_from_db()
    assert (grant.used, grant.reserved) == (30, 0)
    assert [Job.objects.get(pk=job.pk).state for job in jobs] == ["settled", "settled"]
    assert reconcile.compare().plain()["differences"] == []


def test_a_forgotten_nonce_does_not_hold_up_the_ones_after_it(stage: Stage, cast: Cast, grant: Grant) -> None:
    snapshot = stage.lab.chain.rpc.call("evm_snapshot")
    for units in (10, 20):
        stage.submit(cast.bob, {"left": (grant, units)})
    stage.settle()
    first = ChainTransaction.objects.filter(purpose="reserve").order_by("nonce")[0]
    stage.lab.chain.rpc.call("evm_revert", snapshot)
    requeue(first)
    stage.settle()
    grant.refresh_from_db()
    assert grant.reserved == 30
    assert set(ChainTransaction.objects.values_list("state", flat=True)) == {"mined"}


def test_a_nonce_that_another_sender_used_gets_a_fresh_one(
    stage: Stage, cast: Cast, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contracts.transactions import Transaction, sign

    stage.submit(cast.bob, {"left": (grant, 10)})
    monkeypatch.setattr(stage.lab.chain, "send_raw", lambda raw: b"")
    stage.relay.step()
    monkeypatch.undo()
    row = ChainTransaction.objects.get(purpose="reserve")
    assert row.nonce is not None
    other = Transaction(stage.lab.chain.chain_id, row.nonce, 21_000, 0, stage.relay.account, b"")
    stage.lab.chain.send_raw(sign(other, stage.lab.operator_key).raw)
    monkeypatch.setattr("market.ledger.relay._GONE_AFTER_S", -1.0)
    stage.settle()
    row.refresh_from_db()
    assert row.state == "mined"
    assert Reservation.objects.count() == 1


def test_a_call_that_reverts_only_when_mined_is_refused_with_its_error(
    stage: Stage, cast: Cast, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each alone fits the quota of 100; the portal refuses what never could.
    stage.submit(cast.bob, {"left": (grant, 60)})
    job = stage.submit(cast.bob, {"left": (grant, 60)})
    monkeypatch.setattr(stage.relay, "_gas", lambda row, call: 500_000)
    stage.relay.drain()
    row = ChainTransaction.objects.filter(purpose="reserve").order_by("pk")[1]
    assert (row.state, row.error["rule"]) == ("reverted", "QuotaExceeded")
    assert row.block_number
    job.refresh_from_db()
    assert (job.state, job.reason["rule"]) == ("refused", "QuotaExceeded")
    stage.settle()


def test_queueing_the_same_intent_twice_changes_nothing(stage: Stage, cast: Cast) -> None:
    stage.dataset(cast.alice)
    count = ChainTransaction.objects.count()
    manifest = stage.nodes[cast.alice.id].manifests[0]
    from market.catalog.services import propose_dataset
    from tests.market.parties import SYSTEM

    propose_dataset(manifest=manifest, actor=SYSTEM)
    assert ChainTransaction.objects.count() == count


def test_an_enrolment_that_the_chain_refuses_shows_on_the_party(stage: Stage) -> None:
    first = stage.enrol("First", Role.PROVIDER)
    from compute.wire.messages import Enrolment
    from market.parties.enrolment import propose_party
    from tests.market.parties import SYSTEM, Party, hexadecimal

    twin = Party(key=first.keys.key)  # another id, the same key
    document = Enrolment(
        party=hexadecimal(twin.id),
        name="Twin",
        address=twin.address,
        box_key=hexadecimal(twin.box_key),
        he_key_digest=hexadecimal(bytes(32)),
        signature=hexadecimal(stage.lab.sign("PartyRegistry", twin.node_key(), twin)),
    )
    row = propose_party(enrolment=document, roles=Role.PROVIDER, actor=SYSTEM)
    stage.settle()
    row.refresh_from_db()
    assert row.state == "proposed"
    assert row.refusal["rule"] == "KeyTaken"


def test_releases_come_after_the_grace_and_only_then(stage: Stage, cast: Cast, grant: Grant) -> None:
    from market.jobs import drive

    stage.nodes[cast.alice.id].reachable = False
    deadline = int(time.time()) + 60
    job = stage.submit(cast.bob, {"left": (grant, 40)}, deadline=deadline)
    stage.settle()
    drive.sweep(now=deadline + 100)
    assert not ChainTransaction.objects.filter(purpose="release").exists()
    late = deadline + stage.lab.chain.release_grace_s + 5
    stage.lab.chain.rpc.call("evm_setNextBlockTimestamp", late)
    drive.sweep(now=late)
    stage.settle()
    assert Reservation.objects.get(job_id=job.job_id).state == "released"
    grant.refresh_from_db()
    assert (grant.used, grant.reserved) == (0, 0)


def test_a_receipt_too_late_to_be_charged_still_ends_its_job(
    stage: Stage, cast: Cast, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from market.jobs import drive

    node = stage.nodes[cast.alice.id]
    deadline = int(time.time()) + 60
    late = deadline + stage.lab.chain.release_grace_s + 5
    with monkeypatch.context() as silent:
        silent.setattr(node, "batch", lambda after, limit: None)
        job = stage.submit(cast.bob, {"left": (grant, 60)}, deadline=deadline)
        stage.round(2)
        job.refresh_from_db()
        assert job.state == "receipted"
        stage.lab.chain.rpc.call("evm_setNextBlockTimestamp", late)
        drive.sweep(now=late)
        stage.settle()
        assert Reservation.objects.get(job_id=job.job_id).state == "released"
        other = stage.submit(cast.bob, {"left": (grant, 100)})
        stage.settle()
    stage.round(4)
    job.refresh_from_db()
    other.refresh_from_db()
    grant.refresh_from_db()
    assert (job.state, job.reason["code"]) == ("settled", "receipt.unsettled")
    assert (other.state, grant.used) == ("settled", 100)
    assert reconcile.compare().plain()["differences"] == []


def test_events_that_nobody_projects_are_still_kept(stage: Stage) -> None:
    assert ChainEvent.objects.filter(name="EntrySet").count() == 3


def revived(stage: Stage) -> None:
    """A new relay process, long after the old one died."""
    ChainTransaction.objects.filter(state="sent").update(sent_at=None)
    stage.relay = Relay(stage.lab.chain, stage.lab.operator_key)
    stage.settle()


def _die(*unused: object) -> bytes:
    raise Crash
