"""Refusals by a real node against a real chain: typed, receipted, and the reservation comes back."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from compute.client import NodeRefused, NodeUnreachable
from compute.wire import structs
from compute.wire.canonical import from_hex, to_hex
from compute.wire.messages import JobStatus, JobSubmission, SignedAction
from contracts.eip712 import Revocation
from tests.chain_lab import REPOSITORY, Lab
from tests.compute.node.conftest import LAB_IDS, make_node
from tests.compute.node.rig import (
    Consumer,
    Granted,
    Order,
    Portal,
    RunningNode,
    patients_csv,
    propose,
    wait_for,
)

PIR = {"columns": ["diagnosis"], "rows": [1]}


@pytest.fixture(scope="module")
def changeable(lab: Lab, portal: Portal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A node whose dataset tests freeze, swap and break; each leaves it whole."""
    node = make_node(tmp_path_factory.mktemp("changeable"), lab, portal, "Changeable", LAB_IDS)
    try:
        node.start().register()
        yield node
    finally:
        node.stop()


@pytest.fixture
def granted(east: RunningNode, consumer: Consumer) -> Granted:
    return east.grant(consumer)


def ask(consumer: Consumer, granted: Granted, **options: Any) -> Order:
    """A PIR job of the consumer with this node: one grant, one dataset."""
    parts = [("server", granted)]
    server = granted.participant("server", options.pop("columns", None))
    server = msgspec.structs.replace(server, **options.pop("participant", {}))
    client = msgspec.structs.replace(
        server, role="client", party=consumer.id, grant=None, dataset=None, commitment=None, columns=()
    )
    return consumer.order(
        "pir.row", options.pop("params", PIR), parts, participants=(server, client), **options
    )


def relay(lab: Lab, signed: SignedAction) -> None:
    lab.send(lab.chain.freeze_call(structs.action(signed), bytes.fromhex(signed.signature[2:])))


def submit(granted: Granted, order: Order) -> JobStatus:
    return granted.node.portal.submit(order.submission)


def refused(granted: Granted, order: Order, rule: str, *, settles: bool) -> JobStatus:
    """Submit, expect this refusal with a valid receipt; commit it and see what becomes of the reservation."""
    status = submit(granted, order)
    assert (status.state, status.rule) == ("refused", rule), status
    assert status.remedy
    receipts = [r for r in granted.node.portal.receipts(limit=500) if r.digest == status.receipt]
    assert len(receipts) == 1
    receipt = receipts[0]
    assert (receipt.outcome, receipt.units, receipt.settles) == ("refused", 0, settles)
    assert receipt.detail.rule == rule
    granted.node.commit_all()
    return status


def test_changed_purpose(consumer: Consumer, granted: Granted) -> None:
    order = ask(consumer, granted, purpose="marketing")
    refused(granted, order, "purpose", settles=True)
    assert order.reservation_state(granted.grant) == "SETTLED"
    record = consumer.lab.chain.grant(from_hex(granted.grant))
    assert record is not None
    assert (record.used, record.reserved) == (0, 0)


def test_operation_outside_the_grant(east: RunningNode, consumer: Consumer) -> None:
    granted = east.grant(consumer, operations=("psi",))
    refused(granted, ask(consumer, granted), "operation", settles=True)


def test_columns_outside_the_grant(east: RunningNode, consumer: Consumer) -> None:
    granted = east.grant(consumer, columns=("patient_id",))
    order = ask(consumer, granted, columns=("patient_id", "diagnosis"))
    refused(granted, order, "columns", settles=True)


def test_columns_that_are_never_used(consumer: Consumer, granted: Granted) -> None:
    with pytest.raises(NodeRefused) as caught:
        granted.node.grant(consumer, columns=("age",))
    assert caught.value.problem.rule == "columns.grade"


def test_quota_exhausted(east: RunningNode, consumer: Consumer) -> None:
    granted = east.grant(consumer, quota=1)
    order = ask(consumer, granted, params={"columns": ["diagnosis"], "rows": [1, 2]}, reserve=False)
    refused(granted, order, "quota", settles=False)


def test_nothing_reserved(consumer: Consumer, granted: Granted) -> None:
    refused(granted, ask(consumer, granted, reserve=False), "reservation", settles=False)


def test_grant_never_activated(east: RunningNode, consumer: Consumer) -> None:
    granted = east.grant(consumer, activate=False)
    refused(granted, ask(consumer, granted, reserve=False), "grant.unknown", settles=False)


def test_grant_of_another_consumer(consumer: Consumer, granted: Granted, lab: Lab) -> None:
    other = Consumer(lab)
    refused(granted, ask(other, granted, reserve=False), "grant.consumer", settles=False)


