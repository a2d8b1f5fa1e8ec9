"""Who may open a page: signed in, acting for a party, in one of the page's roles.

A page that is not for a role answers 404, like an object that belongs to another party: a 403 would tell
that it exists.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache

from market.errors import MarketError, NotFound
from market.parties import services as parties
from market.parties.actor import Actor
from market.portal.shell import page

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]

PROVIDER, CONSUMER, REGULATOR, OPERATOR = "provider", "consumer", "regulator", "operator"
EVERYONE = (PROVIDER, CONSUMER, REGULATOR, OPERATOR)


def for_roles(*roles: str) -> Callable[[View[P]], View[P]]:
    """Admit signed-in people who act in one of ``roles``; others sign in first or get 404.

    Inside the view `actor_of(request)` is the acting party. A `MarketError` that the view does not handle
    becomes a page with its status, rule and remedy; `NotFound` becomes 404.
    """

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            actor = parties.actor_of(request.user, request.session.get("membership"))
            if actor is None or actor.party is None:
                return page(request, "portal/no_party.html", status=403)
            cast(Any, request).actor = actor
            if not actor.roles & set(roles):
                raise Http404
            try:
                return view(request, *args, **kwargs)
            except NotFound:
                raise Http404 from None
            except MarketError as error:
                return page(request, "portal/problem.html", {"problem": error}, status=error.status)

        # Pages show a party's own affairs: no shared cache and no back button after sign-out.
        return never_cache(guarded)

    return decorate


def actor_of(request: HttpRequest) -> Actor:
    """The actor that `for_roles` put on the request."""
    return cast(Actor, cast(Any, request).actor)
