"""JSON-RPC answers as typed values; anything that does not fit raises BadChainData."""

from __future__ import annotations

from typing import Any

from eth_utils.address import to_checksum_address

from contracts import records
from contracts.errors import BadChainData
from contracts.records import BlockRef


def block_ref(answer: Any) -> BlockRef:
    try:
        return BlockRef(
            number=integer(answer["number"]),
            hash=data(answer["hash"]),
            timestamp=integer(answer["timestamp"]),
            parent=data(answer["parentHash"]),
        )
    except (KeyError, TypeError) as error:
        raise BadChainData("the endpoint's block lacks a field") from error


def transaction_receipt(answer: Any) -> records.TransactionReceipt:
    try:
        created = answer.get("contractAddress")
        return records.TransactionReceipt(
            tx_hash=data(answer["transactionHash"]),
            succeeded=integer(answer["status"]) == 1,
            block_number=integer(answer["blockNumber"]),
            block_hash=data(answer["blockHash"]),
            gas_used=integer(answer["gasUsed"]),
            contract_address=to_checksum_address(created) if created else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadChainData("the endpoint's transaction receipt lacks a field") from error


def integer(value: Any) -> int:
    if not isinstance(value, str):
        raise BadChainData(f"the endpoint gave {value!r} where a quantity belongs")
    try:
        return int(value, 16)
    except ValueError as error:
        raise BadChainData(f"the endpoint gave {value!r} where a quantity belongs") from error


def data(value: Any) -> bytes:
    if not isinstance(value, str):
        raise BadChainData(f"the endpoint gave {value!r} where bytes belong")
    try:
        return bytes.fromhex(value.removeprefix("0x"))
    except ValueError as error:
        raise BadChainData("the endpoint gave bytes that are not hexadecimal") from error
