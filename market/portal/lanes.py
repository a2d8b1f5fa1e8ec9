"""A job as a timeline by party: what each has done, does now, and still has to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from market.jobs.models import Job, JobEvent, JobPart
from market.ledger.models import Receipt
from market.portal import sentences

DONE, NOW, STOPPED, TODO = "done", "now", "stopped", "todo"
ICONS = {DONE: "done", NOW: "clock", STOPPED: "stop", TODO: "ring"}

_ENDED_BADLY = ("refused", "failed", "cancelled", "expired")
# Repeated lines of one phase are its progress; more than this many phases are cut from the middle.
_MAX_STEPS = 40


@dataclass
class Step:
    """One line of a lane."""

    phase: str
    status: str
    at_ms: int = 0
    message: str = ""
    done: int = 0
    total: int = 0
    until_ms: int = 0

    @property
    def icon(self) -> str:
        return ICONS[self.status]

    @property
    def amount(self) -> str:
        """How far; of a phase that was left behind only its size, since nodes report progress sparsely."""
        if not self.total:
            return ""
        return f"{self.done:,} / {self.total:,}" if self.status in (NOW, STOPPED) else f"{self.total:,}"


@dataclass
class Lane:
    """One party's share: its role, state, steps and receipt. ``party`` is None for the portal's own lane."""

    role: str
    party: Any
    state: str
    steps: list[Step] = field(default_factory=list)
    part: JobPart | None = None
    receipt: Receipt | None = None

    @property
    def rate(self) -> str:
        """Items a second, as the node measures it; empty while it cannot tell."""
        if self.part is None or not self.part.rate_milli:
            return ""
        a_second = self.part.rate_milli / 1000
        return f"{a_second:,.0f}" if a_second >= 10 else f"{a_second:.1f}"

    @property
    def time_left(self) -> str:
        """How long the phase still takes at that rate."""
        if self.part is None or self.part.seconds_left is None:
            return ""
        return sentences.duration(self.part.seconds_left)

    @property
    def restarts(self) -> int:
        """How often the part was taken up again after a cut or a restart."""
        return max(0, self.part.attempts - 1) if self.part is not None else 0


def lanes(job: Job) -> list[Lane]:
    """The market's lane first (order, reservation, settlement), then one per role."""
    by_role: dict[str, list[JobEvent]] = {}
    for event in job.events.all():
        by_role.setdefault(event.role, []).append(event)
    receipts = {receipt.digest: receipt for receipt in Receipt.objects.filter(job_id=job.job_id)}
    made = [Lane("", None, job.state, _steps(by_role.get("", []), job.state))]
    for part in job.parts.select_related("party", "grant__dataset"):
        # The consumer's own role has no node that reports: its state is the job's.
        state = part.node_state if part.runs_at_node else job.state
        lane = Lane(part.role, part.party, state, _steps(by_role.get(part.role, []), state), part)
        lane.receipt = receipts.get(part.receipt_digest)
        made.append(lane)
    return made


def _steps(events: list[JobEvent], state: str) -> list[Step]:
    steps: list[Step] = []
    for event in events:
        if steps and steps[-1].phase == event.phase:
            last = steps[-1]
            last.done, last.total = event.done, event.total
            last.message = event.message or last.message
            last.until_ms = event.at_ms
            continue
        if steps:
            steps[-1].until_ms = event.at_ms
        steps.append(
            Step(event.phase, DONE, event.at_ms, event.message, event.done, event.total, event.at_ms)
        )
    if len(steps) > _MAX_STEPS:
        steps = steps[: _MAX_STEPS // 2] + steps[-_MAX_STEPS // 2 :]
    if steps and state in _ENDED_BADLY:
        steps[-1].status = STOPPED
    elif steps and state in ("accepted", "running", "submitted", "reserved"):
        steps[-1].status = NOW
    return steps
