"""How commands name a party."""

from __future__ import annotations

from django.core.management.base import CommandError

from market.parties.models import Party


def named_party(wanted: str) -> Party:
    """The party by its id or its exact name; raises CommandError."""
    party = Party.objects.filter(pk=wanted).first() or Party.objects.filter(name=wanted).first()
    if party is None:
        raise CommandError(f"no party {wanted!r}")
    return party
