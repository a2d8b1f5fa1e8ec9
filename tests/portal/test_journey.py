"""The whole journey on a real market: providers approve in the browser, the consumer prepares there and signs
in a terminal, watches the job live, and the regulator audits what came of it.

Screenshots of each station land in the folder LIUTONG_SCREENSHOTS names, if it is set.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from compute.demo import market_process
from compute.demo.market_process import Market
from tests.portal.browser import CHROMIUM_FLAGS, chromium, need_build

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(480)]

PURPOSE = "study A-17"
KEY = "patient_id"
_CHAIN_MS = 60_000  # node signature, relay, block, index
_JOB_MS = 120_000


class Desk:
    """One person's browser. Whatever the console calls an error fails the journey."""

    def __init__(self, browser: Browser, market: Market, username: str, faults: list[str]) -> None:
        self.url = str(market.status["portal"])
        self.username = username
        self._shots = os.environ.get("LIUTONG_SCREENSHOTS")
        self.context: BrowserContext = browser.new_context(
            viewport={"width": 1280, "height": 860}, accept_downloads=True
        )
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
        self.page.on("pageerror", lambda error: faults.append(str(error)))
        self.page.goto(self.url + "/login/")
        self.page.fill("#id_username", username)
        password = (Path(market.status["secrets"]) / f"{username}.password").read_text().strip()
        self.page.fill("#id_password", password)
        self.page.click("form.sign-in button.button-main")
        expect(self.page.locator(".who")).to_contain_text(username)

    def shot(self, name: str) -> None:
        if self._shots:
            folder = Path(self._shots)
            folder.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=folder / f"{name}.png", full_page=True)

    def until(self, words: str, within_ms: int = _CHAIN_MS) -> None:
        """Reload until the page's state chip says so."""
        chip = self.page.locator(".page-head .status").first
        for _turn in range(within_ms // 1000):
            if chip.inner_text() == words:
                return
            self.page.wait_for_timeout(1000)
            self.page.reload()
        expect(chip).to_have_text(words)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    chromium()
    need_build()
    with market_process.running(tmp_path_factory.mktemp("journey") / "market") as running:
        yield running


def test_from_offer_to_audit(market: Market, tmp_path: Path) -> None:
    faults: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_FLAGS)
        east, laboratory, research, regulator, operator = (
            Desk(browser, market, name, faults)
            for name in ("east", "laboratory", "research", "regulator", "operator")
        )
        operator.shot("01-operator")
        for desk, dataset in ((east, "Breast cytology, Hospital East"), (laboratory, "table")):
            publish_offer(desk, dataset)
        east.shot("02-offer")
        for provider, desk in (("Hospital East", east), ("Laboratory", laboratory)):
            grant = apply(research, provider)
            decide(desk, grant)
            research.page.goto(f"{research.url}/grants/{grant}/")
            research.until("Active")
        research.shot("03-grant")
        job = run_job(research, market)
        outsider_sees_nothing(market, browser, job, faults)
        audit(regulator, job, tmp_path)
        east.page.goto(east.url + "/")
        expect(east.page.locator(".figures")).to_contain_text("from anchored receipts")
        east.shot("09-provider")
        research.page.goto(research.url + "/invoices/")
        expect(research.page.locator("tbody tr")).to_have_count(2)
        browser.close()
    assert faults == []


def publish_offer(desk: Desk, dataset: str) -> None:
    """A provider opens an offer on its table, all columns, PSI and statistics."""
    page = desk.page
    page.goto(desk.url + "/datasets/")
    name = dataset if dataset != "table" else re.compile("^(?!.*(ncryption|service|board)).*$", re.IGNORECASE)
    page.locator("tbody tr td:first-child a").filter(has_text=name).first.click()
    page.get_by_role("link", name="Make an offer").click()
    page.fill("#id_title", f"{desk.username}: joint research")
    page.get_by_label("PSI", exact=True).check()
    for box in page.locator("input[name=columns]").all():
        box.check()
    page.fill("#id_purposes", PURPOSE)
    page.fill("#id_max_quota", "5000")
    page.get_by_role("button", name="Publish the offer").click()
    expect(page.get_by_text("The offer is open.")).to_be_visible()


def apply(desk: Desk, provider: str) -> str:
    """The consumer finds the provider's offer in the catalogue and applies; returns the grant's uuid."""
    page = desk.page
    page.goto(desk.url + "/catalogue/?offered=open")
    page.locator("article", has_text=provider).locator(".entry-side a").first.click()
    page.get_by_role("link", name="Apply for a grant").click()
    page.fill("#id_quota", "2000")
    page.fill("#id_days", "30")
    expect(page.locator("[data-sentence]")).to_contain_text("2,000 uses")
    page.get_by_role("button", name="Send the request").click()
    expect(page.get_by_text("Your request is with the provider.")).to_be_visible()
    return page.url.rstrip("/").rpartition("/")[2]


