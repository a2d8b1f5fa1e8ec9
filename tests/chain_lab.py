"""A private chain with the contracts on it, and parties that sign: what tests of every layer start from.

def test_something(lab):
    hospital = lab.party(Role.PROVIDER)
    lab.send(lab.chain.register_call(version, lab.sign("DatasetRegistry", version, hospital)))
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from contracts import eip712
from contracts.bindings import Chain
from contracts.deploy import Deployment, deploy
from contracts.eip712 import (
    Batch,
    DatasetVersion,
    Grant,
    JobRequest,
    Line,
    NodeKey,
    Outcome,
    Receipt,
    Role,
    Struct,
)
from contracts.errors import ChainUnreachable, Reverted
from contracts.merkle import root
from contracts.records import Call, TransactionReceipt
from contracts.rpc import JsonRpc
from contracts.transactions import Transaction, address_of_key, sign

REPOSITORY = Path(__file__).resolve().parent.parent
RELEASE_GRACE_S = 600
TIMELOCK_S = 3600
# A machine may be busy with other things: who waits polls, so that patience costs nothing where it is not.
START_S = 60
MINED_S = 60


def anvil_binary() -> Path:
    """The native anvil; skips the test without it, fails when CI=true."""
    found = sorted((REPOSITORY / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil"))
    if not found:
        if os.environ.get("CI") == "true":
            pytest.fail("anvil is not installed: run npm ci")
        pytest.skip("anvil is not installed: run npm ci")
    return found[0]


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Anvil:
    """One anvil process, without gas fees. With ``state`` it keeps the chain in that file."""

    def __init__(self, state: Path | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.state = state
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(anvil_binary()), "--port", str(self.port), "--chain-id", "31337", "--silent"]
        command += ["--hardfork", "cancun", "--accounts", "1"]
        command += ["--gas-price", "0", "--block-base-fee-per-gas", "0", "--disable-min-priority-fee"]
        if self.state is not None:
            command += ["--state", str(self.state), "--state-interval", "1", "--preserve-historical-states"]
            command += ["--prune-history", "256"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        rpc = JsonRpc(self.url)
        end = time.monotonic() + START_S
        try:
            while time.monotonic() < end and self.process.poll() is None:
                try:
                    rpc.call("eth_chainId")
                    return
                except ChainUnreachable:
                    time.sleep(0.05)
        finally:
            rpc.close()
        self.stop()
        pytest.fail(f"anvil did not start within {START_S} s")

    def stop(self) -> None:
        """Ask it to end, so that it writes its state."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=20)
            self.process = None

    def kill(self) -> None:
        """SIGKILL: what it had not yet written is lost."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=20)
            self.process = None


@dataclass
class Party:
    """A party with its private keys, as a node or SDK would hold them."""

    id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    box_private: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    key_index: int = 0

    @property
    def address(self) -> str:
        return address_of_key(self.key)

    @property
    def box_key(self) -> bytes:
        return X25519PrivateKey.from_private_bytes(self.box_private).public_key().public_bytes_raw()

    def node_key(self) -> NodeKey:
        return NodeKey(self.id, self.address, self.box_key, bytes(32), self.key_index)


class Lab:
    """A chain with the four contracts, the operator's key, and short cuts for what tests need often."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.operator_key = secrets.token_bytes(32)
        self.deployment: Deployment = deploy(
            url, self.operator_key, release_grace_s=RELEASE_GRACE_S, timelock_s=TIMELOCK_S
        )
        self.address_book = self.deployment.address_book
        self.chain = Chain(url, self.address_book)

    @property
    def operator(self) -> str:
        return address_of_key(self.operator_key)

    def now(self) -> int:
        """The chain's clock."""
        return self.chain.head().timestamp

    def advance(self, seconds: int) -> None:
        """Move the chain's clock forward and mine a block."""
        self.chain.rpc.call("evm_increaseTime", seconds)
        self.chain.rpc.call("evm_mine")

    def raw(self, call: Call, key: bytes | None = None) -> bytes:
        """A signed transaction for a call, by the operator unless another key is given."""
        private_key = key or self.operator_key
        nonce = self.chain.nonce(address_of_key(private_key), pending=True)
        transaction = Transaction(self.chain.chain_id, nonce, 15_000_000, 0, call.to, call.data)
        return sign(transaction, private_key).raw

    def send(self, call: Call, key: bytes | None = None) -> TransactionReceipt:
        """Send a call and wait for its block; raises Reverted instead of mining a failure."""
        private_key = key or self.operator_key
        self.chain.simulate(call, address_of_key(private_key))
        receipt = self.mined(self.chain.send_raw(self.raw(call, private_key)))
        assert receipt.succeeded, self.chain.why_reverted(call, address_of_key(private_key))
        return receipt

    def mined(self, tx_hash: bytes) -> TransactionReceipt:
        """Wait for a transaction's block: anvil answers before it has one."""
        end = time.monotonic() + MINED_S
        while time.monotonic() < end:
            receipt = self.chain.transaction_receipt(tx_hash)
            if receipt is not None:
                return receipt
            time.sleep(0.01)
        raise AssertionError(f"the transaction was not mined within {MINED_S} s")

    def refused(self, call: Call, key: bytes | None = None) -> Reverted:
        """The typed error that a call meets; fails the test if it would pass."""
        with pytest.raises(Reverted) as caught:
            self.chain.simulate(call, address_of_key(key or self.operator_key))
        return caught.value

    def sign(self, contract: str, value: Struct, party: Party) -> bytes:
        """A party's EIP-712 signature for a contract."""
        return eip712.sign(self.chain.domain(contract), value, party.key)

    def party(self, roles: Role) -> Party:
        """A fresh party, enrolled."""
        party = Party()
        key = party.node_key()
        self.send(self.chain.enrol_call(party.id, roles, key, self.sign("PartyRegistry", key, party)))
        return party

    def dataset(self, provider: Party, *, commitment: bytes | None = None, kind: int = 1) -> bytes:
        """A fresh dataset of a provider, version 1."""
        version = DatasetVersion(
            dataset=secrets.token_bytes(32),
            provider=provider.id,
            version=1,
            kind=kind,
            commitment=commitment or secrets.token_bytes(32),
            schema_hash=secrets.token_bytes(32),
        )
        self.send(self.chain.register_call(version, self.sign("DatasetRegistry", version, provider)))
        return version.dataset

    def grant_of(
        self,
        provider: Party,
        consumer: Party,
        dataset: bytes,
        *,
        quota: int = 100,
        epsilon_micro: int = 0,
        operations: int = 31,
        terms_hash: bytes | None = None,
        days: int = 30,
    ) -> Grant:
        """A grant that starts now, not yet activated."""
        now = self.now()
        return Grant(
            provider=provider.id,
            consumer=consumer.id,
            dataset=dataset,
            terms_hash=terms_hash or secrets.token_bytes(32),
            operations=operations,
            quota=quota,
            epsilon_micro=epsilon_micro,
            not_before=now,
            expiry=now + days * 86_400,
        )

    def activate(self, grant: Grant, provider: Party) -> bytes:
        """Activate a grant; its id."""
        self.send(self.chain.activate_call(grant, self.sign("UsageLedger", grant, provider)))
        return eip712.struct_hash(grant)

    def request(
        self, consumer: Party, *lines: Line, deadline_s: int = 3600, spec: bytes | None = None
    ) -> JobRequest:
        """A job request, not yet reserved."""
        return JobRequest(
            consumer=consumer.id,
            spec_hash=spec or secrets.token_bytes(32),
            nonce=secrets.token_bytes(32),
            deadline=self.now() + deadline_s,
            lines=tuple(lines),
        )

    def reserve(self, request: JobRequest, consumer: Party) -> bytes:
        """Reserve a job; its id."""
        self.send(self.chain.reserve_call(request, self.sign("UsageLedger", request, consumer)))
        return eip712.struct_hash(request)

    def receipt(
        self,
        node: Party,
        job: bytes,
        grant: bytes,
        spec_hash: bytes,
        *,
        units: int = 0,
        after: Receipt | None = None,
        **changes: object,
    ) -> Receipt:
        """The node's next receipt: after its anchored chain, or after another receipt of the same batch."""
        tip = self.chain.node_tip(node.id)
        fields: dict[str, object] = {
            "node": node.id,
            "sequence": (after.sequence if after else tip.sequence) + 1,
            "previous": eip712.struct_hash(after) if after else tip.digest,
            "job": job,
            "grant": grant,
            "spec_hash": spec_hash,
            "commitment": secrets.token_bytes(32),
            "transcript": secrets.token_bytes(32),
            "units": units,
            "epsilon_micro": 0,
            "outcome": int(Outcome.COMPLETED),
            "settles": True,
            "issued_at": self.now(),
            "detail": secrets.token_bytes(32),
        }
        return Receipt(**{**fields, **changes})  # type: ignore[arg-type]

    def batch_of(self, receipts: list[Receipt]) -> Batch:
        """The batch that anchors these receipts."""
        digests = [eip712.struct_hash(receipt) for receipt in receipts]
        return Batch(receipts[0].node, receipts[0].sequence, len(receipts), root(digests))

    def commit(self, receipts: list[Receipt], node: Party) -> TransactionReceipt:
        """Anchor receipts under the node's signature."""
        signature = self.sign("UsageLedger", self.batch_of(receipts), node)
        return self.send(self.chain.commit_call(receipts, signature))
