"""The embedded chain: an anvil with its state on disk, and the contracts on it.

anvil writes its state once a second and not atomically, so a kill in the wrong instant leaves a torn file.
`StateKeeper` keeps the last whole one beside it; coming back a second or two short is a reorganisation like
any other to portal and nodes (the relay sends its saved transactions again).
"""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contracts.bindings import Chain
from contracts.deploy import Deployment, deploy
from contracts.errors import ContractError
from contracts.rpc import JsonRpc
from contracts.transactions import address_of_key
from market.supervisor.layout import REPOSITORY, Layout, write_atomically

CHAIN_ID = 31_337
RELEASE_GRACE_S = 20
TIMELOCK_S = 172_800
_FUNDS_WEI = 10**24
_KEEP_EVERY_S = 3.0
# Two of anvil's intervals: the dump that was under way may lack the newest block.
_DUMP_NS = 2_000_000_000


class StartFailed(Exception):
    """The stack cannot start; the message says what to do."""


def anvil_command(layout: Layout) -> list[str]:
    """The native binary, without its Node launcher: a launcher would take the signals meant for anvil."""
    binaries = sorted((REPOSITORY / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil*"))
    if not binaries:
        raise StartFailed("anvil is not installed: run `make setup`")
    layout.chain_state.parent.mkdir(parents=True, exist_ok=True)
    return [
        str(binaries[0]),
        "--quiet",
        *("--host", "127.0.0.1"),
        *("--port", str(layout.ports["chain"])),
        *("--chain-id", str(CHAIN_ID)),
        *("--hardfork", "cancun"),
        *("--accounts", "1"),
        *("--order", "fifo"),
        # It obeys whoever reaches it, and by default it lets any page in a browser here do so.
        "--no-cors",
        *("--state", str(layout.chain_state)),
        *("--state-interval", "1"),
        "--preserve-historical-states",
        # Without a bound the file grows with the square of the chain's length; blocks and events all stay.
        *("--prune-history", "256"),
    ]


class StateKeeper:
    """Keeps one whole copy of anvil's state file beside it, and puts it back if the file is torn."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._kept = state.with_name("state.kept.json")
        self._seen: tuple[int, int] = (0, 0)
        self._next = 0.0

    def keep(self) -> None:
        """Copy the file if it changed and is whole; called often, works every few seconds."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _KEEP_EVERY_S
        try:
            status = self._state.stat()
            if (status.st_mtime_ns, status.st_size) == self._seen:
                return
            data = self._state.read_bytes()
        except FileNotFoundError:
            return
        if not _whole(data):  # torn: the next look is soon enough
            return
        temporary = self._kept.with_suffix(".tmp")
        temporary.write_bytes(data)
        os.replace(temporary, self._kept)
        self._seen = (status.st_mtime_ns, status.st_size)

    def wait_for_first(self, stop: threading.Event, timeout_s: float = 15.0) -> None:
        """Until a state that holds what is on the chain now is kept: a kill must not lose the contracts."""
        begun = time.time_ns()
        end = time.monotonic() + timeout_s
        while not (self._kept.exists() and self._kept.stat().st_mtime_ns > begun + _DUMP_NS):
            if stop.is_set():
                raise StartFailed("stopped before everything was up")
            if time.monotonic() > end:
                raise StartFailed(f"anvil does not write its state to {self._state}")
            self._next = 0.0
            self.keep()
            time.sleep(0.1)

    def mend(self) -> None:
        """Before anvil starts: replace a torn file by the kept one, or by nothing if there is none."""
        if not self._state.exists() or _whole(self._state.read_bytes()):
            return
        self._state.replace(self._state.with_name("state.torn.json"))
        if self._kept.exists():
            temporary = self._state.with_suffix(".tmp")
            temporary.write_bytes(self._kept.read_bytes())
            os.replace(temporary, self._state)


def wait_for_chain(url: str, timeout_s: float = 30.0) -> None:
    """Until the endpoint answers; raises StartFailed."""
    rpc = JsonRpc(url)
    try:
        end = time.monotonic() + timeout_s
        while True:
            try:
                rpc.call("eth_chainId")
                return
            except ContractError:
                if time.monotonic() > end:
                    raise StartFailed(f"no chain answers at {url}") from None
                time.sleep(0.1)
    finally:
        rpc.close()


def ensure_contracts(layout: Layout, url: str, operator_key: bytes, *, embedded: bool) -> dict[str, Any]:
    """Deploy at the first start; later check that what was deployed is still there. Gives the deployment."""
    if layout.deployment.exists():
        known: dict[str, Any] = json.loads(layout.deployment.read_text())
        try:
            chain = Chain(url, known["address_book"])
            _ = chain.addresses  # asks the address book, so it fails where there is none
            chain.close()
        except ContractError as error:
            raise StartFailed(
                f"the contracts of {layout.home} are not on the chain at {url} ({error}): "
                f"was the chain's state removed? Remove the whole folder to start over"
            ) from error
        return known
    if embedded:
        rpc = JsonRpc(url)
        try:
            rpc.call("anvil_setBalance", address_of_key(operator_key), hex(_FUNDS_WEI))
        finally:
            rpc.close()
    deployment: Deployment = deploy(url, operator_key, release_grace_s=RELEASE_GRACE_S, timelock_s=TIMELOCK_S)
    known = {**asdict(deployment), "rpc_url": url}
    write_atomically(layout.deployment, json.dumps(known, indent=2))
    return known


def _whole(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True
