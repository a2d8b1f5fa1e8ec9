"""The node's HTTP service: routes, who may call them, and nothing else. README.md has the table.

Handlers are thin: they authenticate, decode strictly, call the service object and encode. Whatever blocks
(chain, disk, arithmetic) runs in worker threads, so the event loop stays free for peers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from eth_utils.address import to_checksum_address
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from compute.eaas.service import CALLS, Call, Charge, Eaas
from compute.errors import BadInput, ComputeError
from compute.keys import sealed_call
from compute.node.config import NOBODY
from compute.node.grants import FREEZE, UNFREEZE
from compute.node.problems import Forbidden, NoReceipts, NotFound, TooLarge, problem_response
from compute.node.running import Active
from compute.node.service import Node
from compute.node.sessions import SessionClosed
from compute.wire import canonical
from compute.wire.binding import eaas_context
from compute.wire.eaas import EaasKeyRequest
from compute.wire.messages import BatchOrder, GrantProposal, Health, JobStatus, JobSubmission
from compute.wire.signed_http import Caller, verify_request
from compute.wire.websocket import PEER_PATH, StarletteTransport
from contracts.eip712 import Role
from contracts.errors import ContractError

T = TypeVar("T")

_ID = re.compile(r"0x[0-9a-f]{64}")
_MAX_PAGE = 500
_HEALTH_TIMEOUT_S = 2.0


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


def create_app(node: Node) -> Starlette:
    """The ASGI application of one node."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await node.start()
        try:
            yield
        finally:
            await node.stop()

    def route(method: str, path: str, handler: Handler) -> Route:
        return Route(path, _signed(node, handler), methods=[method])

    async def healthz(request: Request) -> Response:
        return _json(await _health(node))

    async def identity(request: Request) -> Response:
        return _json(await node.runner.in_thread(node.identity))

    async def peer(websocket: WebSocket) -> None:
        await websocket.accept()
        await node.desk.serve(StarletteTransport(websocket))

    return Starlette(
        lifespan=lifespan,
        routes=[
            Route("/healthz", healthz, methods=["GET"]),
            Route("/v1/identity", identity, methods=["GET"]),
            WebSocketRoute(PEER_PATH, peer),
            route("GET", "/v1/datasets", _datasets),
            route("POST", "/v1/datasets/{dataset}/freeze", _freeze),
            route("POST", "/v1/datasets/{dataset}/unfreeze", _unfreeze),
            route("POST", "/v1/grants/sign", _sign_grant),
            route("POST", "/v1/grants/{grant}/revoke", _revoke),
            route("POST", "/v1/jobs", _submit),
            route("GET", "/v1/jobs/{job}", _status),
            route("GET", "/v1/jobs/{job}/events", _events),
            route("POST", "/v1/jobs/{job}/cancel", _cancel),
            route("GET", "/v1/jobs/{job}/result", _result),
            route("GET", "/v1/receipts", _receipts),
            route("POST", "/v1/batches", _batch),
            route("POST", "/v1/eaas/{job}/list", _eaas_keys),
            route("POST", "/v1/eaas/{job}/keys", _eaas_create),
            route("POST", "/v1/eaas/{job}/close", _eaas_close),
            route("POST", "/v1/eaas/{job}/{operation}", _eaas_call),
        ],
    )


