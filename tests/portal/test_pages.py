"""Every page answers to the roles it is for, and is a 404 for everyone else."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client

from market.grants.models import Grant
from market.ledger.models import Receipt
from tests.portal.world import World, digest

PEOPLE = ("alice", "bob", "charlie", "rita", "otto")

# path by name in the world → who may open it.
PAGES: dict[str, set[str]] = {
    "/": set(PEOPLE),
    "/catalogue/": set(PEOPLE),
    "/catalogue/?q=radius&operation=stats&offered=open": set(PEOPLE),
    "/api-keys/": set(PEOPLE),
    "/datasets/": {"alice", "charlie"},
    "/offers/": {"alice", "charlie"},
    "/grants/": {"alice", "bob", "charlie", "rita"},
    "/grants/?state=active&operation=psi&q=biopsies": {"alice", "bob", "charlie", "rita"},
    "/jobs/": {"alice", "bob", "charlie", "rita"},
    "/receipts/": {"alice", "bob", "charlie", "rita"},
    "/invoices/": {"alice", "bob", "charlie", "rita"},
    "/circulation/": {"alice", "bob", "charlie", "rita"},
    "/audit/": {"rita", "otto"},
    "/audit/log/": {"rita", "otto"},
    "/audit/timeline/": {"rita"},
    "/audit/timeline/?kind=party": {"rita"},
    "/audit/timeline/?kind=job": {"rita"},
    "/parties/": {"rita", "otto"},
    "/parties/enrol/": {"otto"},
    "/nodes/": {"otto"},
    "/outbox/": {"otto"},
    "/jobs/new/": {"bob", "charlie"},
    "/datasets/{panel}/": set(PEOPLE),
    "/datasets/{panel}/offer/": {"alice"},
    "/offers/{offer}/": set(PEOPLE),
    "/offers/{closed_offer}/": {"alice", "rita", "otto"},
    "/offers/{offer}/apply/": {"bob", "charlie"},
    "/grants/{requested}/": {"alice", "bob", "rita"},
    "/grants/{active}/": {"alice", "bob", "rita"},
    "/grants/{refused}/": {"alice", "bob", "rita"},
    "/grants/{on_chain}/": {"alice", "bob", "rita"},
    "/grants/{others_grant}/": {"charlie", "rita"},
    "/jobs/{running}/": {"alice", "bob", "rita"},
    "/jobs/{running}/live/": {"alice", "bob", "rita"},
    "/jobs/{settled}/": {"alice", "bob", "rita"},
    "/jobs/{denied}/": {"alice", "bob", "rita"},
    "/jobs/{others_job}/": {"charlie", "rita"},
    "/jobs/drafts/{draft}/": {"bob"},
    "/receipts/{receipt}/": {"alice", "bob", "rita"},
    "/receipts/{unanchored}/": {"alice", "bob", "rita"},
    "/receipts/{others_receipt}/": {"charlie", "rita"},
    "/invoices/{invoice}/": {"alice", "bob", "rita"},
    "/parties/{hospital}/": set(PEOPLE),
    "/audit/timeline/?kind=dataset&id={panel}": {"rita"},
    "/audit/timeline/?kind=party&id={hospital}": {"rita"},
    "/audit/timeline/?kind=job&id={settled}": {"rita"},
}


def address(world: World, pattern: str) -> str:
    """Fill a pattern's names with the ids of the world's rows."""
    names = {
        name: str(getattr(world, name).pk) for name in re.findall(r"{(\w+)}", pattern) if name != "on_chain"
    }
    return pattern.format(**names, on_chain=world.active.grant_id)


@pytest.mark.parametrize("pattern", PAGES)
def test_page_is_for_its_roles_only(world: World, sign_in: Callable[..., Client], pattern: str) -> None:
    for person in PEOPLE:
        answer = sign_in(person).get(address(world, pattern))
        assert answer.status_code == (200 if person in PAGES[pattern] else 404), person


@pytest.mark.parametrize("pattern", PAGES)
def test_page_sends_strangers_to_sign_in(world: World, client: Client, pattern: str) -> None:
    answer = client.get(address(world, pattern))
    assert answer.status_code == 302
    assert answer["Location"].startswith("/login/?next=/")


@pytest.mark.parametrize("language", ["en", "zh-hans"])
@pytest.mark.parametrize("pattern", PAGES)
def test_page_is_well_formed_and_without_inline_code(
    world: World, sign_in: Callable[..., Client], pattern: str, language: str
) -> None:
    client = sign_in(sorted(PAGES[pattern])[0])
    client.cookies["django_language"] = language
    answer = client.get(address(world, pattern))
    checked = Checked()
    checked.feed(answer.content.decode())
    assert checked.problems == []
    assert not checked.open, f"unclosed: {checked.open}"
    assert "'unsafe-inline'" not in answer["Content-Security-Policy"]
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.parametrize(
    "path", ["/datasets/0x12/", "/jobs/0xZZ/", "/grants/1/", f"/jobs/{digest('none')}/", "/none/"]
)
def test_malformed_and_unknown_ids_are_not_found(sign_in: Callable[..., Client], path: str) -> None:
    answer = sign_in("rita").get(path)
    assert answer.status_code == 404
    assert b"Nothing by that address" in answer.content


@pytest.mark.parametrize(
    "path", ["/catalogue/", "/grants/", "/jobs/", "/receipts/", "/invoices/", "/audit/log/"]
)
@pytest.mark.parametrize(
    "query", ["q=" + "x" * 5000, "page=-3", "page=nonsense", "state=nonsense", "q=%27--"]
)
def test_lists_survive_any_query(sign_in: Callable[..., Client], path: str, query: str) -> None:
    assert sign_in("rita").get(f"{path}?{query}").status_code == 200


def test_nul_in_a_query_is_nobodys_page(sign_in: Callable[..., Client]) -> None:
    assert sign_in("rita").get("/grants/?q=%00").status_code == 404


@pytest.mark.parametrize(
    "path", ["/catalogue/", "/grants/", "/jobs/", "/receipts/", "/invoices/", "/parties/"]
)
def test_lists_ask_the_database_a_fixed_number_of_times(
    sign_in: Callable[..., Client], path: str, django_assert_max_num_queries: Any
) -> None:
    client = sign_in("rita")
    with django_assert_max_num_queries(20):
        client.get(path)


@pytest.mark.parametrize("path", ["/grants/", "/receipts/", "/"])
def test_times_beyond_any_calendar_break_no_page(
    world: World, sign_in: Callable[..., Client], path: str
) -> None:
    Grant.objects.update(expiry=2**53 - 1)
    Receipt.objects.update(issued_at=2**53 - 1)
    for username in ("alice", "bob", "rita"):
        assert sign_in(username).get(path).status_code == 200


def test_person_without_party_is_told_so(db: None, client: Client, django_user_model: type) -> None:
    client.force_login(django_user_model.objects.create_user("nobody", password="x" * 12))
    answer = client.get("/")
    assert answer.status_code == 403
    assert b"You act for no party yet" in answer.content


class Checked(HTMLParser):
    """Looks for inline code, ids used twice, unlabelled controls and tags that do not close."""

    VOID = {"meta", "link", "input", "br", "hr", "img", "col", "source", "wbr"}

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[str] = []
        self.open: list[str] = []
        self._ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if "style" in given or tag == "style":
            self.problems.append(f"inline style on <{tag}>")
        if tag == "script" and not given.get("src"):
            self.problems.append("inline script")
        self.problems += [f"{name} on <{tag}>" for name in given if name.startswith("on")]
        if identifier := given.get("id"):
            if identifier in self._ids:
                self.problems.append(f"id {identifier} twice")
            self._ids.add(identifier)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes something else")
