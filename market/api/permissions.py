"""Every view names the scope it needs, for reading and for writing."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from market.errors import Unauthenticated
from market.parties.actor import Actor


class HasScope(BasePermission):
    """The view's ``read_scope`` (default "read") or ``write_scope``; no actor means 401."""

    def has_permission(self, request: Request, view: Any) -> bool:
        actor = request.auth
        if not isinstance(actor, Actor):
            raise Unauthenticated()
        reading = request.method in SAFE_METHODS
        scope = getattr(view, "read_scope" if reading else "write_scope", "read" if reading else None)
        if scope is None:
            return True  # the router has no such method: let it answer 405
        actor.require(scope)
        return True
