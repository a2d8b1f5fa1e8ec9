"""Endpoints that are gone, slow, lying or of another kind give typed errors; nothing is assumed."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from contracts.bindings import Chain
from contracts.deploy import deploy, probe
from contracts.errors import (
    BadChainData,
    BlockUnknown,
    ChainUnreachable,
    ChainUnsupported,
    Reverted,
    RpcFailed,
)
from contracts.records import BlockRef, Call
from contracts.rpc import CallReverted, JsonRpc
from contracts.transactions import Transaction, address_of_key, created_address, sign
from tests.chain_lab import Lab, free_port

Answer = Callable[[dict[str, Any]], Any]


def endpoint(answer: Answer) -> JsonRpc:
    """A JSON-RPC endpoint whose reply to each request is `answer(request)`."""

    def handle(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        return httpx.Response(200, json=answer(body))

    return JsonRpc("http://chain.test", transport=httpx.MockTransport(handle))


def results(by_method: dict[str, Any]) -> Answer:
    return lambda request: {
        "jsonrpc": "2.0",
        "id": request["id"],
        "result": by_method[request["method"]],
    }


def test_nobody_listens(lab: Lab) -> None:
    chain = Chain(f"http://127.0.0.1:{free_port()}", lab.address_book, timeout_s=1)
    with pytest.raises(ChainUnreachable):
        chain.head()


def test_no_json_is_unreachable() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(502, text="<html>Bad gateway</html>")

    rpc = JsonRpc("http://chain.test", transport=httpx.MockTransport(handle))
    with pytest.raises(ChainUnreachable, match="502"):
        rpc.call("eth_chainId")


def test_a_timeout_is_unreachable() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("too slow", request=request)

    rpc = JsonRpc("http://chain.test", transport=httpx.MockTransport(handle))
    with pytest.raises(ChainUnreachable):
        rpc.call("eth_chainId")


def test_a_reply_to_another_request_is_refused() -> None:
    rpc = endpoint(lambda request: {"jsonrpc": "2.0", "id": request["id"] + 1, "result": "0x1"})
    with pytest.raises(BadChainData):
        rpc.call("eth_chainId")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 3, "message": "execution reverted", "data": "0x12345678"}, CallReverted),
        ({"code": -32000, "message": "reverted", "data": {"data": "0x12345678"}}, CallReverted),
        ({"code": -32015, "message": "VM error", "data": "Reverted 0x12345678"}, CallReverted),
        ({"code": -32000, "message": "execution reverted"}, CallReverted),
        ({"code": -32000, "message": "header not found"}, BlockUnknown),
        ({"code": -32601, "message": "the method does not exist"}, RpcFailed),
        ("a text", RpcFailed),
    ],
)
def test_errors_of_different_clients_are_told_apart(error: Any, kind: type[Exception]) -> None:
    rpc = endpoint(lambda request: {"jsonrpc": "2.0", "id": request["id"], "error": error})
    with pytest.raises(kind):
        rpc.call("eth_call")


def test_an_address_without_our_contracts_is_named(lab: Lab) -> None:
    chain = Chain(lab.url, "0x" + "11" * 20)
    with pytest.raises(BadChainData, match="AddressBook"):
        _ = chain.addresses
    with pytest.raises(ChainUnsupported):
        Chain(lab.url, "somewhere")


def test_an_unknown_revert_keeps_its_bytes(lab: Lab) -> None:
    assert str(lab.chain.decode_error(b"\x01\x02\x03\x04")) == "Unknown(data=0x01020304)"
    assert lab.chain.decode_error(b"").name == "Unknown"


def test_a_block_that_is_not_there_is_unknown(lab: Lab) -> None:
    with pytest.raises(BlockUnknown):
        lab.chain.block(10**9)
    gone = BlockRef(1, secrets.token_bytes(32), 0, bytes(32))
    with pytest.raises(BlockUnknown):
        lab.chain.grant(bytes(32), block=gone)
    with pytest.raises(BlockUnknown):
        lab.chain.raw_block(gone)


GOOD_PROBE = {
    "eth_chainId": "0x7a69",
    "eth_getProof": {"accountProof": ["0x80"], "storageProof": []},
}


def test_the_probe_passes_on_an_ethereum_chain(lab: Lab) -> None:
    rpc = JsonRpc(lab.url)
    assert probe(rpc) == 31337
    rpc.close()


def test_a_chain_with_another_hash_is_not_deployed_on() -> None:
    sm3_of_nothing = "0x1ab21d8355cfa17f8e61194831e81a8f22bec8c728fefb747ed035eb5082aa2b"
    rpc = endpoint(results({**GOOD_PROBE, "eth_call": sm3_of_nothing}))
    with pytest.raises(ChainUnsupported, match="keccak256"):
        probe(rpc)


def test_a_chain_without_storage_proofs_is_not_deployed_on(lab: Lab) -> None:
    real = JsonRpc(lab.url)

    def answer(request: dict[str, Any]) -> Any:
        if request["method"] == "eth_getProof":
            return {"id": request["id"], "error": {"code": -32601, "message": "method not found"}}
        return {"id": request["id"], "result": real.call(request["method"], *request["params"])}

    with pytest.raises(ChainUnsupported):
        probe(endpoint(answer))
    real.close()


def test_deploying_to_nobody_is_unreachable() -> None:
    with pytest.raises(ChainUnreachable):
        deploy(f"http://127.0.0.1:{free_port()}", secrets.token_bytes(32))


def test_a_transaction_has_the_hash_and_sender_that_the_chain_sees(lab: Lab) -> None:
    key = secrets.token_bytes(32)
    call = Call(lab.address_book, b"")
    signed = sign(Transaction(lab.chain.chain_id, 0, 100_000, 0, call.to, b"\x01"), key)
    assert lab.chain.send_raw(signed.raw) == signed.hash
    assert signed.sender == address_of_key(key)
    receipt = lab.mined(signed.hash)
    assert not receipt.succeeded  # the address book has no such function
    assert lab.chain.nonce(signed.sender) == 1
    assert lab.chain.transaction_receipt(bytes(32)) is None


def test_a_contract_lands_where_its_sender_and_nonce_say(lab: Lab) -> None:
    key = secrets.token_bytes(32)
    signed = sign(Transaction(lab.chain.chain_id, 0, 100_000, 0, None, b"\x60\x00"), key)
    receipt = lab.mined(lab.chain.send_raw(signed.raw))
    assert receipt.contract_address is not None
    assert receipt.contract_address[2:].lower() == created_address(signed.sender, 0).hex()


def test_a_call_that_would_revert_says_why_before_it_is_sent(lab: Lab) -> None:
    call = lab.chain.suspend_call(bytes(32))
    with pytest.raises(Reverted) as caught:
        lab.chain.estimate_gas(call, lab.operator)
    assert caught.value.name == "PartyUnknown"
    stranger = lab.refused(call, secrets.token_bytes(32))
    assert stranger.name == "OwnableUnauthorizedAccount"
