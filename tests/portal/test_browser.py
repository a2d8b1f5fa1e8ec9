"""What only a browser can tell: islands under the content policy, live progress, keyboard, widths, themes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.portal.browser import CHROMIUM_FLAGS, Portal, chromium, need_build, portal
from tests.portal.world import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.slow]
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    chromium()
    need_build()
    with portal(tmp_path_factory.mktemp("portal")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def open_as(site: Portal, browser: Browser) -> Iterator[Open]:
    """``open_as("bob", "/grants/")``: a page of a signed-in person; any console error fails the test."""
    faults: list[str] = []
    contexts: list[Any] = []

    def make(name: str, path: str, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **options})
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{site.url}/login/?next={path.format(**site.ids)}")
        page.fill("#id_username", name)
        page.fill("#id_password", PASSWORD)
        page.click("form.sign-in button.button-main")
        page.wait_for_url(f"**{path.format(**site.ids)}")
        return page

    yield make
    for context in contexts:
        context.close()
    assert faults == []


def test_sentence_changes_with_the_form(open_as: Open) -> None:
    page = open_as("bob", "/offers/{offer}/apply/")
    sentence = page.locator("[data-sentence]")
    expect(sentence).to_contain_text("100 uses")
    page.fill("#id_quota", "250")
    expect(sentence).to_contain_text("250 uses")
    expect(page.locator("[data-cost]")).to_have_text("500")
    page.get_by_label("PSI", exact=True).uncheck()
    expect(sentence).not_to_contain_text("PSI")
    expect(page.locator("[data-learns] [data-operation=psi]")).to_be_hidden()
    page.get_by_role("button", name="All or none").click()
    expect(sentence).to_contain_text("on Breast biopsies, East, …, for")
    page.get_by_role("button", name="All or none").click()
    expect(sentence).to_contain_text("mean smoothness")
    page.fill("#id_quota", "")
    expect(sentence).to_contain_text("… uses")


def test_the_sentence_is_the_same_with_and_without_script(open_as: Open, site: Portal) -> None:
    page = open_as("bob", "/offers/{offer}/apply/")
    with_script = page.locator("[data-sentence]").inner_text()
    html = page.request.get(f"{site.url}/offers/{site.ids['offer']}/apply/").text()
    inner = re.search(r"data-sentence.*?>(Research|<b>Research)(.*?)</p>", html, re.DOTALL)
    assert inner is not None
    without = "Research" + re.sub(r"<[^>]+>", "", inner[2])
    assert " ".join(with_script.split()) == " ".join(without.split())


def test_job_page_is_live_and_says_so(open_as: Open, site: Portal) -> None:
    page = open_as("bob", "/jobs/{running}/")
    expect(page.locator("[data-live]")).to_have_attribute("data-mode", "live")
    site.run(
        "from market.jobs.models import *; j = Job.objects.get(state='running'); "
        "JobEvent.objects.create(job=j, role='p2', sequence=9, at_ms=1, phase='connecting'); "
        "j.parts.filter(role='p1').update(done=300)"
    )
    expect(page.locator(".lane", has_text="Hospital West")).to_contain_text("Met the other parties")
    expect(page.locator("progress")).to_have_attribute("value", "300")
    site.run(
        "from market.jobs.models import *; j = Job.objects.get(state='running'); "
        "j.parts.update(node_state='completed'); Job.objects.filter(pk=j.pk).update(state='settled')"
    )
    expect(page.locator("[data-live-words]")).to_have_text("The job has ended.")
    expect(page.locator(".page-head .status")).to_have_text("Settled")
    expect(page.locator("[data-live-cancel]")).to_be_hidden()
    site.run(
        "from market.jobs.models import *; j = Job.objects.get(kind='stats.horizontal'); "
        "j.parts.update(node_state='running'); Job.objects.filter(pk=j.pk).update(state='running')"
    )


def test_job_page_polls_without_a_socket_and_says_so(open_as: Open, site: Portal) -> None:
    page = open_as("bob", "/jobs/")
    page.route_web_socket(re.compile("/ws/"), lambda socket: socket.close())
    page.goto(f"{site.url}/jobs/{site.ids['running']}/")
    expect(page.locator("[data-live-words]")).to_have_text("No live connection; asking every 2 seconds.")
    site.run(
        "from market.jobs.models import *; j = Job.objects.get(state='running'); "
        "JobEvent.objects.create("
        "job=j, role='p2', sequence=10, at_ms=1, phase='stats.encrypt', done=7, total=228)"
    )
    expect(page.locator(".lane", has_text="Hospital West")).to_contain_text("7 / 228")


def test_digest_copies_whole(open_as: Open, site: Portal) -> None:
    page = open_as("bob", "/grants/{active}/")
    digest = page.locator(".digest").first
    whole = digest.get_attribute("data-copy")
    digest.locator("[data-copy-button]").click()
    expect(digest).to_have_attribute("data-copied", "")
    assert page.evaluate("navigator.clipboard.readText()") == whole
    assert whole is not None
    assert len(whole) == 66


def test_tables_by_keyboard(open_as: Open) -> None:
    page = open_as("bob", "/grants/")
    page.keyboard.press("/")
    expect(page.locator("#filter_q")).to_be_focused()
    page.keyboard.press("Tab")
    page.locator("body").click(position={"x": 2, "y": 2})
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("tbody tr").nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/grants/*-*/")


def test_filter_lives_in_the_url(open_as: Open) -> None:
    page = open_as("bob", "/grants/")
    page.select_option("#filter_state", "active")
    page.wait_for_url("**/grants/?state=active")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_role("link", name="Clear").click()
    page.wait_for_url("**/grants/")


def test_chart_and_its_table_are_one_key_apart(open_as: Open) -> None:
    page = open_as("rita", "/circulation/")
    expect(page.locator("[data-chart] path.band")).to_have_count(3)
    expect(page.locator("[data-chart-table]")).to_be_hidden()
    page.keyboard.press("t")
    expect(page.locator("[data-chart-table]")).to_be_visible()
    expect(page.locator("[data-chart]")).to_be_hidden()


def test_language_and_theme_switch_stay(open_as: Open) -> None:
    page = open_as("alice", "/")
    page.get_by_role("button", name="中文").click()
    expect(page.locator("h1")).to_have_text("东区医院")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="深色").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light


def test_first_tab_skips_to_the_page(open_as: Open) -> None:
    page = open_as("alice", "/")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_no_page_is_wider_than_its_window(open_as: Open, site: Portal, width: int, language: str) -> None:
    size = {"viewport": {"width": width, "height": 800}}
    for name, paths in {
        "alice": ["/", "/datasets/{panel}/", "/datasets/{panel}/offer/", "/grants/{requested}/", "/offers/"],
        "bob": [
            "/catalogue/",
            "/offers/{offer}/apply/",
            "/jobs/{settled}/",
            "/jobs/new/?kind=psi",
            "/api-keys/",
        ],
        "rita": [
            "/",
            "/receipts/{receipt}/",
            "/audit/",
            "/audit/log/",
            "/circulation/",
            "/invoices/{invoice}/",
        ],
        "otto": ["/", "/parties/", "/nodes/", "/outbox/", "/parties/{hospital}/"],
    }.items():
        page = open_as(name, "/catalogue/", **size)
        page.context.add_cookies([{"name": "django_language", "value": language, "url": site.url}])
        for path in paths:
            page.goto(site.url + path.format(**site.ids))
            beyond = page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert beyond <= 0, f"{path} at {width}"


def test_narrow_menu_opens_and_closes(open_as: Open) -> None:
    page = open_as("bob", "/", viewport={"width": 380, "height": 800})
    expect(page.get_by_role("link", name="Receipts")).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Receipts").click()
    page.wait_for_url("**/receipts/")


def test_pages_work_without_script(site: Portal, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 380, "height": 800})
    page = context.new_page()
    page.goto(site.url + "/login/")
    page.fill("#id_username", "rita")
    page.fill("#id_password", PASSWORD)
    page.click("form.sign-in button.button-main")
    page.get_by_role("link", name="Circulation").click()
    expect(page.locator("[data-chart-table]")).to_be_visible()
    context.close()


def test_a_grave_step_asks_first(open_as: Open, site: Portal) -> None:
    page = open_as("alice", "/grants/{active}/")
    asked: list[str] = []

    def refuse(dialog: Any) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", refuse)
    page.get_by_role("button", name="Revoke the grant").click()
    assert asked == ["Revoke this grant? It cannot be undone."]
    expect(page.locator(".page-head .status")).to_have_text("Active")
