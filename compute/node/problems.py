"""The edge: typed errors to HTTP problems (RFC 9457). The only place of the node that knows status codes.

An error nobody foresaw is a 500 without detail; the log has it.
"""

from __future__ import annotations

import logging

import msgspec
from starlette.responses import Response

from compute.errors import ComputeError, Refused
from compute.wire.messages import Problem
from contracts.errors import ChainUnreachable, ContractError

log = logging.getLogger(__name__)

_STATUS = {
    "http.not_authenticated": 401,
    "http.forbidden": 403,
    "http.not_found": 404,
    "http.too_large": 413,
    "input.invalid": 400,
    "policy.refused": 403,
    "node.busy": 503,
    "node.store": 503,
    "chain.not_final": 503,
    "receipts.none": 404,
    "eaas.closed": 409,
    "eaas.key_unknown": 404,
    "eaas.key_limit": 409,
    "eaas.call_failed": 422,
}
_TITLES = {
    400: "Invalid request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    409: "Not possible now",
    413: "Too large",
    422: "Cannot be processed",
    500: "Internal error",
    503: "Not available now",
}


class Forbidden(ComputeError):
    """This route is for another kind of caller."""

    code = "http.forbidden"


class NotFound(ComputeError):
    """There is no such thing, or not for this caller: the same answer."""

    code = "http.not_found"

    def __init__(self) -> None:
        super().__init__("there is no such thing here, or not for you")


class TooLarge(ComputeError):
    """The body is longer than the node takes."""

    code = "http.too_large"


class NoReceipts(ComputeError):
    """There is no receipt after the given sequence number."""

    code = "receipts.none"


def problem_response(error: Exception) -> Response:
    """The answer to a request that failed."""
    problem = _problem(error)
    headers = {"Retry-After": "2"} if problem.status == 503 else None
    return Response(
        msgspec.json.encode(problem),
        status_code=problem.status,
        media_type="application/problem+json",
        headers=headers,
    )


def _problem(error: Exception) -> Problem:
    if isinstance(error, ComputeError):
        status = _STATUS.get(error.code, 500)
        if status == 500:
            log.error("unexpected %s: %s", error.code, error.message)
            return _of(500, "node.internal", "an unexpected error: the node's log has it")
        if isinstance(error, Refused):
            return _of(status, error.code, error.message, error.rule, error.remedy)
        return _of(status, error.code, error.message)
    if isinstance(error, ContractError):
        log.warning("chain: %s: %s", error.code, error)
        return _of(503, ChainUnreachable.code, "the node cannot read the chain now: try again later")
    log.error("unexpected error", exc_info=error)
    return _of(500, "node.internal", "an unexpected error: the node's log has it")


def _of(status: int, code: str, detail: str, rule: str = "", remedy: str = "") -> Problem:
    return Problem(
        type="about:blank",
        title=_TITLES[status],
        status=status,
        detail=detail,
        code=code,
        rule=rule,
        remedy=remedy,
    )