def test_revoked_on_chain(consumer: Consumer, granted: Granted) -> None:
    order = ask(consumer, granted)
    revocation = granted.node.portal.revoke_grant(granted.grant)
    chain = consumer.lab.chain
    call = chain.revoke_call(Revocation(from_hex(revocation.grant)), bytes.fromhex(revocation.signature[2:]))
    consumer.lab.send(call)
    refused(granted, order, "grant.revoked", settles=True)
    assert order.reservation_state(granted.grant) == "SETTLED"


def test_a_revocation_counts_at_the_node_before_anyone_relays_it(
    consumer: Consumer, granted: Granted
) -> None:
    order = ask(consumer, granted)
    granted.node.portal.revoke_grant(granted.grant)
    refused(granted, order, "grant.revoked", settles=True)


def test_expired(east: RunningNode, consumer: Consumer) -> None:
    now = max(int(time.time()), consumer.lab.now())
    granted = east.grant(consumer, not_before=now - 5, expiry=now + 3)
    order = ask(consumer, granted)
    wait_for(lambda: time.time() > now + 4, 10, lambda: "time stands still")
    refused(granted, order, "grant.expired", settles=True)


def test_frozen_by_its_owner_and_unfrozen_again(
    lab: Lab, consumer: Consumer, changeable: RunningNode
) -> None:
    node = changeable
    granted = node.grant(consumer)
    order = ask(consumer, granted)
    relay(lab, node.portal.freeze(granted.dataset))
    refused(granted, order, "dataset.frozen", settles=True)
    relay(lab, node.portal.unfreeze(granted.dataset))
    again = submit(granted, ask(consumer, granted))
    assert again.state in ("accepted", "running")
    node.portal.cancel(again.job)


def test_a_swapped_file_is_refused_and_a_published_version_accepted(
    consumer: Consumer, changeable: RunningNode
) -> None:
    node = changeable
    granted = node.grant(consumer)
    order = ask(consumer, granted)
    patients_csv(node.home / "patients.csv", ["mallory", *LAB_IDS])
    assert submit(granted, order).state in ("accepted", "running")
    status = node.wait_final(order.job)
    assert (status.state, status.rule) == ("refused", "dataset.content")
    receipt = node.receipt_of(order.job)
    assert (receipt.units, receipt.settles, receipt.outcome) == (0, True, "refused")
    node.commit_all()
    assert order.reservation_state(granted.grant) == "SETTLED"

    command = [sys.executable, "-m", "compute.node", "publish", "--config", str(node.path)]
    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    assert node.register().version == 2
    again = ask(consumer, granted)
    assert submit(granted, again).state in ("accepted", "running")
    wait_for(lambda: node.portal.job(again.job).phase == "connecting", 20, node.log)
    node.portal.cancel(again.job)


def test_a_source_that_broke_fails_the_job_with_line_and_reason_but_without_folders(
    consumer: Consumer, changeable: RunningNode
) -> None:
    node = changeable
    granted = node.grant(consumer)
    order = ask(consumer, granted)
    source = node.home / "patients.csv"
    sound = source.read_text()
    source.write_text(sound + "p999,M,not a number\n")
    try:
        submit(granted, order)
        status = node.wait_final(order.job)
    finally:
        source.write_text(sound)
    assert (status.state, status.reason) == ("failed", "data.invalid")
    assert f"{len(sound.splitlines()) + 1}" in status.message
    assert str(node.home) not in status.message
    assert "not a number" not in status.message
    node.commit_all()
    assert order.reservation_state(granted.grant) == "SETTLED"


def test_what_is_not_final_yet_is_asked_for_again(fresh_lab: Lab, portal: Portal, tmp_path: Path) -> None:
    consumer = Consumer(fresh_lab)
    node = make_node(tmp_path / "patient", fresh_lab, portal, "Patient", LAB_IDS, finality_depth=3)
    try:
        node.start().register()
        fresh_lab.chain.rpc.call("anvil_mine", "0x3")
        granted = node.grant(consumer)
        fresh_lab.chain.rpc.call("anvil_mine", "0x3")
        order = ask(consumer, granted)
        with pytest.raises(NodeUnreachable) as caught:
            submit(granted, order)
        assert caught.value.detail["code"] == "chain.not_final"
        assert node.portal.receipts() == []
        fresh_lab.chain.rpc.call("anvil_mine", "0x3")
        assert submit(granted, order).state in ("accepted", "running")
        node.portal.cancel(order.job)
    finally:
        node.stop()


