"""The consumer's own role in a thread of its own, while the main thread follows the job."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from compute.errors import ComputeError
from compute.protocols.protocol import Progress
from compute.sdk.objects import TimelineEvent
from compute.sdk.orders import Order

if TYPE_CHECKING:
    from compute.sdk.jobs import Jobs


class Attended:
    """A role that runs from now on. ``error`` is the consumer's own view of an end without result.

    ``stopped``: it was still at work when the job had ended, so its error is no cause but a consequence.
    """

    def __init__(self, jobs: Jobs, order: Order) -> None:
        self._jobs = jobs
        self._order = order
        self._loop = asyncio.new_event_loop()
        self._cancel = asyncio.Event()
        self._told: queue.SimpleQueue[TimelineEvent] = queue.SimpleQueue()
        self.error: ComputeError | None = None
        self.stopped = False
        self._thread = threading.Thread(target=self._run, name="consumer-role", daemon=True)
        self._thread.start()

    def news(self) -> Iterator[TimelineEvent]:
        """What the role told since it was asked last, as lines of the timeline."""
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._told.get_nowait()

    def stop(self, grace_s: float) -> None:
        """The job is final: nothing more can come of the role, unless it is just writing its output."""
        self._thread.join(grace_s)
        if self._thread.is_alive():
            self.stopped = True
            with contextlib.suppress(RuntimeError):  # the role ended this very moment
                self._loop.call_soon_threadsafe(self._cancel.set)
            self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._jobs.run_own_role(self._order, self._cancel, self._note))
        except ComputeError as error:
            # The nodes' receipts say how the job ended; this is the consumer's own view of it.
            self.error = error
        finally:
            self._loop.close()

    def _note(self, progress: Progress) -> None:
        self._told.put(
            TimelineEvent(
                id=0,
                role=self._order.kind.consumer_role or "",
                phase=progress.phase,
                at_ms=time.time_ns() // 1_000_000,
                done=progress.done,
                total=progress.total,
            )
        )
