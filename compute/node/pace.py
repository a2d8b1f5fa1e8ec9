"""How fast a phase of a job goes and how long it still takes, from the progress its role reports."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

# The rate follows the last minute or so: buckets take turns between computing and waiting for the peer.
_MEMORY_S = 20.0
# Two reports that are closer together tell nothing.
_MIN_STEP_S = 0.2


@dataclass(frozen=True)
class Pace:
    """``rate_milli``: items in 1000 seconds; ``seconds_left``: of this phase. None: nobody can tell (yet)."""

    rate_milli: int | None = None
    seconds_left: int | None = None


class Pacer:
    """Smooths the reports of one job. ``clock`` is monotonic seconds; one task uses it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._phase = ""
        self._at = 0.0
        self._done = 0
        self._rate = 0.0
        self._observed_s = 0.0

    def note(self, phase: str, done: int, total: int) -> Pace:
        """Take a report in; the first of a phase (or after a step back) only says where it starts."""
        now = self._clock()
        if phase != self._phase or done < self._done:
            self._phase, self._at, self._done = phase, now, done
            self._rate = self._observed_s = 0.0
            return Pace()
        step_s = now - self._at
        if step_s >= _MIN_STEP_S:
            self._observed_s += step_s
            # A weighted mean over what was observed: the first step counts whole, later ones fade in.
            weight = (1 - math.exp(-step_s / _MEMORY_S)) / (1 - math.exp(-self._observed_s / _MEMORY_S))
            self._rate += weight * ((done - self._done) / step_s - self._rate)
            self._at, self._done = now, done
        if self._rate <= 0 or not total:
            return Pace(rate_milli=round(self._rate * 1000) or None)
        return Pace(round(self._rate * 1000), math.ceil(max(total - done, 0) / self._rate))
