"""The supervisor's promises: one per folder, children restarted with back-off, none orphaned."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from market.supervisor import processes
from market.supervisor.chain import (
    StartFailed,
    StateKeeper,
    anvil_command,
    ensure_contracts,
    wait_for_chain,
)
from market.supervisor.instance import AlreadyRunning, only_one
from market.supervisor.layout import Layout
from market.supervisor.processes import Child, stop_all
from market.supervisor.stack import Stack
from tests.chain_lab import Anvil

REPOSITORY = Path(__file__).resolve().parents[2]
FOREVER = "import time; print('up', flush=True); time.sleep(600)"


def child(tmp_path: Path, program: str) -> Child:
    return Child("test", [sys.executable, "-c", program], dict(os.environ), tmp_path / "test.log")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(holds: object, timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


def test_a_killed_child_is_started_again_after_a_pause(tmp_path: Path) -> None:
    one = child(tmp_path, FOREVER)
    one.start()
    try:
        first = one.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: one.pid is None)
        assert one.tend() is True  # noticed
        assert one.tend() is False  # not before the back-off has passed
        until(lambda: one.tend() and one.pid is not None)
        assert one.pid != first
        assert one.restarts == 1
    finally:
        one.stop()


def test_the_pause_grows_while_a_child_keeps_dying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(processes.time, "monotonic", lambda: now[0])
    one = child(tmp_path, "raise SystemExit(1)")
    one.start()
    pauses = []
    for _ in range(4):
        assert one.process is not None
        one.process.wait()
        assert one.tend() is True
        died = now[0]
        while not one.tend():
            now[0] += 0.25
        pauses.append(now[0] - died)
    one.stop()
    assert pauses == [0.5, 1.0, 2.0, 4.0]


def test_stopping_takes_grandchildren_along(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    program = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, '-c', {FOREVER!r}])\n"
        f"open({str(pid_file)!r}, 'w').write(str(p.pid)); time.sleep(600)"
    )
    one = child(tmp_path, program)
    one.start()
    until(lambda: pid_file.exists() and pid_file.read_text())
    grandchild = int(pid_file.read_text())
    stop_all([one])
    until(lambda: not alive(grandchild))


def test_a_child_that_ignores_the_polite_signal_ends_too(tmp_path: Path) -> None:
    one = child(
        tmp_path, "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(600)"
    )
    one.start()
    pid = one.pid
    assert pid is not None
    time.sleep(0.3)
    one.stop(timeout_s=0.3)
    assert not alive(pid)


def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    program = (
        "import os, sys, time\nfrom pathlib import Path\n"
        "from market.supervisor.processes import Child\n"
        f"log = Path({str(tmp_path)!r}) / 'log'\n"
        f"c = Child('x', [sys.executable, '-c', {FOREVER!r}], dict(os.environ), log)\n"
        f"c.start(); open({str(pid_file)!r}, 'w').write(str(c.pid)); time.sleep(600)"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY)
    until(lambda: pid_file.exists() and pid_file.read_text())
    pid = int(pid_file.read_text())
    supervisor.kill()
    supervisor.wait()
    until(lambda: not alive(pid))


def test_the_second_supervisor_of_a_folder_says_who_the_first_is(tmp_path: Path) -> None:
    lock = tmp_path / "supervisor.lock"
    with only_one(lock), pytest.raises(AlreadyRunning) as caught, only_one(lock):
        pass
    assert caught.value.pid == os.getpid()
    with only_one(lock):
        pass  # free again


def test_started_twice_says_so_and_ends_with_code_three(tmp_path: Path) -> None:
    with only_one(tmp_path / "supervisor.lock"):
        done = subprocess.run(
            [sys.executable, "-m", "market.supervisor", "--home", str(tmp_path)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 3
    assert str(os.getpid()) in done.stderr


def test_ports_and_secrets_stay_what_they_were(tmp_path: Path) -> None:
    first, second = Layout(tmp_path, free_ports=True), Layout(tmp_path, free_ports=True)
    assert first.ports == second.ports
    assert len(set(first.ports.values())) == len(first.ports)
    assert first.secret("relayer.key") == second.secret("relayer.key")
    assert (tmp_path / "secrets" / "relayer.key").stat().st_mode & 0o077 == 0
    assert first.password("east") != first.password("west")


def test_a_torn_chain_state_is_replaced_by_the_last_whole_one(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text('{"block": 7}')
    keeper = StateKeeper(state)
    keeper.keep()
    state.write_text('{"block": 8')
    keeper.mend()
    assert state.read_text() == '{"block": 7}'
    assert (tmp_path / "state.torn.json").read_text() == '{"block": 8'


def test_a_whole_chain_state_is_left_alone(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    keeper = StateKeeper(state)
    keeper.mend()
    assert not state.exists()
    state.write_text('{"block": 9}')
    keeper.mend()
    assert state.read_text() == '{"block": 9}'


def test_a_taken_port_is_named_before_anything_is_started(tmp_path: Path) -> None:
    layout = Layout(tmp_path, free_ports=True)
    with socket.socket() as other:
        other.bind(("127.0.0.1", layout.ports["chain"]))
        other.listen()
        stack = Stack(layout, say=lambda text: None, stop=threading.Event())
        with pytest.raises(StartFailed, match="meant for chain"):
            stack.start()
    assert stack.children == []


def test_contracts_that_are_gone_are_not_deployed_again_in_silence(tmp_path: Path, anvil: Anvil) -> None:
    layout = Layout(tmp_path)
    key = bytes.fromhex(layout.secret("relayer.key"))
    first = ensure_contracts(layout, anvil.url, key, embedded=True)
    assert ensure_contracts(layout, anvil.url, key, embedded=True) == first
    layout.deployment.write_text(json.dumps({**first, "address_book": "0x" + "12" * 20}))
    with pytest.raises(StartFailed, match="start over"):
        ensure_contracts(layout, anvil.url, key, embedded=True)


def test_a_page_in_a_browser_cannot_command_the_embedded_chain(tmp_path: Path) -> None:
    layout = Layout(tmp_path, free_ports=True)
    url = f"http://127.0.0.1:{layout.ports['chain']}"
    process = subprocess.Popen(anvil_command(layout))
    try:
        wait_for_chain(url)
        headers = {"Origin": "http://page.example", "Access-Control-Request-Method": "POST"}
        asked_first = httpx.options(url, headers=headers)
        assert "access-control-allow-origin" not in asked_first.headers
        # Without asking first a page may send text only, and that is not taken.
        call = b'{"jsonrpc":"2.0","id":1,"method":"anvil_mine","params":[]}'
        sent = httpx.post(url, content=call, headers={"Content-Type": "text/plain"})
        assert "error" in sent.json()
    finally:
        process.terminate()
        process.wait(10)
