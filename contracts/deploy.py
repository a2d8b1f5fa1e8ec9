"""Deploy the contracts on a chain that was probed first: `deploy`. The operator runs it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from coincurve import PrivateKey
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from contracts import abi, artifacts
from contracts.errors import ChainUnsupported, ContractError, RpcFailed
from contracts.rpc import CallReverted, JsonRpc
from contracts.transactions import Transaction, address_of_key, sign

# PUSH0-free code that returns keccak256 of no bytes. FISCO BCOS in GM mode answers with SM3 here.
_KECCAK_PROBE = "0x600060002060005260206000f3"
_KECCAK_EMPTY = keccak(b"")

# ecrecover of a fixed signature: keccak("liutong probe") by the key 1.
_ECRECOVER = "0x0000000000000000000000000000000000000001"

_RECEIPT_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Deployment:
    """Where the contracts are. ``block`` is the height at which the first of them appeared."""

    chain_id: int
    block: int
    address_book: str
    party_registry: str
    dataset_registry: str
    usage_ledger: str


def probe(rpc: JsonRpc) -> int:
    """The chain's id, if it behaves like the EVM that signatures and proofs here rest on.

    Raises ChainUnsupported naming the first difference. Costs no gas.
    """
    try:
        chain_id = int(rpc.call("eth_chainId"), 16)
        hashed = rpc.call("eth_call", {"data": _KECCAK_PROBE}, "latest")
        if hashed != "0x" + _KECCAK_EMPTY.hex():
            raise ChainUnsupported("the chain's hash is not keccak256 (a chain in GM mode?)")
        digest = keccak(b"liutong probe")
        signature = PrivateKey((1).to_bytes(32, "big")).sign_recoverable(digest, hasher=None)
        data = digest + (27 + signature[64]).to_bytes(32, "big") + signature[:64]
        recovered = rpc.call("eth_call", {"to": _ECRECOVER, "data": "0x" + data.hex()}, "latest")
        expected = address_of_key((1).to_bytes(32, "big")).lower()
        if not isinstance(recovered, str) or recovered[-40:] != expected[2:]:
            raise ChainUnsupported("the chain's ecrecover is not secp256k1 with keccak256")
        proof = rpc.call("eth_getProof", _ECRECOVER, ["0x" + "00" * 32], "latest")
        if not isinstance(proof, dict) or not proof.get("accountProof") or "storageProof" not in proof:
            raise ChainUnsupported("the endpoint gives no storage proofs (eth_getProof)")
    except (RpcFailed, CallReverted, ValueError, TypeError) as error:
        raise ChainUnsupported(f"the endpoint is not an Ethereum chain that we can use: {error}") from error
    return chain_id


def deploy(
    rpc_url: str, private_key: bytes, *, release_grace_s: int = 600, timelock_s: int = 172_800
) -> Deployment:
    """Probe the chain, create the four contracts and name three of them in the address book.

    The account of ``private_key`` becomes the operator. ``release_grace_s``: seconds after a job's deadline
    before its reservation may be released. ``timelock_s``: how long a replacement in the book waits.
    Raises ChainUnreachable, ChainUnsupported, or Reverted.
    """
    rpc = JsonRpc(rpc_url)
    try:
        return _Deployer(rpc, private_key, probe(rpc)).run(release_grace_s, timelock_s)
    finally:
        rpc.close()


class _Deployer:
    def __init__(self, rpc: JsonRpc, private_key: bytes, chain_id: int) -> None:
        self._rpc = rpc
        self._key = private_key
        self._chain_id = chain_id
        self._operator = address_of_key(private_key)
        self._nonce = int(rpc.call("eth_getTransactionCount", self._operator, "pending"), 16)
        self._first_block: int | None = None

    def run(self, release_grace_s: int, timelock_s: int) -> Deployment:
        parties = self._create("PartyRegistry", self._operator)
        datasets = self._create("DatasetRegistry", parties)
        ledger = self._create("UsageLedger", parties, datasets, release_grace_s)
        book = self._create("AddressBook", self._operator, timelock_s)
        for name, target in (
            ("PartyRegistry", parties),
            ("DatasetRegistry", datasets),
            ("UsageLedger", ledger),
        ):
            data = abi.of("AddressBook").encode_call("set", name.encode().ljust(32, b"\0"), target)
            self._send(book, data)
        return Deployment(
            chain_id=self._chain_id,
            block=self._first_block or 0,
            address_book=book,
            party_registry=parties,
            dataset_registry=datasets,
            usage_ledger=ledger,
        )

    def _create(self, name: str, *arguments: object) -> str:
        code = artifacts.load(name).bytecode + abi.of(name).encode_constructor(*arguments)
        receipt = self._send(None, code)
        return to_checksum_address(receipt["contractAddress"])

    def _send(self, to: str | None, data: bytes) -> dict[str, str]:
        fields = {"from": self._operator, "data": "0x" + data.hex()}
        if to is not None:
            fields["to"] = to
        gas = int(self._rpc.call("eth_estimateGas", fields), 16)
        transaction = Transaction(
            chain_id=self._chain_id,
            nonce=self._nonce,
            gas=gas + gas // 4,
            # The base fee may rise while a block is awaited.
            gas_price=2 * int(self._rpc.call("eth_gasPrice"), 16),
            to=to,
            data=data,
        )
        signed = sign(transaction, self._key)
        self._rpc.call("eth_sendRawTransaction", "0x" + signed.raw.hex())
        self._nonce += 1
        receipt = self._await("0x" + signed.hash.hex())
        if int(receipt["status"], 16) != 1:
            raise ContractError("a deployment transaction failed on chain", transaction=signed.hash.hex())
        if self._first_block is None:
            self._first_block = int(receipt["blockNumber"], 16)
        return receipt

    def _await(self, transaction: str) -> dict[str, str]:
        end = time.monotonic() + _RECEIPT_TIMEOUT_S
        while time.monotonic() < end:
            receipt = self._rpc.call("eth_getTransactionReceipt", transaction)
            if isinstance(receipt, dict):
                return receipt
            time.sleep(0.05)
        raise ContractError(
            f"no block took the transaction within {_RECEIPT_TIMEOUT_S:.0f} s", transaction=transaction
        )
