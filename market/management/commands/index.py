"""`manage.py index`: reads the chain into the portal's tables."""

from __future__ import annotations

from django.conf import settings

from market.ledger.chain import chain
from market.ledger.index import Index
from market.management.worker import WorkerCommand


class Command(WorkerCommand):
    help = "Read chain events into the portal's tables."
    name = "index"

    def prepare(self) -> None:
        self.index: Index | None = None

    def step(self) -> bool:
        if self.index is None:
            self.index = Index(chain(), settings.FINALITY_DEPTH)
        return self.index.step()
