"""Real node processes on a real chain, with a portal that is only a key, and consumers that sign.

Each node has its own folder, keys, port and process, as in production; tests talk to it through `NodeClient`.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

import compute.protocols.kinds  # noqa: F401
from compute.client import NodeClient, NodeUnreachable, StatementKey
from compute.keys.sealing import open_sealed
from compute.node import setup
from compute.node.config import NodeConfig, load
from compute.protocols.protocol import Session, job_kind
from compute.wire import canonical, structs
from compute.wire.binding import result_context, session_binding
from compute.wire.canonical import from_hex, to_hex
from compute.wire.messages import (
    DatasetManifest,
    GrantProposal,
    GrantTerms,
    JobSpec,
    JobStatus,
    JobSubmission,
    Participant,
    RequestLine,
    SignedBatch,
    SignedGrant,
    SignedReceipt,
    SignedRequest,
)
from compute.wire.signed_result import verify_result
from contracts import eip712
from contracts.eip712 import Role
from tests.chain_lab import REPOSITORY, Lab, Party, free_port

FINAL = ("completed", "refused", "failed", "cancelled", "expired")
PURPOSE = "epidemiology"


class Portal:
    """The portal as nodes see it: a key."""

    def __init__(self) -> None:
        self.key = StatementKey(secrets.token_bytes(32))

    def client(self, node: RunningNode) -> NodeClient:
        return NodeClient(node.url, node.party, self.key, box_key=node.box_key)


class RunningNode:
    """One node: its folder, and its process while it runs."""

    def __init__(
        self,
        home: Path,
        lab: Lab,
        portal: Portal,
        name: str,
        datasets: str,
        *,
        extra: str = "",
        finality_depth: int = 0,
        rpc_url: str | None = None,
        peers: Sequence[str] = ("127.0.0.1:*",),
        enrol: bool = True,
        module: str = "compute.node",
    ) -> None:
        """``module`` is what runs: one that knows test kinds, or the node itself."""
        self.module = module
        # Settings of the next start, as an operator overrides them.
        self.environment: dict[str, str] = {}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        path = setup.initialise(
            home,
            name=name,
            listen=f"127.0.0.1:{self.port}",
            rpc_url=rpc_url or lab.url,
            address_book=lab.address_book,
            portal_address=portal.key.address,
            peers=peers,
        )
        text = path.read_text().replace("[peers]\n", "[peers]\nconnect_timeout_s = 8\n")
        text = text.replace(
            "[chain]\n", f"[chain]\nrevocation_poll_s = 1\nfinality_depth = {finality_depth}\n"
        )
        path.write_text(text + extra + datasets)
        self.home = home
        self.path = path
        self.config: NodeConfig = load(path)
        self.party = self.config.party
        self.lab = lab
        document = setup.sign_enrolment(self.config, lab.chain.domain("PartyRegistry"))
        self.box_key = from_hex(document.box_key)
        self.portal = portal.client(self)
        self.process: subprocess.Popen[bytes] | None = None
        if enrol:
            lab.send(
                lab.chain.enrol_call(
                    from_hex(document.party),
                    int(Role.PROVIDER),
                    structs.node_key(document),
                    bytes.fromhex(document.signature[2:]),
                )
            )

    def start(self) -> RunningNode:
        self.launch()
        self.wait_healthy()
        return self

    def launch(self) -> None:
        log = (self.home / "node.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.module, "serve", "--config", str(self.path)],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "1", **self.environment},
        )
        log.close()

    def wait_healthy(self) -> None:
        wait_for(self._healthy, 120, lambda: f"{self.config.name} did not start:\n{self.log()}")

    def _healthy(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        try:
            self.portal.health()
        except NodeUnreachable:
            return False
        return True

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=30)
            self.process = None

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=30)
        self.process = None

    def log(self) -> str:
        return (self.home / "node.log").read_text()[-4000:]

    def manifest(self, index: int = 0) -> DatasetManifest:
        wanted = self.config.dataset[index].id
        found: list[DatasetManifest] = []

        def there() -> bool:
            found[:] = [m for m in self.portal.datasets() if m.dataset == wanted]
            return bool(found)

        wait_for(there, 60, self.log)
        return found[0]

    def register(self, index: int = 0) -> DatasetManifest:
        """Put the newest version on chain, as the portal's relay does."""
        manifest = self.manifest(index)
        version = structs.dataset_version(manifest)
        self.lab.send(self.lab.chain.register_call(version, bytes.fromhex(manifest.signature[2:])))
        return manifest

    def grant(self, consumer: Consumer, *, index: int = 0, activate: bool = True, **changes: Any) -> Granted:
        """Have a grant signed by the node and activate it."""
        proposal = propose(self, consumer, index=index, **changes)
        signed = self.portal.sign_grant(proposal)
        if activate:
            call = self.lab.chain.activate_call(structs.grant(proposal), bytes.fromhex(signed.signature[2:]))
            self.lab.send(call)
        return Granted(self, signed, self.config.dataset[index].id)

    def commit_all(self) -> SignedBatch | None:
        """Commit all receipts that the chain does not have, as the portal's relay does."""
        tip = self.lab.chain.node_tip(from_hex(self.party))
        batch = self.portal.batch(tip.sequence)
        if batch is not None:
            receipts = [structs.receipt(receipt) for receipt in batch.receipts]
            self.lab.send(self.lab.chain.commit_call(receipts, bytes.fromhex(batch.signature[2:])))
        return batch

    def receipt_of(self, job: str) -> SignedReceipt:
        found = [receipt for receipt in self.portal.receipts(limit=500) if receipt.job == job]
        assert len(found) == 1, f"{len(found)} receipts of {job}"
        return found[0]

    def wait_final(self, job: str, timeout_s: float = 120) -> JobStatus:
        status: list[JobStatus] = []

        def final() -> bool:
            status[:] = [self.portal.job(job)]
            return status[0].state in FINAL

        wait_for(final, timeout_s, lambda: f"{status}\n{self.log()}")
        return status[0]

    def forgets(self, job: str) -> None:
        """Wait until nothing of an ended job's workspace is left: the folder goes just after the ending."""
        folder = self.home / "work" / job
        wait_for(lambda: not folder.exists(), 60, lambda: f"{folder.name} is still there\n{self.log()}")


