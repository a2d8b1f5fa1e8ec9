"""`manage.py drive`: moves datasets, grants, jobs and receipts between portal and nodes."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor

from django.db import connections

from market.jobs import drive
from market.ledger.nodes import portal_key
from market.management.worker import WorkerCommand
from market.parties.models import Party

_THREADS = 8
_MANIFESTS_EVERY_S = 2.0
_SWEEP_EVERY_S = 1.0


class Command(WorkerCommand):
    help = "Move datasets, grants, jobs and receipts between portal and nodes."
    name = "drive"

    def prepare(self) -> None:
        portal_key()
        self.pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="visit")
        self.visits: dict[str, Future[None]] = {}
        self.manifests_at: dict[str, float] = {}
        self.swept_at = 0.0

    def step(self) -> bool:
        # One visit per node at a time: a slow or silent node holds up nobody else.
        for party in drive.parties_with_nodes():
            running = self.visits.get(party.party_id)
            if running is not None and not running.done():
                continue
            if running is not None:
                running.result()  # an unexpected error shows in this worker's log
            due = time.monotonic() - self.manifests_at.get(party.party_id, -1e9) > _MANIFESTS_EVERY_S
            if due:
                self.manifests_at[party.party_id] = time.monotonic()
            self.visits[party.party_id] = self.pool.submit(_visit, party, due)
        if time.monotonic() - self.swept_at > _SWEEP_EVERY_S:
            self.swept_at = time.monotonic()
            drive.sweep()
        return False

    def finish(self) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)


def _visit(party: Party, manifests: bool) -> None:
    try:
        drive.visit(party, manifests=manifests)
    finally:
        connections.close_all()
