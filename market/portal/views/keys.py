"""API keys: made here, shown once, stored as a hash."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from market.errors import MarketError
from market.parties import services
from market.parties.models import ApiKey
from market.portal.access import EVERYONE, actor_of, for_roles
from market.portal.forms import ApiKeyForm, add_problem
from market.portal.shell import page


@for_roles(*EVERYONE)
def api_keys(request: HttpRequest) -> HttpResponse:
    """The party's keys, and a form for a new one. The new token is in this answer only: not in the session,
    not in the database, not in a redirect."""
    actor = actor_of(request)
    form = ApiKeyForm(request.POST or None, roles=actor.roles)
    token = ""
    if request.method == "POST" and form.is_valid() and actor.party is not None:
        try:
            _key, token = services.create_api_key(
                party=actor.party, actor=actor, user=request.user, **form.cleaned_data
            )
        except MarketError as error:
            add_problem(form, error)
        else:
            form = ApiKeyForm(roles=actor.roles)
    keys = ApiKey.objects.filter(party=actor.party).select_related("user")
    return page(
        request,
        "portal/api_keys.html",
        {"form": form, "keys": keys, "token": token},
        status=422 if form.errors else 200,
    )


@require_POST
@for_roles(*EVERYONE)
def revoke_api_key(request: HttpRequest, key_id: int) -> HttpResponse:
    """End a key of the actor's own party."""
    services.revoke_api_key(key_id=key_id, actor=actor_of(request))
    messages.success(request, _("The key no longer works."))
    return redirect("api-keys")
