"""The loop of a background worker: beat, step, wait; stop on SIGTERM; outlive what it cannot reach."""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, close_old_connections
from django.utils import timezone

from compute.errors import ComputeError
from contracts.errors import ContractError
from market.errors import MarketError
from market.ledger.models import WorkerBeat

log = logging.getLogger(__name__)
_BEAT_EVERY_S = 2.0
# After a fault: long enough not to flood the log, short enough to go on as soon as it is mended.
_PAUSE_AFTER_FAULT_S = 1.0


class WorkerCommand(BaseCommand):
    """Base of the worker commands. Subclasses give ``name`` and ``step``."""

    name = ""
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="work until nothing is left to do, then end")
        parser.add_argument(
            "--interval", type=float, default=settings.WORKER_INTERVAL_S, help="seconds between looks"
        )

    def prepare(self) -> None:
        """Read keys and settings; a fault here ends the worker, because waiting would not mend it."""

    def step(self) -> bool:
        """Do what there is to do; True to be called again at once."""
        raise NotImplementedError

    def finish(self) -> None:
        """Give back what `prepare` took."""

    def handle(self, *args: Any, **options: Any) -> None:
        self.stopping = threading.Event()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self.stopping.set())
        self.prepare()
        log.info("%s: started", self.name)
        last_beat, said = 0.0, ""
        try:
            while not self.stopping.is_set():
                note, again = "", False
                try:
                    again = self.step()
                except (ContractError, MarketError, ComputeError) as error:
                    note = str(error)[:300]
                except DatabaseError as error:
                    note = f"database: {type(error).__name__}"
                    close_old_connections()
                except Exception:
                    note = "an unexpected error; see the log"
                    log.exception("%s: unexpected error; trying again", self.name)
                if note and note != said:
                    log.warning("%s: waiting: %s", self.name, note)
                said = note
                if time.monotonic() - last_beat > _BEAT_EVERY_S:
                    self._beat(note)
                    last_beat = time.monotonic()
                if options["once"] and not again:
                    break
                self.stopping.wait(
                    0 if again else max(options["interval"], _PAUSE_AFTER_FAULT_S if note else 0)
                )
        finally:
            self.finish()
        log.info("%s: stopped", self.name)

    def _beat(self, note: str) -> None:
        try:
            WorkerBeat.objects.update_or_create(name=self.name, defaults={"at": timezone.now(), "note": note})
        except DatabaseError:
            log.warning("%s: could not write its sign of life", self.name)
