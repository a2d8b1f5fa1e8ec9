"""The frame around every page: rooms by role, the acting party, the head of the chain, language, theme."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from market.grants.models import Grant
from market.ledger.models import Block
from market.parties.actor import Actor
from market.parties.models import Membership
from market.portal.words import Word

THEMES = ("auto", "light", "dark")
THEME_COOKIE = "theme"


@dataclass(frozen=True)
class Room:
    """One entry of the rail."""

    url: str
    icon: str
    title: Word
    roles: frozenset[str]


def _room(url: str, icon: str, title: Word, *roles: str) -> Room:
    return Room(url, icon, title, frozenset(roles))


_P, _C, _R, _O = "provider", "consumer", "regulator", "operator"
ROOMS: tuple[tuple[Word, tuple[Room, ...]], ...] = (
    (
        "",
        (
            _room("home", "home", _("Overview"), _P, _C, _R, _O),
            _room("catalogue", "catalogue", _("Catalogue"), _P, _C, _R, _O),
        ),
    ),
    (
        _("Rights"),
        (
            _room("datasets", "dataset", _("My datasets"), _P),
            _room("offers", "offer", _("My offers"), _P),
            _room("grants", "grant", _("Grants"), _P, _C, _R),
        ),
    ),
    (
        _("Use"),
        (
            _room("jobs", "job", _("Jobs"), _P, _C, _R),
            _room("receipts", "receipt", _("Receipts"), _P, _C, _R),
            _room("invoices", "invoice", _("Invoices"), _P, _C, _R),
            _room("circulation", "circulation", _("Circulation"), _P, _C, _R),
        ),
    ),
    (
        _("Audit"),
        (
            _room("audit", "audit", _("Reconciliation"), _R, _O),
            _room("timeline", "timeline", _("Timeline"), _R),
            _room("audit-log", "grant", _("Audit log"), _R, _O),
        ),
    ),
    (
        pgettext_lazy("rail", "Operation"),
        (
            _room("parties", "parties", _("Parties"), _R, _O),
            _room("nodes", "node", _("Nodes"), _O),
            _room("outbox", "queue", _("Chain outbox"), _O),
        ),
    ),
    (_("Access"), (_room("api-keys", "key", _("API keys"), _P, _C, _R, _O),)),
)


def page(
    request: HttpRequest, template: str, context: Mapping[str, Any] | None = None, status: int = 200
) -> HttpResponse:
    """Render a page inside the frame."""
    return render(request, template, {**frame(request), **(context or {})}, status=status)


def frame(request: HttpRequest) -> dict[str, Any]:
    """What the base template needs, signed in or not."""
    actor: Actor | None = getattr(request, "actor", None)
    theme = request.COOKIES.get(THEME_COOKIE, "auto")
    return {
        "actor": actor,
        "rooms": _rooms(actor, request.path) if actor else (),
        "memberships": _memberships(request) if actor else (),
        "chain_head": head_block(),
        "finality_depth": settings.FINALITY_DEPTH,
        "theme": theme if theme in THEMES else "auto",
        "themes": (("auto", _("Auto")), ("light", _("Light")), ("dark", _("Dark"))),
        "languages": settings.LANGUAGES,
    }


def head_block() -> int | None:
    """The newest block that the index has read; None before the first."""
    number: int | None = Block.objects.aggregate(head=Max("number"))["head"]
    return number


def _rooms(actor: Actor, path: str) -> list[tuple[Word, list[dict[str, Any]]]]:
    groups = []
    for title, rooms in ROOMS:
        entries = [
            {
                "url": reverse(room.url),
                "icon": room.icon,
                "title": room.title,
                "current": _is_current(room.url, path, actor),
                "count": _waiting(actor) if room.url == "grants" else 0,
            }
            for room in rooms
            if room.roles & actor.roles
        ]
        if entries:
            groups.append((title, entries))
    return groups


def _is_current(name: str, path: str, actor: Actor) -> bool:
    url = reverse(name)
    if name in ("home", "audit"):
        return path == url
    if name == "catalogue" and "provider" not in actor.roles:
        # Whoever has no datasets of their own came here through the catalogue.
        return path.startswith((url, reverse("datasets"), reverse("offers")))
    return path.startswith(url)


def _waiting(actor: Actor) -> int:
    """Requests that wait for this provider's decision."""
    if "provider" not in actor.roles:
        return 0
    return Grant.objects.filter(provider=actor.party, state=Grant.State.REQUESTED).count()


def _memberships(request: HttpRequest) -> list[Membership]:
    """One entry per party the person acts for; empty when there is nothing to choose."""
    held = Membership.objects.filter(user=request.user.pk).select_related("party").order_by("id")
    by_party: dict[str, Membership] = {}
    for membership in held:
        by_party.setdefault(membership.party_id, membership)
    return list(by_party.values()) if len(by_party) > 1 else []
