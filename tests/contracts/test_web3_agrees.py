"""web3.py as an independent reader: what our binding encodes, reads and decodes is what it says too."""

from __future__ import annotations

import sys
from dataclasses import asdict

import pytest

# web3's dependency py_ecc raises the interpreter's recursion limit to 100,000 on import. Deeply nested JSON
# would then overflow the stack in every later test, where it raises RecursionError in our own processes.
_RECURSION_LIMIT = sys.getrecursionlimit()
from web3 import Web3  # noqa: E402
from web3.contract import Contract  # noqa: E402
from web3.exceptions import ContractCustomError  # noqa: E402

sys.setrecursionlimit(_RECURSION_LIMIT)

from contracts import artifacts  # noqa: E402
from contracts.eip712 import Line, Role  # noqa: E402
from tests.chain_lab import Lab  # noqa: E402


@pytest.fixture(scope="module")
def ledger(lab: Lab) -> Contract:
    web3 = Web3(Web3.HTTPProvider(lab.chain.rpc.url))
    return web3.eth.contract(
        address=lab.chain.addresses["UsageLedger"], abi=list(artifacts.load("UsageLedger").abi)
    )


def test_calls_reads_and_events_agree_with_web3(lab: Lab, ledger: Contract) -> None:
    provider, consumer = lab.party(Role.PROVIDER), lab.party(Role.CONSUMER)
    grant = lab.activate(lab.grant_of(provider, consumer, lab.dataset(provider), quota=9), provider)
    request = lab.request(consumer, Line(grant, 4, 0))
    signature = lab.sign("UsageLedger", request, consumer)

    call = lab.chain.reserve_call(request, signature)
    fields = {
        "consumer": request.consumer,
        "specHash": request.spec_hash,
        "nonce": request.nonce,
        "deadline": request.deadline,
        "lines": [{"grant": grant, "units": 4, "epsilonMicro": 0}],
    }
    assert bytes.fromhex(ledger.encode_abi("reserve", [fields, signature])[2:]) == call.data

    receipt = lab.send(call)
    ours = lab.chain.events(receipt.block_number, receipt.block_number)
    theirs = ledger.events.LineReserved().get_logs(from_block=receipt.block_number)
    assert [asdict(e)["args"] for e in ours if e.name == "LineReserved"] == [dict(e["args"]) for e in theirs]

    record = lab.chain.grant(grant)
    names = [o["name"] for o in ledger.get_function_by_name("grantOf").abi["outputs"][0]["components"]]
    stored = dict(zip(names, ledger.functions.grantOf(grant).call(), strict=True))
    assert record is not None
    assert (record.provider, record.quota, record.used, record.reserved) == (
        stored["provider"],
        stored["quota"],
        stored["used"],
        stored["reserved"],
    )
    assert (record.quota, record.reserved) == (9, 4)


def test_web3_sees_the_custom_error_that_we_decode(lab: Lab, ledger: Contract) -> None:
    refusal = lab.refused(lab.chain.release_call(bytes(32), bytes(32)))
    with pytest.raises(ContractCustomError) as caught:
        ledger.functions.release(bytes(32), bytes(32)).call()
    decoded = lab.chain.decode_error(bytes.fromhex(str(caught.value.data)[2:]))
    assert (decoded.name, decoded.arguments) == (refusal.name, refusal.arguments)
    assert refusal.name == "ReservationNotOpen"
