"""One request at the node's HTTP edge: read within limits, authenticated, and what its caller may see.

What a caller may not see does not exist for it: `found` and `visible` raise NotFound, never Forbidden.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from eth_utils.address import to_checksum_address
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from compute.errors import BadInput
from compute.node.config import NOBODY
from compute.node.problems import Forbidden, NotFound, TooLarge, problem_response
from compute.node.service import Node
from compute.wire import canonical
from compute.wire.messages import JobStatus
from compute.wire.signed_http import Caller, verify_request

T = TypeVar("T")

_ID = re.compile(r"0x[0-9a-f]{64}")


@dataclass(frozen=True)
class Ask:
    """One authenticated request: its body was read within the limit and its signature covers it."""

    node: Node
    request: Request
    body: bytes
    caller: Caller

    @property
    def is_portal(self) -> bool:
        """Whether the configured portal key signed."""
        portal = self.node.config.portal
        return (
            portal.address is not None
            and self.caller.party == portal.party
            and self.caller.address == to_checksum_address(portal.address)
        )

    def require_portal(self) -> None:
        """Raise Forbidden for anybody but the portal."""
        if not self.is_portal:
            raise Forbidden("this is for the portal that the node's configuration names")

    def document(self, document_type: type[T]) -> T:
        """The body, strictly decoded."""
        return canonical.decode(document_type, self.body)

    def identifier(self, name: str) -> str:
        """An id from the path; what is no id does not exist."""
        value = str(self.request.path_params[name])
        if not _ID.fullmatch(value):
            raise NotFound
        return value

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number from the query."""
        text = self.request.query_params.get(name, str(default))
        if not (text.isascii() and text.isdigit() and len(text) <= 15):
            raise BadInput(f"{name} is a whole number")
        return min(int(text), most)

    async def thread(self, function: Callable[..., T], *arguments: object) -> T:
        """Run something that blocks in the node's worker threads."""
        return await self.node.runner.in_thread(function, *arguments)


Handler = Callable[[Ask], Awaitable[Response]]


def signed(node: Node, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that authenticates before it calls the handler, and answers every error as a problem."""

    async def endpoint(request: Request) -> Response:
        try:
            body = await _body(request, node.config.limits.max_body_bytes)
            caller = await node.runner.in_thread(_authenticate, node, request, body)
            return await handler(Ask(node, request, body, caller))
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:  # noqa: BLE001 - the edge: every error becomes a problem here
            return problem_response(error)

    return endpoint


def visible(ask: Ask) -> JobStatus:
    """The status of a job that this caller may see; anything else is not found."""
    job = ask.identifier("job")
    row = ask.node.store.job(job)
    if row is not None:
        if ask.is_portal or ask.caller.party == row.consumer:
            return row.status
        raise NotFound
    attempt = ask.node.store.refused_attempt(job)
    if attempt is not None and (ask.is_portal or ask.caller.party == attempt[0]):
        return attempt[1]
    raise NotFound


def found(value: T | None) -> T:
    """The value; raises NotFound for None."""
    if value is None:
        raise NotFound
    return value


def json_response(value: Any, status: int = 200) -> Response:
    """A document, or plain values, as JSON."""
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")


async def _body(request: Request, most: int) -> bytes:
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > most:
        raise TooLarge(f"the body has {declared} bytes; at most {most} are taken")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise TooLarge(f"the body has more than {most} bytes")
    return bytes(body)


def _authenticate(node: Node, request: Request, body: bytes) -> Caller:
    def directory(party: str) -> frozenset[str]:
        portal = node.config.portal
        if party != portal.party or portal.address is None:
            return node.ledger.addresses(party)
        own = frozenset({to_checksum_address(portal.address)})
        return own if party == NOBODY else own | node.ledger.addresses(party)

    raw_query = request.scope.get("query_string", b"").decode("latin-1")
    raw_path = request.scope.get("raw_path") or request.url.path.encode()
    target = raw_path.decode("latin-1").split("?")[0] + (f"?{raw_query}" if raw_query else "")
    return verify_request(
        audience=node.config.party,
        directory=directory,
        nonces=node.store,
        method=request.method,
        target=target,
        headers=request.headers,
        body=body,
        now=int(node.clock()),
    )
