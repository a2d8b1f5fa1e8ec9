"""Who is calling: an API key in the Authorization header, or a signed-in browser session."""

from __future__ import annotations

from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request

from market.errors import Unauthenticated
from market.parties import services
from market.parties.actor import Actor


class ApiKeyAuthentication(BaseAuthentication):
    """``Authorization: Bearer lt_<prefix>_<secret>``; ``request.auth`` is then an `Actor`."""

    def authenticate(self, request: Request) -> tuple[object, Actor] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        if scheme.lower() != "bearer":
            raise Unauthenticated("the Authorization header must be: Bearer lt_…")
        key = services.authenticate_api_key(token.strip())
        return key.user, Actor.for_api_key(key)

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="liutong"'


class PortalSessionAuthentication(SessionAuthentication):
    """The browser's session, CSRF enforced; the acting party is the session's chosen membership."""

    def authenticate(self, request: Request) -> tuple[object, Actor] | None:
        found = super().authenticate(request)
        if found is None:
            return None
        actor = services.actor_of(found[0], request._request.session.get("membership"))
        return (found[0], actor) if actor else None
