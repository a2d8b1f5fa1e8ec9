"""`manage.py describe_party PARTY --node-url URL`: what the portal alone knows of a party."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from market.management.parties import named_party
from market.parties.actor import Actor
from market.parties.enrolment import describe_party


class Command(BaseCommand):
    help = "Change a party's names, or where its node listens; key, roles and state follow the chain."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("party", help="party id, or its exact name")
        parser.add_argument("--name")
        parser.add_argument("--name-zh")
        parser.add_argument("--node-url", help="where the portal reaches the party's node")

    def handle(self, *args: Any, **options: Any) -> None:
        party = describe_party(
            party_id=named_party(options["party"]).party_id,
            actor=Actor.system("describe_party"),
            name=options["name"],
            name_zh=options["name_zh"],
            node_url=options["node_url"],
        )
        self.stdout.write(f"{party.name} {party.party_id} {party.node_url}")
