"""A small market in the tables: five people, three datasets, grants, jobs and receipts in every state.

Alice acts for a hospital (provider), Bob for an institute (consumer), Charlie for a firm that has nothing to
do with either, Rita for the regulator, Otto for the operator. No chain: rows are as the index writes them.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model

from contracts.eip712 import Role
from market.audit import services as audit
from market.audit.models import Reconciliation
from market.billing.models import Invoice, InvoiceLine
from market.catalog.models import Dataset, DatasetVersion, Offer
from market.grants.models import Grant
from market.jobs.models import Draft, Job, JobEvent, JobPart, SealedResult
from market.ledger.models import Batch, Block, ChainEvent, ChainTransaction, Receipt, WorkerBeat
from market.parties.actor import Actor
from market.parties.models import Membership, NodeStatus, Party

PASSWORD = "a long enough pass phrase"
DAY_S = 86_400
FEATURES = [
    "mean radius",
    "mean texture",
    "mean perimeter",
    "mean area",
    "mean smoothness",
    "mean compactness",
]


def digest(*parts: object) -> str:
    """A stable stand-in for an id or a hash."""
    return "0x" + hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


@dataclass
class World:
    """The rows that tests look for."""

    hospital: Party
    institute: Party
    firm: Party
    regulator: Party
    operator: Party
    west: Party
    panel: Dataset
    other: Dataset
    offer: Offer
    closed_offer: Offer
    other_offer: Offer
    requested: Grant
    active: Grant
    west_grant: Grant
    refused: Grant
    revoked: Grant
    others_grant: Grant
    running: Job
    settled: Job
    denied: Job
    others_job: Job
    receipt: Receipt
    unanchored: Receipt
    others_receipt: Receipt
    invoice: Invoice
    draft: Draft
    logins: dict[str, Any] = field(default_factory=dict)


def build() -> World:
    """Fill the tables; call once per test database state."""
    now = int(time.time())
    for number in range(1, 121):
        Block.objects.create(
            number=number, hash=digest("block", number), timestamp=now - 120 * 60 + number * 60
        )
    hospital = _party("Hospital East", "东区医院", Role.PROVIDER, 12, "http://127.0.0.1:8611")
    west = _party("Hospital West", "西区医院", Role.PROVIDER, 13, "http://127.0.0.1:8612")
    institute = _party("Research Institute", "医学研究院", Role.CONSUMER, 14)
    firm = _party("Charlie & Sons Analytics", "查理分析公司", Role.PROVIDER | Role.CONSUMER, 15)
    regulator = _party("Data Bureau", "数据局", Role.REGULATOR, 16)
    operator = _party("Market Operator", "市场运营方", Role.OPERATOR, 11)
    logins = {
        "alice": _login("alice", hospital, "provider"),
        "bob": _login("bob", institute, "consumer"),
        "charlie": _login("charlie", firm, "provider", "consumer"),
        "rita": _login("rita", regulator, "regulator"),
        "otto": _login("otto", operator, "operator"),
    }
    NodeStatus.objects.create(
        party=hospital, reachable=True, software="liutong 0.1.0", chain_block=120, seen_at=datetime.now(UTC)
    )
    NodeStatus.objects.create(party=west, reachable=False, error="connection refused")
    for worker in ("relay", "index", "drive"):
        WorkerBeat.objects.create(name=worker)

    panel = _dataset(hospital, "Breast biopsies, East", 30, ["psi", "stats", "fl"], rows=341)
    west_panel = _dataset(west, "Breast biopsies, West", 31, ["stats", "fl"], rows=228)
    other = _dataset(firm, "Purchases", 32, ["psi", "pir"], rows=90_112)
    Dataset.objects.create(
        dataset_id=digest("dataset", "service"),
        provider=hospital,
        name="Encryption desk",
        kind="service",
        operations=["eaas"],
        state="registered",
        current_version=1,
        description="Paillier, SM2 and SM4 keys held by the hospital's node.",
    )
    offer = _offer(panel, "Research use of biopsies", ["psi", "stats", "fl"])
    closed_offer = _offer(panel, "Pilot, closed", ["stats"], state="closed")
    west_offer = _offer(west_panel, "Research use, West", ["stats", "fl"])
    other_offer = _offer(other, "Purchases for matching", ["psi", "pir"], columns=["shopper", "basket"])

    requested = _grant(offer, institute, "requested", note="We extend study A-17 by one year.")
    active = _grant(offer, institute, "active", used=64, reserved=12, block=60)
    west_grant = _grant(west_offer, institute, "active", used=3, block=61)
    revoked = _grant(offer, institute, "revoked", purpose="study B-02", used=5, block=50)
    refused = _grant(offer, institute, "refused", purpose="advertising")
    refused.refusal = {
        "code": "policy.refused",
        "rule": "ceiling.purposes",
        "message": "the purpose is not in the node's ceiling",
        "remedy": "ask for a purpose of medical research",
    }
    refused.save()
    others_grant = _grant(other_offer, firm, "active", purpose="own use", block=62)
    _grant(offer, institute, "declined", purpose="study C-9", note="Please describe the ethics approval.")

    running = _job(institute, "stats.horizontal", "running", [("p1", active), ("p2", west_grant)])
    _events(
        running,
        "p1",
        [("accepted", 0, 0), ("reading", 0, 0), ("connecting", 0, 0), ("stats.encrypt", 212, 341)],
    )
    _events(running, "p2", [("accepted", 0, 0), ("reading", 0, 0)])
    running.parts.filter(role="p1").update(node_state="running", phase="stats.encrypt", done=212, total=341)
    running.parts.filter(role="p2").update(node_state="running", phase="reading")
    settled = _job(institute, "psi", "settled", [("left", active), ("right", west_grant)])
    _events(
        settled,
        "left",
        [
            ("accepted", 0, 0),
            ("reading", 0, 0),
            ("connecting", 0, 0),
            ("psi.match", 341, 341),
            ("completed", 0, 0),
        ],
    )
    _events(settled, "right", [("accepted", 0, 0), ("reading", 0, 0), ("completed", 0, 0)])
    settled.parts.update(node_state="completed")
    SealedResult.objects.create(job=settled, role="left", payload=b"sealed")
    denied = _job(institute, "psi", "refused", [("left", revoked)])
    denied.reason = {
        "code": "policy.refused",
        "rule": "grant.revoked",
        "message": "the grant was revoked at block 88",
        "remedy": "ask for a new grant",
        "party": hospital.party_id,
    }
    denied.save()
    denied.parts.update(
        node_state="refused",
        reason="policy.refused",
        rule="grant.revoked",
        message="the grant was revoked at block 88",
        remedy="ask for a new grant",
    )
    _events(denied, "left", [("refused", 0, 0)])
    others_job = _job(firm, "pir.keyword", "settled", [("server", others_grant)])

    receipt = _receipt(hospital, 1, settled, active, "completed", units=64, block=90)
    settled.parts.filter(role="left").update(receipt_digest=receipt.digest)
    west_receipt = _receipt(west, 1, settled, west_grant, "completed", units=3, block=91)
    settled.parts.filter(role="right").update(receipt_digest=west_receipt.digest)
    _receipt(
        hospital,
        2,
        denied,
        revoked,
        "refused",
        block=95,
        reason=("policy.refused", "grant.revoked", "the grant was revoked at block 88"),
    )
    unanchored = _receipt(
        hospital, 3, running, active, "failed", reason=("wire.peer_lost", "", "the peer fell silent")
    )
    others_receipt = _receipt(firm, 1, others_job, others_grant, "completed", units=9, block=93)
    invoice = _invoice(hospital, institute, receipt, 2)
    _invoice(west, institute, west_receipt, 2)
    draft = Draft.objects.create(
        consumer=institute,
        document={
            "kind": "psi",
            "purpose": "study A-17",
            "participants": [
                {
                    "role": "left",
                    "grant": active.grant_id,
                    "party": hospital.party_id,
                    "dataset": panel.dataset_id,
                    "dataset_name": panel.name,
                }
            ],
            "params": {"keys": {"left": ["patient"], "right": ["pid"]}},
        },
    )
    _outbox(active, hospital)
    for verb, actor, party, subject in (
        ("party.proposed", "user:otto", operator, hospital.party_id),
        ("offer.published", "user:alice", hospital, str(offer.id)),
        ("grant.requested", "user:bob", institute, str(active.id)),
        ("grant.approved", "user:alice", hospital, str(active.id)),
        ("job.submitted", "key:lt_3fa09c", institute, settled.job_id),
    ):
        audit.append(verb, actor=Actor(actor, party), subject=subject)
    Reconciliation.objects.create(block_number=118, agreed=True)
    Reconciliation.objects.create(
        block_number=120,
        agreed=False,
        differences=[
            {
                "code": "grant.differs",
                "subject": active.grant_id,
                "field": "used",
                "chain": 64,
                "portal": 63,
                "node": None,
                "message": "",
            },
        ],
    )
    return World(
        hospital,
        institute,
        firm,
        regulator,
        operator,
        west,
        panel,
        other,
        offer,
        closed_offer,
        other_offer,
        requested,
        active,
        west_grant,
        refused,
        revoked,
        others_grant,
        running,
        settled,
        denied,
        others_job,
        receipt,
        unanchored,
        others_receipt,
        invoice,
        draft,
        logins,
    )


def _party(name: str, name_zh: str, roles: Role, block: int, url: str = "") -> Party:
    party_id = digest("party", name)
    address = digest("address", name)[:42]
    ChainEvent.objects.create(
        block_number=block,
        block_hash=digest("block", block),
        log_index=0,
        tx_hash=digest("tx", block),
        contract="PartyRegistry",
        name="PartyEnrolled",
        args={"party": party_id, "key": address, "roles": int(roles)},
    )
    return Party.objects.create(
        party_id=party_id,
        name=name,
        name_zh=name_zh,
        roles=int(roles),
        address=address,
        box_key=digest("box", name),
        node_url=url,
        state="enrolled",
        enrolled_block=block,
    )


def _login(username: str, party: Party, *roles: str) -> Any:
    user = get_user_model().objects.create_user(username=username, password=PASSWORD)
    for role in roles:
        Membership.objects.create(user=user, party=party, role=role)
    return user


def _dataset(provider: Party, name: str, block: int, operations: list[str], *, rows: int) -> Dataset:
    dataset = Dataset.objects.create(
        dataset_id=digest("dataset", name),
        provider=provider,
        name=name,
        operations=operations,
        state="registered",
        current_version=1,
        description="Fine-needle aspirates with the diagnosis and ten measured features of the cell nuclei.",
    )
    columns = [
        {"name": "patient", "type": "string", "grade": "L3", "description": "hospital's own number"},
        {"name": "diagnosis", "type": "string", "grade": "L3", "description": "malignant or benign"},
        *({"name": feature, "type": "number", "grade": "L2", "description": ""} for feature in FEATURES),
        {"name": "postal code", "type": "string", "grade": "L1", "description": "first three digits"},
        {"name": "name", "type": "string", "grade": "L4", "description": "never leaves"},
    ]
    DatasetVersion.objects.create(
        dataset=dataset,
        version=1,
        columns=columns,
        row_count=rows,
        commitment=digest("commitment", name),
        schema_hash=digest("schema", name),
        registered_at=datetime.now(UTC) - timedelta(hours=1),
        block_number=block,
        tx_hash=digest("tx", block),
    )
    ChainEvent.objects.create(
        block_number=block,
        block_hash=digest("block", block),
        log_index=1,
        tx_hash=digest("tx", block),
        contract="DatasetRegistry",
        name="DatasetRegistered",
        args={"dataset": dataset.dataset_id, "provider": provider.party_id, "version": 1},
    )
    return dataset


def _offer(
    dataset: Dataset,
    title: str,
    operations: list[str],
    *,
    state: str = "open",
    columns: list[str] | None = None,
) -> Offer:
    return Offer.objects.create(
        dataset=dataset,
        title=title,
        operations=operations,
        purposes=["study A-17", "study B-02"],
        state=state,
        columns=columns or ["patient", "diagnosis", *FEATURES],
        min_cohort=5,
        max_quota=500,
        max_days=365,
        price_credits=2,
        description="For registered studies with an ethics vote.",
    )


def _grant(
    offer: Offer,
    consumer: Party,
    state: str,
    *,
    purpose: str = "study A-17",
    used: int = 0,
    reserved: int = 0,
    block: int | None = None,
    note: str = "",
) -> Grant:
    now = int(time.time())
    grant = Grant(
        offer=offer,
        provider=offer.dataset.provider,
        consumer=consumer,
        dataset=offer.dataset,
        purpose=purpose,
        operations=offer.operations,
        columns=offer.columns[:4],
        quota=200,
        not_before=now - DAY_S,
        expiry=now + 180 * DAY_S,
        state=state,
        used=used,
        reserved=reserved,
        note=note,
    )
    if block is not None:
        grant.grant_id = digest("grant", offer.title, purpose, consumer.name)
        grant.terms = {"min_cohort": 5, "price_credits": 2}
        grant.terms_hash = digest("terms", grant.grant_id)
        grant.signature = "0x" + "5a" * 65
        grant.block_number, grant.tx_hash = block, digest("tx", block)
        ChainEvent.objects.create(
            block_number=block,
            block_hash=digest("block", block),
            log_index=2,
            tx_hash=digest("tx", block),
            contract="UsageLedger",
            name="GrantActivated",
            args={
                "grant": grant.grant_id,
                "provider": grant.provider_id,
                "consumer": consumer.party_id,
                "dataset": offer.dataset_id,
            },
        )
    grant.save()
    return grant


def _job(consumer: Party, kind: str, state: str, parts: list[tuple[str, Grant]]) -> Job:
    job_id = digest("job", kind, state, consumer.name)
    now = int(time.time())
    job = Job.objects.create(
        job_id=job_id,
        consumer=consumer,
        kind=kind,
        purpose="study A-17",
        state=state,
        deadline=now + 900,
        spec={"params": {"value": "mean radius", "groups": ["malignant", "benign"]}},
        request={"job": job_id, "spec_hash": digest("spec", job_id), "signature": "0x" + "7b" * 65},
    )
    for role, grant in parts:
        JobPart.objects.create(job=job, role=role, party=grant.provider, grant=grant)
    _events(
        job,
        "",
        [
            ("submitted", 0, 0),
            ("reserved", 0, 0),
            *([(state, 0, 0)] if state in ("settled", "refused") else []),
        ],
    )
    return job


def _events(job: Job, role: str, lines: list[tuple[str, int, int]]) -> None:
    start = int(time.time() * 1000) - 9000
    for number, (phase, done, total) in enumerate(lines, 1):
        JobEvent.objects.create(
            job=job,
            role=role,
            sequence=number,
            at_ms=start + number * 1400,
            phase=phase,
            done=done,
            total=total,
        )


def _receipt(
    node: Party,
    sequence: int,
    job: Job,
    grant: Grant,
    outcome: str,
    *,
    units: int = 0,
    block: int | None = None,
    reason: tuple[str, str, str] = ("", "", ""),
) -> Receipt:
    batch = None
    if block is not None:
        batch = Batch.objects.create(
            node=node.party_id,
            first_sequence=sequence,
            count=1,
            root=digest("root", node.name, sequence),
            state="anchored",
            block_number=block,
            block_hash=digest("block", block),
            tx_hash=digest("tx", block),
        )
        ChainEvent.objects.create(
            block_number=block,
            block_hash=digest("block", block),
            log_index=3,
            tx_hash=digest("tx", block),
            contract="UsageLedger",
            name="ReceiptAnchored",
            args={"node": node.party_id, "job": job.job_id, "grant": grant.grant_id, "sequence": sequence},
        )
    return Receipt.objects.create(
        digest=digest("receipt", node.name, sequence),
        node=node.party_id,
        sequence=sequence,
        previous=digest("receipt", node.name, sequence - 1) if sequence > 1 else "0x" + "00" * 32,
        job_id=job.job_id,
        grant_id=grant.grant_id,
        spec_hash=digest("spec", job.job_id),
        commitment=digest("commitment", node.name),
        transcript=digest("transcript", job.job_id),
        units=units,
        outcome=outcome,
        settles=outcome == "completed",
        issued_at=int(time.time()) - 3600 * sequence,
        detail={
            "kind": job.kind,
            "role": "left",
            "purpose": job.purpose,
            "reason": reason[0],
            "rule": reason[1],
            "message": reason[2],
            "metrics": {"rows": 341, "bytes_in": 18_204, "bytes_out": 20_110} if units else {},
        },
        signature="0x" + "3c" * 65,
        batch=batch,
        state="anchored" if batch else "signed",
        charged_units=units,
        tx_hash=digest("tx", block) if batch else "",
        block_number=block,
        block_hash=digest("block", block) if batch else "",
    )


def _invoice(provider: Party, consumer: Party, receipt: Receipt, price: int) -> Invoice:
    invoice = Invoice.objects.create(
        provider=provider,
        consumer=consumer,
        period=f"{datetime.now(UTC):%Y-%m}",
        units=receipt.charged_units,
        amount_credits=receipt.charged_units * price,
    )
    InvoiceLine.objects.create(
        invoice=invoice,
        receipt_digest=receipt.digest,
        grant_id=receipt.grant_id,
        job_id=receipt.job_id,
        units=receipt.charged_units,
        price_credits=price,
        amount_credits=receipt.charged_units * price,
    )
    return invoice


def _outbox(grant: Grant, party: Party) -> None:
    rows: list[tuple[str, str, str, dict[str, Any]]] = [
        ("enrol", party.party_id, "mined", {"block_number": 12, "gas_used": 181_204}),
        ("activate", str(grant.grant_id), "mined", {"block_number": 60, "gas_used": 134_200}),
        (
            "reserve",
            digest("job", "late"),
            "reverted",
            {"error": {"name": "QuotaExceeded", "code": "chain.reverted"}},
        ),
        ("commit", f"{party.party_id}:3", "queued", {}),
    ]
    for number, (purpose, subject, state, fields) in enumerate(rows):
        if state != "queued":
            fields |= {"nonce": number, "tx_hash": digest("tx", "outbox", number)}
        ChainTransaction.objects.create(
            key=f"{purpose}:{number}",
            purpose=purpose,
            subject=subject,
            to="0x" + "ab" * 20,
            data="0x",
            state=state,
            **fields,
        )