def decide(desk: Desk, grant: str) -> None:
    """The provider reads the sentence on its overview, opens it and approves fewer uses."""
    page = desk.page
    page.goto(desk.url + "/")
    expect(page.locator(".sentence")).to_contain_text("Research Institute may run PSI")
    desk.shot(f"04-{desk.username}-decides")
    page.locator(f'a[href="/grants/{grant}/"]', has_text="Decide").click()
    page.fill("#id_quota", "1500")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Approved.")).to_be_visible()


def run_job(desk: Desk, market: Market) -> str:
    """The consumer prepares a PSI, signs it in a terminal and watches it settle; returns the job's id."""
    page = desk.page
    page.goto(desk.url + "/jobs/new/?kind=psi")
    page.locator("#id_grant-left").select_option(label=_option(page, "left", "Hospital East"))
    page.locator("#id_grant-right").select_option(label=_option(page, "right", "Laboratory"))
    for side in ("left", "right"):
        page.locator(f'[name="param-keys.{side}"]').first.select_option(KEY)
    page.locator("summary", has_text="Bounds").click()
    page.locator('[name="param-max_elements"]').fill("600")
    desk.shot("05-composer")
    page.get_by_role("button", name="Save the draft").click()
    command = page.locator(".copyline code").first.inner_text()
    assert command.startswith("liutong jobs run --draft ")
    desk.shot("06-draft")
    status, folder = market.status, market.folder("research-institute")
    order = [sys.executable, "-m", "compute.cli", *command.split()[1:]]
    environment = {
        **os.environ,
        "LIUTONG_URL": status["portal"],
        "LIUTONG_API_KEY_FILE": str(market.api_key_file("research-institute")),
        "LIUTONG_CHAIN_RPC_URL": status["chain"],
        "LIUTONG_ADDRESS_BOOK": status["address_book"],
        "LIUTONG_KEY_FILE": str(folder / "party.keys"),
        "LIUTONG_PASSPHRASE_FILE": str(folder / "passphrase"),
    }
    declined = subprocess.run(
        order,
        cwd=market_process.REPOSITORY,
        env=environment,
        input="n\n",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (declined.returncode, "job.cancelled" in declined.stderr) == (1, True), declined.stderr
    terminal = subprocess.Popen(
        [*order, "--yes"],
        cwd=market_process.REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        link = page.get_by_role("link", name="Open the job")
        for _turn in range(30):
            if link.count():
                break
            page.wait_for_timeout(500)
            page.reload()
        link.click()
        desk.shot("07-job-running")
        expect(page.locator(".page-head .status")).to_have_text("Settled", timeout=_JOB_MS)
        expect(page.get_by_text("The result is ready, sealed to your key")).to_be_visible()
        expect(page.locator(".lane .seal")).to_have_count(2)
        desk.shot("08-job-settled")
        said, _nothing = terminal.communicate(timeout=60)
    finally:
        terminal.kill()
    assert terminal.returncode == 0, said
    return page.url.rstrip("/").rpartition("/")[2]


def _option(page: Page, role: str, provider: str) -> str:
    labels = page.locator(f"#id_grant-{role} option").all_inner_texts()
    return next(label for label in labels if provider in label)


def outsider_sees_nothing(market: Market, browser: Browser, job: str, faults: list[str]) -> None:
    """A provider that has no part in the job gets the same page as for an id that does not exist."""
    desk = Desk(browser, market, "west", faults)
    answer = desk.page.request.get(f"{desk.url}/jobs/{job}/")
    assert answer.status == 404
    desk.context.close()


def audit(desk: Desk, job: str, folder: Path) -> None:
    """The regulator reconciles, follows the job, takes evidence home and verifies it with no network."""
    page = desk.page
    page.goto(desk.url + "/audit/")
    page.get_by_role("button", name="Reconcile now").click()
    expect(page.locator(".verdict")).to_have_text("They agree", timeout=60_000)
    desk.shot("10-reconciliation")
    page.goto(f"{desk.url}/audit/timeline/?kind=job&id={job}")
    for words in ("Job admitted", "Uses settled", "Receipt anchored"):
        expect(page.locator(".chronology")).to_contain_text(words)
    desk.shot("11-timeline")
    page.goto(desk.url + "/circulation/")
    expect(page.locator("path.band")).to_have_count(2)
    desk.shot("12-circulation")
    page.goto(desk.url + "/receipts/?outcome=completed")
    page.locator("tbody tr .digest a").first.click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download evidence").click()
    desk.shot("13-receipt")
    evidence = folder / "evidence.json"
    download.value.save_as(evidence)
    assert json.loads(evidence.read_text())
    verified = subprocess.run(
        [sys.executable, "-m", "compute.cli", "audit", "verify", "--offline", str(evidence)],
        cwd=market_process.REPOSITORY,
        env={key: value for key, value in os.environ.items() if not key.startswith("LIUTONG_")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
