"""The node's HTTP service: routes, who may call them, and nothing else. README.md has the table.

Handlers are thin: they authenticate, decode strictly, call the service object and encode. Whatever blocks
(chain, disk, arithmetic) runs in worker threads, so the event loop stays free for peers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from compute.errors import ComputeError
from compute.node import eaas_routes
from compute.node.grants import FREEZE, UNFREEZE
from compute.node.problems import Forbidden, NoReceipts
from compute.node.requests import Ask, Handler, found, json_response, signed, visible
from compute.node.service import Node
from compute.wire.messages import BatchOrder, GrantProposal, Health, JobSubmission
from compute.wire.websocket import PEER_PATH, StarletteTransport
from contracts.eip712 import Role
from contracts.errors import ContractError

_MAX_PAGE = 500
_HEALTH_TIMEOUT_S = 2.0


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
        return Route(path, signed(node, handler), methods=[method])

    async def healthz(request: Request) -> Response:
        return json_response(await _health(node))

    async def identity(request: Request) -> Response:
        return json_response(await node.runner.in_thread(node.identity))

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
            route("POST", "/v1/eaas/{job}/list", eaas_routes.list_keys),
            route("POST", "/v1/eaas/{job}/keys", eaas_routes.create_key),
            route("POST", "/v1/eaas/{job}/close", eaas_routes.close),
            route("POST", "/v1/eaas/{job}/{operation}", eaas_routes.perform),
        ],
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
    return json_response(await ask.thread(ask.node.datasets.manifests))


async def _freeze(ask: Ask) -> Response:
    return await _act(ask, FREEZE)


async def _unfreeze(ask: Ask) -> Response:
    return await _act(ask, UNFREEZE)


async def _act(ask: Ask, verb: int) -> Response:
    ask.require_portal()
    return json_response(found(await ask.thread(ask.node.grants.act, ask.identifier("dataset"), verb)))


async def _sign_grant(ask: Ask) -> Response:
    ask.require_portal()
    proposal = ask.document(GrantProposal)
    signed = await ask.thread(ask.node.grants.sign, proposal)
    return json_response({"state": "pending"}, status=202) if signed is None else json_response(signed)


async def _revoke(ask: Ask) -> Response:
    ask.require_portal()
    grant = ask.identifier("grant")
    revocation = found(await ask.thread(ask.node.grants.revoke, grant))
    ask.node.jobs.stop_grant(grant)
    return json_response(revocation)


async def _submit(ask: Ask) -> Response:
    submission = ask.document(JobSubmission)
    if not ask.is_portal and ask.caller.party != submission.request.consumer:
        raise Forbidden("a job is submitted by its consumer or the portal")
    return json_response(await ask.node.jobs.submit(submission, ask.caller.party))


async def _status(ask: Ask) -> Response:
    return json_response(visible(ask))


async def _events(ask: Ask) -> Response:
    status = visible(ask)
    return json_response(ask.node.store.events(status.job, ask.number("after", 0, 1 << 50), _MAX_PAGE))


async def _cancel(ask: Ask) -> Response:
    status = visible(ask)
    return json_response(await ask.node.jobs.cancel(status.job) if ask.node.store.job(status.job) else status)


async def _result(ask: Ask) -> Response:
    status = visible(ask)
    payload = found(await ask.thread(ask.node.store.result, status.job))
    return Response(payload, media_type="application/octet-stream")


async def _receipts(ask: Ask) -> Response:
    if not ask.is_portal:
        party = await ask.thread(ask.node.ledger.party, ask.caller.party)
        if party is None or not party.roles & Role.REGULATOR:
            raise Forbidden("receipts are for the portal and regulators")
    limit = ask.number("limit", 100, _MAX_PAGE)
    return json_response(await ask.thread(ask.node.store.receipts, ask.number("after", 0, 1 << 50), limit))


async def _batch(ask: Ask) -> Response:
    ask.require_portal()
    order = ask.document(BatchOrder)
    receipts = await ask.thread(ask.node.store.receipts, order.after, order.limit)
    if not receipts:
        raise NoReceipts(f"there is no receipt after sequence {order.after}")
    return json_response(await ask.thread(lambda: ask.node.receipts().batch(receipts)))