class Granted:
    """An activated grant with what a job needs of it."""

    def __init__(self, node: RunningNode, signed: SignedGrant, dataset: str) -> None:
        self.node = node
        self.signed = signed
        self.grant = signed.grant
        self.terms: GrantTerms = signed.proposal.terms
        self.dataset = dataset

    def participant(self, role: str, columns: Sequence[str] | None = None) -> Participant:
        index = [item.id for item in self.node.config.dataset].index(self.dataset)
        return Participant(
            role=role,
            party=self.node.party,
            grant=self.grant,
            dataset=self.dataset,
            commitment=self.node.manifest(index).commitment,
            columns=tuple(self.terms.columns if columns is None else columns),
        )


class Consumer:
    """A consumer with its keys, enrolled on chain."""

    def __init__(self, lab: Lab, role: Role = Role.CONSUMER) -> None:
        self.lab = lab
        self.party: Party = lab.party(role)
        self.id = to_hex(self.party.id)

    def client(self, node: RunningNode) -> NodeClient:
        return NodeClient(node.url, node.party, StatementKey(self.party.key), self.id, box_key=node.box_key)

    def order(
        self,
        kind: str,
        params: dict[str, Any],
        parts: Sequence[tuple[str, Granted]],
        *,
        purpose: str = PURPOSE,
        reserve: bool = True,
        deadline_s: int = 600,
        units: int | None = None,
        columns: Sequence[str] | None = None,
        participants: tuple[Participant, ...] | None = None,
        nonce: bytes | None = None,
    ) -> Order:
        """A signed submission of a job, reserved on chain."""
        registered = job_kind(kind)
        final_params, kept = registered.prepare(params, os.urandom)
        spec = JobSpec(
            kind=kind,
            purpose=purpose,
            consumer=self.id,
            result_key=to_hex(self.party.box_key),
            participants=participants or tuple(granted.participant(role, columns) for role, granted in parts),
            params=final_params,
        )
        typed = registered.parse(spec)
        lines = tuple(
            RequestLine(
                grant=granted.grant,
                units=registered.units(spec, typed, role) if units is None else units,
            )
            for role, granted in parts
        )
        submission = self.sign(spec, lines, deadline_s=deadline_s, nonce=nonce)
        submission = msgspec.structs.replace(
            submission,
            terms={granted.grant: granted.terms for _, granted in parts},
            peers={role: granted.node.url for role, granted in parts},
        )
        order = Order(self, submission, kept)
        if reserve:
            order.reserve()
        return order

    def sign(
        self,
        spec: JobSpec,
        lines: tuple[RequestLine, ...],
        *,
        deadline_s: int = 600,
        nonce: bytes | None = None,
    ) -> JobSubmission:
        request = SignedRequest(
            job="0x" + "00" * 32,
            consumer=self.id,
            spec_hash=to_hex(canonical.digest(spec)),
            nonce=to_hex(nonce or secrets.token_bytes(32)),
            deadline=max(self.lab.now(), int(time.time())) + deadline_s,
            lines=lines,
            signature="0x" + "00" * 65,
        )
        struct = structs.job_request(request)
        request = msgspec.structs.replace(
            request,
            job=to_hex(eip712.struct_hash(struct)),
            signature=to_hex(eip712.sign(self.lab.chain.domain("UsageLedger"), struct, self.party.key)),
        )
        return JobSubmission(spec=spec, request=request, terms={}, peers={})


