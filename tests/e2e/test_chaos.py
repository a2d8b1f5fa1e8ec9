"""Any one process may be killed in the middle of jobs: every job ends, nothing stays reserved, books agree.

One market serves all cases (starting one takes most of the time); each case kills another process with
SIGKILL while three jobs are under way, and the supervisor starts it again.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compute.demo import market_process
from compute.demo.market_process import Market
from compute.sdk import Liutong, PortalUnreachable
from compute.sdk.objects import FINAL_JOB_STATES, Grant

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PURPOSE = "chaos"
KEY = "patient_id"
# Long enough to start everything again, short enough that an abandoned reservation is released in time.
DEADLINE_S = 45
FINAL_WITHIN_S = 180
VICTIMS = ("chain", "portal", "relay", "index", "drive", "hospital-east", "hospital-west", "laboratory")


class World:
    """A running market with three grants that every case uses."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.research = market.client("research-institute", with_keys=True)
        self.east = self._grant("hospital-east", "Hospital East")
        self.west = self._grant("hospital-west", "Hospital West")
        self.panel = self._grant("laboratory", "Laboratory")

    def _grant(self, key: str, provider: str) -> Grant:
        dataset = next(
            item
            for item in self.research.datasets()
            if item.provider.name == provider and item.kind == "table"
        )
        with self.market.client(key) as client:
            columns = [column["name"] for column in dataset.columns]
            offer = client.publish_offer(
                dataset.dataset,
                title="chaos",
                operations=["psi", "stats"],
                purposes=[PURPOSE],
                columns=columns,
                min_cohort=5,
                max_quota=100_000,
                max_days=9,
                price_credits=1,
            )
            asked = self.research.grants.request(
                offer, purpose=PURPOSE, operations=["psi", "stats"], columns=columns, quota=50_000, days=5
            )
            client.grants.approve(asked)
        return self.research.grants.wait(asked, timeout_s=60)

    def order(self, kind: str) -> str:
        params: dict[str, Any] = {}
        if kind == "psi":
            roles = {"left": self.east, "right": self.panel}
        elif kind == "stats.vertical":
            roles = {"values": self.east, "members": self.panel}
        else:
            roles = {"p1": self.east, "p2": self.west}
        if kind != "stats.horizontal":
            params |= {"keys": {role: [KEY] for role in roles}, "max_elements": 600}
        if kind != "psi":
            params |= {"value": "mean_radius", "key_bits": 2048}
        return self.research.jobs.run(
            kind, purpose=PURPOSE, grants=roles, params=params, deadline_s=DEADLINE_S, wait=False
        ).job

    def kill(self, name: str) -> int:
        pid = int(self.market.status["processes"][name]["pid"])
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_for_restart(self, name: str, old_pid: int) -> None:
        end = time.monotonic() + 60
        while self.market.status["processes"][name]["pid"] in (old_pid, None):
            assert time.monotonic() < end, f"{name} was not started again"
            time.sleep(0.2)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with market_process.running(tmp_path_factory.mktemp("chaos") / "market") as market:
        yield World(market)


@pytest.mark.parametrize("victim", VICTIMS)
def test_killing_a_process_in_the_middle_of_jobs_loses_nothing(world: World, victim: str) -> None:
    jobs = [world.order(kind) for kind in ("psi", "stats.vertical", "stats.horizontal")]
    _until_under_way(world.research, jobs[0])
    old_pid = world.kill(victim)
    world.wait_for_restart(victim, old_pid)

    states = {job: _final_state(world.research, job) for job in jobs}
    assert set(states.values()) <= set(FINAL_JOB_STATES), states
    _nothing_reserved(world)
    done = _clean_reconcile(world.market)
    assert done["clean"] is True, done["differences"]

    # The market works as before.
    after = world.order("psi")
    assert _final_state(world.research, after) == "settled"


def test_a_killed_supervisor_takes_everything_along_and_comes_back(tmp_path: Path) -> None:
    with market_process.running(tmp_path / "market") as market:
        pids = [int(process["pid"]) for process in market.status["processes"].values()]
        market.supervisor.kill()
        market.supervisor.wait()
        end = time.monotonic() + 15
        while any(_alive(pid) for pid in pids):
            assert time.monotonic() < end, "a process outlived its supervisor"
            time.sleep(0.1)
    with (
        market_process.running(tmp_path / "market", fresh=False) as market,
        market.client("research-institute") as client,
    ):
        assert len(client.datasets()) == 7
        assert _clean_reconcile(market)["clean"] is True


def _until_under_way(client: Liutong, job: str) -> None:
    end = time.monotonic() + 60
    while client.jobs.get(job).state not in ("reserved", "running"):
        assert time.monotonic() < end, "the job did not start"
        if client.jobs.get(job).is_final:
            return
        time.sleep(0.05)


def _final_state(client: Liutong, job: str) -> str:
    end = time.monotonic() + FINAL_WITHIN_S
    state = "unknown"
    while time.monotonic() < end:
        try:
            state = client.jobs.get(job).state
        except PortalUnreachable:
            state = "portal unreachable"
        if state in FINAL_JOB_STATES:
            break
        time.sleep(0.5)
    return state


def _nothing_reserved(world: World) -> None:
    chain = world.research.chain.chain
    end = time.monotonic() + FINAL_WITHIN_S
    while True:
        records = [
            chain.grant(bytes.fromhex((g.grant or "")[2:])) for g in (world.east, world.west, world.panel)
        ]
        if all(record is not None and record.reserved == 0 for record in records):
            return
        assert time.monotonic() < end, f"still reserved: {records}"
        time.sleep(0.5)


def _clean_reconcile(market: Market) -> dict[str, Any]:
    """The last word of reconcile: what is merely on its way gets a moment to arrive."""
    for _ in range(10):
        done = market.manage("reconcile", "--json")
        report: dict[str, Any] = json.loads(done.stdout)
        assert (done.returncode == 0) == (report["clean"] is True)
        if report["clean"]:
            break
        time.sleep(1)
    return report


def _alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
