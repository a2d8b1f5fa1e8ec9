"""REST: what it answers, to whom, and that a write may be repeated."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from rest_framework.test import APIClient

from contracts import eip712
from market.api.models import IdempotencyRecord
from market.grants.models import Grant
from market.jobs.models import Job
from market.ledger import chain as door
from market.parties import services as parties
from tests.market.conftest import Cast
from tests.market.parties import SYSTEM, Stage, hexadecimal

ClientOf = Callable[..., APIClient]


def key() -> dict[str, str]:
    return {"HTTP_IDEMPOTENCY_KEY": secrets.token_hex(8)}


def application(stage: Stage, cast: Cast) -> dict[str, Any]:
    offer = stage.offer(cast.alice, stage.dataset(cast.alice))
    return {
        "offer": str(offer.id),
        "purpose": "study A-17",
        "operations": ["psi"],
        "columns": ["patient"],
        "quota": 10,
        "days": 7,
    }


# ---- who is calling ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer lt_", "Bearer lt_000000000000_" + "A" * 43, "Basic YTpi", "Bearer \u00e9"],
)
def test_without_a_valid_key_nothing_is_told(stage: Stage, header: str) -> None:
    client = APIClient()
    if header:
        client.credentials(HTTP_AUTHORIZATION=header)
    answer = client.get("/api/v1/whoami")
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "auth.required"
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000 + "]" * 100_000,
        '{"document": {"kind": "psi", "x": "\\ud800"}}',
        '{"document": {"kind": "psi", "\\ud800": 1}}',
        '{"document": {"kind": "psi", "x": ["\\u0000"]}}',
        '{"document": NaN}',
        "\ufeff{",
    ],
    ids=["deep", "surrogate", "surrogate in a name", "NUL", "NaN", "broken"],
)
def test_a_body_that_nothing_could_hold_is_the_senders_fault(stage: Stage, cast: Cast, body: str) -> None:
    _row, token = parties.create_api_key(party=cast.bob.row, name="k", scopes=["read", "jobs"], actor=SYSTEM)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    answer = client.post("/api/v1/jobs/drafts", body.encode(), content_type="application/json", **key())
    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"


def test_a_body_larger_than_any_request_is_refused_as_such(stage: Stage, cast: Cast) -> None:
    _row, token = parties.create_api_key(party=cast.bob.row, name="k", scopes=["read", "jobs"], actor=SYSTEM)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    body = b"{}" + b" " * (6 << 20)
    answer = client.post("/api/v1/jobs/drafts", body, content_type="application/json", **key())
    assert (answer.status_code, answer.json()["code"]) == (413, "request.too_large")


def test_a_revoked_key_is_like_no_key(stage: Stage, cast: Cast) -> None:
    row, token = parties.create_api_key(party=cast.bob.row, name="k", scopes=["read"], actor=SYSTEM)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert client.get("/api/v1/whoami").json()["name"] == "Bob"
    assert token.encode() not in repr(vars(row)).encode()
    parties.revoke_api_key(key_id=row.pk, actor=cast.bob.actor())
    assert client.get("/api/v1/whoami").status_code == 401


def test_a_key_does_not_outgrow_its_partys_roles(stage: Stage, cast: Cast, client_of: ClientOf) -> None:
    answer = client_of(cast.bob).get("/api/v1/whoami").json()
    assert answer["scopes"] == ["grants", "jobs", "read"]
    assert answer["roles"] == ["consumer"]
    assert client_of(cast.bob).get("/api/v1/audit/entries").json()["code"] == "auth.scope_missing"
    assert client_of(cast.dora).get("/api/v1/audit/entries").status_code == 200


def test_a_scope_that_the_key_lacks_is_named(stage: Stage, cast: Cast, client_of: ClientOf) -> None:
    answer = client_of(cast.bob, "read").post("/api/v1/grants", {}, format="json", **key())
    assert (answer.status_code, answer.json()["code"]) == (403, "auth.scope_missing")
    assert "grants" in answer.json()["detail"]


# ---- tenants ----------------------------------------------------------------------------------------------


def test_charlie_sees_nothing_of_alice_and_bob(
    stage: Stage, cast: Cast, grant: Grant, client_of: ClientOf
) -> None:
    job = stage.submit(cast.bob, {"left": (grant, 10)})
    stage.round(4)
    bob, charlie = client_of(cast.bob), client_of(cast.charlie)
    digest = bob.get("/api/v1/receipts").json()["results"][0]["digest"]
    invoice = bob.get("/api/v1/invoices").json()["results"][0]["id"]
    for path in (
        f"grants/{grant.id}",
        f"grants/{grant.grant_id}",
        f"jobs/{job.job_id}",
        f"jobs/{job.job_id}/events",
        f"jobs/{job.job_id}/result",
        f"receipts/{digest}",
        f"receipts/{digest}/evidence",
        f"invoices/{invoice}",
    ):
        assert bob.get(f"/api/v1/{path}").status_code == 200, path
        answer = charlie.get(f"/api/v1/{path}")
        assert answer.status_code == 404, path
        nothing = charlie.get("/api/v1/grants/" + str(secrets.token_hex(8)))
        assert answer.json()["detail"] == nothing.json()["detail"]
    for path in ("grants", "jobs", "receipts", "invoices"):
        assert charlie.get(f"/api/v1/{path}").json()["count"] == 0
    for path in (f"grants/{grant.id}/approve", f"grants/{grant.id}/revoke", f"jobs/{job.job_id}/cancel"):
        assert charlie.post(f"/api/v1/{path}", {}, format="json", **key()).status_code == 404


def test_the_provider_sees_the_job_but_not_its_result(
    stage: Stage, cast: Cast, grant: Grant, client_of: ClientOf
) -> None:
    job = stage.submit(cast.bob, {"left": (grant, 10)})
    stage.round(4)
    alice = client_of(cast.alice)
    assert alice.get(f"/api/v1/jobs/{job.job_id}").json()["state"] == "settled"
    assert client_of(cast.alice, "read", "jobs").get(f"/api/v1/jobs/{job.job_id}/result").status_code in (
        403,
        404,
    )
    result = client_of(cast.bob).get(f"/api/v1/jobs/{job.job_id}/result?role=left")
    assert result.content == b"sealed for " + job.job_id.encode()


def test_a_consumer_cannot_approve_its_own_request(stage: Stage, cast: Cast, client_of: ClientOf) -> None:
    bob = client_of(cast.bob)
    made = bob.post("/api/v1/grants", application(stage, cast), format="json", **key()).json()
    answer = bob.post(f"/api/v1/grants/{made['id']}/approve", {}, format="json", **key())
    assert answer.status_code == 403
    assert Grant.objects.get(pk=made["id"]).state == "requested"


# ---- writes may be repeated -------------------------------------------------------------------------------


def test_a_write_without_a_key_is_not_done(stage: Stage, cast: Cast, client_of: ClientOf) -> None:
    answer = client_of(cast.bob).post("/api/v1/grants", application(stage, cast), format="json")
    assert (answer.status_code, answer.json()["code"]) == (400, "request.idempotency_key_missing")
    assert not Grant.objects.exists()


@pytest.mark.parametrize("bad", ["short", "x" * 129, "with space here"])
def test_a_malformed_key_is_refused(stage: Stage, cast: Cast, client_of: ClientOf, bad: str) -> None:
    answer = client_of(cast.bob).post("/api/v1/grants", {}, format="json", HTTP_IDEMPOTENCY_KEY=bad)
    assert answer.json()["code"] == "request.invalid"


def test_the_same_write_twice_is_done_once(stage: Stage, cast: Cast, client_of: ClientOf) -> None:
    bob, body, header = client_of(cast.bob), application(stage, cast), key()
    first = bob.post("/api/v1/grants", body, format="json", **header)
    again = bob.post("/api/v1/grants", body, format="json", **header)
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert again["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first
    assert Grant.objects.count() == 1
    other = bob.post("/api/v1/grants", {**body, "quota": 11}, format="json", **header)
    assert (other.status_code, other.json()["code"]) == (409, "request.idempotency_key_reused")
    assert Grant.objects.count() == 1


def test_keys_of_two_callers_do_not_meet(stage: Stage, cast: Cast, client_of: ClientOf) -> None:
    body, header = application(stage, cast), key()
    assert client_of(cast.bob).post("/api/v1/grants", body, format="json", **header).status_code == 201
    assert client_of(cast.charlie).post("/api/v1/grants", body, format="json", **header).status_code == 201
    assert Grant.objects.count() == 2


def test_a_failed_write_may_be_repeated_with_its_key(stage: Stage, cast: Cast, client_of: ClientOf) -> None:
    bob, header = client_of(cast.bob), key()
    body = application(stage, cast)
    assert bob.post("/api/v1/grants", {**body, "days": 31}, format="json", **header).status_code == 422
    assert not IdempotencyRecord.objects.exists()
    assert bob.post("/api/v1/grants", body, format="json", **header).status_code == 201


# ---- the whole story over REST ----------------------------------------------------------------------------


def test_offer_grant_job_receipt_evidence_over_rest(stage: Stage, cast: Cast, client_of: ClientOf) -> None:
    from contracts.evidence import verify

    alice, bob = client_of(cast.alice), client_of(cast.bob)
    dataset = stage.dataset(cast.alice)
    found = bob.get("/api/v1/datasets?q=lab+panel").json()["results"]
    assert [row["dataset"] for row in found] == [dataset.dataset_id]
    assert found[0]["seal"]["block"] > 0
    offer = alice.post(
        "/api/v1/offers",
        {
            "dataset": dataset.dataset_id,
            "title": "Panel for research",
            "operations": ["psi"],
            "purposes": ["study A-17"],
            "columns": ["patient"],
            "min_cohort": 5,
            "max_quota": 50,
            "max_days": 10,
            "price_credits": 2,
        },
        format="json",
        **key(),
    )
    assert offer.status_code == 201, offer.json()
    made = bob.post(
        "/api/v1/grants",
        {
            "offer": offer.json()["id"],
            "purpose": "study A-17",
            "operations": ["psi"],
            "columns": ["patient"],
            "quota": 20,
            "days": 5,
        },
        format="json",
        **key(),
    ).json()
    approved = alice.post(f"/api/v1/grants/{made['id']}/approve", {"quota": 15}, format="json", **key())
    assert approved.json()["state"] == "proposed"
    stage.round()
    grant = bob.get(f"/api/v1/grants/{made['id']}").json()
    assert (grant["state"], grant["quota"], grant["left"]) == ("active", 15, 15)
    spec, request = stage.order(cast.bob, {"left": (Grant.objects.get(pk=made["id"]), 15)})
    body = {"spec": msgspec.to_builtins(spec), "request": msgspec.to_builtins(request)}
    submitted = bob.post("/api/v1/jobs", body, format="json", **key())
    assert submitted.status_code == 201, submitted.json()
    assert submitted.json()["terms"][grant["grant"]] == grant["terms"]
    assert submitted.json()["peers"] == {"left": "http://127.0.0.1:1"}
    replay = bob.post("/api/v1/jobs", body, format="json", **key())
    assert (replay.status_code, replay.json()["code"]) == (409, "job.exists")
    stage.round(4)
    job = bob.get(f"/api/v1/jobs/{request.job}").json()
    assert job["state"] == "settled"
    timeline = bob.get(f"/api/v1/jobs/{request.job}/events").json()
    assert [line["phase"] for line in timeline["events"] if line["role"] == "left"] == [
        "checked the grant",
        "working",
    ]
    last = timeline["events"][-1]["id"]
    assert bob.get(f"/api/v1/jobs/{request.job}/events?after={last}").json()["events"] == []
    bundle = bob.get(f"/api/v1/receipts/{job['receipts'][0]}/evidence").json()
    assert verify(bundle) is not None
    bill = bob.get("/api/v1/invoices").json()["results"][0]
    assert (bill["units"], bill["amount_credits"]) == (15, 30)


def test_a_regulator_reconciles_and_reads_are_recorded(
    stage: Stage, cast: Cast, grant: Grant, client_of: ClientOf
) -> None:
    dora = client_of(cast.dora)
    stage.round()
    run = dora.post("/api/v1/audit/reconciliations", {}, format="json", **key())
    assert run.status_code == 201, run.json()
    assert run.json()["clean"] is True
    assert dora.get(f"/api/v1/grants/{grant.id}").status_code == 200
    export: Any = dora.get("/api/v1/audit/export")
    lines = b"".join(export.streaming_content).splitlines()
    assert msgspec.json.decode(lines[-1])["verb"] == "audit.exported"


# ---- bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"quota": 0}, "quota"),
        ({"quota": "many"}, "quota"),
        ({"quota": 2**60}, "quota"),
        ({"days": None}, "days"),
        ({"columns": "patient"}, "columns"),
        ({"purpose": "x" * 4001}, "purpose"),
        ({"purpose": "a\0b"}, "purpose"),
        ({"unknown": 1}, "unknown"),
        ({"offer": "not a uuid"}, "offer"),
    ],
)
def test_a_field_that_does_not_fit_is_named(
    stage: Stage, cast: Cast, client_of: ClientOf, change: dict[str, Any], field: str
) -> None:
    body = {**application(stage, cast), **change}
    answer = client_of(cast.bob).post("/api/v1/grants", body, format="json", **key())
    assert answer.status_code == 400
    assert answer.json()["code"] == "request.invalid"
    assert answer.json()["facts"]["field"].startswith(field)


def test_a_job_whose_documents_do_not_decode_is_refused_by_field(
    stage: Stage, cast: Cast, client_of: ClientOf
) -> None:
    answer = client_of(cast.bob).post(
        "/api/v1/jobs", {"spec": {"kind": "psi"}, "request": {}}, format="json", **key()
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "request.invalid")
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "path", ["grants/zz", "grants/0x00", "jobs/%00", "receipts/1", "offers/1", "invoices/x"]
)
def test_ids_that_are_no_ids_are_not_found(stage: Stage, cast: Cast, client_of: ClientOf, path: str) -> None:
    assert client_of(cast.bob).get(f"/api/v1/{path}").status_code == 404


def test_broken_json_and_unknown_methods(stage: Stage, cast: Cast, client_of: ClientOf) -> None:
    bob = client_of(cast.bob)
    answer = bob.post("/api/v1/grants", "{", content_type="application/json", **key())
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert bob.put("/api/v1/grants", {}, format="json").status_code == 405


def test_an_unknown_error_tells_nothing(
    stage: Stage, cast: Cast, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def burst(*args: object) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr("market.grants.services.visible_grants", burst)
    answer = client_of(cast.bob).get("/api/v1/grants")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal.error")
    assert b"hunter2" not in answer.content


def test_without_the_chain_new_jobs_wait(
    stage: Stage, cast: Cast, grant: Grant, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contracts.bindings import Chain

    spec, request = stage.order(cast.bob, {"left": (grant, 1)})
    gone = Chain("http://127.0.0.1:9", stage.lab.address_book, timeout_s=0.5)
    door.use(gone)
    body = {"spec": msgspec.to_builtins(spec), "request": msgspec.to_builtins(request)}
    answer = client_of(cast.bob).post("/api/v1/jobs", body, format="json", **key())
    assert (answer.status_code, answer.json()["code"]) == (503, "chain.unreachable")
    assert answer["Retry-After"]
    assert not Job.objects.exists()


def test_the_schema_describes_every_route(db: None) -> None:
    from market.api.urls import urlpatterns

    schema = APIClient().get("/api/v1/schema", HTTP_ACCEPT="application/vnd.oai.openapi+json")
    assert schema.status_code == 200
    paths = msgspec.json.decode(schema.content)["paths"]
    assert len(paths) == len(urlpatterns) - 1  # the schema does not describe itself
    write = paths["/api/v1/grants"]["post"]
    assert any(parameter["name"] == "Idempotency-Key" for parameter in write["parameters"])


# ---- the regulator and the operator act -------------------------------------------------------------------


def signed_action(stage: Stage, cast: Cast, contract: str, subject: str, verb: int) -> dict[str, Any]:
    keys = cast.dora.keys
    nonce = stage.lab.chain.action_nonce(contract, keys.id)
    action = eip712.Action(party=keys.id, subject=bytes.fromhex(subject[2:]), verb=verb, nonce=nonce)
    return {
        "party": cast.dora.id,
        "subject": subject,
        "verb": verb,
        "nonce": nonce,
        "signature": hexadecimal(stage.lab.sign(contract, action, keys)),
    }


def test_a_regulator_freezes_with_its_own_signature(
    stage: Stage, cast: Cast, grant: Grant, client_of: ClientOf
) -> None:
    path = f"/api/v1/datasets/{grant.dataset_id}"
    body = {"action": signed_action(stage, cast, "DatasetRegistry", grant.dataset_id, 1)}
    assert client_of(cast.charlie).post(path + "/freeze", body, format="json", **key()).status_code == 404
    assert client_of(cast.bob).post(path + "/freeze", body, format="json", **key()).status_code == 403
    dora = client_of(cast.dora)
    assert dora.post(path + "/unfreeze", body, format="json", **key()).status_code == 400
    forged = {"action": {**body["action"], "nonce": 7}}
    assert dora.post(path + "/freeze", forged, format="json", **key()).json()["code"] == "signature.invalid"
    assert dora.post(path + "/freeze", body, format="json", **key()).status_code == 200
    stage.settle()
    assert dora.get(path).json()["state"] == "frozen"
    lift = {"action": signed_action(stage, cast, "DatasetRegistry", grant.dataset_id, 2)}
    assert dora.post(path + "/unfreeze", lift, format="json", **key()).status_code == 200
    stage.settle()
    assert dora.get(path).json()["state"] == "registered"


def test_a_regulators_suspension_outlasts_the_operators(
    stage: Stage, cast: Cast, client_of: ClientOf
) -> None:
    from contracts.eip712 import Role

    office = stage.enrol("Office", Role.OPERATOR)
    operator, dora = client_of(office), client_of(cast.dora)
    path = f"/api/v1/parties/{cast.alice.id}"
    body = {"action": signed_action(stage, cast, "PartyRegistry", cast.alice.id, 3)}
    assert client_of(cast.bob).post(path + "/suspend", {}, format="json", **key()).status_code == 403
    assert dora.post(path + "/suspend", {}, format="json", **key()).status_code == 403
    assert dora.post(path + "/suspend", body, format="json", **key()).status_code == 200
    stage.settle()
    assert operator.get(path).json()["state"] == "suspended"
    assert operator.post(path + "/reinstate", {}, format="json", **key()).status_code == 200
    stage.settle()
    assert operator.get(path).json()["state"] == "suspended"
    lift = {"action": signed_action(stage, cast, "PartyRegistry", cast.alice.id, 4)}
    assert dora.post(path + "/reinstate", lift, format="json", **key()).status_code == 200
    stage.settle()
    assert operator.get(path).json()["state"] == "enrolled"
    assert operator.post(path + "/suspend", {}, format="json", **key()).status_code == 200
    stage.settle()
    assert operator.get(path).json()["state"] == "suspended"
    assert operator.post(path + "/reinstate", {}, format="json", **key()).status_code == 200
    stage.settle()
    assert operator.get(path).json()["state"] == "enrolled"


def test_an_operator_watches_nodes_and_queues(stage: Stage, cast: Cast, client_of: ClientOf) -> None:
    from contracts.eip712 import Role

    operator = client_of(stage.enrol("Office", Role.OPERATOR))
    stage.round()
    nodes = operator.get("/api/v1/nodes").json()
    assert {node["name"]: node["reachable"] for node in nodes} == {"Alice": True, "Charlie": True}
    assert operator.get("/api/v1/workers").json()["outbox"]["queued"] == 0
    answer = operator.get("/api/v1/chain").json()
    assert answer["indexed"]["number"] == answer["head"]["number"]
    assert client_of(cast.bob).get("/api/v1/workers").status_code == 403
