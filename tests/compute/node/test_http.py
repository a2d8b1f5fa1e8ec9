"""The HTTP edge: who may call what, sizes, and what strangers get to see."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from compute.client import GrantPending, NodeClient, NodeRefused, StatementKey
from compute.node import __main__ as command
from compute.node.config import load
from compute.wire import canonical, structs
from compute.wire.canonical import from_hex, to_hex
from compute.wire.messages import JobStatus, Problem
from compute.wire.signed_http import sign_request
from contracts import eip712
from contracts.eip712 import Role
from contracts.merkle import root
from tests.chain_lab import Lab
from tests.compute.node.conftest import LAB_IDS, make_node
from tests.compute.node.rig import Consumer, Granted, Order, Portal, RunningNode, propose

PSI = {"keys": {"left": ["patient_id"], "right": ["patient_id"]}, "max_elements": 100}


@pytest.fixture
def finished(east: RunningNode, laboratory: RunningNode, consumer: Consumer) -> tuple[Order, Granted]:
    """A completed PSI with a result at east."""
    grants = east.grant(consumer), laboratory.grant(consumer)
    order = consumer.order("psi", PSI, list(zip(("left", "right"), grants, strict=True)))
    for node in (east, laboratory):
        node.portal.submit(order.submission)
    for node in (east, laboratory):
        assert node.wait_final(order.job).state == "completed"
    return order, grants[0]


def status_of(error: pytest.ExceptionInfo[NodeRefused]) -> tuple[int, str]:
    return error.value.problem.status, error.value.problem.code


def test_identity_and_health_are_open_and_true(east: RunningNode, lab: Lab) -> None:
    identity = east.portal.identity()
    record = lab.chain.party(from_hex(identity.party))
    assert record is not None
    assert record.address == identity.address
    assert to_hex(record.box_key) == identity.box_key
    assert identity.chain_id == lab.chain.chain_id
    assert httpx.get(east.url + "/healthz").json()["status"] == "ok"


@pytest.mark.parametrize("path", ["/v1/datasets", "/v1/receipts", "/v1/jobs/0x" + "00" * 32])
def test_unsigned_requests_are_not_answered(east: RunningNode, path: str) -> None:
    answer = httpx.get(east.url + path)
    problem = msgspec.json.decode(answer.content, type=Problem)
    assert (answer.status_code, problem.code) == (401, "http.not_authenticated")
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_recorded_request_is_answered_once(east: RunningNode, portal: Portal) -> None:
    headers = sign_request(
        portal.key,
        party="0x" + "00" * 32,
        audience=east.party,
        method="GET",
        target="/v1/receipts?limit=1",
        body=b"",
        now=int(time.time()),
    )
    assert httpx.get(east.url + "/v1/receipts?limit=1", headers=headers).status_code == 200
    assert httpx.get(east.url + "/v1/receipts?limit=1", headers=headers).status_code == 401
    assert httpx.get(east.url + "/v1/receipts?limit=2", headers=headers).status_code == 401


def test_only_the_configured_key_is_the_portal(east: RunningNode) -> None:
    mallory = NodeClient(east.url, east.party, StatementKey(secrets.token_bytes(32)))
    with pytest.raises(NodeRefused) as caught:
        mallory.datasets()
    assert status_of(caught) == (401, "http.not_authenticated")


def test_a_consumer_cannot_do_what_is_the_portals(east: RunningNode, consumer: Consumer) -> None:
    client = consumer.client(east)
    for call in (
        client.datasets,
        client.receipts,
        lambda: client.sign_grant(propose(east, consumer)),
        lambda: client.revoke_grant("0x" + "00" * 32),
        lambda: client.freeze(east.config.dataset[0].id),
        lambda: client.batch(0),
    ):
        with pytest.raises(NodeRefused) as caught:
            call()
        assert status_of(caught) == (403, "http.forbidden")


def test_a_regulator_reads_receipts_and_nothing_else(
    east: RunningNode, lab: Lab, finished: tuple[Order, Granted]
) -> None:
    regulator = Consumer(lab, Role.REGULATOR).client(east)
    assert finished[0].job in {receipt.job for receipt in regulator.receipts(limit=500)}
    with pytest.raises(NodeRefused) as caught:
        regulator.batch(0)
    assert status_of(caught) == (403, "http.forbidden")
    with pytest.raises(NodeRefused) as caught:
        regulator.job(finished[0].job)
    assert status_of(caught) == (404, "http.not_found")


def test_a_job_exists_for_its_consumer_and_the_portal_only(
    east: RunningNode, lab: Lab, consumer: Consumer, finished: tuple[Order, Granted]
) -> None:
    job = finished[0].job
    owner, stranger = consumer.client(east), Consumer(lab).client(east)
    assert owner.job(job) == east.portal.job(job)
    sealed = owner.result(job)
    assert sealed is not None
    assert sealed == east.portal.result(job)
    phases = [event.phase for event in owner.events(job)]
    assert phases[0] == "reading"
    assert phases[-1] == "completed"
    assert [event.sequence for event in owner.events(job, after=2)] == list(range(3, len(phases) + 1))
    assert stranger.result(job) is None
    for call in (stranger.job, stranger.events, stranger.cancel, stranger.eaas_close):
        with pytest.raises(NodeRefused) as caught:
            call(job)
        assert status_of(caught) == (404, "http.not_found")


def test_a_job_is_not_submitted_by_another_consumer(
    east: RunningNode, lab: Lab, finished: tuple[Order, Granted]
) -> None:
    with pytest.raises(NodeRefused) as caught:
        Consumer(lab).client(east).submit(finished[0].submission)
    assert status_of(caught) == (403, "http.forbidden")


def test_oversized_bodies_are_cut_off(east: RunningNode, portal: Portal) -> None:
    big = b" " * (east.config.limits.max_body_bytes + 1)
    answer = httpx.post(east.url + "/v1/jobs", content=big)
    assert answer.status_code == 413

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield big[: 1 << 17]

    assert httpx.post(east.url + "/v1/jobs", content=endless()).status_code == 413


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"spec":{}}', b"\xff\xfe", b'{"a":' * 2000])
def test_bodies_that_are_no_submission_are_typed_errors(
    east: RunningNode, portal: Portal, body: bytes
) -> None:
    headers = sign_request(
        portal.key,
        party="0x" + "00" * 32,
        audience=east.party,
        method="POST",
        target="/v1/jobs",
        body=body,
        now=int(time.time()),
    )
    answer = httpx.post(east.url + "/v1/jobs", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "input.invalid")


def test_a_job_cannot_make_the_node_dial_elsewhere(
    east: RunningNode, laboratory: RunningNode, consumer: Consumer
) -> None:
    grants = east.grant(consumer), laboratory.grant(consumer)
    order = consumer.order("psi", PSI, list(zip(("left", "right"), grants, strict=True)))
    peers = {"left": "http://169.254.169.254/latest/meta-data", "right": laboratory.url}
    status: JobStatus = laboratory.portal.submit(msgspec.structs.replace(order.submission, peers=peers))
    assert (status.state, status.rule) == ("refused", "spec.peers")


def test_receipts_form_one_chain_and_batches_verify(
    east: RunningNode, lab: Lab, finished: tuple[Order, Granted]
) -> None:
    receipts = east.portal.receipts(limit=500)
    domain = lab.chain.domain("UsageLedger")
    previous = "0x" + "00" * 32
    for number, receipt in enumerate(receipts, start=1):
        struct = structs.receipt(receipt)
        assert (receipt.sequence, receipt.previous) == (number, previous)
        assert to_hex(eip712.struct_hash(struct)) == receipt.digest
        signer = eip712.recover(domain, struct, bytes.fromhex(receipt.signature[2:]))
        assert signer == east.portal.identity().address
        previous = receipt.digest
    batch = east.portal.batch(0, limit=3)
    assert batch is not None
    assert batch.root == to_hex(root([from_hex(receipt.digest) for receipt in batch.receipts]))
    assert east.portal.batch(len(receipts)) is None
    assert canonical.digest(receipts[-1].detail) == structs.receipt(receipts[-1]).detail


def test_a_grant_can_wait_for_the_nodes_own_staff(
    lab: Lab, portal: Portal, consumer: Consumer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = make_node(tmp_path / "careful", lab, portal, "Careful", LAB_IDS, ceiling='approval = "node"')
    try:
        node.start().register()
        first, second = propose(node, consumer), propose(node, consumer)
        for proposal in (first, second):
            with pytest.raises(GrantPending):
                node.portal.sign_grant(proposal)
        ids = [to_hex(eip712.struct_hash(structs.grant(proposal))) for proposal in (first, second)]
        for verb, grant in (("approve", ids[0]), ("decline", ids[1])):
            command.main(["grants", verb, "--config", str(node.path), grant], standalone_mode=False)
        assert node.portal.sign_grant(first).grant == ids[0]
        with pytest.raises(NodeRefused) as caught:
            node.portal.sign_grant(second)
        assert caught.value.problem.rule == "grant.declined"
        with pytest.raises(NodeRefused) as caught:
            node.portal.revoke_grant(ids[1])
        assert status_of(caught) == (404, "http.not_found")
    finally:
        node.stop()


def test_an_enrolment_made_on_the_command_line_is_one_the_registry_takes(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "fresh"
    command.main(
        [
            "init", "--home", str(home), "--name", "Fresh 医院", "--rpc-url", lab.url,
            "--address-book", lab.address_book, "--cipher", "sm4-gcm",
        ],
        standalone_mode=False,
    )  # fmt: skip
    with pytest.raises(SystemExit):
        command.main(["init", "--home", str(home), "--name", "Again"], standalone_mode=False)
    out = home / "enrolment.json"
    command.main(["enrolment", "--config", str(home / "node.toml"), "--out", str(out)], standalone_mode=False)
    from compute.wire.messages import Enrolment

    document = canonical.decode(Enrolment, out.read_bytes())
    call = lab.chain.enrol_call(
        from_hex(document.party),
        int(Role.PROVIDER),
        structs.node_key(document),
        bytes.fromhex(document.signature[2:]),
    )
    lab.send(call)
    assert load(home / "node.toml").party == document.party
    assert (home / "keys.sealed").stat().st_mode & 0o077 == 0
