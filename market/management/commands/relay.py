"""`manage.py relay`: sends the outbox to the chain. Run exactly one."""

from __future__ import annotations

from market.ledger.chain import chain
from market.ledger.relay import Relay, relayer_key
from market.management.worker import WorkerCommand


class Command(WorkerCommand):
    help = "Send queued calls to the chain (the only sender; run exactly one)."
    name = "relay"

    def prepare(self) -> None:
        self.key = relayer_key()
        self.relay: Relay | None = None

    def step(self) -> bool:
        if self.relay is None:
            self.relay = Relay(chain(), self.key)
        return self.relay.step()