def _signed(node: Node, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
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


async def _health(node: Node) -> Health:
    try:
        async with asyncio.timeout(_HEALTH_TIMEOUT_S):
            block = await node.runner.in_thread(node.ledger.block)
    except (ContractError, ComputeError, TimeoutError):
        return Health(status="degraded", chain="unreachable", block=None, running=node.jobs.running)
    return Health(status="ok", chain="ok", block=block.number, running=node.jobs.running)


async def _datasets(ask: Ask) -> Response:
    ask.require_portal()
    return _json(await ask.thread(ask.node.datasets.manifests))


async def _freeze(ask: Ask) -> Response:
    return await _act(ask, FREEZE)


async def _unfreeze(ask: Ask) -> Response:
    return await _act(ask, UNFREEZE)


async def _act(ask: Ask, verb: int) -> Response:
    ask.require_portal()
    return _json(_found(await ask.thread(ask.node.grants.act, ask.identifier("dataset"), verb)))


async def _sign_grant(ask: Ask) -> Response:
    ask.require_portal()
    proposal = ask.document(GrantProposal)
    signed = await ask.thread(ask.node.grants.sign, proposal)
    return _json({"state": "pending"}, status=202) if signed is None else _json(signed)


async def _revoke(ask: Ask) -> Response:
    ask.require_portal()
    grant = ask.identifier("grant")
    revocation = _found(await ask.thread(ask.node.grants.revoke, grant))
    ask.node.jobs.stop_grant(grant)
    return _json(revocation)


async def _submit(ask: Ask) -> Response:
    submission = ask.document(JobSubmission)
    if not ask.is_portal and ask.caller.party != submission.request.consumer:
        raise Forbidden("a job is submitted by its consumer or the portal")
    return _json(await ask.node.jobs.submit(submission))


async def _status(ask: Ask) -> Response:
    return _json(_visible(ask))


async def _events(ask: Ask) -> Response:
    status = _visible(ask)
    return _json(ask.node.store.events(status.job, ask.number("after", 0, 1 << 50), _MAX_PAGE))


async def _cancel(ask: Ask) -> Response:
    status = _visible(ask)
    return _json(await ask.node.jobs.cancel(status.job) if ask.node.store.job(status.job) else status)


async def _result(ask: Ask) -> Response:
    status = _visible(ask)
    payload = _found(await ask.thread(ask.node.store.result, status.job))
    return Response(payload, media_type="application/octet-stream")


async def _receipts(ask: Ask) -> Response:
    if not ask.is_portal:
        party = await ask.thread(ask.node.ledger.party, ask.caller.party)
        if party is None or not party.roles & Role.REGULATOR:
            raise Forbidden("receipts are for the portal and regulators")
    limit = ask.number("limit", 100, _MAX_PAGE)
    return _json(await ask.thread(ask.node.store.receipts, ask.number("after", 0, 1 << 50), limit))


async def _batch(ask: Ask) -> Response:
    ask.require_portal()
    order = ask.document(BatchOrder)
    receipts = await ask.thread(ask.node.store.receipts, order.after, order.limit)
    if not receipts:
        raise NoReceipts(f"there is no receipt after sequence {order.after}")
    return _json(await ask.thread(lambda: ask.node.receipts().batch(receipts)))


async def _eaas_keys(ask: Ask) -> Response:
    eaas, active = _session(ask)
    call = PrivateCall(ask, "list")
    keys = await ask.thread(eaas.vault.list, active.row.grant, active.row.consumer)
    return call.answer(msgspec.json.encode(keys))


async def _eaas_create(ask: Ask) -> Response:
    eaas, active = _session(ask)
    call = PrivateCall(ask, "keys")
    order = call.document(EaasKeyRequest)

    def create(charge: Charge) -> bytes:
        eaas.vault.require_room(active.row.grant)
        charge()
        key = eaas.vault.create(active.row.grant, active.row.consumer, order)
        return canonical.encode(key.document)

    return await _metered(call, active, create)


async def _eaas_call(ask: Ask) -> Response:
    operation = str(ask.request.path_params["operation"])
    call_type = CALLS.get(operation)
    if call_type is None:
        raise NotFound
    eaas, active = _session(ask)
    private = PrivateCall(ask, operation)
    call: Call = private.document(call_type)

    def perform(charge: Charge) -> bytes:
        return canonical.encode(eaas.perform(active.row.grant, active.row.consumer, call, charge))

    return await _metered(private, active, perform)


class PrivateCall:
    """A call to the encryption service, opened: sealed to our box key, its answer sealed to the caller's.

    Raises BadInput if it is sealed to another key, for another job or another operation.
    """

    def __init__(self, ask: Ask, operation: str) -> None:
        self.ask = ask
        self.operation = operation
        self._context = eaas_context(ask.identifier("job"), operation)
        self._reply_key, self.body = sealed_call.open_call(ask.node.box_private, ask.body, self._context)

    def document(self, document_type: type[T]) -> T:
        """The body, strictly decoded."""
        return canonical.decode(document_type, self.body)

    def answer(self, answer: bytes) -> Response:
        """The answer, readable for the caller alone."""
        sealed = sealed_call.seal_answer(self._reply_key, answer, self._context)
        return Response(sealed, media_type="application/octet-stream")


async def _metered(call: PrivateCall, active: Active, work: Callable[[Charge], bytes]) -> Response:
    ask = call.ask
    charged: list[int] = []

    def charge() -> int:
        charged.append(ask.node.sessions.take(active.row.job))
        return charged[-1]

    answer = b""
    try:
        answer = await ask.node.runner.in_worker(work, charge)
    finally:
        # A call that failed after it was charged is in the transcript too, with an empty answer.
        if charged:
            ask.node.sessions.note(active, call.operation, call.body, answer)
    return call.answer(answer)


async def _eaas_close(ask: Ask) -> Response:
    status = _visible(ask)
    active = ask.node.jobs.active(status.job)
    if active is not None and active.row.kind == "eaas":
        ask.node.sessions.close(active)
        while ask.node.jobs.active(status.job) is not None:
            await asyncio.sleep(0.02)
    return _json(_visible(ask))


def _session(ask: Ask) -> tuple[Eaas, Active]:
    """The open session of a job for its consumer; what is another's does not exist."""
    job = ask.identifier("job")
    row = ask.node.store.job(job)
    if ask.node.eaas is None or row is None or row.consumer != ask.caller.party:
        raise NotFound
    if row.kind != "eaas":
        raise SessionClosed("this job is no eaas session")
    return ask.node.eaas, ask.node.sessions.find(job)


def _visible(ask: Ask) -> JobStatus:
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


def _found(value: T | None) -> T:
    if value is None:
        raise NotFound
    return value


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")
