"""The portal client: typed answers and errors, and writes that are done once however often they are sent."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from compute.errors import BadInput
from compute.sdk import Liutong
from compute.sdk import portal as module
from compute.sdk.errors import BadPortalAnswer, PortalRefused, PortalUnreachable
from compute.sdk.objects import Grant, Whoami
from compute.sdk.portal import Portal

WHO = {"party": "0x" + "11" * 32, "name": "Research Institute", "roles": ["consumer"], "scopes": ["read"]}


def portal(handler: Callable[[httpx.Request], httpx.Response], **options: object) -> Portal:
    return Portal("http://portal.test", "lt_key", transport=httpx.MockTransport(handler), **options)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)


def test_an_answer_is_typed_and_new_fields_are_ignored() -> None:
    client = portal(lambda request: httpx.Response(200, json={**WHO, "added_later": 1}))
    assert client.get("whoami", Whoami).name == "Research Institute"


def test_an_answer_that_does_not_fit_is_an_error_of_the_portal() -> None:
    client = portal(lambda request: httpx.Response(200, json={"party": 5}))
    with pytest.raises(BadPortalAnswer):
        client.get("whoami", Whoami)


def test_a_problem_becomes_a_typed_refusal_with_rule_and_remedy() -> None:
    problem = {
        "type": "about:blank",
        "title": "Refused",
        "status": 409,
        "detail": "used before",
        "code": "job.exists",
        "rule": "replay",
        "remedy": "sign anew",
        "facts": {"job": "0x"},
    }
    client = portal(lambda request: httpx.Response(409, json=problem))
    with pytest.raises(PortalRefused) as caught:
        client.post("jobs", {}, dict)
    assert (caught.value.problem.code, caught.value.problem.rule, caught.value.problem.remedy) == (
        "job.exists",
        "replay",
        "sign anew",
    )


def test_a_refusal_is_not_repeated() -> None:
    calls: list[int] = []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append(1)
        return httpx.Response(403, json={"type": "x", "title": "no", "status": 403})

    with pytest.raises(PortalRefused):
        portal(handler).post("jobs", {}, dict)
    assert len(calls) == 1


def test_a_lost_write_is_repeated_under_the_same_key() -> None:
    keys: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            raise httpx.ReadTimeout("lost", request=request)
        if len(keys) == 2:
            return httpx.Response(503, json={"type": "x", "title": "later", "status": 503})
        return httpx.Response(201, json={"done": True})

    assert portal(handler).post("jobs", {"a": 1}, dict) == {"done": True}
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_two_writes_have_different_keys() -> None:
    keys: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        return httpx.Response(201, json={})

    client = portal(handler)
    client.post("jobs", {}, dict)
    client.post("jobs", {}, dict)
    assert keys[0] != keys[1]


def test_a_silent_portal_is_unreachable_after_some_attempts() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(PortalUnreachable):
        portal(handler, attempts=3).get("whoami", Whoami)


def test_pages_are_followed_to_the_end() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        page = int(request.url.params["page"])
        return httpx.Response(
            200,
            json={"count": 3, "next": "more" if page < 3 else None, "results": [{**WHO, "name": str(page)}]},
        )

    assert [item.name for item in portal(handler).pages("parties", Whoami)] == ["1", "2", "3"]


def test_the_key_travels_in_the_header_and_nowhere_else() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=WHO)

    portal(handler).get("whoami", Whoami)
    assert seen[0].headers["Authorization"] == "Bearer lt_key"
    assert "lt_key" not in str(seen[0].url)


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://user:pass@x", "portal", "http://x/?a=1"])
def test_only_a_plain_http_address_is_a_portal(url: str) -> None:
    with pytest.raises(BadInput):
        Portal(url, "lt_key")


def test_a_grant_of_a_newer_portal_decodes() -> None:
    grant = {
        "id": "1",
        "provider": {"party": "0x"},
        "consumer": {"party": "0x"},
        "dataset": "0x",
        "purpose": "p",
        "operations": [],
        "columns": [],
        "quota": 1,
        "state": "requested",
        "future": {},
    }
    client = portal(lambda request: httpx.Response(200, content=json.dumps(grant).encode()))
    assert client.get("grants/1", Grant).state == "requested"


def test_jobs_are_seen_and_cancelled_without_a_key_file_but_not_ordered() -> None:
    with Liutong("http://127.0.0.1:1", "lt_provider") as client:
        for ask in (client.known_jobs.list, lambda: client.known_jobs.cancel("0x" + "11" * 32)):
            with pytest.raises(PortalUnreachable):
                ask()
        with pytest.raises(BadInput, match="key file"):
            _ = client.jobs
