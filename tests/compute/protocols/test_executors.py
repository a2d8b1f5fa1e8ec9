"""Executors: the same results wherever calls are done, only functions of ours, dead workers do no harm."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from accel import sm3
from compute.errors import BadInput, ComputeError, ProtocolAbort
from compute.protocols import executors
from compute.protocols.executors import (
    CallExecutor,
    ExecutorFailed,
    ExecutorUnavailable,
    InlineExecutor,
    RayExecutor,
    ThreadExecutor,
    is_plain,
    make_executor,
    name_of,
    resolve,
)
from compute.protocols.protocol import Call, Message, Output, Send, Steps, compute, receive
from compute.protocols.psi.ecdh.oprf import Function
from compute.protocols.runner import run
from compute.wire.channel import memory_channels
from tests.compute.protocols import cluster_work as work
from tests.compute.protocols.cluster_work import PACKAGES
from tests.compute.protocols.jobs import Job


class Sum(Message, frozen=True, tag="test.sum"):
    value: int


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayExecutor]:
    """Two workers on this machine's loopback."""
    if os.environ.get("CI") != "true" and importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    executor = RayExecutor(2, packages=PACKAGES)
    try:
        yield executor
    finally:
        executor.close()


@pytest.fixture(
    params=["inline", "threads", pytest.param("ray", marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def executor(request: pytest.FixtureRequest) -> Iterator[CallExecutor]:
    if request.param == "ray":
        yield request.getfixturevalue("cluster")
        return
    made = InlineExecutor(PACKAGES) if request.param == "inline" else ThreadExecutor(2, PACKAGES)
    yield made
    made.close()


def test_results_come_in_the_order_of_the_calls(executor: CallExecutor) -> None:
    arrays = [np.arange(start, start + 1000, dtype=np.uint32) for start in range(5)]
    calls = tuple(Call(work.square, (array,)) for array in arrays)
    for array, result in zip(arrays, executor(calls), strict=True):
        np.testing.assert_array_equal(result, array * array)
    assert executor(()) == ()
    assert executor((Call(sm3.digest, (b"abc",)),))[0].hex().startswith("66c7f0f462eeedd9d1f2d46bdc10e4e2")


@pytest.mark.parametrize(
    ("function", "raised"), [(work.abort, ProtocolAbort), (work.starve, MemoryError)], ids=["ours", "memory"]
)
def test_an_error_of_a_call_reaches_the_caller(
    executor: CallExecutor, function: Callable[[], None], raised: type[Exception]
) -> None:
    with pytest.raises(raised):
        executor((Call(function, ()),))


@pytest.mark.parametrize(
    "function",
    [os.system, eval, lambda: 1, work.make_closure(), work.Thing().method, work.Thing, np.sum, "text", 3],
    # Not by address: the workers of one run must agree on the names.
    ids=["system", "eval", "lambda", "closure", "method", "class", "numpy", "text", "number"],
)
def test_what_is_no_function_of_ours_is_refused_before_anything_runs(
    executor: CallExecutor, function: Callable[..., object], tmp_path: Path
) -> None:
    with pytest.raises(BadInput):
        executor((Call(work.held_sum, (np.zeros(1, np.uint32), str(tmp_path))), Call(function, ())))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    ["os:system", "compute.protocols.executors:os", "compute.protocols.executors:importlib", "accel",
     "accel:", "accelerate:x", "compute.protocols.executors:InlineExecutor", "compute.node.store:Store",
     "compute.protocols.executors:make_executor.__call__", "compute.protocols.executors:nothing",
     "compute.protocols.executors:Path", "compute.protocols.nothing:x", ".executors:resolve"],
)  # fmt: skip
def test_a_worker_resolves_functions_of_ours_only(name: str) -> None:
    with pytest.raises(BadInput):
        resolve(name)


def test_names_resolve_back() -> None:
    assert name_of(sm3.digest_many) == "accel.sm3:digest_many"
    assert resolve("accel.sm3:digest_many") is sm3.digest_many
    with pytest.raises(BadInput):
        name_of(work.square)


def test_plain_data_is_told_from_objects() -> None:
    plain = [
        None,
        True,
        1,
        1.5,
        "a",
        b"b",
        (1, [2, {"a": np.zeros(3)}]),
        np.uint64(7),
        np.zeros((2, 3), "u1"),
    ]
    assert all(is_plain(value) for value in plain)
    deep: object = 1
    for _ in range(20):
        deep = [deep]
    for value in (
        object(),
        Path("/"),
        np.array([object()]),
        [set()],
        {b"k": 1},
        lambda: 1,
        deep,
        ComputeError,
    ):
        assert not is_plain(value)


def test_records_of_ours_are_plain_if_their_fields_are() -> None:
    assert is_plain(Sum(value=1), PACKAGES) is False, "this module is none of the packages"
    assert is_plain(work.Pair(1, np.zeros(2)), PACKAGES)
    assert not is_plain(work.Pair(1, Path("/")), PACKAGES)
    assert not is_plain(work.Thing(), PACKAGES)
    assert not is_plain(work.Pair, PACKAGES)
    assert not is_plain(work.Pair(1, 2)), "not of the packages by default"
    assert is_plain(Function("sm2", bytes(32))), "what protocols give to calls"


def test_the_configuration_chooses() -> None:
    assert isinstance(make_executor("inline", 4), InlineExecutor)
    threads = make_executor("threads", 3)
    assert isinstance(threads, ThreadExecutor)
    assert threads.parallel == 3
    threads.close()
    threads = make_executor("threads", 0)
    assert threads.parallel == len(os.sched_getaffinity(0))
    threads.close()
    with pytest.raises(BadInput):
        make_executor("gpu", 1)


def test_ray_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ExecutorUnavailable, match="cluster"):
        make_executor("ray", 2)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cluster_gives_back_plain_data_only_and_repeats_no_words_of_an_error(cluster: RayExecutor) -> None:
    with pytest.raises(ExecutorFailed, match="no plain data"):
        cluster((Call(work.give_an_object, ()),))
    with pytest.raises(ExecutorFailed) as caught:
        cluster((Call(work.stumble, ()),))
    assert "secret" not in caught.value.message
    with pytest.raises(BadInput, match="plain"):
        cluster((Call(work.square, (Path("/"),)),))


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_job_ends_right_though_a_worker_is_killed_in_the_middle(
    cluster: RayExecutor, tmp_path: Path
) -> None:
    arrays = [np.arange(100_000, dtype=np.uint32) + index for index in range(2)]

    def spreading() -> Steps:
        sums = yield from compute(Call(work.held_sum, (array, str(tmp_path))) for array in arrays)
        yield Send("other", Sum(sum(total for total, _ in sums)))
        theirs = yield from receive("other", Sum)
        return Output(units=theirs.value)

    def other() -> Steps:
        total = (yield from receive("spreading", Sum)).value
        yield Send("spreading", Sum(total))
        return Output(units=total)

    def kill_one_worker() -> int:
        end = time.monotonic() + 200
        while len(list(tmp_path.glob("worker.*"))) < 2:
            assert time.monotonic() < end, "the workers did not start"
            time.sleep(0.05)
        victim = int(next(tmp_path.glob("worker.*")).suffix[1:])
        os.kill(victim, signal.SIGKILL)
        while len(list(tmp_path.glob("worker.*"))) < 3:
            assert time.monotonic() < end, "nobody took the killed worker's call"
            time.sleep(0.05)
        (tmp_path / "go").touch()
        return victim

    left, right = memory_channels(idle_timeout_s=300)
    one, two, victim = await asyncio.gather(
        run(spreading(), {"other": left}, role="spreading", binding=bytes(32), calls=cluster),
        run(other(), {"spreading": right}, role="other", binding=bytes(32)),
        asyncio.to_thread(kill_one_worker),
    )
    assert one.output.units == two.output.units == sum(int(array.sum()) for array in arrays)
    assert one.transcript == two.transcript
    assert not os.path.exists(f"/proc/{victim}")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("protocol", ["ecdh", "rr22"])
async def test_an_intersection_hands_its_work_to_the_cluster(cluster: RayExecutor, protocol: str) -> None:
    asked: list[str] = []

    def counting(calls: tuple[Call, ...]) -> tuple[Any, ...]:
        asked.extend(name_of(call.function) for call in calls)
        return cluster(calls)

    ids = {"left": [f"p{i}" for i in range(331)], "right": [f"p{i}" for i in range(200, 477)]}
    params = {"keys": {"left": ["id"], "right": ["id"]}, "protocol": protocol, "max_elements": 1000}
    job = Job("psi", params, {role: pa.table({"id": values}) for role, values in ids.items()})
    left, right = memory_channels(idle_timeout_s=300)
    results = await asyncio.gather(
        *(
            run(job.steps(role), channels, role=role, binding=job.binding, calls=counting)
            for role, channels in (("left", {"right": left}), ("right", {"left": right}))
        )
    )
    assert asked, "the protocol has no calls to hand out"
    rows = results[0].output.rows
    assert rows is not None
    assert sorted(rows.column("id").to_pylist()) == sorted(set(ids["left"]) & set(ids["right"]))


def listening() -> set[tuple[str, str]]:
    """Address (hexadecimal, as the kernel has it) and process of every listening socket of ours and Ray's."""
    holders = {}
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            pid, target = link.parts[2], os.readlink(link)
            name = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if int(pid) == os.getpid() or b"ray::" in name or b"/ray/" in name:
            holders[target] = name.split(b"\0")[0].decode()
    rows = [
        line.split()
        for file in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{file}").read_text().splitlines()
    ]
    sockets = [(row[1].rpartition(":")[0], f"socket:[{row[9]}]") for row in rows if row[3] == "0A"]
    return {(address, holders[inode]) for address, inode in sockets if inode in holders}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cluster_of_our_own_listens_on_the_loopback_alone(cluster: RayExecutor) -> None:
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "0" * 24 + "01000000"}
    found = listening()
    assert any("gcs_server" in name for _, name in found)
    assert {address for address, _ in found} <= loopback, found


@pytest.mark.parametrize(
    "address", ["local", "auto", "ray://127.0.0.1:10001", "127.0.0.1", ":6379", "host:x"]
)
def test_the_address_of_a_cluster_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(BadInput, match="host:port"):
        make_executor("ray", 2, address)


def test_all_executors_are_documented() -> None:
    assert executors.__doc__ is not None
    assert "pickle" in executors.__doc__
