"""`manage.py create_login USERNAME --party ID --roles provider --password-file FILE`."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from market.errors import MarketError
from market.management.parties import named_party
from market.parties.actor import Actor
from market.parties.services import create_login


class Command(BaseCommand):
    help = "Give a person access for a party; safe to repeat. Without --password-file it asks."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--party", required=True, help="party id, or its exact name")
        parser.add_argument("--roles", required=True, help="comma-separated")
        parser.add_argument(
            "--password-file", type=Path, help="a secret on the command line would be seen by all"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        party = named_party(options["party"])
        try:
            if options["password_file"]:
                password = options["password_file"].read_text().strip()
            elif sys.stdin.isatty():
                password = getpass.getpass("password: ")
            else:
                password = sys.stdin.readline().strip()
            create_login(
                username=options["username"],
                password=password,
                party=party,
                roles=[role.strip() for role in options["roles"].split(",")],
                actor=Actor.system("create_login"),
            )
        except OSError as error:
            raise CommandError(f"{options['password_file']}: {error.strerror}") from error
        except MarketError as error:
            raise CommandError(f"{error.code}: {error.message}") from error
        self.stdout.write(f"{options['username']} may act for {party.name}")
