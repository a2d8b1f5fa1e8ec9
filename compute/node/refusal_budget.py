"""How many refusals one caller may cause: each is a signed receipt that somebody pays to anchor."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

_WINDOW_S = 3600.0


class RefusalBudget:
    """A sliding hour per caller. In memory: a restart forgives, the chain's receipts stay.

    Only refusals that close no reservation count; a reservation costs its consumer quota already. Callers
    are proven parties (at most as many as the chain has enrolled), so the table stays small.
    """

    def __init__(self, at_most: int, clock: Callable[[], float]) -> None:
        self._at_most = at_most
        self._clock = clock
        self._times: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def spend(self, caller: str) -> bool:
        """Take one refusal from the caller's hour; False if there is none left."""
        now = self._clock()
        with self._lock:
            times = self._times.setdefault(caller, deque())
            while times and times[0] <= now - _WINDOW_S:
                times.popleft()
            if len(times) >= self._at_most:
                return False
            times.append(now)
            return True
