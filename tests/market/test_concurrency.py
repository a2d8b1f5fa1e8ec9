"""Several at once: the same write, the audit log, two relays, two submissions of one order."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from rest_framework.test import APIClient

from market.audit import services as audit
from market.audit.models import AuditEntry
from market.errors import JobExists
from market.grants.models import Grant
from market.jobs.models import Job
from market.jobs.services import submit_job
from market.ledger.models import ChainTransaction, Reservation
from market.ledger.relay import Relay
from tests.market.conftest import Cast
from tests.market.parties import SYSTEM, Stage

pytestmark = pytest.mark.django_db(transaction=True)
_AT_ONCE = 4


@pytest.fixture
def stage(transactional_db: None, stage: Stage) -> Stage:
    """The same stage, but with transactions that other threads see."""
    return stage


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """Run ``work`` in several threads, each with a database connection of its own."""

    def run(number: int) -> Any:
        try:
            return work(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(run, range(_AT_ONCE)))


def test_one_write_sent_several_times_at_once_is_done_once(
    stage: Stage, cast: Cast, client_of: Callable[..., APIClient]
) -> None:
    offer = stage.offer(cast.alice, stage.dataset(cast.alice))
    body = {
        "offer": str(offer.id),
        "purpose": "study A-17",
        "operations": ["psi"],
        "columns": ["patient"],
        "quota": 10,
        "days": 7,
    }
    client = client_of(cast.bob)
    header = secrets.token_hex(8)
    token = client._credentials["HTTP_AUTHORIZATION"]

    def write(number: int) -> tuple[int, str]:
        mine = APIClient()
        mine.credentials(HTTP_AUTHORIZATION=token)
        answer = mine.post("/api/v1/grants", body, format="json", HTTP_IDEMPOTENCY_KEY=header)
        return answer.status_code, answer.json().get("id", "")

    answers = at_once(write)
    assert {status for status, _id in answers} == {201}
    assert len({identifier for _status, identifier in answers}) == 1
    assert Grant.objects.count() == 1


def test_the_audit_log_has_no_gaps_and_no_twins(stage: Stage) -> None:
    at_once(lambda number: [audit.append("test", actor=SYSTEM, n=number * 100 + i) for i in range(10)])
    assert AuditEntry.objects.filter(verb="test").count() == 10 * _AT_ONCE
    assert audit.first_break() is None


def test_two_relays_send_everything_once(stage: Stage, cast: Cast, grant: Grant) -> None:
    for units in range(1, 7):
        stage.submit(cast.bob, {"left": (grant, units)})
    at_once(lambda number: Relay(stage.lab.chain, stage.lab.operator_key).drain())
    stage.settle()
    assert Reservation.objects.count() == 6
    nonces = list(ChainTransaction.objects.exclude(nonce=None).values_list("nonce", flat=True))
    assert len(nonces) == len(set(nonces))
    assert stage.lab.chain.nonce(stage.relay.account) == max(nonces) + 1


def test_one_order_submitted_several_times_is_one_job(stage: Stage, cast: Cast, grant: Grant) -> None:
    spec, request = stage.order(cast.bob, {"left": (grant, 10)})
    actor = cast.bob.actor()

    def submit(number: int) -> str:
        try:
            return submit_job(spec=spec, request=request, actor=actor).job_id
        except JobExists:
            return ""

    assert sorted(at_once(submit)) == ["", "", "", request.job]
    assert Job.objects.count() == 1
    assert ChainTransaction.objects.filter(purpose="reserve").count() == 1
