"""The cast: Alice provides, Bob consumes, Charlie has nothing to do with either and sees nothing.

`Stage` puts them on the private chain and into the portal's tables. `StandIn` is a node that keeps its
promises without computing anything: it signs with the party's key exactly what a real node would sign.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from compute.client import NodeRefused, NodeUnreachable
from compute.wire import canonical, structs
from compute.wire.canonical import from_hex, to_hex
from compute.wire.messages import (
    Column,
    DatasetManifest,
    Enrolment,
    GrantProposal,
    JobEvent,
    JobSpec,
    JobStatus,
    JobSubmission,
    NodeIdentity,
    Participant,
    Problem,
    ReceiptDetail,
    RequestLine,
    SignedAction,
    SignedBatch,
    SignedGrant,
    SignedReceipt,
    SignedRequest,
    SignedRevocation,
)
from contracts import eip712, merkle
from contracts.eip712 import Role
from market.catalog import services as catalog
from market.catalog.models import Dataset, Offer
from market.grants import services as grants
from market.grants.models import Grant
from market.jobs import drive
from market.jobs.models import Job
from market.jobs.services import submit_job
from market.ledger import chain as door
from market.ledger.index import Index
from market.ledger.relay import Relay
from market.parties.actor import Actor
from market.parties.enrolment import propose_party
from market.parties.models import Party as Row
from tests.chain_lab import Lab, Party

SYSTEM = Actor.system("tests")
COLUMNS = ("patient", "age", "diagnosis", "name")


def hexadecimal(value: bytes) -> str:
    return "0x" + value.hex()


@dataclass
class Member:
    """A party with its keys and its row in the portal."""

    keys: Party
    row: Row

    @property
    def id(self) -> str:
        return self.row.party_id

    def actor(self, *scopes: str) -> Actor:
        """Acting with all rights of the party's roles, or with some scopes only."""
        self.row.refresh_from_db()
        wanted = scopes or ("read", "catalog", "grants", "jobs", "audit", "operate")
        return Actor(f"test:{self.row.name}", self.row, frozenset(self.row.role_names), frozenset(wanted))


