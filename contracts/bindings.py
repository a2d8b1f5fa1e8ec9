"""The one Python binding to the contracts: typed reads, call data, simulation, events.

A `Chain` sends nothing on its own: whoever relays signs a transaction (`contracts.transactions`), saves it
and gives it to `Chain.send_raw`. Nodes only read. Everything here raises ChainUnreachable when no answer
comes, Reverted when a contract refuses, BlockUnknown when the block asked for is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

from eth_utils.address import to_checksum_address

from contracts import abi, answers, records
from contracts.calls import Calls
from contracts.eip712 import Domain, Role
from contracts.errors import BadChainData, BlockUnknown, ChainUnsupported, Reverted
from contracts.records import BlockRef, Call
from contracts.rpc import CallReverted, JsonRpc

NAMES = ("PartyRegistry", "DatasetRegistry", "UsageLedger")
_CONTRACTS = ("AddressBook", *NAMES)
Block = BlockRef | int | None
_ZERO32 = bytes(32)
_MAX_TIP_WEI = 2 * 10**9


class Chain(Calls):
    """A chain with Liutong's contracts, found through their address book. Thread-safe.

    ``block`` of every read: None is the head, an int a height, a BlockRef exactly that block.
    """

    def __init__(self, rpc_url: str, address_book: str, *, timeout_s: float = 10.0) -> None:
        self.rpc = JsonRpc(rpc_url, timeout_s=timeout_s)
        try:
            self.address_book = to_checksum_address(address_book)
        except ValueError as error:
            raise ChainUnsupported(f"{address_book!r} is not an address") from error

    def close(self) -> None:
        """Give the connections back."""
        self.rpc.close()

    # ---- where things are -------------------------------------------------------------------------------

    @cached_property
    def chain_id(self) -> int:
        return answers.integer(self.rpc.call("eth_chainId"))

    @cached_property
    def addresses(self) -> dict[str, str]:
        """Contract name -> current address. Read once: a replacement takes effect at the next start."""
        found: dict[str, str] = {"AddressBook": self.address_book}
        for name in NAMES:
            data = abi.of("AddressBook").encode_call("current", _name(name))
            entry = self._call(self.address_book, "AddressBook", "current", data, None)
            found[name] = entry["target"]
        return found

    @cached_property
    def _contract_at(self) -> dict[str, str]:
        """Address -> contract name, of every entry that was ever current, so that old events decode."""
        found: dict[str, str] = {self.address_book: "AddressBook"}
        for name in NAMES:
            data = abi.of("AddressBook").encode_call("historyOf", _name(name))
            for entry in self._call(self.address_book, "AddressBook", "historyOf", data, None):
                found[entry["target"]] = name
        return found

    def domain(self, contract: str) -> Domain:
        """The EIP-712 domain under which a contract checks signatures."""
        return Domain(chain_id=self.chain_id, verifying_contract=self.addresses[contract])

    # ---- blocks -----------------------------------------------------------------------------------------

    def head(self) -> BlockRef:
        """The newest block."""
        return self._block("latest")

    def at_depth(self, depth: int) -> BlockRef:
        """The block ``depth`` below the head (the first block if the chain is shorter): what is final."""
        head = self.head()
        return head if depth <= 0 else self._block(hex(max(0, head.number - depth)))

    def block(self, number: int) -> BlockRef:
        """The block at a height; raises BlockUnknown above the head."""
        return self._block(hex(number))

    def raw_block(self, block: Block = None) -> dict[str, Any]:
        """All header fields of a block as the endpoint gives them, for evidence."""
        if isinstance(block, BlockRef):
            answer = self.rpc.call("eth_getBlockByHash", "0x" + block.hash.hex(), False)
        else:
            answer = self.rpc.call("eth_getBlockByNumber", "latest" if block is None else hex(block), False)
        if not isinstance(answer, dict):
            raise BlockUnknown("the chain does not know the block")
        return answer

    def _block(self, tag: str) -> BlockRef:
        answer = self.rpc.call("eth_getBlockByNumber", tag, False)
        if answer is None:
            raise BlockUnknown(f"the chain has no block {tag}")
        return answers.block_ref(answer)

    # ---- typed reads ------------------------------------------------------------------------------------

    def party(self, party: bytes, *, block: Block = None) -> records.PartyRecord | None:
        """A party with its key history; None if the chain does not know it."""
        standing, keys = self._read_at_one_block(
            "PartyRegistry", block, ("standing", (party,)), ("keysOf", (party,))
        )
        if not keys:
            return None
        return records.PartyRecord(
            party=party,
            roles=Role(standing["roles"]),
            suspended=standing["suspended"],
            keys=tuple(
                records.KeyRecord(k["key"], k["boxKey"], k["heKeyDigest"], k["validFrom"], k["validUntil"])
                for k in keys
            ),
        )

    def party_of(self, address: str, *, block: Block = None) -> bytes | None:
        """The party that this key belongs or belonged to."""
        party: bytes = self._read("PartyRegistry", "partyOf", (address,), block)
        return None if party == _ZERO32 else party

    def dataset(self, dataset: bytes, *, block: Block = None) -> records.DatasetRecord | None:
        """A dataset with all versions; None if the chain does not know it."""
        standing, versions = self._read_at_one_block(
            "DatasetRegistry", block, ("standing", (dataset,)), ("versionsOf", (dataset,))
        )
        if standing["owner"] == _ZERO32:
            return None
        return records.DatasetRecord(
            dataset=dataset,
            owner=standing["owner"],
            frozen=standing["frozen"],
            versions=tuple(
                records.VersionRecord(i, v["commitment"], v["schemaHash"], v["kind"], v["registeredAt"])
                for i, v in enumerate(versions, start=1)
            ),
        )

    def grant(self, grant: bytes, *, block: Block = None) -> records.GrantRecord | None:
        """A grant with its counters; None if it was never activated."""
        g = self._read("UsageLedger", "grantOf", (grant,), block)
        if g["provider"] == _ZERO32:
            return None
        return records.GrantRecord(
            grant=grant,
            provider=g["provider"],
            consumer=g["consumer"],
            dataset=g["dataset"],
            terms_hash=g["termsHash"],
            operations=g["operations"],
            quota=g["quota"],
            epsilon_micro=g["epsilonMicro"],
            not_before=g["notBefore"],
            expiry=g["expiry"],
            used=g["used"],
            reserved=g["reserved"],
            epsilon_used=g["epsilonUsed"],
            epsilon_reserved=g["epsilonReserved"],
            activated_at=g["activatedAt"],
            revoked_at=g["revokedAt"],
        )

    def reservation(
        self, job: bytes, grant: bytes, *, block: Block = None
    ) -> records.ReservationRecord | None:
        """What a job holds or held of a grant; None if it never reserved."""
        r, spec = self._read_at_one_block(
            "UsageLedger", block, ("reservationOf", (job, grant)), ("specOf", (job,))
        )
        if r["state"] == 0:
            return None
        return records.ReservationRecord(
            job=job,
            grant=grant,
            spec_hash=spec,
            units=r["units"],
            epsilon_micro=r["epsilonMicro"],
            deadline=r["deadline"],
            state=records.ReservationState(r["state"]),
        )

    def node_tip(self, node: bytes, *, block: Block = None) -> records.NodeTip:
        """Where a node's anchored receipt chain ends."""
        tip = self._read("UsageLedger", "tipOf", (node,), block)
        return records.NodeTip(sequence=tip["sequence"], digest=tip["digest"])

    def batch(self, node: bytes, first_sequence: int, *, block: Block = None) -> records.BatchRecord | None:
        """The batch that starts at a sequence number; None if no batch starts there."""
        b = self._read("UsageLedger", "batchOf", (node, first_sequence), block)
        if b["count"] == 0:
            return None
        return records.BatchRecord(node, first_sequence, b["count"], b["root"], b["anchoredAt"])

    def action_nonce(self, contract: str, party: bytes, *, block: Block = None) -> int:
        """The nonce of the party's next `Action` at PartyRegistry or DatasetRegistry."""
        return int(self._read(contract, "nonceOf", (party,), block))

    @cached_property
    def release_grace_s(self) -> int:
        """Seconds after a job's deadline before anyone may release what it reserved."""
        return int(self._read("UsageLedger", "releaseGraceS", (), None))

    # ---- for evidence -----------------------------------------------------------------------------------

    def book_index(self, contract: str, *, block: Block = None) -> int:
        """The place of the contract that is in use here in the address book's history of its name."""
        data = abi.of("AddressBook").encode_call("historyOf", _name(contract))
        history = self._call(self.address_book, "AddressBook", "historyOf", data, block)
        targets = [entry["target"] for entry in history]
        if self.addresses[contract] not in targets:
            raise BadChainData(f"the address book did not name this {contract} at that block")
        return targets.index(self.addresses[contract])

    def storage_proof(
        self, address: str, slots: Sequence[str], *, block: Block = None
    ) -> tuple[list[bytes], list[list[bytes]]]:
        """eth_getProof: the nodes of the account's proof, and of every slot's in the order asked for."""
        answer = self.rpc.call("eth_getProof", address, list(slots), _block_id(block))
        try:
            by_slot = {int(part["key"], 16): part["proof"] for part in answer["storageProof"]}
            account = [answers.data(node) for node in answer["accountProof"]]
            return account, [[answers.data(node) for node in by_slot[int(slot, 16)]] for slot in slots]
        except (KeyError, TypeError, ValueError) as error:
            raise BadChainData("the endpoint's storage proof lacks a part") from error

    # ---- transactions -----------------------------------------------------------------------------------

    def simulate(self, call: Call, sender: str | None = None, *, block: Block = None) -> bytes:
        """Run a call without sending it; raises Reverted with the decoded custom error.

        ``block`` None is the block being built, not the head: a quiet chain's head carries an old time, and
        by it nothing would ever start, expire or fall due.
        """
        return self._eth_call(call.to, call.data, "pending" if block is None else block, sender)

    def estimate_gas(self, call: Call, sender: str) -> int:
        """Gas that the call needs now; raises Reverted if it would revert."""
        try:
            return answers.integer(self.rpc.call("eth_estimateGas", _transaction(call.to, call.data, sender)))
        except CallReverted as error:
            raise self._reverted(error) from None

    def gas_price(self) -> int:
        """What the endpoint suggests, in wei, but at most `_MAX_TIP_WEI` above the base fee.

        Endpoints suggest from recent blocks. Where all of those are a relay's own, which pays a margin on top
        of the suggestion, the suggestion would double with every block.
        """
        suggested = answers.integer(self.rpc.call("eth_gasPrice"))
        base_fee = self.raw_block().get("baseFeePerGas")
        return suggested if base_fee is None else min(suggested, answers.integer(base_fee) + _MAX_TIP_WEI)

    def nonce(self, account: str, *, pending: bool = False) -> int:
        """Transactions of an account that are mined, or also waiting."""
        return answers.integer(
            self.rpc.call("eth_getTransactionCount", account, "pending" if pending else "latest")
        )

    def send_raw(self, raw: bytes) -> bytes:
        """Hand in a signed transaction; its hash. Save the bytes first: this may fail after it arrived."""
        return answers.data(self.rpc.call("eth_sendRawTransaction", "0x" + raw.hex()))

    def transaction_receipt(self, tx_hash: bytes) -> records.TransactionReceipt | None:
        """What became of a transaction; None while it is not in a block (any more)."""
        answer = self.rpc.call("eth_getTransactionReceipt", "0x" + tx_hash.hex())
        if answer is None:
            return None
        return answers.transaction_receipt(answer)

    def why_reverted(self, call: Call, sender: str, block: Block = None) -> Reverted | None:
        """The error that a mined transaction most likely met, by running it again; None if it passes."""
        try:
            self.simulate(call, sender, block=block)
        except Reverted as error:
            return error
        return None

    def events(self, from_block: int, to_block: int) -> list[records.ChainEvent]:
        """Every event of our contracts in a range of blocks (both ends included), in chain order."""
        query = {
            "fromBlock": hex(from_block),
            "toBlock": hex(to_block),
            "address": list(self._contract_at),
        }
        found = [self._event(entry) for entry in self.rpc.call("eth_getLogs", query) or []]
        return sorted((e for e in found if e is not None), key=lambda e: (e.block_number, e.log_index))

    def decode_error(self, data: bytes) -> Reverted:
        """A revert reason as typed error; an unknown one is named ``Unknown`` with its bytes."""
        for contract in _CONTRACTS:
            decoded = abi.of(contract).decode_error(data)
            if decoded is not None:
                return Reverted(*decoded)
        return Reverted("Unknown", {"data": "0x" + data.hex()})

    # ---- inside -----------------------------------------------------------------------------------------

    def _read(self, contract: str, function: str, arguments: Sequence[Any], block: Block) -> Any:
        data = abi.of(contract).encode_call(function, *arguments)
        return self._call(self.addresses[contract], contract, function, data, block)

    def _read_at_one_block(self, contract: str, block: Block, *reads: tuple[str, Sequence[Any]]) -> list[Any]:
        pinned = self.head() if block is None else block
        to, codec = self.addresses[contract], abi.of(contract)
        calls = [
            ("eth_call", [_transaction(to, codec.encode_call(function, *arguments), None), _block_id(pinned)])
            for function, arguments in reads
        ]
        try:
            found = self.rpc.batch(calls)
        except CallReverted as error:
            raise self._reverted(error) from None
        return [codec.decode_result(reads[i][0], answers.data(answer)) for i, answer in enumerate(found)]

    def _call(self, to: str, contract: str, function: str, data: bytes, block: Block) -> Any:
        answer = self._eth_call(to, data, block, None)
        if not answer:
            raise BadChainData(f"there is no {contract} at {to}: wrong address book, or another chain?")
        return abi.of(contract).decode_result(function, answer)

    def _eth_call(self, to: str, data: bytes, block: Block | Literal["pending"], sender: str | None) -> bytes:
        try:
            return answers.data(self.rpc.call("eth_call", _transaction(to, data, sender), _block_id(block)))
        except CallReverted as error:
            raise self._reverted(error) from None

    def _reverted(self, error: CallReverted) -> Reverted:
        return self.decode_error(error.data)

    def _event(self, entry: Any) -> records.ChainEvent | None:
        try:
            address = to_checksum_address(entry["address"])
            contract = self._contract_at[address]
            topics = [answers.data(topic) for topic in entry["topics"]]
            decoded = abi.of(contract).decode_log(topics, answers.data(entry["data"]))
            if decoded is None:
                return None
            return records.ChainEvent(
                name=decoded[0],
                args=decoded[1],
                contract=contract,
                address=address,
                block_number=answers.integer(entry["blockNumber"]),
                block_hash=answers.data(entry["blockHash"]),
                tx_hash=answers.data(entry["transactionHash"]),
                log_index=answers.integer(entry["logIndex"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadChainData("the endpoint gave a log entry that is none of ours") from error


def _name(text: str) -> bytes:
    return text.encode("ascii").ljust(32, b"\0")


def _transaction(to: str, data: bytes, sender: str | None) -> dict[str, str]:
    fields = {"to": to, "data": "0x" + data.hex()}
    return fields if sender is None else {**fields, "from": sender}


def _block_id(block: Block | Literal["pending"]) -> Any:
    if block is None:
        return "latest"
    if isinstance(block, str):
        return block
    if isinstance(block, BlockRef):
        # EIP-1898: by hash, so the answer cannot come from a sibling of the block that was meant.
        return {"blockHash": "0x" + block.hash.hex(), "requireCanonical": True}
    return hex(block)
