"""The one Python binding to the contracts: typed reads, call data, simulation, events.

A `Chain` sends nothing on its own: whoever relays signs a transaction (`contracts.transactions`), saves it
and gives it to `Chain.send_raw`. Nodes only read. Everything here raises ChainUnreachable when no answer
comes, Reverted when a contract refuses, BlockUnknown when the block asked for is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from eth_utils.address import to_checksum_address

from contracts import abi, records
from contracts.eip712 import (
    Action,
    DatasetVersion,
    Domain,
    Grant,
    JobRequest,
    NodeKey,
    Receipt,
    Revocation,
    Role,
)
from contracts.errors import BadChainData, BlockUnknown, ChainUnsupported, Reverted
from contracts.records import BlockRef, Call
from contracts.rpc import CallReverted, JsonRpc

NAMES = ("PartyRegistry", "DatasetRegistry", "UsageLedger")
_CONTRACTS = ("AddressBook", *NAMES)
Block = BlockRef | int | None
_ZERO32 = bytes(32)


class Chain:
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
        return _integer(self.rpc.call("eth_chainId"))

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
        return _block_ref(answer)

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

    # ---- call data --------------------------------------------------------------------------------------

    def calldata(self, contract: str, function: str, *arguments: Any) -> Call:
        """Any function of any of our contracts; raises BadStruct if an argument does not fit."""
        return Call(self.addresses[contract], abi.of(contract).encode_call(function, *arguments))

    def enrol_call(self, party: bytes, roles: int, key: NodeKey, signature: bytes) -> Call:
        """Operator only. ``signature`` is the key's own over ``key``."""
        return self.calldata("PartyRegistry", "enrol", party, int(roles), key, signature)

    def add_roles_call(self, party: bytes, roles: int) -> Call:
        """Operator only."""
        return self.calldata("PartyRegistry", "addRoles", party, int(roles))

    def rotate_call(self, next_key: NodeKey, signature_old: bytes, signature_new: bytes) -> Call:
        return self.calldata("PartyRegistry", "rotate", next_key, signature_old, signature_new)

    def suspend_call(self, party: bytes) -> Call:
        """Operator only; a regulator uses `act_call`."""
        return self.calldata("PartyRegistry", "suspend", party)

    def reinstate_call(self, party: bytes) -> Call:
        """Operator only; lifts the operator's own suspension."""
        return self.calldata("PartyRegistry", "reinstate", party)

    def act_call(self, action: Action, signature: bytes) -> Call:
        """A regulator suspends (verb 3) or reinstates (verb 4) a party."""
        return self.calldata("PartyRegistry", "act", action, signature)

    def register_call(self, version: DatasetVersion, signature: bytes) -> Call:
        return self.calldata("DatasetRegistry", "register", version, signature)

    def freeze_call(self, action: Action, signature: bytes) -> Call:
        """Owner or regulator; the verb decides: 1 freezes, 2 unfreezes."""
        function = "unfreeze" if action.verb == 2 else "freeze"
        return self.calldata("DatasetRegistry", function, action, signature)

    def activate_call(self, grant: Grant, signature: bytes) -> Call:
        return self.calldata("UsageLedger", "activate", grant, signature)

    def revoke_call(self, revocation: Revocation, signature: bytes) -> Call:
        return self.calldata("UsageLedger", "revoke", revocation, signature)

    def reserve_call(self, request: JobRequest, signature: bytes) -> Call:
        return self.calldata("UsageLedger", "reserve", request, signature)

    def commit_call(self, receipts: Sequence[Receipt], batch_signature: bytes) -> Call:
        return self.calldata("UsageLedger", "commit", list(receipts), batch_signature)

    def release_call(self, job: bytes, grant: bytes) -> Call:
        return self.calldata("UsageLedger", "release", job, grant)

    # ---- transactions -----------------------------------------------------------------------------------

    def simulate(self, call: Call, sender: str | None = None, *, block: Block = None) -> bytes:
        """Run a call without sending it; raises Reverted with the decoded custom error."""
        return self._eth_call(call.to, call.data, block, sender)

    def estimate_gas(self, call: Call, sender: str) -> int:
        """Gas that the call needs now; raises Reverted if it would revert."""
        try:
            return _integer(self.rpc.call("eth_estimateGas", _transaction(call.to, call.data, sender)))
        except CallReverted as error:
            raise self._reverted(error) from None

    def gas_price(self) -> int:
        """What the endpoint suggests, in wei."""
        return _integer(self.rpc.call("eth_gasPrice"))

    def nonce(self, account: str, *, pending: bool = False) -> int:
        """Transactions of an account that are mined, or also waiting."""
        return _integer(self.rpc.call("eth_getTransactionCount", account, "pending" if pending else "latest"))

    def send_raw(self, raw: bytes) -> bytes:
        """Hand in a signed transaction; its hash. Save the bytes first: this may fail after it arrived."""
        return _bytes(self.rpc.call("eth_sendRawTransaction", "0x" + raw.hex()))

    def transaction_receipt(self, tx_hash: bytes) -> records.TransactionReceipt | None:
        """What became of a transaction; None while it is not in a block (any more)."""
        answer = self.rpc.call("eth_getTransactionReceipt", "0x" + tx_hash.hex())
        if answer is None:
            return None
        return _transaction_receipt(answer)

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
            answers = self.rpc.batch(calls)
        except CallReverted as error:
            raise self._reverted(error) from None
        return [codec.decode_result(reads[i][0], _bytes(answer)) for i, answer in enumerate(answers)]

    def _call(self, to: str, contract: str, function: str, data: bytes, block: Block) -> Any:
        answer = self._eth_call(to, data, block, None)
        if not answer:
            raise BadChainData(f"there is no {contract} at {to}: wrong address book, or another chain?")
        return abi.of(contract).decode_result(function, answer)

    def _eth_call(self, to: str, data: bytes, block: Block, sender: str | None) -> bytes:
        try:
            return _bytes(self.rpc.call("eth_call", _transaction(to, data, sender), _block_id(block)))
        except CallReverted as error:
            raise self._reverted(error) from None

    def _reverted(self, error: CallReverted) -> Reverted:
        return self.decode_error(error.data)

    def _event(self, entry: Any) -> records.ChainEvent | None:
        try:
            address = to_checksum_address(entry["address"])
            contract = self._contract_at[address]
            decoded = abi.of(contract).decode_log([_bytes(t) for t in entry["topics"]], _bytes(entry["data"]))
            if decoded is None:
                return None
            return records.ChainEvent(
                name=decoded[0],
                args=decoded[1],
                contract=contract,
                address=address,
                block_number=_integer(entry["blockNumber"]),
                block_hash=_bytes(entry["blockHash"]),
                tx_hash=_bytes(entry["transactionHash"]),
                log_index=_integer(entry["logIndex"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadChainData("the endpoint gave a log entry that is none of ours") from error


def _name(text: str) -> bytes:
    return text.encode("ascii").ljust(32, b"\0")


def _transaction(to: str, data: bytes, sender: str | None) -> dict[str, str]:
    fields = {"to": to, "data": "0x" + data.hex()}
    return fields if sender is None else {**fields, "from": sender}


def _block_id(block: Block) -> Any:
    if block is None:
        return "latest"
    if isinstance(block, BlockRef):
        # EIP-1898: by hash, so the answer cannot come from a sibling of the block that was meant.
        return {"blockHash": "0x" + block.hash.hex(), "requireCanonical": True}
    return hex(block)


def _block_ref(answer: Any) -> BlockRef:
    try:
        return BlockRef(
            number=_integer(answer["number"]),
            hash=_bytes(answer["hash"]),
            timestamp=_integer(answer["timestamp"]),
            parent=_bytes(answer["parentHash"]),
        )
    except (KeyError, TypeError) as error:
        raise BadChainData("the endpoint's block lacks a field") from error


def _transaction_receipt(answer: Any) -> records.TransactionReceipt:
    try:
        created = answer.get("contractAddress")
        return records.TransactionReceipt(
            tx_hash=_bytes(answer["transactionHash"]),
            succeeded=_integer(answer["status"]) == 1,
            block_number=_integer(answer["blockNumber"]),
            block_hash=_bytes(answer["blockHash"]),
            gas_used=_integer(answer["gasUsed"]),
            contract_address=to_checksum_address(created) if created else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadChainData("the endpoint's transaction receipt lacks a field") from error


def _integer(value: Any) -> int:
    if not isinstance(value, str):
        raise BadChainData(f"the endpoint gave {value!r} where a quantity belongs")
    try:
        return int(value, 16)
    except ValueError as error:
        raise BadChainData(f"the endpoint gave {value!r} where a quantity belongs") from error


def _bytes(value: Any) -> bytes:
    if not isinstance(value, str):
        raise BadChainData(f"the endpoint gave {value!r} where bytes belong")
    try:
        return bytes.fromhex(value.removeprefix("0x"))
    except ValueError as error:
        raise BadChainData("the endpoint gave bytes that are not hexadecimal") from error