class Order:
    """A signed job of a consumer."""

    def __init__(self, consumer: Consumer, submission: JobSubmission, kept: dict[str, bytes]) -> None:
        self.consumer = consumer
        self.submission = submission
        self.job = submission.request.job
        self.kept = kept

    def reserve(self) -> None:
        request = self.submission.request
        lab = self.consumer.lab
        call = lab.chain.reserve_call(structs.job_request(request), bytes.fromhex(request.signature[2:]))
        lab.send(call)

    def reservation_state(self, grant: str) -> str:
        record = self.consumer.lab.chain.reservation(from_hex(self.job), from_hex(grant))
        return record.state.name if record else "NONE"

    def open(self, payloads: dict[str, bytes]) -> Any:
        """The result, opened with the consumer's key."""
        spec = self.submission.spec
        kind = job_kind(spec.kind)
        parties = {item.role: item.party for item in spec.participants}
        opened = {}
        for role, payload in payloads.items():
            signed = open_sealed(
                self.consumer.party.box_private, payload, result_context(from_hex(self.job), role)
            )
            record = self.consumer.lab.chain.party(from_hex(parties[role]))
            assert record is not None
            opened[role] = verify_result(signed, from_hex(self.job), role, [record.address])
        spec_hash = from_hex(self.submission.request.spec_hash)
        binding = session_binding(from_hex(self.job), spec_hash)
        session = Session("", spec, kind.parse(spec), binding, 1, os.urandom, self.kept)
        return kind.open_result(session, opened)


def propose(node: RunningNode, consumer: Consumer, *, index: int = 0, **changes: Any) -> GrantProposal:
    """A proposal within the ceiling, with the changes of a test."""
    dataset = node.config.dataset[index]
    columns = tuple(column.name for column in dataset.columns if column.grade != "L4")
    now = consumer.lab.now()
    terms = GrantTerms(
        offer="1",
        purpose=changes.pop("purpose", PURPOSE),
        operations=changes.pop("operations", dataset.ceiling.operations),
        columns=changes.pop("columns", columns),
        min_cohort=changes.pop("min_cohort", dataset.ceiling.min_cohort),
        price_credits=changes.pop("price_credits", 2),
        salt=to_hex(secrets.token_bytes(32)),
    )
    return GrantProposal(
        **{
            "provider": node.party,
            "consumer": consumer.id,
            "dataset": dataset.id,
            "terms": terms,
            "quota": 10_000,
            "epsilon_micro": 0,
            "not_before": now,
            "expiry": now + 30 * 86_400,
            **changes,
        }
    )


def start_and_register(*nodes: RunningNode) -> None:
    """Start several nodes side by side: a start is seconds of importing."""
    for node in nodes:
        node.launch()
    for node in nodes:
        node.wait_healthy()
        node.register()


def wait_for(condition: Callable[[], bool], timeout_s: float, explain: Callable[[], str]) -> None:
    """Poll until a condition holds; fails the test with an explanation after the timeout."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(explain())


def patients_csv(path: Path, ids: Sequence[str]) -> Path:
    """A small patients file."""
    lines = ["patient_id,diagnosis,age"]
    lines += [f"{name},{'M' if i % 3 else 'B'},{30 + i % 50}" for i, name in enumerate(ids)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def table_toml(dataset: str, path: str, *, ceiling: str = "", name: str = "Patients") -> str:
    """A [[dataset]] over a patients file."""
    return f"""
[[dataset]]
id = "{dataset}"
name = "{name}"
kind = "table"
[dataset.source]
kind = "csv"
path = "{path}"
keys = ["patient_id"]
[[dataset.source.columns]]
name = "patient_id"
type = "string"
grade = "L3"
[[dataset.source.columns]]
name = "diagnosis"
type = "string"
[[dataset.source.columns]]
name = "age"
type = "integer"
grade = "L4"
[dataset.ceiling]
operations = ["psi", "stats", "pir", "fl"]
min_cohort = 2
{ceiling}
"""


SERVICE_TOML = """
[[dataset]]
id = "{dataset}"
name = "Encryption service"
kind = "service"
[dataset.ceiling]
operations = ["eaas"]
min_cohort = 1
"""
