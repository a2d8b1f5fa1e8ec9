"""Do an order's parameters fit its kind? Asked of the kind's JSON schema: the portal runs no protocol code.

The nodes check again, and more (rules across fields, the columns of the grant); what is found here costs the
consumer no reservation.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from market.errors import BadRequest
from market.jobs.kinds import job_kind

_ROOT = "spec.params"


def check_parameters(kind: str, params: Mapping[str, Any]) -> None:
    """Raise BadRequest naming the field that does not fit, NotFound for an unknown kind.

    Values are not repeated in the message: what a consumer mistyped may be what it wanted to keep secret.
    """
    found = best_match(_validator(kind).iter_errors(params))
    if found is None:
        return
    field, reason = _told(found)
    raise BadRequest(
        f"{field}: {reason}",
        field=field,
        remedy=f"see the schema of {kind} under job-kinds/{kind}",
    )


@functools.cache
def _validator(kind: str) -> Draft202012Validator:
    return Draft202012Validator(job_kind(kind)["schema"])


def _told(error: ValidationError) -> tuple[str, str]:
    """The field as a path and what is wrong with it."""
    path = [_ROOT, *(str(step) for step in error.absolute_path)]
    bound = error.validator_value
    match error.validator:
        case "additionalProperties":
            known = error.schema.get("properties", {}) if isinstance(error.schema, Mapping) else {}
            unknown = sorted(name for name in error.instance if name not in known)
            return ".".join([*path, *unknown[:1]]), "unknown field"
        case "required":
            missing = [name for name in bound if name not in error.instance]
            return ".".join([*path, *missing[:1]]), "is missing"
        case "type":
            wanted = bound if isinstance(bound, str) else " or ".join(bound)
            reason = f"must be of type {wanted}"
        case "enum":
            reason = "must be one of " + ", ".join(str(value) for value in bound)
        case "minimum" | "exclusiveMinimum":
            reason = f"must be at least {bound}"
        case "maximum" | "exclusiveMaximum":
            reason = f"must be at most {bound}"
        case "minItems" | "minProperties":
            reason = f"must have at least {bound} entries"
        case "maxItems" | "maxProperties":
            reason = f"must have at most {bound} entries"
        case "minLength":
            reason = f"must have at least {bound} characters"
        case "maxLength":
            reason = f"must have at most {bound} characters"
        case "pattern":
            reason = f"must match {bound}"
        case _:
            reason = f"does not satisfy {error.validator}"
    return ".".join(path), reason
