"""The steps of the regulator: receipts, invoice, reconciliation, a forged table, and an audit off line."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compute.demo.market_process import run_python
from compute.sdk.objects import FINAL_JOB_STATES

if TYPE_CHECKING:
    from compute.demo.story import Story

# Runs the command line where every attempt to reach a network fails.
_WITHOUT_NETWORK = """
import socket, sys
def refuse(*arguments, **options):
    raise OSError("no network in an offline audit")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from compute.cli import main
try:
    main(sys.argv[1:], standalone_mode=False)
finally:
    if any(name == "django" or name.startswith("django.") for name in sys.modules):
        sys.exit("Django was imported")
"""


def receipts(story: Story) -> str:
    """Every part of every job has its receipt on chain, and the invoice is what they add up to."""
    jobs = story.research.jobs.list()
    open_jobs = [job.job for job in jobs if job.state not in FINAL_JOB_STATES]
    story.expect(not open_jobs, f"every job is in a final state, not {open_jobs}")
    found = story.client("regulator").receipts()
    for receipt in found:
        story.report.receipts.append(
            {
                "digest": receipt.digest,
                "node": receipt.node_name,
                "sequence": receipt.sequence,
                "job": receipt.job,
                "outcome": receipt.outcome,
                "units": receipt.units,
                "state": receipt.state,
            }
        )
    story.expect(bool(found), "there are receipts")
    story.expect(all(item.state == "anchored" for item in found), "every receipt is anchored on chain")
    invoices = story.research.invoices()
    prices = {grant.grant: grant.price_credits or 0 for grant in story.research.grants.list()}
    charged = sum((item.charged_units or 0) * prices.get(item.grant, 0) for item in found)
    billed = sum(invoice.amount_credits for invoice in invoices)
    units = sum(invoice.units for invoice in invoices)
    story.expect(billed == charged, f"the invoices add up to the receipts: {billed} and {charged} credits")
    chain = story.research.chain.chain
    used = 0
    for grant in story.research.grants.list():
        if grant.grant is not None and (record := chain.grant(bytes.fromhex(grant.grant[2:]))) is not None:
            used += record.used
            story.expect(record.reserved == 0, f"nothing is held of grant {grant.grant}")
    story.expect(units == used, f"billed units are the chain's: {units} and {used}")
    return f"{len(found)} receipts anchored, {units} units, {billed} credits from {len(invoices)} providers"


def reconcile(story: Story) -> str:
    """Chain, portal and nodes tell the same story."""
    code, answer = _reconcile(story)
    story.report.reconcile = {"exit_code": code, **answer}
    story.expect(code == 0, f"reconcile is clean: {answer.get('differences')}")
    return "chain, portal and nodes agree"


def tampered(story: Story) -> str:
    """Somebody with the portal's database lowers what was used; reconcile tells, the chain puts it right."""
    database = Path(story.market.status["portal_environment"]["VAR_DIR"]) / "portal.db"
    east = story.grant("east").grant or ""
    with sqlite3.connect(database, timeout=30) as connection:
        changed = connection.execute("UPDATE grants_grant SET used = used - 1 WHERE grant_id = ?", (east,))
        story.expect(changed.rowcount == 1, "one row was forged")
    code, answer = _reconcile(story)
    differences = answer.get("differences", [])
    story.expect(code == 1 and bool(differences), f"reconcile finds the forged row (exit {code})")
    story.expect(any(east in json.dumps(item) for item in differences), "the difference names the grant")
    kind = str(differences[0].get("code") or differences[0].get("kind") or "") if differences else ""
    story.report.refusals.append(
        {
            "what": "portal table tampered",
            "by": "reconcile",
            "code": kind,
            "message": json.dumps(differences[0], ensure_ascii=False) if differences else "",
            "remedy": "manage.py rebuild_index",
        }
    )
    rebuilt = story.market.manage("rebuild_index")
    story.expect(rebuilt.returncode == 0, f"rebuild_index: {rebuilt.stderr[-400:]}")
    code, answer = _reconcile(story)
    story.expect(
        code == 0, f"after rebuilding from the chain reconcile is clean: {answer.get('differences')}"
    )
    return f"found as {kind or 'difference'}, rebuilt from the chain"


def offline(story: Story) -> str:
    """The regulator's file proves everything on a machine without network; one changed byte breaks it."""
    file = story.market.home / "audit.jsonl"
    exported = story.market.tool("regulator", "--json", "audit", "export", "--out", str(file))
    story.expect(exported.returncode == 0, f"audit export: {exported.stderr[-400:]}")
    code, answer = _verify(file)
    story.expect(code == 0, f"the audit file verifies: {answer.get('problems')}")
    proven = len(answer.get("evidence", []))
    story.expect(proven == len(story.report.receipts), f"evidence of every receipt, not {proven}")

    forged = story.market.home / "audit.forged.jsonl"
    forged.write_text(file.read_text().replace('"outcome":"refused"', '"outcome":"completed"', 1))
    if forged.read_bytes() == file.read_bytes():
        forged.write_text(file.read_text().replace('"units":', '"units":1', 1))
    forged_code, _ = _verify(forged)
    story.expect(forged_code == 1, "a forged audit file does not verify")
    story.report.evidence = {
        "file": str(file),
        "entries": answer.get("entries"),
        "receipts": proven,
        "problems": answer.get("problems"),
        "forged_found": forged_code == 1,
    }
    return f"{answer.get('entries')} audit entries and {proven} receipts proven; a forged copy is not"


def _reconcile(story: Story) -> tuple[int, dict[str, Any]]:
    done = story.market.manage("reconcile", "--json")
    return done.returncode, _json(done.stdout, done.stderr)


def _verify(file: Path) -> tuple[int, dict[str, Any]]:
    done = run_python(
        "-c", _WITHOUT_NETWORK, "audit", "verify", "--offline", str(file), "--json", environment={}
    )
    return done.returncode, _json(done.stdout, done.stderr)


def _json(text: str, otherwise: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {"problems": [otherwise[-600:]], "differences": [otherwise[-600:]]}
    return value if isinstance(value, dict) else {"differences": value}
