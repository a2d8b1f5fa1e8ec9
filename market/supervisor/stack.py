"""One market on one machine: what is started, in which order, and when it counts as up."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from contracts.transactions import address_of_key
from market.supervisor import chain as embedded
from market.supervisor import commands, health, nodes
from market.supervisor.cast import CAST, PartyPlan
from market.supervisor.chain import StartFailed, StateKeeper
from market.supervisor.layout import REPOSITORY, Layout, write_atomically
from market.supervisor.processes import Child, stop_all
from market.supervisor.shells import write_shells

_UP_TIMEOUT_S = 240.0
_WORKERS = ("relay", "index", "drive")


class Stack:
    """Chain, portal, workers and party nodes. `start`, then `tend` often, then `end`.

    ``CHAIN_RPC_URL`` in the environment: that chain is used instead of an embedded one, and the operator's
    key (``RELAYER_KEY_FILE``, or the generated one) must hold funds there.
    """

    def __init__(self, layout: Layout, *, say: Callable[[str], None], stop: threading.Event) -> None:
        self.layout = layout
        self.children: list[Child] = []
        self.ready = False
        self.rpc_url = os.environ.get("CHAIN_RPC_URL") or layout.url("chain")
        self.address_book = ""
        self._embedded = not os.environ.get("CHAIN_RPC_URL")
        self._keeper = StateKeeper(layout.chain_state)
        self._say = say
        self._stop = stop
        self._parties: dict[str, str] = {}
        self._status = ""

    def start(self) -> None:
        """Bring everything up; the first start also makes keys, contracts, parties, logins. Idempotent."""
        relayer_key = self._relayer_key()
        self._refuse_taken_ports()
        if self._embedded:
            self._say(f"chain on {self.rpc_url}")
            self._spawn("chain", embedded.anvil_command(self.layout), {}, before=self._keeper.mend)
        embedded.wait_for_chain(self.rpc_url)
        first = not self.layout.deployment.exists()
        deployment = embedded.ensure_contracts(
            self.layout, self.rpc_url, relayer_key, embedded=self._embedded
        )
        self.address_book = deployment["address_book"]
        if self._embedded and first:
            self._keeper.wait_for_first(self._stop)
        deployment["rpc_url"] = self.rpc_url

        self._say("parties and their keys")
        migrating = commands.start(
            ["manage.py", "migrate", "--verbosity", "0"], self._portal_environment(), self._log("setup")
        )
        self._deal_data()
        enrolments = self._identities(deployment)
        commands.finish(migrating, "migrating the portal's database", self._log("setup"))
        self._bootstrap(enrolments)
        write_shells(self.layout, self._portal_settings())

        self._say(f"portal on {self.layout.url('portal')}, workers, party nodes")
        for party in CAST:
            if party.has_node:
                self._spawn(party.key, [sys.executable, *nodes.serve_command(self.layout, party)], {})
        self._spawn("portal", self._uvicorn(), self._portal_environment())
        for worker in _WORKERS:
            self._spawn(worker, [sys.executable, "manage.py", worker], self._portal_environment())
        self._wait_until_up()
        self.ready = True
        self._write_status()

    def tend(self) -> None:
        """Restart what died, keep the chain's state, note changes. Call a few times a second."""
        changed = [child.name for child in self.children if child.tend()]
        if self._embedded:
            self._keeper.keep()
        if changed:
            self._write_status()

    def end(self) -> None:
        """Stop every process; state stays on disk."""
        self.ready = False
        stop_all(self.children)
        self._write_status()

    # ---- steps of the start

    def _refuse_taken_ports(self) -> None:
        """Somebody else's chain on our port must not be taken for ours: look before anything is started."""
        for name, port in self.layout.ports.items():
            if (name == "chain" and not self._embedded) or not health.listens(port):
                continue
            raise StartFailed(
                f"port {port} of 127.0.0.1, meant for {name}, is in use: stop what uses it, "
                f'or start in another folder with other ports: make up ARGS="--home var/other --free-ports"'
            )

    def _identities(self, deployment: dict[str, Any]) -> list[tuple[PartyPlan, dict[str, Any]]]:
        """Keys and enrolments of all parties, each made by the party's own tool, side by side."""
        with ThreadPoolExecutor(max_workers=2) as pool:
            found = list(pool.map(lambda party: self._identity(party, deployment), CAST))
        self._parties = {party.key: enrolment["party"] for party, enrolment in found}
        return found

    def _identity(self, party: PartyPlan, deployment: dict[str, Any]) -> tuple[PartyPlan, dict[str, Any]]:
        return party, nodes.ensure_identity(
            self.layout,
            party,
            chain=deployment,
            portal_address=self._portal_address(),
            environment=self._environment(),
        )

    def _bootstrap(self, enrolments: list[tuple[PartyPlan, dict[str, Any]]]) -> None:
        plan = {
            "parties": [
                {
                    "enrolment": enrolment,
                    "name_zh": party.name_zh,
                    "node_url": self.layout.url(party.key) if party.has_node else "",
                    "roles": party.roles,
                    "scopes": party.scopes,
                    "logins": {
                        name: {"password": self.layout.password(name), "roles": roles}
                        for name, roles in party.logins.items()
                    },
                    "api_key_file": str(self.layout.secrets / f"{party.key}.apikey"),
                }
                for party, enrolment in enrolments
            ]
        }
        file = self.layout.secrets / "bootstrap.json"
        write_atomically(file, json.dumps(plan), mode=0o600)
        commands.run(
            ["-m", "market.supervisor.bootstrap", str(file)],
            self._portal_environment(),
            "putting parties and logins into the portal",
            self._log("setup"),
        )
        file.unlink()

    def _wait_until_up(self) -> None:
        portal = self.layout.url("portal")
        operator = (self.layout.secrets / "operator.apikey").read_text().strip()
        wanted = {
            ids for party in CAST for ids in nodes.dataset_ids(self.layout, party).values() if party.has_node
        }
        with httpx.Client(timeout=5.0, trust_env=False) as http:

            def wait(what: str, holds: Callable[[], bool]) -> None:
                health.wait_until(what, holds, self._stop, self.tend, _UP_TIMEOUT_S)

            try:
                wait("the portal answers", lambda: health.answers(http, f"{portal}/healthz"))
                for party in CAST:
                    if party.has_node:
                        url = self.layout.url(party.key)
                        wait(
                            f"{party.name}'s node answers",
                            partial(health.answers, http, f"{url}/healthz"),
                        )

                def in_state(path: str, field: str, state: str) -> set[str]:
                    found = health.listing(http, portal, path, operator)
                    return {item[field] for item in found if item["state"] == state}

                enrolled = set(self._parties.values())
                wait("every party is on chain", lambda: enrolled <= in_state("parties", "party", "enrolled"))
                wait(
                    "every dataset is registered",
                    lambda: wanted <= in_state("datasets", "dataset", "registered"),
                )
            except StartFailed as error:
                raise StartFailed(f"{error}\n{self._last_words()}") from None

    def _deal_data(self) -> None:
        """Cut the demo data once and give each node its own file, and nobody else's."""
        missing = [
            (party, dataset.file)
            for party in CAST
            for dataset in party.datasets
            if dataset.file and not (self.layout.node(party.key) / "data" / dataset.file).exists()
        ]
        if not missing:
            return
        folder = self.layout.home / "cut"
        commands.run(
            ["-m", "compute.demo.data", str(folder)],
            self._environment(),
            "cutting the data",
            self._log("setup"),
        )
        for party, file in missing:
            target = self.layout.node(party.key) / "data"
            target.mkdir(parents=True, exist_ok=True)
            shutil.move(folder / file, target / file)
        shutil.rmtree(folder)

    # ---- small things

    def _spawn(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        before: Callable[[], None] = lambda: None,
    ) -> None:
        child = Child(name, command, environment or self._environment(), self._log(name), before)
        self.children.append(child)
        child.start()
        self._write_status()

    def _log(self, name: str) -> Any:
        return self.layout.log / f"{name}.log"

    def _relayer_key(self) -> bytes:
        return bytes.fromhex(self._relayer_key_file().read_text().strip().removeprefix("0x"))

    def _relayer_key_file(self) -> Path:
        given = os.environ.get("RELAYER_KEY_FILE")
        return Path(given) if given else self.layout.secret_file("relayer.key")

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(REPOSITORY)}

    def _portal_environment(self) -> dict[str, str]:
        return {**self._environment(), **self._portal_settings()}

    def _portal_settings(self) -> dict[str, str]:
        """What makes a process this portal's; no secret in it, so it may stand in the status file."""
        return {
            "VAR_DIR": str(self.layout.home / "portal"),
            "CHAIN_RPC_URL": self.rpc_url,
            "ADDRESS_BOOK": self.address_book,
            "PORTAL_KEY_FILE": str(self.layout.secret_file("portal.key")),
            "RELAYER_KEY_FILE": str(self._relayer_key_file()),
            "DJANGO_SETTINGS_MODULE": "market.settings",
        }

    def _portal_address(self) -> str:
        return address_of_key(bytes.fromhex(self.layout.secret("portal.key").removeprefix("0x")))

    def _uvicorn(self) -> list[str]:
        return [
            *(sys.executable, "-m", "uvicorn", "market.asgi:application"),
            *("--host", "127.0.0.1", "--port", str(self.layout.ports["portal"])),
            *("--log-level", "warning", "--no-access-log", "--timeout-graceful-shutdown", "3"),
        ]

    def _last_words(self) -> str:
        silent = [child for child in self.children if child.restarts or child.pid is None]
        return "\n".join(f"--- {child.name} ({child.log})\n{child.last_words()}" for child in silent)

    def _write_status(self) -> None:
        status = json.dumps(
            {
                "ready": self.ready,
                "supervisor": os.getpid(),
                "portal": self.layout.url("portal"),
                "chain": self.rpc_url,
                "address_book": self.address_book,
                "secrets": str(self.layout.secrets),
                "portal_environment": self._portal_settings() if self.address_book else {},
                "parties": {
                    party.key: {
                        "party": self._parties.get(party.key),
                        "name": party.name,
                        "node": self.layout.url(party.key) if party.has_node else None,
                        "folder": str(
                            self.layout.node(party.key) if party.has_node else self.layout.member(party.key)
                        ),
                    }
                    for party in CAST
                },
                "processes": {
                    child.name: {"pid": child.pid, "restarts": child.restarts} for child in self.children
                },
            },
            indent=2,
        )
        if status != self._status:
            write_atomically(self.layout.status, status)
            self._status = status
