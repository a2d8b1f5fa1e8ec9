"""Two nodes, one of which computes on a Ray cluster: a worker is killed in the middle, the join holds."""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.chain_lab import REPOSITORY, Lab, free_port
from tests.compute.node.conftest import make_node
from tests.compute.node.rig import FINAL, Consumer, Portal, RunningNode, start_and_register, wait_for

ROWS = 60_000
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Cluster(NamedTuple):
    address: str
    # What the environment of whoever takes part in it holds.
    environment: dict[str, str]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Ray on this machine's loopback, started as an operator starts it: two workers at once, and a token."""
    if os.environ.get("CI") != "true" and importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    log = tmp_path_factory.mktemp("ray") / "head.log"
    address = f"127.0.0.1:{free_port()}"
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with log.open("wb") as output:
        head = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=2",
             "--node-ip-address=127.0.0.1", f"--port={address.rpartition(':')[2]}",
             "--include-dashboard=false", "--disable-usage-stats"],
            cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            # Without the second Ray listens on all interfaces.
            env={**os.environ, **environment, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},
        )  # fmt: skip
    try:
        wait_for(lambda: head.poll() is not None or "started" in log.read_text(), 90, log.read_text)
        assert head.poll() is None, log.read_text()
        yield Cluster(address, environment)
    finally:
        head.terminate()
        head.wait(timeout=60)


@pytest.fixture
def pair(
    lab: Lab, portal: Portal, tmp_path: Path, cluster: Cluster
) -> Iterator[tuple[RunningNode, RunningNode]]:
    ids = [f"p{i:06d}" for i in range(ROWS)]
    left = make_node(tmp_path / "left", lab, portal, "Left", ids)
    right = make_node(tmp_path / "right", lab, portal, "Right", [*ids[ROWS // 3 :], "q1", "q2"])
    # The least memory that the configuration takes: some four buckets.
    settings = {"MEMORY_BYTES": str(16 << 20), "EXECUTOR": "ray", "RAY_ADDRESS": f'"{cluster.address}"'}
    left.environment = {f"LIUTONG_NODE__LIMITS__{name}": value for name, value in settings.items()}
    left.environment |= cluster.environment
    right.environment = {"LIUTONG_NODE__LIMITS__WORKERS": "1"}
    try:
        start_and_register(left, right)
        yield left, right
    finally:
        left.stop()
        right.stop()


def busy_workers() -> set[int]:
    """The Ray workers of this machine that do one of our calls just now: Ray names them so."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes().startswith(b"ray::perform"):
                found.add(int(folder.name))
        except OSError:
            continue
    return found


def test_an_intersection_on_a_cluster_outlives_a_worker(
    consumer: Consumer, pair: tuple[RunningNode, RunningNode]
) -> None:
    left, right = pair
    grants = left.grant(consumer, quota=200_000), right.grant(consumer, quota=200_000)
    params = {
        "keys": {"left": ["patient_id"], "right": ["patient_id"]},
        "max_elements": 100_000,
        # The slowest of the protocols, so that there is a middle.
        "protocol": "ecdh",
        "curve": "sm2",
    }
    order = consumer.order("psi", params, list(zip(("left", "right"), grants, strict=True)))
    for node in pair:
        node.portal.submit(order.submission)

    def first_bucket_done() -> bool:
        status = left.portal.job(order.job)
        assert status.state not in FINAL, (status, left.log(), right.log())
        return bool(list((left.home / "work" / order.job / "whole").glob("run.checkpoint.1")))

    wait_for(first_bucket_done, 240, left.log)
    wait_for(lambda: bool(busy_workers()), 60, left.log)
    victim = min(busy_workers())
    os.kill(victim, signal.SIGKILL)
    for node in pair:
        status = node.wait_final(order.job, 240)
        assert status.state == "completed", (status, node.log())
        assert status.attempts == 1, "the cluster does a lost call again: the peer notices nothing"
    assert not Path(f"/proc/{victim}").exists()
    first, second = (node.receipt_of(order.job) for node in pair)
    assert first.transcript == second.transcript
    payload = left.portal.result(order.job)
    assert payload is not None
    result = order.open({"left": payload})
    assert result["count"] == ROWS - ROWS // 3
    assert sorted(row[0] for row in result["left"]["rows"]) == [f"p{i:06d}" for i in range(ROWS // 3, ROWS)]


@pytest.mark.parametrize("token", [None, "00" * 32], ids=["no token", "another token"])
def test_a_cluster_lets_nobody_in_without_its_token(cluster: Cluster, token: str | None) -> None:
    """In a process of its own, with a home of its own: Ray reads tokens once, also from there."""
    program = (
        f"from compute.protocols.executors import make_executor as make; make('ray', 0, {cluster.address!r})"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": "/nonexistent"} | ({"RAY_AUTH_TOKEN": token} if token else {})
    refused = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert refused.returncode == 1
    assert "ExecutorUnavailable" in refused.stderr.splitlines()[-1]
    assert "token" in refused.stderr.splitlines()[-1]
