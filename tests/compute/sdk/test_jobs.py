"""Following a job: what is told while it runs, and that an interrupt ends it at the portal."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from compute.sdk.identity import Identity
from compute.sdk.jobs import Jobs
from compute.sdk.objects import Job, Part, PartyRef, Timeline, TimelineEvent
from compute.sdk.workspace import Workspace

JOB = "0x" + "cd" * 32


class Portal:
    """Answers like the portal's API: a job that runs twice as long as asked for, then settles."""

    def __init__(self) -> None:
        self.posted: list[str] = []
        self.looks = 0

    def get(self, path: str, answer: type[Any], **parameters: Any) -> Any:
        if path.endswith("/events"):
            events = [TimelineEvent(id=1, role="left", phase="psi.blind", done=1, total=2)]
            return Timeline(events=[event for event in events if event.id > parameters["after"]])
        self.looks += 1
        part = Part(role="left", party=PartyRef(party="0x1"), state="running", rate_milli=7, seconds_left=3)
        state = "running" if self.looks < 3 else "settled"
        return Job(job=JOB, kind="psi", state=state, deadline=1 << 40, parts=[part])

    def post(self, path: str, body: Any, answer: type[Any], **unused: Any) -> Any:
        self.posted.append(path)
        return Job(job=JOB, kind="psi", state="running")


@pytest.fixture
def portal(monkeypatch: pytest.MonkeyPatch) -> Portal:
    monkeypatch.setattr("compute.sdk.jobs.time.sleep", lambda seconds: None)
    return Portal()


@pytest.fixture
def jobs(tmp_path: Path, portal: Portal) -> Jobs:
    identity = Identity.create(tmp_path / "party.keys", b"a long passphrase")
    workspace = Workspace(tmp_path / "jobs", identity)
    unused: Any = None
    return Jobs(portal, unused, unused, identity, workspace, workspace.cache(1 << 20))  # type: ignore[arg-type]


def test_each_line_is_told_once_and_the_job_at_every_look(jobs: Jobs, portal: Portal) -> None:
    lines: list[TimelineEvent] = []
    states: list[Job] = []
    assert jobs.wait(JOB, on_progress=lines.append, on_status=states.append).state == "settled"
    assert [line.id for line in lines] == [1]
    assert [state.state for state in states] == ["running", "running", "settled"]
    assert (states[0].parts[0].rate_milli, states[0].parts[0].seconds_left) == (7, 3)
    assert not portal.posted


def test_an_interrupt_asks_for_the_end_and_goes_on(jobs: Jobs, portal: Portal) -> None:
    def interrupt(job: Job) -> None:
        raise KeyboardInterrupt

    order: Any = SimpleNamespace(job=JOB, kind=SimpleNamespace(consumer_role=None))
    with pytest.raises(KeyboardInterrupt):
        jobs.follow(order, on_status=interrupt)
    assert portal.posted == [f"jobs/{JOB}/cancel"]


def test_the_cache_outlives_the_client(tmp_path: Path) -> None:
    identity = Identity.create(tmp_path / "party.keys", b"a long passphrase")
    Workspace(tmp_path / "jobs", identity).cache(1 << 20).put("hint", b"words")
    found = Workspace(tmp_path / "jobs", identity).cache(1 << 20).get("hint")
    assert found is not None
    assert bytes(found) == b"words"
