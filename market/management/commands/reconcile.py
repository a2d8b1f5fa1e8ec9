"""`manage.py reconcile [--json]`: compares chain, portal and nodes. Exit 0 if they agree, 1 if not."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from market.audit import reconcile
from market.audit.report import Report
from market.errors import MarketError
from market.ledger.chain import chain
from market.ledger.index import Index
from market.parties.actor import Actor


class Command(BaseCommand):
    help = "Compare chain, portal and nodes; exit 0 without differences, 1 with any, 2 if it cannot be said."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the report as JSON")
        parser.add_argument("--no-nodes", action="store_true", help="leave the nodes out")
        parser.add_argument("--no-index", action="store_true", help="do not read new blocks first")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if not options["no_index"]:
                # What is merely not read yet is no difference.
                Index(chain(), settings.FINALITY_DEPTH).catch_up()
            report = reconcile.compare_settled(nodes=not options["no_nodes"])
        except MarketError as error:
            if options["json"]:
                self.stdout.write(json.dumps({"clean": None, "code": error.code, "message": error.message}))
            else:
                self.stderr.write(f"{error.code}: {error.message}")
            sys.exit(2)
        reconcile.record(report, actor=Actor.system("reconcile"))
        if options["json"]:
            self.stdout.write(json.dumps(report.plain(), ensure_ascii=False, indent=2, default=str))
        else:
            self._table(report)
        if not report.clean:
            sys.exit(1)

    def _table(self, report: Report) -> None:
        for difference in report.differences:
            facts = [
                f"{who}={value!r}"
                for who, value in (
                    ("chain", difference.chain),
                    ("portal", difference.portal),
                    ("node", difference.node),
                )
                if value is not None
            ]
            where = f".{difference.field}" if difference.field else ""
            line = (
                f"{difference.code:<24} {difference.subject}{where}  {' '.join(facts)}  {difference.message}"
            )
            self.stdout.write(line.rstrip())
        count = len(report.differences)
        self.stdout.write(
            f"block {report.block_number}: {'no differences' if not count else f'{count} differences'}"
        )
