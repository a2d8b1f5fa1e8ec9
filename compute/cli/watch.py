"""A job in the terminal: a bar per party with rate and time left; Ctrl-C asks the nodes to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from compute.cli.session import Session
from compute.cli.show import printable
from compute.errors import ComputeError

if TYPE_CHECKING:
    from compute.sdk import JobResult, Liutong
    from compute.sdk.objects import Job, TimelineEvent

INTERRUPTED = 130
_END_TIMEOUT_S = 30.0
_RUNNING = ("accepted", "running")


def watched(session: Session, client: Liutong, act: Callable[[Watch], JobResult]) -> JobResult:
    """Run what orders and follows a job, showing how far it is.

    An interrupt ends the job at the nodes (the SDK asks for it), waits a while for that end and exits with
    130; a second one leaves at once.
    """
    watch = Watch(session)
    try:
        with watch:
            return act(watch)
    except KeyboardInterrupt:
        if not watch.job:
            session.err.print("stopped before the job was seen at the portal: see `liutong jobs list`")
            raise SystemExit(INTERRUPTED) from None
        session.err.print("the nodes are asked to stop; Ctrl-C again leaves at once")
        try:
            ended = client.jobs.wait(watch.job, timeout_s=_END_TIMEOUT_S)
            session.err.print(f"job {watch.job}: [bold]{printable(ended.state)}[/bold]", soft_wrap=True)
        except (ComputeError, KeyboardInterrupt):
            session.err.print(f"not ended yet: see `liutong jobs status {watch.job}`", soft_wrap=True)
        raise SystemExit(INTERRUPTED) from None


class Watch:
    """Bars on a terminal, a line per phase elsewhere, nothing with --json."""

    def __init__(self, session: Session) -> None:
        self.job = ""
        self._session = session
        self._bars = not session.as_json and session.err.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[amount]}"),
            TextColumn("[dim]{task.fields[pace]}[/dim]"),
            console=session.err,
            transient=True,
            disable=not self._bars,
        )
        self._tasks: dict[str, TaskID] = {}
        self._phases: dict[str, tuple[str, float, int]] = {}

    def __enter__(self) -> Watch:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def event(self, event: TimelineEvent) -> None:
        """A line of the timeline, also of the role that runs here."""
        known = self._phases.get(event.role)
        if known is None or known[0] != event.phase:
            self._phases[event.role] = (event.phase, time.monotonic(), event.done)
            if not self._session.as_json and not self._bars:
                said = f"{printable(event.phase)} {printable(event.message)}".rstrip()
                self._session.err.print(
                    f"[dim]· {printable(event.role or 'portal')}[/dim] {said}", soft_wrap=True
                )
        # Only the role that runs here tells no rate of its own; its lines have no id of the portal's.
        if self._bars and event.id == 0:
            self._show(event.role, event.phase, event.done, event.total, *self._own_pace(event))

    def status(self, job: Job) -> None:
        """The job as it stands."""
        self.job = job.job
        if not self._bars:
            return
        for part in job.parts:
            if part.grant is None:
                continue
            if part.state in _RUNNING:
                self._show(part.role, part.phase, part.done, part.total, part.rate_milli, part.seconds_left)
            elif part.role in self._tasks:
                self._show(part.role, part.state, 1, 1, None, None)

    @property
    def options(self) -> dict[str, Any]:
        """What `jobs.run` and its kin take to tell this watch."""
        return {"on_progress": self.event, "on_status": self.status}

    def _own_pace(self, event: TimelineEvent) -> tuple[int | None, int | None]:
        _phase, since, first = self._phases[event.role]
        done, elapsed = event.done - first, time.monotonic() - since
        if done <= 0 or elapsed <= 0 or not event.total:
            return None, None
        return int(1000 * done / elapsed), int((event.total - event.done) * elapsed / done)

    def _show(
        self, role: str, phase: str, done: int, total: int, rate_milli: int | None, seconds_left: int | None
    ) -> None:
        fields: dict[str, Any] = {
            "description": f"{printable(role)}  {printable(phase)}",
            "total": total or None,
            "completed": done if total else 0,
            "amount": f"{done:,} of {total:,}" if total > 1 else "",
            "pace": pace(rate_milli, seconds_left),
        }
        if role not in self._tasks:
            self._tasks[role] = self._progress.add_task(**fields)
        else:
            self._progress.update(self._tasks[role], **fields)


def pace(rate_milli: int | None, seconds_left: int | None) -> str:
    """Rate and time left in words; empty while nobody can tell."""
    told = []
    if rate_milli:
        a_second = rate_milli / 1000
        told.append(f"{a_second:,.0f} a second" if a_second >= 10 else f"{a_second:.1f} a second")
    if seconds_left is not None:
        told.append(f"{duration(seconds_left)} left")
    return ", ".join(told)


def duration(seconds: int) -> str:
    """A length of time in its two largest units."""
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
