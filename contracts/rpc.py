"""A JSON-RPC client for Ethereum endpoints: timeouts, typed errors, batches. Safe to share between threads.

Source: JSON-RPC 2.0; Ethereum execution APIs. A revert is reported by endpoints in several ways; all that
carry the revert data are turned into `CallReverted`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import httpx

from contracts.errors import BadChainData, BlockUnknown, ChainUnreachable, ContractError, RpcFailed

# One eth_getLogs answer over a busy range is the largest thing we ask for.
MAX_RESPONSE_BYTES = 64 << 20

# EIP-1474, and EIP-1898 for a block hash that is not there; clients also say it in words.
_RESOURCE_NOT_FOUND = -32001
_NO_BLOCK = ("unknown block", "header not found", "block not found", "blockoutofrange")


class CallReverted(ContractError):
    """The endpoint reports a revert; ``data`` is its undecoded reason (may be empty)."""

    code = "chain.reverted"

    def __init__(self, data: bytes, message: str) -> None:
        super().__init__(message)
        self.data = data


class JsonRpc:
    """One endpoint. Every method raises ChainUnreachable if no usable answer comes in time."""

    def __init__(
        self, url: str, *, timeout_s: float = 10.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = url
        self._client = httpx.Client(timeout=timeout_s, trust_env=False, transport=transport)
        self._ids = itertools.count(1)

    def close(self) -> None:
        """Give the connections back. The client cannot be used afterwards."""
        self._client.close()

    def call(self, method: str, *parameters: Any) -> Any:
        """The result of one request; raises CallReverted, BlockUnknown, RpcFailed, ChainUnreachable."""
        request = self._request(method, parameters)
        reply = self._post(request)
        return self._result(reply, request["id"])

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """The results of several requests in their order, in one round trip; the first error is raised."""
        requests = [self._request(method, parameters) for method, parameters in calls]
        replies = self._post(requests)
        if not isinstance(replies, list):
            raise BadChainData("the endpoint answered a batch with a single reply")
        by_id = {reply.get("id"): reply for reply in replies if isinstance(reply, dict)}
        return [self._result(by_id.get(request["id"]), request["id"]) for request in requests]

    def _request(self, method: str, parameters: Sequence[Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(parameters)}

    def _post(self, body: Any) -> Any:
        try:
            with self._client.stream("POST", self.url, json=body) as response:
                chunks, size = [], 0
                for chunk in response.iter_bytes():
                    size += len(chunk)
                    if size > MAX_RESPONSE_BYTES:
                        raise BadChainData(f"the chain's answer exceeds {MAX_RESPONSE_BYTES} bytes")
                    chunks.append(chunk)
                status = response.status_code
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, RuntimeError) as error:
            # httpx says RuntimeError for a client that another thread has closed.
            raise ChainUnreachable(f"no answer from the chain at {self.url}: {error}") from error
        try:
            return httpx.Response(status, content=b"".join(chunks)).json()
        except ValueError as error:
            raise ChainUnreachable(
                f"{self.url} answers HTTP {status} and no JSON: not a chain endpoint?"
            ) from error

    def _result(self, reply: Any, request_id: int) -> Any:
        if not isinstance(reply, dict) or reply.get("id") != request_id:
            raise BadChainData("the endpoint's reply does not belong to the request")
        if "error" not in reply:
            return reply.get("result")
        error = reply["error"] if isinstance(reply["error"], dict) else {"message": str(reply["error"])}
        message = str(error.get("message", ""))[:400]
        data = _revert_data(error)
        if data is not None:
            raise CallReverted(data, message)
        if error.get("code") == _RESOURCE_NOT_FOUND or any(sign in message.lower() for sign in _NO_BLOCK):
            raise BlockUnknown(f"the chain does not know the block: {message}")
        raise RpcFailed(f"the chain refuses the request: {message}", rpc_code=error.get("code"))


def _revert_data(error: dict[str, Any]) -> bytes | None:
    data = error.get("data")
    if isinstance(data, dict):
        data = data.get("data")
    if isinstance(data, str):
        text = data.removeprefix("Reverted ").removeprefix("0x")
        try:
            return bytes.fromhex(text)
        except ValueError:
            return None
    return b"" if "revert" in str(error.get("message", "")).lower() else None
