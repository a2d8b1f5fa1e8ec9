"""`manage.py rebuild_index`: makes the portal's tables anew from the chain and the nodes."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from contracts.errors import ContractError
from market.errors import MarketError
from market.ledger.chain import chain
from market.ledger.rebuild import rebuild


class Command(BaseCommand):
    help = "Make the portal's tables anew from the chain and the nodes. Stop the index worker first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--no-nodes", action="store_true", help="leave the nodes out")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            counts = rebuild(chain(), finality_depth=settings.FINALITY_DEPTH, nodes=not options["no_nodes"])
        except (MarketError, ContractError) as error:
            self.stderr.write(f"{error.code}: {error}")
            sys.exit(2)
        self.stdout.write(", ".join(f"{name} {count}" for name, count in counts.items()))
