"""Coming in, going out, and what the reader prefers: party, language (Django's own view), theme."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from market.parties import throttle
from market.parties.models import Membership
from market.portal.access import EVERYONE, for_roles
from market.portal.forms import SignInForm
from market.portal.shell import THEME_COOKIE, THEMES, frame

_YEAR_S = 365 * 86_400


class SignIn(LoginView):
    """The one page for people who are not signed in."""

    template_name = "portal/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Try a password, unless too many were wrong lately."""
        if throttle.blocked(*_who(request)):
            messages.error(request, _("Too many wrong passwords: try again in a quarter of an hour."))
            context = self.get_context_data(form=SignInForm(request))
            return self.render_to_response(context, status=429)
        return super().post(request, *args, **kwargs)

    def form_invalid(self, form: Any) -> HttpResponse:
        throttle.note_failure(*_who(self.request))
        return super().form_invalid(form)

    def form_valid(self, form: Any) -> HttpResponse:
        throttle.forget(*_who(self.request))
        return super().form_valid(form)

    def get_context_data(self, **context: Any) -> dict[str, Any]:
        return {**frame(self.request), **cast(dict[str, Any], super().get_context_data(**context))}


@require_POST
@for_roles(*EVERYONE)
def act_for(request: HttpRequest) -> HttpResponse:
    """Act for another of the person's own parties; an id that is not theirs changes nothing."""
    chosen = request.POST.get("membership", "")
    if chosen.isdigit():
        held = Membership.objects.filter(pk=int(chosen[:18]), user=request.user.pk).first()
        if held is not None:
            request.session["membership"] = held.pk
    return redirect("home")


@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Remember light, dark or automatic in a cookie, so the page arrives in the right colours."""
    response = redirect(_safe_next(request))
    theme = request.POST.get("theme", "")
    if theme in THEMES:
        response.set_cookie(
            THEME_COOKIE, theme, max_age=_YEAR_S, samesite="Lax", httponly=True, secure=request.is_secure()
        )
    return response


def _who(request: HttpRequest) -> tuple[str, str]:
    return request.POST.get("username", "")[:150], request.META.get("REMOTE_ADDR", "")


def _safe_next(request: HttpRequest) -> str:
    target = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure()):
        return target
    return "/"