@dataclass
class StandIn:
    """A node's API without a node. ``behaviour`` decides how a job's part ends."""

    lab: Lab
    member: Member
    manifests: list[DatasetManifest] = field(default_factory=list)
    log: list[SignedReceipt] = field(default_factory=list)
    parts: dict[str, JobStatus] = field(default_factory=dict)
    submissions: dict[str, JobSubmission] = field(default_factory=dict)
    behaviour: Callable[[JobSubmission], str] = lambda submission: "completed"
    refuse_grants: Problem | None = None
    reachable: bool = True
    calls: list[str] = field(default_factory=list)

    def _called(self, name: str) -> None:
        if not self.reachable:
            raise NodeUnreachable("no answer from the node")
        self.calls.append(name)

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, *unused: object) -> None:
        return None

    def identity(self) -> NodeIdentity:
        self._called("identity")
        keys = self.member.keys
        return NodeIdentity(
            party=self.member.id,
            name=self.member.row.name,
            address=keys.address,
            box_key=hexadecimal(keys.box_key),
            he_key_digest=hexadecimal(bytes(32)),
            software="stand-in 1",
            chain_id=self.lab.chain.chain_id,
            chain_block=self.lab.chain.head().number,
        )

    def datasets(self) -> list[DatasetManifest]:
        self._called("datasets")
        return self.manifests

    def sign_grant(self, proposal: GrantProposal) -> SignedGrant:
        self._called("sign_grant")
        if self.refuse_grants is not None:
            raise NodeRefused(self.refuse_grants)
        operations = 0
        for name in proposal.terms.operations:
            operations |= eip712.Operation[name.upper()]
        struct = eip712.Grant(
            provider=from_hex(proposal.provider),
            consumer=from_hex(proposal.consumer),
            dataset=from_hex(proposal.dataset),
            terms_hash=canonical.digest(proposal.terms),
            operations=int(operations),
            quota=proposal.quota,
            epsilon_micro=proposal.epsilon_micro,
            not_before=proposal.not_before,
            expiry=proposal.expiry,
        )
        return SignedGrant(
            grant=to_hex(eip712.struct_hash(struct)),
            proposal=proposal,
            signature=hexadecimal(self.lab.sign("UsageLedger", struct, self.member.keys)),
        )

    def revoke_grant(self, grant: str) -> SignedRevocation:
        self._called("revoke_grant")
        revocation = eip712.Revocation(grant=from_hex(grant))
        return SignedRevocation(
            grant=grant, signature=hexadecimal(self.lab.sign("UsageLedger", revocation, self.member.keys))
        )

    def freeze(self, dataset: str) -> SignedAction:
        return self._action(dataset, 1)

    def unfreeze(self, dataset: str) -> SignedAction:
        return self._action(dataset, 2)

    def _action(self, dataset: str, verb: int) -> SignedAction:
        self._called("action")
        keys = self.member.keys
        nonce = self.lab.chain.action_nonce("DatasetRegistry", keys.id)
        action = eip712.Action(party=keys.id, subject=from_hex(dataset), verb=verb, nonce=nonce)
        return SignedAction(
            party=self.member.id,
            subject=dataset,
            verb=verb,
            nonce=nonce,
            signature=hexadecimal(self.lab.sign("DatasetRegistry", action, keys)),
        )

    def submit(self, submission: JobSubmission) -> JobStatus:
        self._called("submit")
        job = submission.request.job
        if job not in self.parts:
            self.submissions[job] = submission
            role = next(p.role for p in submission.spec.participants if p.party == self.member.id)
            outcome = self.behaviour(submission)
            self.parts[job] = JobStatus(job=job, role=role, state="running", phase="working", total=2)
            if outcome != "running":
                self.finish(job, outcome)
        return self.parts[job]

    def finish(self, job: str, outcome: str, *, units: int | None = None) -> SignedReceipt:
        """End the part with a receipt, as a node would."""
        submission = self.submissions[job]
        participant = next(p for p in submission.spec.participants if p.party == self.member.id)
        line = next(line for line in submission.request.lines if line.grant == participant.grant)
        charged = units if units is not None else (line.units if outcome == "completed" else 0)
        rule = "purpose" if outcome == "refused" else ""
        detail = ReceiptDetail(
            kind=submission.spec.kind,
            role=participant.role,
            purpose=submission.spec.purpose,
            reason="" if outcome == "completed" else f"job.{outcome}",
            rule=rule,
        )
        receipt = SignedReceipt(
            digest=hexadecimal(bytes(32)),
            node=self.member.id,
            sequence=len(self.log) + 1,
            previous=self.log[-1].digest if self.log else hexadecimal(bytes(32)),
            job=job,
            grant=participant.grant or "",
            spec_hash=submission.request.spec_hash,
            commitment=participant.commitment or hexadecimal(bytes(32)),
            transcript=hexadecimal(secrets.token_bytes(32)),
            units=charged,
            epsilon_micro=0,
            outcome=outcome,  # type: ignore[arg-type]
            settles=True,
            issued_at=int(time.time()),
            detail=detail,
            signature=hexadecimal(bytes(65)),
        )
        struct = structs.receipt(receipt)
        receipt = msgspec.structs.replace(
            receipt,
            digest=to_hex(eip712.struct_hash(struct)),
            signature=hexadecimal(self.lab.sign("UsageLedger", struct, self.member.keys)),
        )
        self.log.append(receipt)
        self.parts[job] = JobStatus(
            job=job,
            role=participant.role,
            state=outcome,  # type: ignore[arg-type]
            phase="done",
            reason=detail.reason,
            rule=rule,
            message="" if outcome == "completed" else f"it {outcome}",
            receipt=receipt.digest,
            has_result=outcome == "completed",
        )
        return receipt

    def job(self, job: str) -> JobStatus:
        self._called("job")
        return self.parts[job]

    def events(self, job: str, after: int = 0) -> list[JobEvent]:
        self._called("events")
        lines = [
            JobEvent(sequence=1, at_ms=1_000, phase="checked the grant"),
            JobEvent(sequence=2, at_ms=2_000, phase="working", done=1, total=2),
        ]
        return [line for line in lines if line.sequence > after]

    def cancel(self, job: str) -> JobStatus:
        self._called("cancel")
        if self.parts[job].state in ("accepted", "running"):
            self.finish(job, "cancelled")
        return self.parts[job]

    def result(self, job: str, **unused: Any) -> bytes | None:
        self._called("result")
        return b"sealed for " + job.encode()

    def receipts(self, after: int = 0, limit: int = 100) -> list[SignedReceipt]:
        self._called("receipts")
        return self.log[after : after + limit]

    def batch(self, after: int, limit: int = 128) -> SignedBatch | None:
        self._called("batch")
        chosen = self.log[after : after + limit]
        if not chosen:
            return None
        root = merkle.root([from_hex(receipt.digest) for receipt in chosen])
        batch = eip712.Batch(self.member.keys.id, chosen[0].sequence, len(chosen), root)
        return SignedBatch(
            node=self.member.id,
            first_sequence=chosen[0].sequence,
            root=to_hex(root),
            receipts=tuple(chosen),
            signature=hexadecimal(self.lab.sign("UsageLedger", batch, self.member.keys)),
        )


