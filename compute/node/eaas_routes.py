"""HTTP routes of the encryption service: sealed calls of a session's consumer, metered one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec
from starlette.responses import Response

from compute.eaas.service import CALLS, Call, Charge, Eaas
from compute.keys import sealed_call
from compute.node.problems import NotFound
from compute.node.requests import Ask, json_response, visible
from compute.node.running import Active
from compute.node.sessions import SessionClosed
from compute.wire import canonical
from compute.wire.binding import eaas_context
from compute.wire.eaas import EaasKeyRequest

T = TypeVar("T")


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


async def list_keys(ask: Ask) -> Response:
    """The keys of the session's grant; not metered."""
    eaas, active = _session(ask)
    call = PrivateCall(ask, "list")
    keys = await ask.thread(eaas.vault.list, active.row.grant, active.row.consumer)
    return call.answer(msgspec.json.encode(keys))


async def create_key(ask: Ask) -> Response:
    """A new key; one unit."""
    eaas, active = _session(ask)
    call = PrivateCall(ask, "keys")
    order = call.document(EaasKeyRequest)

    def create(charge: Charge) -> bytes:
        eaas.vault.require_room(active.row.grant)
        charge()
        key = eaas.vault.create(active.row.grant, active.row.consumer, order)
        return canonical.encode(key.document)

    return await _metered(call, active, create)


async def perform(ask: Ask) -> Response:
    """One operation under a key; one unit."""
    operation = str(ask.request.path_params["operation"])
    call_type = CALLS.get(operation)
    if call_type is None:
        raise NotFound
    eaas, active = _session(ask)
    private = PrivateCall(ask, operation)
    call: Call = private.document(call_type)

    def work(charge: Charge) -> bytes:
        return canonical.encode(eaas.perform(active.row.grant, active.row.consumer, call, charge))

    return await _metered(private, active, work)


async def close(ask: Ask) -> Response:
    """End the session in order and wait for its receipt."""
    status = visible(ask)
    active = ask.node.jobs.active(status.job)
    if active is not None and active.row.kind == "eaas":
        ask.node.sessions.close(active)
        while ask.node.jobs.active(status.job) is not None:
            await asyncio.sleep(0.02)
    return json_response(visible(ask))


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


def _session(ask: Ask) -> tuple[Eaas, Active]:
    """The open session of a job for its consumer; what is another's does not exist."""
    job = ask.identifier("job")
    row = ask.node.store.job(job)
    if ask.node.eaas is None or row is None or row.consumer != ask.caller.party:
        raise NotFound
    if row.kind != "eaas":
        raise SessionClosed("this job is no eaas session")
    return ask.node.eaas, ask.node.sessions.find(job)
