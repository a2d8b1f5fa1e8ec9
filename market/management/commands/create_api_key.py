"""`manage.py create_api_key --party ID --scopes read,jobs`: prints the token, once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from market.errors import MarketError
from market.management.parties import named_party
from market.parties.actor import Actor
from market.parties.services import create_api_key


class Command(BaseCommand):
    help = (
        "Make an API key for a party; the token is shown once (or written to --out, readable by you alone)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--party", required=True, help="party id, or its exact name")
        parser.add_argument("--name", default="command line")
        parser.add_argument(
            "--scopes", default="read,grants,jobs", help="of read,catalog,grants,jobs,audit,operate"
        )
        parser.add_argument(
            "--out", type=Path, help="write the token to this new file instead of the terminal"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        party = named_party(options["party"])
        try:
            _key, token = create_api_key(
                party=party,
                name=options["name"],
                scopes=[scope.strip() for scope in options["scopes"].split(",")],
                actor=Actor.system("create_api_key"),
            )
        except MarketError as error:
            raise CommandError(f"{error.code}: {error.message}") from error
        if options["out"]:
            try:
                descriptor = os.open(options["out"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except OSError as error:
                raise CommandError(f"{options['out']}: {error.strerror}") from error
            with os.fdopen(descriptor, "w") as file:
                file.write(token + "\n")
        else:
            self.stdout.write(token)
