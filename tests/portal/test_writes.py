"""What people change through pages: only by POST, only with CSRF, only their own, through the services."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from market.audit.models import AuditEntry
from market.catalog.models import Offer
from market.grants.models import Grant
from market.jobs.models import Draft
from market.parties.models import ApiKey
from tests.portal.test_pages import PEOPLE, address
from tests.portal.world import PASSWORD, World

# path → who may do it.
WRITES: dict[str, set[str]] = {
    "/offers/{offer}/close/": {"alice"},
    "/grants/{requested}/approve/": {"alice"},
    "/grants/{requested}/decline/": {"alice"},
    "/grants/{active}/revoke/": {"alice"},
    "/jobs/{running}/cancel/": {"bob", "alice"},
    "/jobs/drafts/{draft}/delete/": {"bob"},
    "/audit/reconcile/": {"rita", "otto"},
    "/parties/{hospital}/suspend/": {"otto"},
}
# These may be called by the roles that own such things; a party that does not own the thing changes nothing.
HARMLESS = {("/jobs/drafts/{draft}/delete/", "charlie")}


@pytest.mark.parametrize("pattern", WRITES)
def test_writing_needs_post_and_a_token(world: World, sign_in: Callable[..., Client], pattern: str) -> None:
    person = sorted(WRITES[pattern])[0]
    path = address(world, pattern)
    assert sign_in(person).get(path).status_code == 405
    answer = sign_in(person, strict=True).post(path)
    assert answer.status_code == 403
    assert b"This form is no longer valid" in answer.content


@pytest.mark.parametrize("pattern", WRITES)
def test_writing_is_for_its_owners_only(world: World, sign_in: Callable[..., Client], pattern: str) -> None:
    before = (_everything(), AuditEntry.objects.count())
    for person in PEOPLE:
        if person in WRITES[pattern]:
            continue
        status = sign_in(person).post(address(world, pattern)).status_code
        assert status == (302 if (pattern, person) in HARMLESS else 404), person
    assert (_everything(), AuditEntry.objects.count()) == before


def _everything() -> tuple[Any, ...]:
    return (
        list(Grant.objects.order_by("pk").values_list("pk", "state", "revoke_requested_at")),
        list(Offer.objects.order_by("pk").values_list("pk", "state")),
        Draft.objects.count(),
    )


def test_alice_approves_narrower_than_asked(world: World, sign_in: Callable[..., Client]) -> None:
    answer = sign_in("alice").post(
        f"/grants/{world.requested.pk}/approve/",
        {"quota": 50, "days": 30, "note": "for one study"},
        follow=True,
    )
    world.requested.refresh_from_db()
    assert (world.requested.state, world.requested.quota) == ("proposed", 50)
    assert b"Your node now checks the terms" in answer.content


def test_widening_is_refused_beside_the_field(world: World, sign_in: Callable[..., Client]) -> None:
    answer = sign_in("alice").post(f"/grants/{world.requested.pk}/approve/", {"quota": 201, "days": 30})
    world.requested.refresh_from_db()
    assert answer.status_code == 422
    assert b"less than or equal to 200" in answer.content
    assert world.requested.state == "requested"


def test_decline_and_revoke_leave_a_note(world: World, sign_in: Callable[..., Client]) -> None:
    alice = sign_in("alice")
    alice.post(f"/grants/{world.requested.pk}/decline/", {"note": "no ethics vote"})
    alice.post(f"/grants/{world.active.pk}/revoke/", {"note": "study ended"})
    world.requested.refresh_from_db()
    world.active.refresh_from_db()
    assert (world.requested.state, world.requested.note) == ("declined", "no ethics vote")
    assert world.active.revoke_requested_at is not None
    assert b"Being revoked" in alice.get(f"/grants/{world.active.pk}/").content


def test_deciding_twice_is_told(world: World, sign_in: Callable[..., Client]) -> None:
    answer = sign_in("alice").post(f"/grants/{world.revoked.pk}/decline/")
    assert answer.status_code == 409
    assert b"Its state does not allow that" in answer.content


def _application(**changes: Any) -> dict[str, Any]:
    return {
        "operations": ["psi"], "columns": ["patient"], "purpose": "study B-02",
        "quota": 10, "days": 7, "note": "", **changes,
    }  # fmt: skip


def test_bob_applies_and_reads_his_sentence(world: World, sign_in: Callable[..., Client]) -> None:
    answer = sign_in("bob").post(f"/offers/{world.offer.pk}/apply/", _application(), follow=True)
    made = Grant.objects.order_by("-created_at").first()
    assert made is not None
    assert (made.state, made.operations, made.columns, made.quota) == ("requested", ["psi"], ["patient"], 10)
    page = answer.content.decode()
    assert "<b>Research Institute</b> may run <b>PSI</b> on <b>Breast biopsies, East</b>" in page
    assert "groups of <b>5</b> or more" in page


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"quota": 501}, "less than or equal to 500"),
        ({"quota": "many"}, "Enter a whole number"),
        ({"days": 0}, "greater than or equal to 1"),
        ({"purpose": "advertising"}, "not one of the available choices"),
        ({"operations": []}, "This field is required"),
        ({"operations": ["pir"]}, "not one of the available choices"),
        ({"columns": ["name"]}, "not one of the available choices"),
    ],
)
def test_application_outside_the_offer_is_refused_beside_the_field(
    world: World, sign_in: Callable[..., Client], change: dict[str, Any], told: str
) -> None:
    count = Grant.objects.count()
    answer = sign_in("bob").post(f"/offers/{world.offer.pk}/apply/", _application(**change))
    assert answer.status_code == 422
    assert told in answer.content.decode()
    assert Grant.objects.count() == count


def test_application_under_a_closed_offer_shows_why(world: World, sign_in: Callable[..., Client]) -> None:
    bob = sign_in("bob")
    Offer.objects.filter(pk=world.offer.pk).update(state="closed")
    assert bob.post(f"/offers/{world.offer.pk}/apply/", _application()).status_code == 404


def test_values_are_escaped_in_the_sentence(world: World, sign_in: Callable[..., Client]) -> None:
    Grant.objects.filter(pk=world.active.pk).update(purpose="<script>alert(1)</script> {quota}")
    page = sign_in("bob").get(f"/grants/{world.active.pk}/").content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; {quota}" in page


def test_alice_publishes_an_offer(world: World, sign_in: Callable[..., Client]) -> None:
    answer = sign_in("alice").post(
        f"/datasets/{world.panel.pk}/offer/",
        {
            "title": "For teaching", "description": "", "operations": ["stats"], "columns": ["diagnosis"],
            "purposes": "teaching\n\n  course 7 \n", "min_cohort": 10, "max_quota": 20, "max_days": 30,
            "price_credits": 0,
        },
    )  # fmt: skip
    offer = Offer.objects.get(title="For teaching")
    assert answer["Location"] == f"/offers/{offer.pk}/"
    assert offer.purposes == ["teaching", "course 7"]


def test_an_l4_column_is_not_even_a_choice(world: World, sign_in: Callable[..., Client]) -> None:
    page = sign_in("alice").get(f"/datasets/{world.panel.pk}/offer/").content.decode()
    assert 'value="postal code"' in page
    assert 'value="name"' not in page


def test_api_key_is_shown_once_and_works_no_more_after_revocation(
    world: World, sign_in: Callable[..., Client]
) -> None:
    bob = sign_in("bob")
    answer = bob.post("/api-keys/", {"name": "laptop", "scopes": ["read", "jobs"]})
    token = answer.content.decode().split("<code data-token>")[1].split("<")[0]
    assert token.startswith("lt_")
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    assert token not in bob.get("/api-keys/").content.decode()
    key = ApiKey.objects.get(name="laptop")
    assert sign_in("alice").post(f"/api-keys/{key.pk}/revoke/").status_code == 404
    bob.post(f"/api-keys/{key.pk}/revoke/")
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_a_key_cannot_get_a_scope_its_role_lacks(world: World, sign_in: Callable[..., Client]) -> None:
    answer = sign_in("bob").post("/api-keys/", {"name": "x", "scopes": ["operate"]})
    assert answer.status_code == 422
    assert not ApiKey.objects.exists()


def test_an_enrolment_that_is_none_is_refused(world: World, sign_in: Callable[..., Client]) -> None:
    answer = sign_in("otto").post("/parties/enrol/", {"document": '{"party": 1}', "roles": ["provider"]})
    assert answer.status_code == 422
    assert b"This is no enrolment document" in answer.content


def test_signing_in_and_out(world: World, client: Client) -> None:
    wrong = client.post("/login/", {"username": "alice", "password": "nope"})
    assert b"correct username and password" in wrong.content
    right = client.post("/login/", {"username": "alice", "password": PASSWORD, "next": "/grants/"})
    assert right["Location"] == "/grants/"
    client.post("/logout/")
    assert client.get("/grants/").status_code == 302


def test_sign_in_never_leads_to_another_site(world: World, client: Client) -> None:
    answer = client.post(
        "/login/", {"username": "alice", "password": PASSWORD, "next": "https://evil.example/"}
    )
    assert answer["Location"] == "/"
    theme = client.post("/theme/", {"theme": "dark", "next": "//evil.example/"})
    assert theme["Location"] == "/"
    assert theme.cookies["theme"].value == "dark"


def test_acting_for_a_party_of_another_person_changes_nothing(
    world: World, sign_in: Callable[..., Client]
) -> None:
    bob = sign_in("bob")
    alices = world.logins["alice"].memberships.first().pk
    bob.post("/act-for/", {"membership": alices})
    assert bob.get("/datasets/").status_code == 404


def test_csv_has_the_filtered_rows_and_no_formula(world: World, sign_in: Callable[..., Client]) -> None:
    Grant.objects.filter(pk=world.active.pk).update(purpose="=cmd|'/c calc'!A1")
    answer = sign_in("bob").get("/grants/?state=active&export=csv")
    text = answer.content.decode()
    assert text.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(text[1:])))
    assert {row["State"] for row in rows} == {"Active"}
    assert any(row["Purpose"] == "'=cmd|'/c calc'!A1" for row in rows)


def test_reading_the_audit_log_is_recorded(world: World, sign_in: Callable[..., Client]) -> None:
    rita = sign_in("rita")
    rita.get("/audit/log/")
    rita.get(f"/audit/timeline/?kind=dataset&id={world.panel.pk}")
    lines = rita.get("/audit/export/").content.splitlines()
    verbs = list(AuditEntry.objects.order_by("-sequence").values_list("verb", flat=True)[:3])
    assert verbs == ["audit.exported", "audit.timeline.read", "audit.read"]
    assert len(lines) == AuditEntry.objects.count()


def test_a_tampered_log_is_told_on_the_page(world: World, sign_in: Callable[..., Client]) -> None:
    AuditEntry.objects.filter(sequence=2).update(actor="user:nobody")
    assert b"Entry 2 does not follow from the one before" in sign_in("rita").get("/audit/").content