def test_version_that_is_not_the_registered_one(consumer: Consumer, granted: Granted) -> None:
    order = ask(consumer, granted, participant={"commitment": to_hex(secrets.token_bytes(32))})
    refused(granted, order, "dataset.version", settles=True)


def test_a_garbled_specification_is_refused_and_does_not_touch_the_job(
    consumer: Consumer, granted: Granted
) -> None:
    order = ask(consumer, granted)
    garbled = msgspec.structs.replace(
        order.submission, spec=msgspec.structs.replace(order.submission.spec, purpose="anything")
    )
    status = granted.node.portal.submit(garbled)
    assert (status.state, status.rule) == ("refused", "spec.hash")
    assert granted.node.portal.submit(garbled) == status
    granted.node.commit_all()
    assert order.reservation_state(granted.grant) == "OPEN"
    genuine = submit(granted, order)
    assert genuine.state in ("accepted", "running")
    # The replay with another specification after the job began changes nothing either.
    assert granted.node.portal.submit(garbled) == status
    assert granted.node.portal.job(order.job).state in ("accepted", "running")
    granted.node.portal.cancel(order.job)
    receipts = [r for r in granted.node.portal.receipts(limit=500) if r.job == order.job]
    assert [(r.outcome, r.settles) for r in receipts] == [("refused", False), ("cancelled", True)]


def test_a_request_signed_by_somebody_else_is_refused_and_does_not_touch_the_job(
    consumer: Consumer, granted: Granted, lab: Lab
) -> None:
    order, mallory = ask(consumer, granted), Consumer(lab)
    forged = mallory.sign(order.submission.spec, order.submission.request.lines)
    stolen = msgspec.structs.replace(order.submission.request, signature=forged.request.signature)
    status = granted.node.portal.submit(msgspec.structs.replace(order.submission, request=stolen))
    assert (status.state, status.rule) == ("refused", "request.signature")
    granted.node.commit_all()
    assert order.reservation_state(granted.grant) == "OPEN"


def test_one_caller_cannot_make_the_node_sign_refusals_without_end(changeable: RunningNode, lab: Lab) -> None:
    mallory, bob = Consumer(lab), Consumer(lab)
    spec = ask(mallory, changeable.grant(mallory), reserve=False).submission.spec
    before = len(changeable.portal.receipts(limit=500))
    # Every one is another job, so no limit per job would hold them.
    for _ in range(120):
        assert mallory.client(changeable).submit(mallory.sign(spec, ())).state == "refused"
    with pytest.raises(NodeUnreachable) as caught:
        mallory.client(changeable).submit(mallory.sign(spec, ()))
    assert caught.value.detail["code"] == "node.busy"
    assert len(changeable.portal.receipts(limit=500)) - before == 120
    # Somebody else is heard all the same.
    theirs = ask(bob, changeable.grant(bob), reserve=False).submission
    assert bob.client(changeable).submit(theirs).state == "refused"
    changeable.commit_all()


def test_a_request_that_is_sent_again_gets_the_same_answer_and_no_second_receipt(
    consumer: Consumer, granted: Granted
) -> None:
    order = ask(consumer, granted, purpose="marketing")
    refused(granted, order, "purpose", settles=True)
    first = submit(granted, order)
    assert submit(granted, order) == first
    granted.node.receipt_of(order.job)


def test_the_ceiling_binds_the_portal(east: RunningNode, consumer: Consumer) -> None:
    with pytest.raises(NodeRefused) as caught:
        east.portal.sign_grant(propose(east, consumer, min_cohort=1))
    assert (caught.value.problem.code, caught.value.problem.rule) == ("policy.refused", "ceiling.cohort")
    assert caught.value.problem.remedy


def test_a_repeated_proposal_gets_the_same_signature(east: RunningNode, consumer: Consumer) -> None:
    proposal = propose(east, consumer)
    assert east.portal.sign_grant(proposal) == east.portal.sign_grant(proposal)


def test_garbled_attempts_stop_getting_receipts(consumer: Consumer, granted: Granted) -> None:
    order = ask(consumer, granted, reserve=False)
    statuses = [granted.node.portal.submit(garble(order.submission, index)) for index in range(20)]
    assert all(status.rule == "spec.hash" for status in statuses)
    signed = [status for status in statuses if status.receipt is not None]
    assert len(signed) == granted.node.config.limits.max_refusals_per_job


def garble(submission: JobSubmission, index: int) -> JobSubmission:
    spec = msgspec.structs.replace(submission.spec, purpose=f"purpose {index}")
    return msgspec.structs.replace(submission, spec=spec)
