"""EaaS through a node process: a session is a job, calls are its units, the receipt charges them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from compute.client import BadNodeAnswer, NodeClient, NodeRefused, StatementKey
from compute.keys.sealed_call import open_call
from compute.keys.sealing import new_box_key
from compute.node import setup
from compute.wire.binding import eaas_context
from compute.wire.canonical import from_hex
from compute.wire.eaas import DecryptCall, EaasKeyRequest, EncryptCall, SignCall
from tests.chain_lab import Lab
from tests.compute.node.rig import SERVICE_TOML, Consumer, Granted, Order, Portal, RunningNode, wait_for


@pytest.fixture(scope="module")
def node(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    toml = SERVICE_TOML.format(dataset=setup.new_id())
    home = tmp_path_factory.mktemp("service")
    running = RunningNode(home, lab, Portal(), "Service", toml, extra="\n[eaas]\nenabled = true\n")
    try:
        running.start().register()
        yield running
    finally:
        running.stop()


@pytest.fixture
def consumer(lab: Lab) -> Consumer:
    return Consumer(lab)


def session(node: RunningNode, consumer: Consumer, calls: int, duration_s: int = 60) -> tuple[Order, Granted]:
    granted = node.grant(consumer)
    params = {"calls": calls, "duration_s": duration_s}
    order = consumer.order("eaas", params, [("service", granted)])
    assert node.portal.submit(order.submission).state in ("accepted", "running")
    # A short session may be over before we look.
    wait_for(lambda: node.portal.job(order.job).phase in ("serving", "completed"), 60, node.log)
    return order, granted


def test_calls_are_counted_charged_and_settled(node: RunningNode, consumer: Consumer) -> None:
    order, granted = session(node, consumer, calls=10)
    client = consumer.client(node)
    key = client.eaas_create_key(order.job, EaasKeyRequest(algorithm="sm4"))
    assert client.eaas_keys(order.job) == [key]
    plain = base64.b64encode(b"record").decode()
    sealed = client.eaas_encrypt(order.job, EncryptCall(key=key.key, plaintexts=(plain,)))
    opened = client.eaas_decrypt(order.job, DecryptCall(key=key.key, ciphertexts=sealed.ciphertexts))
    assert opened.plaintexts == (plain,)
    assert opened.calls_left == 7
    status = client.eaas_close(order.job)
    assert status.state == "completed"
    receipt = node.receipt_of(order.job)
    assert (receipt.units, receipt.outcome, receipt.detail.metrics["calls"]) == (3, "completed", 3)
    assert receipt.transcript != "0x" + "00" * 32
    node.commit_all()
    record = consumer.lab.chain.grant(from_hex(granted.grant))
    assert record is not None
    assert (record.used, record.reserved) == (3, 0)
    with pytest.raises(NodeRefused) as caught:
        client.eaas_encrypt(order.job, EncryptCall(key=key.key, plaintexts=(plain,)))
    assert caught.value.problem.code == "eaas.closed"


def test_a_session_closes_when_its_calls_are_used_up(node: RunningNode, consumer: Consumer) -> None:
    order, _ = session(node, consumer, calls=2)
    client = consumer.client(node)
    key = client.eaas_create_key(order.job, EaasKeyRequest(algorithm="sm2"))
    answer = client.eaas_sign(order.job, SignCall(key=key.key, messages=("AA==",)))
    assert answer.calls_left == 0
    status = node.wait_final(order.job)
    assert status.state == "completed"
    assert node.receipt_of(order.job).units == 2


def test_a_call_sealed_to_another_key_is_refused_before_it_costs_anything(
    node: RunningNode, consumer: Consumer
) -> None:
    order, _ = session(node, consumer, calls=5)
    stranger = NodeClient(
        node.url, node.party, StatementKey(consumer.party.key), consumer.id, box_key=new_box_key()[1]
    )
    with pytest.raises(NodeRefused) as caught:
        stranger.eaas_create_key(order.job, EaasKeyRequest(algorithm="sm4"))
    assert caught.value.problem.status == 400
    consumer.client(node).eaas_close(order.job)
    assert node.receipt_of(order.job).units == 0


def test_whoever_stands_in_for_the_node_reads_and_forges_nothing(consumer: Consumer) -> None:
    box_private, box_public = new_box_key()
    seen: list[bytes] = []

    def impostor(request: httpx.Request) -> httpx.Response:
        seen.append(request.read())
        return httpx.Response(200, content=b'{"calls_left":1,"values":["666"]}')

    client = NodeClient(
        "http://127.0.0.1:1",
        "0x" + "22" * 32,
        StatementKey(consumer.party.key),
        consumer.id,
        box_key=box_public,
        transport=httpx.MockTransport(impostor),
    )
    with pytest.raises(BadNodeAnswer):
        client.eaas_encrypt("0x" + "33" * 32, EncryptCall(key="0x" + "44" * 32, values=("987654321",)))
    assert b"987654321" not in seen[0]
    context = eaas_context("0x" + "33" * 32, "encrypt")
    assert b"987654321" in open_call(box_private, seen[0], context)[1]


def test_no_call_is_served_after_the_count_was_taken(node: RunningNode, consumer: Consumer) -> None:
    order, _ = session(node, consumer, calls=60)
    client = consumer.client(node)
    key = client.eaas_create_key(order.job, EaasKeyRequest(algorithm="paillier", bits=2048))
    call = EncryptCall(key=key.key, values=("7",) * 40)

    def served(_: int) -> bool:
        try:
            return bool(consumer.client(node).eaas_encrypt(order.job, call).ciphertexts)
        except NodeRefused as error:
            return error.problem.code != "eaas.closed"

    # More calls than the node has threads, and the session closed while they wait for one.
    with ThreadPoolExecutor(24) as callers:
        answers = [callers.submit(served, number) for number in range(24)]
        wait_for(lambda: node.portal.job(order.job).done > 2, 20, node.log)
        assert client.eaas_close(order.job).state == "completed"
        made = sum(answer.result() for answer in answers)
    assert node.receipt_of(order.job).units == made + 1


def test_a_session_closes_when_its_time_is_over(node: RunningNode, consumer: Consumer) -> None:
    order, _ = session(node, consumer, calls=5, duration_s=1)
    assert node.wait_final(order.job).state == "completed"
    assert node.receipt_of(order.job).units == 0


def test_the_session_is_its_consumers_alone(node: RunningNode, consumer: Consumer, lab: Lab) -> None:
    order, _ = session(node, consumer, calls=5)
    for stranger in (Consumer(lab).client(node), node.portal):
        with pytest.raises(NodeRefused) as caught:
            stranger.eaas_create_key(order.job, EaasKeyRequest(algorithm="sm4"))
        assert caught.value.problem.code == "http.not_found"
    consumer.client(node).eaas_close(order.job)


def test_keys_stay_with_the_grant_and_can_be_used_in_a_later_session(
    node: RunningNode, consumer: Consumer, lab: Lab
) -> None:
    order, granted = session(node, consumer, calls=5)
    client = consumer.client(node)
    key = client.eaas_create_key(order.job, EaasKeyRequest(algorithm="sm4"))
    sealed = client.eaas_encrypt(order.job, EncryptCall(key=key.key, plaintexts=("AA==",)))
    client.eaas_close(order.job)
    later = consumer.order("eaas", {"calls": 3}, [("service", granted)])
    node.portal.submit(later.submission)
    opened = client.eaas_decrypt(later.job, DecryptCall(key=key.key, ciphertexts=sealed.ciphertexts))
    assert opened.plaintexts == ("AA==",)
    other = Consumer(lab)
    foreign, _ = session(node, other, calls=3)
    with pytest.raises(NodeRefused) as caught:
        other.client(node).eaas_decrypt(foreign.job, DecryptCall(key=key.key, ciphertexts=sealed.ciphertexts))
    assert caught.value.problem.code == "eaas.key_unknown"


def test_a_session_goes_on_after_the_node_was_killed(lab: Lab, consumer: Consumer, tmp_path: Path) -> None:
    toml = SERVICE_TOML.format(dataset=setup.new_id())
    node = RunningNode(tmp_path / "s", lab, Portal(), "Service", toml, extra="\n[eaas]\nenabled = true\n")
    try:
        node.start().register()
        order, _ = session(node, consumer, calls=10, duration_s=300)
        client = consumer.client(node)
        key = client.eaas_create_key(order.job, EaasKeyRequest(algorithm="sm4"))
        node.kill()
        node.start()
        answer = client.eaas_encrypt(order.job, EncryptCall(key=key.key, plaintexts=("AA==",)))
        assert answer.calls_left == 8
        assert client.eaas_close(order.job).state == "completed"
        assert node.receipt_of(order.job).units == 2
    finally:
        node.stop()


def test_revoking_the_grant_ends_the_session_and_charges_the_calls_made(
    node: RunningNode, consumer: Consumer
) -> None:
    order, granted = session(node, consumer, calls=5)
    consumer.client(node).eaas_create_key(order.job, EaasKeyRequest(algorithm="sm4"))
    node.portal.revoke_grant(granted.grant)
    status = node.wait_final(order.job)
    assert (status.state, status.rule) == ("cancelled", "grant.revoked")
    assert node.receipt_of(order.job).units == 1
    node.commit_all()
    assert order.reservation_state(granted.grant) == "SETTLED"
