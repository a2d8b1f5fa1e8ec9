"""The one place where errors become HTTP: RFC 9457 problem documents."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response

from compute.errors import BadInput
from contracts.errors import BadStruct, ChainUnreachable, Reverted
from market import errors
from market.ledger.refusals import refusal_of

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"


def problem(error: errors.MarketError) -> dict[str, Any]:
    """The RFC 9457 document of a typed error. ``type`` is a URN: codes are stable, pages move."""
    body: dict[str, Any] = {
        "type": f"urn:liutong:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.message,
        "code": error.code,
    }
    if error.rule:
        body["rule"] = error.rule
    if error.remedy:
        body["remedy"] = error.remedy
    if error.detail:
        body["facts"] = error.detail
    return body


def typed(error: Exception) -> errors.MarketError:
    """Any exception as one of ours. What is not known becomes a 500 without detail."""
    match error:
        case errors.MarketError():
            return error
        case BadInput():
            return errors.BadRequest(error.message)
        case BadStruct():
            return errors.BadRequest(str(error))
        case ChainUnreachable():
            return errors.ChainUnavailable()
        case Reverted():
            refusal = refusal_of(error)
            return errors.JobRejected(refusal["message"], rule=error.name, remedy=refusal["remedy"])
        case Http404():
            return errors.NotFound()
        case PermissionDenied() | exceptions.PermissionDenied():
            return errors.ScopeMissing(str(error) or "")
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return errors.Unauthenticated()
        case RequestDataTooBig():
            return errors.TooLarge()
        case exceptions.ValidationError():
            field, reason = _first(error.detail)
            return errors.BadRequest(f"{field}: {reason}" if field else reason, field=field)
        case exceptions.APIException():
            known = errors.MarketError(str(error.detail))
            known.code = f"http.{error.default_code}"
            known.status = error.status_code
            known.title = str(error.default_detail)
            return known
    unknown = errors.MarketError("Something went wrong on our side; it was logged.")
    unknown.code = "internal.error"
    unknown.status = 500
    unknown.title = "Internal error"
    return unknown


def exception_handler(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's hook. Unknown errors are logged with their trace and answered without any detail."""
    known = typed(error)
    if known.status >= 500 and known.code == "internal.error":
        log.error("unhandled error in %s", context.get("view"), exc_info=error)
    response = Response(problem(known), status=known.status, content_type=MEDIA_TYPE)
    if known.status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="liutong"'
    if known.status == 503:
        response["Retry-After"] = "2"
    response.exception = True
    return response


def _first(detail: Any, field: str = "") -> tuple[str, str]:
    while isinstance(detail, dict | list) and detail:
        if isinstance(detail, dict):
            name, detail = next(iter(detail.items()))
            field = f"{field}.{name}" if field and name != "non_field_errors" else str(name)
        else:
            detail = next((item for item in detail if item), "")
    return ("" if field == "non_field_errors" else field), str(detail)
