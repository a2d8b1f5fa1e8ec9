"""The store: endings are written once, with their receipt, or not at all."""

from __future__ import annotations

import sqlite3
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from compute.errors import DiskFull
from compute.keys.signer import NodeSigner
from compute.node import database
from compute.node.database import StoreDamaged
from compute.node.receipts import Draft, ReceiptSigner, Writer
from compute.node.store import Ending, JobRow, Store
from compute.wire.canonical import from_hex
from compute.wire.messages import JobStatus, ReceiptDetail
from contracts.eip712 import Domain

NODE = "0x" + "aa" * 32
SIGNER = ReceiptSigner(NodeSigner(b"\1" * 32), Domain(31337, "0x" + "11" * 20), NODE)


def job_id(number: int) -> str:
    return f"0x{number:064x}"


def row(number: int = 1) -> JobRow:
    return JobRow(
        job=job_id(number),
        consumer="0x" + "cc" * 32,
        role="left",
        kind="psi",
        grant="0x" + "dd" * 32,
        submission=b"{}",
        units=5,
        settles=True,
        created_at=1,
        deadline=100,
    )


def writer(number: int = 1) -> Writer:
    detail = ReceiptDetail(kind="psi", role="left", purpose="p")
    zero = bytes(32)
    return SIGNER.write(
        Draft(from_hex(job_id(number)), zero, zero, zero, zero, 3, "completed", True, 50, detail)
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "node.db")


def test_a_job_ends_once_with_state_receipt_and_result_together(store: Store) -> None:
    assert store.add_job(row())
    assert not store.add_job(row())
    store.advance(job_id(1), 1000, "matching", done=1, total=3)
    receipt = store.finish(job_id(1), 2000, Ending("completed"), writer(), b"sealed")
    assert receipt is not None
    found = store.job(job_id(1))
    assert found is not None
    assert (found.state, found.receipt, found.has_result) == ("completed", receipt.digest, True)
    assert store.finish(job_id(1), 3000, Ending("failed"), writer(), None) is None
    store.advance(job_id(1), 4000, "late")
    assert [event.phase for event in store.events(job_id(1), 0)] == ["matching", "completed"]
    assert store.tip() == (1, from_hex(receipt.digest))


def test_an_ending_that_cannot_be_signed_leaves_the_job_open(store: Store) -> None:
    store.add_job(row())

    def broken(sequence: int, previous: bytes) -> None:
        raise RuntimeError("no key")

    with pytest.raises(RuntimeError):
        store.finish(job_id(1), 1, Ending("completed"), broken, b"sealed")  # type: ignore[arg-type]
    assert [open_job.job for open_job in store.open_jobs()] == [job_id(1)]
    assert store.result(job_id(1)) is None
    assert store.tip()[0] == 0


def test_receipts_chain_without_gap_even_when_jobs_end_at_once(store: Store) -> None:
    for number in range(1, 21):
        store.add_job(row(number))
    threads = [
        threading.Thread(target=store.finish, args=(job_id(n), n, Ending("completed"), writer(n)))
        for n in range(1, 21)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    receipts = store.receipts(0, 100)
    assert [receipt.sequence for receipt in receipts] == list(range(1, 21))
    for earlier, later in pairwise(receipts):
        assert later.previous == earlier.digest


def test_what_was_written_is_there_after_reopening(store: Store, tmp_path: Path) -> None:
    store.add_job(row())
    store.finish(job_id(1), 1, Ending("failed", "x"), writer())
    store.set_meta("domain/UsageLedger", "1 0x")
    again = Store(tmp_path / "node.db")
    assert again.tip() == store.tip()
    assert again.meta("domain/UsageLedger") == "1 0x"


def test_a_nonce_is_used_once_until_it_expires_also_across_a_restart(store: Store, tmp_path: Path) -> None:
    assert store.use("p", "n", 100, 220)
    assert not Store(tmp_path / "node.db").use("p", "n", 150, 270)
    assert store.use("q", "n", 150, 270)
    assert store.use("p", "n", 221, 341)


def test_refused_attempts_are_bounded_and_remembered(store: Store) -> None:
    status = JobStatus(job=job_id(1), role="left", state="refused")
    first = store.refuse(status, "a", "c", writer(), at_most=1)
    assert first is not None
    assert store.refusal(job_id(1), "a") == first
    assert store.refuse(status, "b", "c", writer(), at_most=1) is None
    assert store.job(job_id(1)) is None


def test_a_database_of_another_version_is_not_touched(tmp_path: Path) -> None:
    store = Store(tmp_path / "node.db")
    with store.transaction() as db:
        db.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(StoreDamaged):
        Store(tmp_path / "node.db")


def test_a_database_of_the_first_version_is_upgraded_with_its_jobs(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    with sqlite3.connect(path) as old:
        # The schema of version 1: what it has become, without the columns that came later.
        for statement in database._SCHEMA.split(";"):
            old.execute(statement)
        for column in ("rate_milli", "seconds_left", "attempts", "sent"):
            old.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
        old.execute(
            "INSERT INTO jobs (job, consumer, role, kind, grant_id, state, submission, units, settles,"
            " created_at, deadline)"
            " VALUES ('0xaa', 'c', 'left', 'psi', 'g', 'running', x'7b7d', 5, 1, 100, 200)"
        )
        old.execute("PRAGMA user_version = 1")
    store = Store(path)
    row = store.job("0xaa")
    assert row is not None
    assert (row.attempts, row.sent, row.rate_milli, row.seconds_left) == (0, False, None, None)
    assert store.begin_attempt("0xaa") == 1
    store.note_sent("0xaa")
    store.close()
    store = Store(path)
    row = store.job("0xaa")
    assert row is not None
    assert (row.attempts, row.sent, row.status.attempts) == (1, True, 1)
    store.close()


def test_a_database_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    Store(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreDamaged, match="schema 99"):
        Store(path)


def test_a_full_disk_is_a_typed_error_and_the_next_write_succeeds(store: Store) -> None:
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DiskFull):
        store.set_meta("name", "x" * 1_000_000)
    store.set_meta("name", "small")
    assert store.meta("name") == "small"
    store._db.execute("PRAGMA max_page_count = 1073741823")
    store.set_meta("name", "x" * 1_000_000)
