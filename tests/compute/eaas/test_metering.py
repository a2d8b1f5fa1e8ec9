"""Meters of sessions: what was taken is charged, and stands in the transcript that the receipt signs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from compute.node.meter import Meter
from compute.node.running import Active
from compute.node.sessions import SessionClosed, Sessions
from compute.node.store import JobRow, Store

JOB = "0x" + "ab" * 32
ID = "0x" + "cd" * 32


class Terms:
    """What a session needs of an admission."""

    def __init__(self, calls: int) -> None:
        self.units = calls
        self.params = self
        self.duration_s = 60


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "node.db")


def begin(store: Store, calls: int) -> tuple[Sessions, Active]:
    row = JobRow(
        job=JOB, consumer=ID, role="service", kind="eaas", grant=ID, submission=b"{}", units=calls,
        settles=True, created_at=1, deadline=1000,
    )  # fmt: skip
    store.add_job(row)
    nothing: Any = None
    active = Active(row=row, submission=nothing, dataset=ID, commitment=ID, meter=Meter(calls))
    sessions = Sessions(store, lambda: 100.0)
    terms: Any = Terms(calls)
    sessions.open(active, terms)
    return sessions, active


async def test_a_session_ends_only_when_every_charged_call_stands_in_its_transcript(store: Store) -> None:
    sessions, active = begin(store, calls=2)
    serving = asyncio.create_task(sessions.serve(active))
    assert [sessions.take(JOB), sessions.take(JOB)] == [1, 0]
    sessions.note(active, "sign", b"first", b"answer")
    await asyncio.sleep(0.1)
    assert not serving.done()
    sessions.note(active, "sign", b"second", b"answer")
    done = await asyncio.wait_for(serving, 5)
    assert done.units == 2
    assert done == sessions.used(JOB)


async def test_a_closing_session_takes_no_further_calls(store: Store) -> None:
    sessions, active = begin(store, calls=5)
    serving = asyncio.create_task(sessions.serve(active))
    sessions.take(JOB)
    sessions.close(active)
    await asyncio.sleep(0.1)
    with pytest.raises(SessionClosed):
        sessions.take(JOB)
    assert not serving.done()
    sessions.note(active, "sign", b"first", b"answer")
    assert (await asyncio.wait_for(serving, 5)).units == 1
