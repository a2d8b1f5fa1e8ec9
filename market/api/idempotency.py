"""Writes that may be repeated: the answer is stored in the transaction that does the work."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable
from typing import Any

from django.db import IntegrityError, transaction
from rest_framework.request import Request
from rest_framework.response import Response

from market.api.models import IdempotencyRecord
from market.errors import BadRequest, IdempotencyKeyMissing, IdempotencyKeyReused

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{8,128}")
Handler = Callable[..., Response]


def idempotent(handler: Handler) -> Handler:
    """Wrap a view's write method: same key and request, same answer; an error stores nothing.

    A view may define ``prepare(request, **kwargs)``, run before the transaction: slow calls to chain or nodes
    belong there, where they hold no lock. Two equal requests at once: the database lets one insert its
    record and the other waits for it and replays.
    """

    @functools.wraps(handler)
    def wrapped(view: Any, request: Request, **kwargs: Any) -> Response:
        key = request.headers.get(HEADER, "")
        if not key:
            raise IdempotencyKeyMissing()
        if not _KEY.fullmatch(key):
            raise BadRequest("an Idempotency-Key has 8 to 128 visible ASCII characters", field=HEADER)
        principal = f"{view.actor.label}@{view.actor.party_id}"[:140]
        digest = _digest(request)
        stored = IdempotencyRecord.objects.filter(principal=principal, key=key).first()
        if stored is not None:
            return _replay(stored, digest)
        prepare = getattr(view, "prepare", None)
        if prepare is not None:
            prepare(request, **kwargs)
        try:
            with transaction.atomic():
                with transaction.atomic():
                    record = IdempotencyRecord.objects.create(
                        principal=principal, key=key, request_digest=digest
                    )
                response = handler(view, request, **kwargs)
                record.status = response.status_code
                record.body = response.data
                record.save(update_fields=["status", "body"])
                return response
        except IntegrityError:
            stored = IdempotencyRecord.objects.filter(principal=principal, key=key).first()
            if stored is None:  # not about our record: a real fault
                raise
            return _replay(stored, digest)

    return wrapped


def _digest(request: Request) -> str:
    digest = hashlib.sha256()
    for part in ((request.method or "").encode(), request.get_full_path().encode(), request._request.body):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _replay(stored: IdempotencyRecord, digest: str) -> Response:
    if stored.request_digest != digest:
        raise IdempotencyKeyReused(remedy="use a fresh key for a different request")
    response = Response(stored.body, status=stored.status)
    response["Idempotency-Replayed"] = "true"
    return response
