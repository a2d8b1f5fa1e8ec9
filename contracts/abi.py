"""Calls, results, events and custom errors by ABI (Solidity ABI specification v2).

Python values: ``bytes32`` and ``bytes`` are ``bytes``, addresses checksummed ``str``, integers ``int``.
Structs are ``dict`` on the way out; dataclasses (fields in Solidity order), mappings or tuples on the way in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.abi import (
    abi_to_signature,
    collapse_if_tuple,
    event_abi_to_log_topic,
    function_abi_to_4byte_selector,
)
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from contracts import artifacts
from contracts.errors import BadChainData, BadStruct

_Entry = Any  # eth_typing's ABIElement or ABIComponent: plain dicts out of the artifact

# Solidity's own two errors: require() with a text, and arithmetic or enum panics.
_ERROR_STRING = keccak(b"Error(string)")[:4]
_PANIC = keccak(b"Panic(uint256)")[:4]


class Abi:
    """The ABI of one contract, indexed by what appears on the wire."""

    def __init__(self, entries: Sequence[_Entry]) -> None:
        self._functions = {e["name"]: e for e in entries if e["type"] == "function"}
        self._constructor: _Entry = next((e for e in entries if e["type"] == "constructor"), {"inputs": []})
        self._events = {event_abi_to_log_topic(e): e for e in entries if e["type"] == "event"}
        self._errors = {keccak(abi_to_signature(e).encode())[:4]: e for e in entries if e["type"] == "error"}

    @property
    def error_names(self) -> tuple[str, ...]:
        """Every custom error that the contract may revert with."""
        return tuple(sorted(entry["name"] for entry in self._errors.values()))

    def encode_call(self, function: str, *arguments: Any) -> bytes:
        """Selector and arguments; raises BadStruct if an argument does not fit its type."""
        entry = self._functions[function]
        return function_abi_to_4byte_selector(entry) + _encode(entry["inputs"], arguments)

    def encode_constructor(self, *arguments: Any) -> bytes:
        """The bytes to append to the creation code."""
        return _encode(self._constructor["inputs"], arguments)

    def decode_result(self, function: str, data: bytes) -> Any:
        """One output is returned bare, several as a dict by name; raises BadChainData."""
        outputs = self._functions[function]["outputs"]
        values = _decode(outputs, data)
        if len(outputs) == 1:
            return values[0]
        return {output["name"]: value for output, value in zip(outputs, values, strict=True)}

    def decode_error(self, data: bytes) -> tuple[str, dict[str, Any]] | None:
        """Name and fields of a revert reason; None if it is not one of this contract's."""
        if data[:4] == _ERROR_STRING:
            return "Error", {"message": _decode([{"name": "message", "type": "string"}], data[4:])[0]}
        if data[:4] == _PANIC:
            return "Panic", {"code": _decode([{"name": "code", "type": "uint256"}], data[4:])[0]}
        entry = self._errors.get(data[:4])
        if entry is None:
            return None
        values = _decode(entry["inputs"], data[4:])
        return entry["name"], {i["name"]: v for i, v in zip(entry["inputs"], values, strict=True)}

    def decode_log(self, topics: Sequence[bytes], data: bytes) -> tuple[str, dict[str, Any]] | None:
        """Name and fields of a log entry; None if it is not one of this contract's."""
        entry = self._events.get(topics[0]) if topics else None
        if entry is None:
            return None
        indexed = [i for i in entry["inputs"] if i["indexed"]]
        plain = [i for i in entry["inputs"] if not i["indexed"]]
        if len(indexed) != len(topics) - 1:
            raise BadChainData(f"event {entry['name']} has {len(topics) - 1} topics, not {len(indexed)}")
        values = {i["name"]: _decode([i], topic)[0] for i, topic in zip(indexed, topics[1:], strict=True)}
        values.update({i["name"]: v for i, v in zip(plain, _decode(plain, data), strict=True)})
        return entry["name"], {i["name"]: values[i["name"]] for i in entry["inputs"]}


@cache
def of(contract: str) -> Abi:
    """The ABI of one of our contracts by name."""
    return Abi(artifacts.load(contract).abi)


def _encode(inputs: Sequence[_Entry], arguments: Sequence[Any]) -> bytes:
    if len(inputs) != len(arguments):
        raise BadStruct(f"{len(arguments)} arguments given, {len(inputs)} needed")
    plain = [_lower(i, argument) for i, argument in zip(inputs, arguments, strict=True)]
    try:
        return abi_encode([collapse_if_tuple(i) for i in inputs], plain)
    except (EncodingError, TypeError, ValueError) as error:
        raise BadStruct(f"a value does not fit its Solidity type: {error}") from error


def _lower(parameter: _Entry, value: Any) -> Any:
    """A dataclass or mapping as the nested tuples that eth_abi takes."""
    kind = parameter["type"]
    if kind.endswith("[]"):
        inner = {**parameter, "type": kind[:-2]}
        return [_lower(inner, item) for item in value]
    if kind != "tuple":
        return value
    components = parameter["components"]
    if is_dataclass(value):
        members: Sequence[Any] = [getattr(value, field.name) for field in fields(value)]
    elif isinstance(value, Mapping):
        members = [value[c["name"]] for c in components]
    else:
        members = value
    if len(members) != len(components):
        raise BadStruct(f"a struct of {len(components)} fields got {len(members)}")
    return tuple(_lower(c, member) for c, member in zip(components, members, strict=True))


def _decode(outputs: Sequence[_Entry], data: bytes) -> list[Any]:
    try:
        values = abi_decode([collapse_if_tuple(o) for o in outputs], data)
    except (DecodingError, OverflowError, ValueError) as error:
        raise BadChainData(f"the chain's answer does not decode: {error}") from error
    return [_raise(o, value) for o, value in zip(outputs, values, strict=True)]


def _raise(parameter: _Entry, value: Any) -> Any:
    """What eth_abi gives as the values that this module promises."""
    kind = parameter["type"]
    if kind.endswith("[]"):
        inner = {**parameter, "type": kind[:-2]}
        return [_raise(inner, item) for item in value]
    if kind == "tuple":
        components = parameter["components"]
        return {c["name"]: _raise(c, item) for c, item in zip(components, value, strict=True)}
    if kind == "address":
        return to_checksum_address(value)
    return value
