"""`manage.py enrol FILE --roles provider`: proposes a party from its enrolment document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from compute.errors import BadInput
from compute.wire import canonical
from compute.wire.messages import Enrolment
from contracts.eip712 import Role
from market.errors import MarketError
from market.parties.actor import Actor
from market.parties.enrolment import propose_party


class Command(BaseCommand):
    help = "Propose a party from its enrolment document; the relay worker puts it on chain."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--roles", required=True, help="comma-separated: provider,consumer,regulator,operator"
        )
        parser.add_argument("--name-zh", default="")
        parser.add_argument("--node-url", default="", help="where the portal reaches the party's node")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        roles = Role(0)
        for name in options["roles"].split(","):
            try:
                roles |= Role[name.strip().upper()]
            except KeyError:
                raise CommandError(f"unknown role {name!r}") from None
        try:
            document = canonical.decode(Enrolment, options["file"].read_bytes())
            party = propose_party(
                enrolment=document,
                roles=roles,
                actor=Actor.system("enrol"),
                name_zh=options["name_zh"],
                node_url=options["node_url"],
            )
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}") from error
        except BadInput as error:
            raise CommandError(f"{options['file']}: {error.message}") from error
        except MarketError as error:
            raise CommandError(f"{error.code}: {error.message}") from error
        if options["json"]:
            self.stdout.write(json.dumps({"party": party.party_id, "state": party.state}))
        else:
            self.stdout.write(f"{party.name} {party.party_id} {party.state}")
