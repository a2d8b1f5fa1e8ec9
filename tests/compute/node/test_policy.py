"""Every rule of the policy, one by one: a job that passes, and the one change that makes it fail."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from coincurve import PrivateKey

import compute.protocols.kinds  # noqa: F401
from compute.errors import Refused
from compute.node import ceiling, policy
from compute.node.config import NodeConfig, load
from compute.node.policy import ChainView
from compute.wire import canonical, structs
from compute.wire.canonical import from_hex, to_hex
from compute.wire.messages import (
    DatasetManifest,
    GrantProposal,
    GrantTerms,
    JobSpec,
    JobSubmission,
    Participant,
    RequestLine,
    SignedRequest,
)
from contracts import eip712
from contracts.eip712 import Domain, Operation, Role
from contracts.records import (
    BlockRef,
    DatasetRecord,
    GrantRecord,
    KeyRecord,
    PartyRecord,
    ReservationRecord,
    ReservationState,
    VersionRecord,
)
from tests.compute.node.rig import patients_csv, table_toml

NOW = 1_800_000_000
DOMAIN = Domain(31337, "0x" + "11" * 20)
KEY = secrets.token_bytes(32)
CONSUMER, OTHER, DATASET = ("0x" + byte * 32 for byte in ("aa", "bb", "dd"))
COMMITMENT = "0x" + "cc" * 32


def address(key: bytes) -> str:
    return eip712.address_of(PrivateKey(key).public_key.format(compressed=False))


def party(ident: str, key_address: str, roles: Role) -> PartyRecord:
    return PartyRecord(from_hex(ident), roles, False, (KeyRecord(key_address, bytes(32), bytes(32), 1, 0),))


@dataclass
class Case:
    """A job that passes, to be changed by a test."""

    config: NodeConfig
    spec: JobSpec
    line: RequestLine
    terms: dict[str, GrantTerms]
    peers: dict[str, str]
    view: ChainView
    published: DatasetManifest | None
    deadline: int = NOW + 600
    now: int = NOW
    key: bytes = KEY
    withdrawn: bool = False

    @property
    def ours(self) -> GrantRecord:
        record = self.view.grants[self.spec.participants[0].grant or ""]
        assert record is not None
        return record

    def change_grant(self, **changes: Any) -> None:
        ident = self.spec.participants[0].grant or ""
        self.view = replace(self.view, grants={**self.view.grants, ident: replace(self.ours, **changes)})

    def change_ours(self, **changes: Any) -> None:
        mine, other = self.spec.participants
        self.spec = msgspec.structs.replace(
            self.spec, participants=(msgspec.structs.replace(mine, **changes), other)
        )

    def change_spec(self, **changes: Any) -> None:
        self.spec = msgspec.structs.replace(self.spec, **changes)

    def change_dataset(self, **changes: Any) -> None:
        assert self.view.dataset is not None
        self.view = replace(self.view, dataset=replace(self.view.dataset, **changes))

    def change_reservation(self, **changes: Any) -> None:
        assert self.view.reservation is not None
        self.view = replace(self.view, reservation=replace(self.view.reservation, **changes))

    def change_ceiling(self, **changes: Any) -> None:
        dataset = self.config.dataset[0]
        ceiling = msgspec.structs.replace(dataset.ceiling, **changes)
        self.config = msgspec.structs.replace(
            self.config, dataset=(msgspec.structs.replace(dataset, ceiling=ceiling),)
        )

    def change_terms(self, **changes: Any) -> None:
        ident = self.spec.participants[0].grant or ""
        self.terms[ident] = msgspec.structs.replace(self.terms[ident], **changes)
        self.change_grant(terms_hash=canonical.digest(self.terms[ident]))

    def submission(self) -> JobSubmission:
        request = SignedRequest(
            job="0x" + "00" * 32,
            consumer=self.spec.consumer,
            spec_hash=to_hex(canonical.digest(self.spec)),
            nonce="0x" + "01" * 32,
            deadline=self.deadline,
            lines=(self.line,),
            signature="0x" + "00" * 65,
        )
        struct = structs.job_request(request)
        request = msgspec.structs.replace(
            request,
            job=to_hex(eip712.struct_hash(struct)),
            signature=to_hex(eip712.sign(DOMAIN, struct, self.key)),
        )
        return JobSubmission(spec=self.spec, request=request, terms=self.terms, peers=self.peers)

    def admit(self) -> policy.Admission:
        submission = self.submission()
        view = self.view
        if view.reservation is not None and view.reservation.spec_hash == bytes(32):
            spec_hash = from_hex(submission.request.spec_hash)
            view = replace(view, reservation=replace(view.reservation, spec_hash=spec_hash))
        signer = policy.authenticate(submission, DOMAIN)
        return policy.admit(
            submission, signer, view, self.config, self.published, self.now, withdrawn=self.withdrawn
        )


@pytest.fixture
def case(tmp_path: Path) -> Case:
    patients_csv(tmp_path / "patients.csv", ["p1", "p2", "p3"])
    node = to_hex(secrets.token_bytes(32))
    (tmp_path / "node.toml").write_text(
        f'name = "East"\nparty = "{node}"\n[peers]\nallow = ["127.0.0.1:*", "*.clinic.example:8611"]\n'
        + table_toml(DATASET, "patients.csv")
    )
    config = load(tmp_path / "node.toml", {})
    terms = GrantTerms(
        offer="1",
        purpose="epidemiology",
        operations=("psi",),
        columns=("patient_id", "diagnosis"),
        min_cohort=2,
        price_credits=1,
        salt="0x" + "05" * 32,
    )
    theirs = msgspec.structs.replace(terms, min_cohort=3)
    grant, other_grant = "0x" + "a1" * 32, "0x" + "a2" * 32
    spec = JobSpec(
        kind="psi",
        purpose="epidemiology",
        consumer=CONSUMER,
        result_key="0x" + "99" * 32,
        participants=(
            Participant(
                role="left",
                party=node,
                grant=grant,
                dataset=DATASET,
                commitment=COMMITMENT,
                columns=("patient_id", "diagnosis"),
            ),
            Participant(
                role="right",
                party=OTHER,
                grant=other_grant,
                dataset="0x" + "de" * 32,
                commitment=COMMITMENT,
                columns=("pid",),
            ),
        ),
        params={"keys": {"left": ["patient_id"], "right": ["pid"]}, "max_elements": 50},
    )
    record = GrantRecord(
        grant=from_hex(grant),
        provider=from_hex(node),
        consumer=from_hex(CONSUMER),
        dataset=from_hex(DATASET),
        terms_hash=canonical.digest(terms),
        operations=int(Operation.PSI),
        quota=100,
        epsilon_micro=0,
        not_before=NOW - 10,
        expiry=NOW + 1000,
        used=0,
        reserved=50,
        epsilon_used=0,
        epsilon_reserved=0,
        activated_at=NOW - 10,
        revoked_at=0,
    )
    theirs_record = replace(
        record,
        grant=from_hex(other_grant),
        provider=from_hex(OTHER),
        terms_hash=canonical.digest(theirs),
    )
    version = VersionRecord(1, from_hex(COMMITMENT), bytes(32), 1, NOW - 100)
    view = ChainView(
        block=BlockRef(10, bytes(32), NOW, bytes(32)),
        node=party(node, "0x" + "22" * 20, Role.PROVIDER),
        consumer=party(CONSUMER, address(KEY), Role.CONSUMER),
        grants={grant: record, other_grant: theirs_record},
        dataset=DatasetRecord(from_hex(DATASET), from_hex(node), False, (version,)),
        reservation=ReservationRecord(
            bytes(32), from_hex(grant), bytes(32), 50, 0, NOW + 600, ReservationState.OPEN
        ),
    )
    published = DatasetManifest(
        dataset=DATASET,
        provider=node,
        version=1,
        kind="table",
        name="Patients",
        description="",
        columns=config.dataset[0].columns,
        row_count=3,
        commitment=COMMITMENT,
        schema_hash="0x" + "00" * 32,
        signature="0x" + "00" * 65,
    )
    return Case(
        config=config,
        spec=spec,
        line=RequestLine(grant=grant, units=50),
        terms={grant: terms, other_grant: theirs},
        peers={"left": "http://127.0.0.1:8611", "right": "http://north.clinic.example:8611"},
        view=view,
        published=published,
    )


def test_a_job_that_keeps_every_rule_is_admitted_under_the_strictest_floor(case: Case) -> None:
    admission = case.admit()
    assert admission.role == "left"
    assert admission.units == 50
    assert admission.min_cohort == 3
    assert admission.kind.name == "psi"


def consumer_record(**changes: Any) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        assert case.view.consumer is not None
        case.view = replace(case.view, consumer=replace(case.view.consumer, **changes))

    return change


def set_view(**changes: Any) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        case.view = replace(case.view, **changes)

    return change


def no_grant_on_chain(case: Case) -> None:
    case.view = replace(case.view, grants={**case.view.grants, case.line.grant: None})


def suspend_node(case: Case) -> None:
    assert case.view.node is not None
    case.view = replace(case.view, node=replace(case.view.node, suspended=True))


def twice(case: Case) -> None:
    mine, other = case.spec.participants
    case.change_spec(participants=(mine, msgspec.structs.replace(other, party=mine.party)))


def another_role(case: Case) -> None:
    mine, other = case.spec.participants
    case.change_spec(participants=(msgspec.structs.replace(mine, role="middle"), other))


def not_named(case: Case) -> None:
    mine, other = case.spec.participants
    case.change_spec(participants=(msgspec.structs.replace(mine, party="0x" + "ef" * 32), other))


def forged_terms_of_the_other_grant(case: Case) -> None:
    other = case.spec.participants[1].grant or ""
    case.terms[other] = msgspec.structs.replace(case.terms[other], min_cohort=1)


def forged_own_terms(case: Case) -> None:
    case.terms[case.line.grant] = msgspec.structs.replace(case.terms[case.line.grant], columns=("age",))


def reads_undeclared_columns(case: Case) -> None:
    case.change_ours(columns=("diagnosis",))


def line_for_another_grant(case: Case) -> None:
    case.line = RequestLine(grant="0x" + "77" * 32, units=50)


def quota_gone(case: Case) -> None:
    case.view = replace(case.view, reservation=None)
    case.change_grant(used=80, reserved=0)


def epsilon_gone(case: Case) -> None:
    case.view = replace(case.view, reservation=None)
    case.line = msgspec.structs.replace(case.line, epsilon_micro=5)
    case.change_grant(reserved=0)


def no_reservation(case: Case) -> None:
    case.view = replace(case.view, reservation=None)
    case.change_grant(reserved=0)


def few_rows(case: Case) -> None:
    assert case.published is not None
    case.published = msgspec.structs.replace(case.published, row_count=2)


def newer_version(case: Case) -> None:
    assert case.view.dataset is not None
    newer = VersionRecord(2, bytes(32), bytes(32), 1, NOW)
    case.change_dataset(versions=(*case.view.dataset.versions, newer))


def unpublished(case: Case) -> None:
    case.published = None


def other_content_published(case: Case) -> None:
    assert case.published is not None
    case.published = msgspec.structs.replace(case.published, commitment="0x" + "00" * 32)


def asks_for_l4(case: Case) -> None:
    case.change_terms(columns=("patient_id", "diagnosis", "age"))
    case.change_ours(columns=("patient_id", "diagnosis", "age"))


def asks_for_unknown_column(case: Case) -> None:
    case.change_terms(columns=("patient_id", "diagnosis", "name"))
    case.change_ours(columns=("patient_id", "diagnosis", "name"))


def peer(url: str) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        case.peers["right"] = url

    return change


def set_case(**changes: Any) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        for name, value in changes.items():
            setattr(case, name, value)

    return change


RULES: list[tuple[str, str, Callable[[Case], None]]] = [
    ("consumer.unknown", "unknown consumer", set_view(consumer=None)),
    ("request.signature", "another key signed", set_case(key=secrets.token_bytes(32))),
    ("consumer.suspended", "suspended consumer", consumer_record(suspended=True)),
    ("consumer.role", "party is no consumer", consumer_record(roles=Role.PROVIDER)),
    ("request.deadline", "deadline passed", set_case(deadline=NOW)),
    ("node.suspended", "our own suspension", suspend_node),
    ("spec.kind", "unknown kind", lambda c: c.change_spec(kind="sorcery")),
    ("spec.params", "params that do not fit", lambda c: c.change_spec(params={"keys": 7})),
    ("spec.params", "roles that do not fit", another_role),
    ("spec.participants", "not named in the job", not_named),
    ("spec.params", "two roles of one party", twice),
    ("spec.peers", "metadata service", peer("http://169.254.169.254/latest")),
    ("spec.peers", "other port", peer("http://north.clinic.example:22")),
    ("spec.peers", "host in the user part", peer("http://127.0.0.1:80@evil.example:8611")),
    ("spec.peers", "file scheme", peer("file:///etc/passwd")),
    ("spec.peers", "suffix trick", peer("http://clinic.example.evil.example:8611")),
    ("spec.peers", "role not in the job", lambda c: c.peers.update(ghost="http://127.0.0.1:1")),
    ("grant.missing", "no line for the grant", line_for_another_grant),
    ("grant.unknown", "grant not on chain", no_grant_on_chain),
    ("grant.provider", "another provider's grant", lambda c: c.change_grant(provider=from_hex(OTHER))),
    ("grant.consumer", "another consumer's grant", lambda c: c.change_grant(consumer=from_hex(OTHER))),
    ("grant.revoked", "revoked on chain", lambda c: c.change_grant(revoked_at=NOW - 1)),
    ("grant.revoked", "revoked by us, not yet relayed", set_case(withdrawn=True)),
    ("grant.not_started", "not yet in force", lambda c: c.change_grant(not_before=NOW + 1)),
    ("grant.expired", "expired", lambda c: c.change_grant(expiry=NOW)),
    ("grant.dataset", "grant for another dataset", lambda c: c.change_grant(dataset=from_hex(OTHER))),
    ("grant.terms", "forged own terms", forged_own_terms),
    ("grant.terms", "forged terms of another grant", forged_terms_of_the_other_grant),
    ("operation", "mask on chain", lambda c: c.change_grant(operations=int(Operation.FL))),
    ("operation", "operation missing in terms", lambda c: c.change_terms(operations=("fl",))),
    ("purpose", "changed purpose", lambda c: c.change_spec(purpose="marketing")),
    ("columns", "reads undeclared columns", reads_undeclared_columns),
    ("columns", "columns not granted", lambda c: c.change_terms(columns=("patient_id",))),
    ("columns.unknown", "unknown column", asks_for_unknown_column),
    ("columns.grade", "grade L4", asks_for_l4),
    ("dataset.unknown", "never published", unpublished),
    ("dataset.owner", "not registered", set_view(dataset=None)),
    ("dataset.owner", "registered by another", lambda c: c.change_dataset(owner=from_hex(OTHER))),
    ("dataset.frozen", "frozen", lambda c: c.change_dataset(frozen=True)),
    ("dataset.version", "newer version on chain", newer_version),
    ("dataset.version", "we published another", other_content_published),
    ("ceiling.operations", "ceiling lowered", lambda c: c.change_ceiling(operations=("fl",))),
    ("ceiling.purposes", "purpose withdrawn", lambda c: c.change_ceiling(purposes=("care",))),
    ("ceiling.columns", "column withdrawn", lambda c: c.change_ceiling(columns=("patient_id",))),
    ("units", "too few units", lambda c: setattr(c, "line", RequestLine(grant=c.line.grant, units=49))),
    ("quota", "quota exhausted", quota_gone),
    ("epsilon", "ε exhausted", epsilon_gone),
    ("reservation", "never reserved", no_reservation),
    ("reservation", "smaller than asked", lambda c: c.change_reservation(units=49)),
    ("request.replayed", "settled", lambda c: c.change_reservation(state=ReservationState.SETTLED)),
    ("request.replayed", "released", lambda c: c.change_reservation(state=ReservationState.RELEASED)),
    ("spec.hash", "reserved for another spec", lambda c: c.change_reservation(spec_hash=b"\1" * 32)),
    ("cohort", "fewer rows than the floor", few_rows),
    ("cohort", "ceiling's floor raised", lambda c: c.change_ceiling(min_cohort=4)),
]


@pytest.mark.parametrize(("rule", "why", "change"), RULES, ids=[f"{r[0]}-{r[1]}" for r in RULES])
def test_each_rule_refuses_by_its_name(
    case: Case, rule: str, why: str, change: Callable[[Case], None]
) -> None:
    change(case)
    with pytest.raises(Refused) as caught:
        case.admit()
    assert caught.value.rule == rule
    assert caught.value.remedy


def test_a_garbled_submission_is_not_the_consumers_word(case: Case) -> None:
    submission = case.submission()
    replaced = msgspec.structs.replace
    changes = {
        "spec.hash": replaced(submission, spec=replaced(submission.spec, purpose="marketing")),
        "request.job": replaced(submission, request=replaced(submission.request, deadline=NOW + 601)),
        "request.signature": replaced(
            submission, request=replaced(submission.request, signature="0x" + "00" * 65)
        ),
    }
    for rule, changed in changes.items():
        with pytest.raises(Refused) as caught:
            policy.authenticate(changed, DOMAIN)
        assert caught.value.rule == rule


def test_a_signature_for_another_chain_names_another_signer(case: Case) -> None:
    submission = case.submission()
    assert policy.authenticate(submission, DOMAIN) == address(KEY)
    assert policy.authenticate(submission, Domain(1, DOMAIN.verifying_contract)) != address(KEY)


RECHECKS: list[tuple[str, Callable[[Case], None]]] = [
    ("grant.revoked", lambda c: c.change_grant(revoked_at=NOW)),
    ("grant.revoked", no_grant_on_chain),
    ("grant.revoked", set_case(withdrawn=True)),
    ("dataset.frozen", lambda c: c.change_dataset(frozen=True)),
    ("dataset.frozen", set_view(dataset=None)),
    ("dataset.version", newer_version),
    ("consumer.suspended", consumer_record(suspended=True)),
    ("node.suspended", suspend_node),
]


def recheck(case: Case) -> None:
    view = case.view
    policy.recheck(
        view.grants[case.line.grant],
        view.dataset,
        view.consumer,
        view.node,
        COMMITMENT,
        withdrawn=case.withdrawn,
    )


@pytest.mark.parametrize(("rule", "change"), RECHECKS)
def test_what_changes_while_a_job_runs_stops_its_release(
    case: Case, rule: str, change: Callable[[Case], None]
) -> None:
    recheck(case)
    change(case)
    with pytest.raises(Refused) as caught:
        recheck(case)
    assert caught.value.rule == rule


def test_a_grant_that_expires_while_its_job_runs_does_not_stop_it(case: Case) -> None:
    case.change_grant(expiry=NOW - 1)
    recheck(case)


def proposal(case: Case, **changes: Any) -> GrantProposal:
    terms = msgspec.structs.replace(
        case.terms[case.line.grant],
        **{name: changes.pop(name) for name in list(changes) if name in GrantTerms.__struct_fields__},
    )
    return GrantProposal(
        **{
            "provider": case.config.party,
            "consumer": CONSUMER,
            "dataset": DATASET,
            "terms": terms,
            "quota": 100,
            "epsilon_micro": 0,
            "not_before": NOW,
            "expiry": NOW + 86_400,
            **changes,
        }
    )


CEILINGS: list[tuple[str, dict[str, Any]]] = [
    ("dataset.unknown", {"dataset": OTHER}),
    ("dataset.unknown", {"provider": OTHER}),
    ("ceiling.operations", {"operations": ("eaas",)}),
    ("ceiling.operations", {"operations": ()}),
    ("ceiling.purposes", {"purpose": "  "}),
    ("columns.unknown", {"columns": ("patient_id", "name")}),
    ("columns.grade", {"columns": ("age",)}),
    ("ceiling.quota", {"quota": 0}),
    ("ceiling.quota", {"quota": 1_000_001}),
    ("ceiling.epsilon", {"epsilon_micro": 1}),
    ("ceiling.cohort", {"min_cohort": 1}),
    ("ceiling.days", {"expiry": NOW + 367 * 86_400}),
    ("ceiling.days", {"expiry": NOW}),
    ("grant.expired", {"not_before": NOW - 100, "expiry": NOW - 50}),
]


@pytest.mark.parametrize(("rule", "changes"), CEILINGS)
def test_the_node_signs_nothing_above_its_own_ceiling(case: Case, rule: str, changes: dict[str, Any]) -> None:
    ceiling.sign_grant(proposal(case), case.view.consumer, case.view.dataset, case.config, NOW)
    with pytest.raises(Refused) as caught:
        ceiling.sign_grant(proposal(case, **changes), case.view.consumer, case.view.dataset, case.config, NOW)
    assert caught.value.rule == rule


def test_the_node_signs_for_no_consumer_the_chain_does_not_name(case: Case) -> None:
    provider = party(CONSUMER, address(KEY), Role.PROVIDER)
    for consumer in (None, provider):
        with pytest.raises(Refused) as caught:
            ceiling.sign_grant(proposal(case), consumer, case.view.dataset, case.config, NOW)
        assert caught.value.rule == "consumer.unknown"


def test_a_lowered_price_floor_and_purpose_list_bind_proposals(case: Case) -> None:
    case.change_ceiling(min_price_credits=2)
    with pytest.raises(Refused) as caught:
        ceiling.sign_grant(proposal(case), case.view.consumer, None, case.config, NOW)
    assert caught.value.rule == "ceiling.price"
    case.change_ceiling(min_price_credits=0, purposes=("care",))
    with pytest.raises(Refused) as caught:
        ceiling.sign_grant(proposal(case), case.view.consumer, None, case.config, NOW)
    assert caught.value.rule == "ceiling.purposes"
