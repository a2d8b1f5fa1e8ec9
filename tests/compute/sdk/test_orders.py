"""Orders: what is signed is what was agreed, and nothing else gets a signature."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from compute.errors import BadInput, KeyStoreLocked
from compute.protocols.protocol import job_kind
from compute.sdk.errors import BadPortalAnswer
from compute.sdk.identity import Identity
from compute.sdk.jobs import Jobs  # noqa: F401 - registers the kinds
from compute.sdk.objects import Grant, PartyRef
from compute.sdk.orders import prepare_order, same_grant
from compute.sdk.workspace import JobRecord, Workspace
from compute.wire import canonical, structs
from compute.wire.canonical import to_hex
from compute.wire.messages import GrantProposal, GrantTerms
from contracts import eip712

DOMAIN = eip712.Domain(31337, "0x" + "ab" * 20)
SECRET = b"a passphrase of some length"


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity.create(tmp_path_factory.mktemp("keys") / "party.keys", SECRET)


def grant_of(identity: Identity, provider: str = "0x" + "22" * 32, **changes: Any) -> Grant:
    terms = GrantTerms(
        offer="o",
        purpose="study",
        operations=("psi", "stats"),
        columns=("patient_id", "mean_radius", "diagnosis"),
        min_cohort=7,
        price_credits=2,
        salt="0x" + os.urandom(32).hex(),
    )
    proposal = GrantProposal(
        provider=provider,
        consumer=identity.party,
        dataset="0x" + os.urandom(32).hex(),
        terms=terms,
        quota=1000,
        epsilon_micro=0,
        not_before=0,
        expiry=2_000_000_000,
    )
    fields = {
        "id": "1",
        "provider": PartyRef(party=proposal.provider),
        "consumer": PartyRef(party=proposal.consumer),
        "dataset": proposal.dataset,
        "purpose": "study",
        "operations": list(terms.operations),
        "columns": list(terms.columns),
        "quota": proposal.quota,
        "state": "active",
        "grant": to_hex(eip712.struct_hash(structs.grant(proposal))),
        "commitment": "0x" + "33" * 32,
        "not_before": 0,
        "expiry": proposal.expiry,
        "terms": msgspec.to_builtins(terms),
    }
    return Grant(**{**fields, **changes})


def order_of(identity: Identity, left: Grant, right: Grant, **options: Any) -> Any:
    return prepare_order(
        job_kind("psi"),
        purpose="study",
        grants={"left": left, "right": right},
        params={"keys": {"left": ["patient_id"], "right": ["patient_id"]}, "max_elements": 50},
        identity=identity,
        domain=DOMAIN,
        **options,
    )


def test_an_order_is_signed_by_the_party_and_binds_the_spec(identity: Identity) -> None:
    order = order_of(identity, grant_of(identity), grant_of(identity, "0x" + "44" * 32))
    struct = structs.job_request(order.request)
    signature = bytes.fromhex(order.request.signature[2:])
    assert eip712.recover(DOMAIN, struct, signature) == identity.signer.address
    assert to_hex(canonical.digest(order.spec)) == order.request.spec_hash
    assert to_hex(eip712.struct_hash(struct)) == order.job
    assert order.request.deadline > time.time()
    assert {line.units for line in order.request.lines} == {50}
    assert order.min_cohort == 7
    assert all("patient_id" in item.columns for item in order.spec.participants)


def test_two_orders_of_the_same_thing_are_two_jobs(identity: Identity) -> None:
    left, right = grant_of(identity), grant_of(identity, "0x" + "44" * 32)
    assert order_of(identity, left, right).job != order_of(identity, left, right).job


def test_less_than_computed_can_be_reserved(identity: Identity) -> None:
    left, right = grant_of(identity), grant_of(identity, "0x" + "44" * 32)
    order = order_of(identity, left, right, units={"left": 9})
    assert {line.grant: line.units for line in order.request.lines} == {left.grant: 9, right.grant: 50}


@pytest.mark.parametrize(
    ("kind", "given", "left", "reserved"),
    [
        ("psi", {}, (700, 900), 700),
        ("psi", {}, (None, None), 100_000),
        ("psi", {}, (200_000, 300_000), 100_000),
        ("psi", {"max_elements": 5000}, (700, 900), 5000),
        ("psi.cardinality", {}, (0, 900), 900),
    ],
    ids=["what is left", "nobody knows", "the default", "as given", "exhausted"],
)
def test_where_no_bound_is_given_an_order_fits_what_the_grants_have_left(
    identity: Identity, kind: str, given: dict[str, int], left: tuple[int | None, int | None], reserved: int
) -> None:
    grants = {
        "left": grant_of(identity, left=left[0]),
        "right": grant_of(identity, "0x" + "44" * 32, left=left[1]),
    }
    order = prepare_order(
        job_kind(kind),
        purpose="study",
        grants=grants,
        params={"keys": {"left": ["patient_id"], "right": ["patient_id"]}, **given},
        identity=identity,
        domain=DOMAIN,
    )
    assert {line.units for line in order.request.lines} == {reserved}
    assert order.spec.params["max_elements"] == order.params.max_elements == reserved


def test_a_bound_that_is_not_what_is_reserved_stays(identity: Identity) -> None:
    vertical = job_kind("stats.vertical")
    example = {name: value for name, value in vertical.example.items() if name != "max_elements"}
    grants = {
        role: grant_of(identity, "0x" + digit * 64, left=700)
        for role, digit in zip(("values", "members"), "25", strict=True)
    }
    order = prepare_order(
        vertical, purpose="study", grants=grants, params=example, identity=identity, domain=DOMAIN
    )
    assert order.params.max_elements == 100_000


def test_terms_that_the_portal_changed_are_noticed(identity: Identity) -> None:
    good = grant_of(identity)
    dearer = msgspec.structs.replace(good, terms={**(good.terms or {}), "price_credits": 1})
    with pytest.raises(BadPortalAnswer, match="not what was signed"):
        order_of(identity, dearer, grant_of(identity))
    with pytest.raises(BadPortalAnswer):
        order_of(identity, msgspec.structs.replace(good, quota=5), grant_of(identity))


def test_a_grant_in_place_of_the_one_asked_for_is_noticed(identity: Identity) -> None:
    asked, other = grant_of(identity), grant_of(identity)
    for reference in (asked, asked.grant, asked.id, msgspec.structs.replace(asked, grant=None)):
        assert same_grant(reference, asked) == asked
    for reference in (asked, asked.grant, "another id"):
        with pytest.raises(BadPortalAnswer, match="another grant"):
            same_grant(reference, other)
    with pytest.raises(BadPortalAnswer, match="another grant"):
        same_grant(asked, msgspec.structs.replace(asked, id="2"))


def test_a_grant_of_another_consumer_is_not_signed_for(identity: Identity) -> None:
    foreign = msgspec.structs.replace(grant_of(identity), consumer=PartyRef(party="0x" + "77" * 32))
    with pytest.raises(BadPortalAnswer, match="another consumer"):
        order_of(identity, foreign, grant_of(identity))


def test_a_grant_without_terms_cannot_be_used(identity: Identity) -> None:
    pending = msgspec.structs.replace(grant_of(identity), grant=None, terms=None, state="requested")
    with pytest.raises(BadInput, match="requested"):
        order_of(identity, pending, grant_of(identity))


def test_parameters_that_do_not_fit_are_refused_before_signing(identity: Identity) -> None:
    with pytest.raises(BadInput):
        prepare_order(
            job_kind("psi"),
            purpose="study",
            grants={"left": grant_of(identity), "right": grant_of(identity)},
            params={"keys": {"left": ["patient_id"]}, "surprise": 1},
            identity=identity,
            domain=DOMAIN,
        )


def test_a_key_file_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    path = tmp_path / "party.keys"
    made = Identity.create(path, SECRET)
    opened = Identity.open(path, SECRET)
    assert (opened.party, opened.signer.address) == (made.party, made.signer.address)
    with pytest.raises(KeyStoreLocked):
        Identity.open(path, b"another passphrase")
    with pytest.raises(BadInput):
        Identity.create(path, SECRET)
    assert made.party not in path.read_text()


def test_an_enrolment_proves_the_key_it_names(identity: Identity) -> None:
    enrolment = identity.enrolment("Research Institute", DOMAIN)
    signer = eip712.recover(DOMAIN, structs.node_key(enrolment), bytes.fromhex(enrolment.signature[2:]))
    assert signer == enrolment.address == identity.signer.address


def test_the_workspace_gives_job_secrets_back_to_their_owner_only(tmp_path: Path, identity: Identity) -> None:
    job = "0x" + "55" * 32
    Workspace(tmp_path, identity).save(JobRecord(job=job, spec=b"{}", secrets={"key": b"very secret"}))
    assert Workspace(tmp_path, identity).load(job).secrets == {"key": b"very secret"}
    assert all(b"very secret" not in file.read_bytes() for file in tmp_path.iterdir())
    stranger = Identity.create(tmp_path / "stranger.keys", SECRET)
    with pytest.raises(BadInput):
        Workspace(tmp_path, stranger).load(job)


def test_the_workspace_takes_ids_not_paths(tmp_path: Path, identity: Identity) -> None:
    with pytest.raises(BadInput):
        Workspace(tmp_path, identity).load("../../etc/passwd")
    with pytest.raises(BadInput, match="not started"):
        Workspace(tmp_path, identity).load("0x" + "66" * 32)


def test_secrets_do_not_show_in_a_repr(identity: Identity) -> None:
    order = order_of(identity, grant_of(identity), grant_of(identity, "0x" + "44" * 32))
    assert "secrets" not in repr(order)
    assert identity.box_private.hex() not in repr(identity)