class Stage:
    """Portal, workers and stand-in nodes on one private chain."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        door.use(lab.chain)
        self.relay = Relay(lab.chain, lab.operator_key)
        self.index = Index(lab.chain)
        self.nodes: dict[str, StandIn] = {}
        # Going back to a snapshot sets the chain's clock back too: bring it up to ours.
        rpc = lab.chain.rpc
        rpc.call("evm_setNextBlockTimestamp", max(int(time.time()), lab.now() + 1))
        rpc.call("evm_mine")
        self.index.catch_up()

    def settle(self) -> None:
        """Let the relay and the index do all they can."""
        self.relay.drain()
        self.index.catch_up()

    def round(self, times: int = 1) -> None:
        """All workers, one turn each, some times."""
        for _ in range(times):
            for node in self.nodes.values():
                drive.visit(node.member.row)
            drive.sweep()
            self.settle()

    def enrol(self, name: str, roles: Role, *, node: bool = False) -> Member:
        """A party, on chain and in the portal."""
        keys = Party()
        key = keys.node_key()
        document = Enrolment(
            party=hexadecimal(keys.id),
            name=name,
            address=keys.address,
            box_key=hexadecimal(keys.box_key),
            he_key_digest=hexadecimal(bytes(32)),
            signature=hexadecimal(self.lab.sign("PartyRegistry", key, keys)),
            url="http://127.0.0.1:1" if node else "",
        )
        row = propose_party(enrolment=document, roles=roles, actor=SYSTEM)
        self.settle()
        row.refresh_from_db()
        member = Member(keys, row)
        if node:
            self.nodes[member.id] = StandIn(self.lab, member)
        return member

    def manifest(self, provider: Member, name: str = "Lab panel", **changes: Any) -> DatasetManifest:
        """A manifest of a small table, signed."""
        columns = tuple(
            Column(name=column, type="string", grade="L4" if column == "name" else "L2") for column in COLUMNS
        )
        manifest = DatasetManifest(
            dataset=hexadecimal(secrets.token_bytes(32)),
            provider=provider.id,
            version=1,
            kind="table",
            name=name,
            description="made up",
            columns=columns,
            row_count=120,
            commitment=hexadecimal(secrets.token_bytes(32)),
            schema_hash=hexadecimal(secrets.token_bytes(32)),
            signature=hexadecimal(bytes(65)),
            operations=("psi", "stats", "pir"),
        )
        return self.signed(msgspec.structs.replace(manifest, **changes), provider)

    def signed(self, manifest: DatasetManifest, provider: Member) -> DatasetManifest:
        """The manifest under its provider's signature."""
        version = eip712.DatasetVersion(
            dataset=from_hex(manifest.dataset),
            provider=from_hex(manifest.provider),
            version=manifest.version,
            kind=int(eip712.DatasetKind[manifest.kind.upper()]),
            commitment=from_hex(manifest.commitment),
            schema_hash=from_hex(manifest.schema_hash),
        )
        signature = self.lab.sign("DatasetRegistry", version, provider.keys)
        return msgspec.structs.replace(manifest, signature=hexadecimal(signature))

    def dataset(self, provider: Member, name: str = "Lab panel") -> Dataset:
        """A registered dataset that the provider's node shows."""
        manifest = self.manifest(provider, name)
        if provider.id in self.nodes:
            self.nodes[provider.id].manifests.append(manifest)
        catalog.propose_dataset(manifest=manifest, actor=SYSTEM)
        self.settle()
        return Dataset.objects.get(pk=manifest.dataset)

    def offer(self, provider: Member, dataset: Dataset, **changes: Any) -> Offer:
        """An open offer."""
        fields: dict[str, Any] = {
            "title": f"Offer of {dataset.name}",
            "operations": ["psi", "stats"],
            "purposes": ["study A-17"],
            "columns": ["patient", "age", "diagnosis"],
            "min_cohort": 5,
            "max_quota": 1000,
            "max_days": 30,
            "price_credits": 3,
        }
        return catalog.publish_offer(
            dataset_id=dataset.dataset_id, actor=provider.actor(), **{**fields, **changes}
        )

    def request(self, consumer: Member, offer: Offer, **changes: Any) -> Grant:
        """An application under an offer."""
        fields: dict[str, Any] = {
            "purpose": "study A-17",
            "operations": ["psi"],
            "columns": ["patient"],
            "quota": 100,
            "days": 7,
        }
        return grants.request_grant(offer_id=offer.id, actor=consumer.actor(), **{**fields, **changes})

    def grant(self, provider: Member, consumer: Member, **changes: Any) -> Grant:
        """An active grant, all the way."""
        offer = self.offer(provider, self.dataset(provider))
        grant = self.request(consumer, offer, **changes)
        grants.approve_grant(grant_id=grant.id, actor=provider.actor())
        signed = self.nodes[provider.id].sign_grant(grants.proposal(Grant.objects.get(pk=grant.pk)))
        grants.record_signature(grant_pk=grant.pk, signed=signed, actor=SYSTEM)
        self.settle()
        grant.refresh_from_db()
        return grant

    def order(
        self, consumer: Member, lines: dict[str, tuple[Grant, int]], **changes: Any
    ) -> tuple[JobSpec, SignedRequest]:
        """A signed order: role to (grant, units)."""
        participants = []
        for role, (grant, _units) in lines.items():
            current = grant.dataset.current
            participants.append(
                Participant(
                    role=role,
                    party=grant.provider_id,
                    grant=grant.grant_id,
                    dataset=grant.dataset_id,
                    commitment=current.commitment if current else None,
                    columns=tuple(grant.columns),
                )
            )
        spec = JobSpec(
            kind=changes.pop("kind", "psi"),
            purpose=changes.pop("purpose", "study A-17"),
            consumer=consumer.id,
            result_key=hexadecimal(consumer.keys.box_key),
            participants=tuple(participants),
            params=changes.pop("params", {"keys": {"left": ["patient"], "right": ["patient"]}}),
        )
        struct = eip712.JobRequest(
            consumer=consumer.keys.id,
            spec_hash=canonical.digest(spec),
            nonce=secrets.token_bytes(32),
            deadline=changes.pop("deadline", int(time.time()) + 3600),
            lines=tuple(
                eip712.Line(from_hex(grant.grant_id or ""), units, 0) for grant, units in lines.values()
            ),
        )
        return spec, self.sign_request(replace(struct, **changes), consumer)

    def sign_request(self, struct: eip712.JobRequest, consumer: Member) -> SignedRequest:
        """The document of a request, signed by the consumer."""
        return SignedRequest(
            job=to_hex(eip712.struct_hash(struct)),
            consumer=to_hex(struct.consumer),
            spec_hash=to_hex(struct.spec_hash),
            nonce=to_hex(struct.nonce),
            deadline=struct.deadline,
            lines=tuple(
                RequestLine(grant=to_hex(line.grant), units=line.units, epsilon_micro=line.epsilon_micro)
                for line in struct.lines
            ),
            signature=hexadecimal(self.lab.sign("UsageLedger", struct, consumer.keys)),
        )

    def submit(self, consumer: Member, lines: dict[str, tuple[Grant, int]], **changes: Any) -> Job:
        """A submitted job, not yet reserved."""
        spec, request = self.order(consumer, lines, **changes)
        return submit_job(spec=spec, request=request, actor=consumer.actor())
