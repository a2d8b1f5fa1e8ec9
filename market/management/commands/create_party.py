"""`manage.py create_party NAME --roles operator`: a party that acts in the portal only (no key on chain)."""

from __future__ import annotations

import json
import secrets
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from contracts.eip712 import Role
from market.audit import services as audit
from market.parties.actor import Actor
from market.parties.models import Party

_PORTAL_ONLY = {"operator", "regulator"}


class Command(BaseCommand):
    help = "Record an operator or regulator that signs nothing on chain; safe to repeat by name."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--roles", default="operator", help="comma-separated: operator,regulator")
        parser.add_argument("--name-zh", default="")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        names = {name.strip() for name in options["roles"].split(",")}
        if not names or names - _PORTAL_ONLY:
            raise CommandError("only operator and regulator act without a key on chain; others enrol")
        roles = Role(0)
        for name in names:
            roles |= Role[name.upper()]
        party = Party.objects.filter(name=options["name"], address="").first()
        if party is None:
            party = Party.objects.create(
                party_id="0x" + secrets.token_hex(32),
                name=options["name"],
                name_zh=options["name_zh"],
                roles=int(roles),
            )
            audit.append("party.created", actor=Actor.system("create_party"), subject=party.party_id)
        if options["json"]:
            self.stdout.write(json.dumps({"party": party.party_id}))
        else:
            self.stdout.write(f"{party.name} {party.party_id}")
