"""REST takes every kind of the catalogue: a good order is taken, a bad one names the field that is wrong."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from rest_framework.test import APIClient

from contracts.eip712 import Role
from market.errors import BadRequest, NotFound
from market.grants.models import Grant
from market.jobs.kinds import job_kinds
from market.jobs.models import Job, JobPart
from market.jobs.parameters import check_parameters
from market.jobs.progress import _worst
from tests.market.conftest import Cast
from tests.market.parties import Stage

ClientOf = Callable[..., APIClient]
KINDS = {kind["name"]: kind for kind in job_kinds()}
# What `prepare` fills in before an order is signed, by the name of the field.
GIVEN = {"queries": 2, "public_key": "ab" * 768}


def signed_params(kind: dict[str, Any]) -> dict[str, Any]:
    """The example of a kind as it is signed."""
    params = {name: value for name, value in kind["example"].items() if name not in kind["takes"]}
    return params | {name: GIVEN[name] for name in kind["gives"]}


def post(client: APIClient, spec: Any, request: Any) -> Any:
    body = {"spec": msgspec.to_builtins(spec), "request": msgspec.to_builtins(request)}
    return client.post("/api/v1/jobs", body, format="json", HTTP_IDEMPOTENCY_KEY=secrets.token_hex(8))


@pytest.mark.parametrize("name", KINDS)
def test_the_example_of_each_kind_fits_its_schema(name: str) -> None:
    check_parameters(name, signed_params(KINDS[name]))


@pytest.mark.parametrize("name", KINDS)
def test_an_unknown_parameter_is_named(name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        check_parameters(name, signed_params(KINDS[name]) | {"surprise": 1})
    assert caught.value.detail["field"] == "spec.params.surprise"


def properties(name: str) -> list[tuple[str, str]]:
    document = KINDS[name]["schema"]
    definition = document["$defs"][document["$ref"].rpartition("/")[2]]
    return [(name, field) for field in definition["properties"]]


@pytest.mark.parametrize(("name", "field"), [pair for name in KINDS for pair in properties(name)])
def test_a_parameter_of_another_type_is_named(name: str, field: str) -> None:
    wrong = signed_params(KINDS[name]) | {field: 2.5}
    with pytest.raises(BadRequest) as caught:
        check_parameters(name, wrong)
    assert caught.value.detail["field"] == f"spec.params.{field}"
    assert "2.5" not in caught.value.message


@pytest.mark.parametrize("name", [name for name in KINDS if KINDS[name]["schema"]["$defs"]])
def test_a_missing_parameter_is_named(name: str) -> None:
    document = KINDS[name]["schema"]
    for field in document["$defs"][document["$ref"].rpartition("/")[2]].get("required", []):
        params = signed_params(KINDS[name])
        del params[field]
        with pytest.raises(BadRequest) as caught:
            check_parameters(name, params)
        assert caught.value.detail["field"] == f"spec.params.{field}"


def test_a_parameter_deep_inside_is_named_by_its_path() -> None:
    params = copy.deepcopy(signed_params(KINDS["stats.vertical"]))
    params["filter"] = [{"column": "age", "op": "like", "value": "4"}]
    with pytest.raises(BadRequest) as caught:
        check_parameters("stats.vertical", params)
    assert caught.value.detail["field"] == "spec.params.filter.0.op"
    assert "eq" in caught.value.message


def test_a_kind_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound):
        check_parameters("nonsense", {})


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_taken_over_rest_and_its_bad_orders_are_not(
    name: str, stage: Stage, cast: Cast, grant: Grant, client_of: ClientOf
) -> None:
    bob = client_of(cast.bob)
    params = signed_params(KINDS[name])
    bad = stage.order(cast.bob, {"left": (grant, 10)}, kind=name, params=params | {"surprise": 1})
    answer = post(bob, *bad)
    assert (answer.status_code, answer.json()["code"]) == (400, "request.invalid")
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["facts"]["field"] == "spec.params.surprise"

    too_much = stage.order(cast.bob, {"left": (grant, grant.quota + 1)}, kind=name, params=params)
    answer = post(bob, *too_much)
    assert answer.json()["rule"] == "quota", answer.json()
    assert answer.status_code == 422
    assert str(grant.quota) in answer.json()["detail"]
    assert not Job.objects.exists()

    answer = post(bob, *stage.order(cast.bob, {"left": (grant, 10)}, kind=name, params=params))
    assert answer.status_code == 201, answer.json()
    assert (answer.json()["kind"], answer.json()["state"]) == (name, "submitted")


def test_the_openapi_document_holds_every_kind(db: None) -> None:
    schema = APIClient().get("/api/v1/schema", HTTP_ACCEPT="application/vnd.oai.openapi+json")
    document = msgspec.json.decode(schema.content)
    schemas = document["components"]["schemas"]
    assert set(schemas["JobSpec"]["discriminator"]["mapping"]) == set(KINDS)
    assert schemas["JobInput"]["properties"]["spec"] == {"$ref": "#/components/schemas/JobSpec"}
    for reference in references(document):
        assert reference.rpartition("/")[2] in schemas, reference


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        here = [item for key, item in value.items() if key == "$ref"]
        return here + [found for item in value.values() for found in references(item)]
    return [found for item in value for found in references(item)] if isinstance(value, list) else []


# ---- who may end a job, and how a role without a node is told ----------------------------------------------


def test_a_provider_that_takes_part_ends_a_job(
    stage: Stage, cast: Cast, grant: Grant, client_of: ClientOf
) -> None:
    stage.nodes[cast.alice.id].behaviour = lambda submission: "running"
    job = stage.submit(cast.bob, {"left": (grant, 40)})
    stage.round(2)
    path, key = f"/api/v1/jobs/{job.job_id}/cancel", {"HTTP_IDEMPOTENCY_KEY": secrets.token_hex(8)}
    assert client_of(cast.charlie).post(path, {}, format="json", **key).status_code == 404
    assert client_of(cast.dora).post(path, {}, format="json", **key).status_code == 403
    assert client_of(cast.alice, "read").post(path, {}, format="json", **key).status_code == 403
    assert client_of(cast.alice).post(path, {}, format="json", **key).status_code == 200
    assert job.events.get(phase="cancel requested").message == "Alice"
    stage.round(3)
    job.refresh_from_db()
    grant.refresh_from_db()
    assert job.state == "cancelled"
    assert (grant.used, grant.reserved) == (0, 0)


def test_the_consumers_own_role_does_not_wait_after_the_end(stage: Stage, cast: Cast) -> None:
    carol = stage.enrol("Carol", Role.CONSUMER)
    grant = stage.grant(cast.alice, carol)
    job = stage.submit(carol, {"left": (grant, 10)})
    own = JobPart.objects.create(job=job, role="client", party=carol.row)
    assert own.node_state == "waiting"
    stage.nodes[cast.alice.id].behaviour = lambda submission: "running"
    stage.round(2)
    own.refresh_from_db()
    assert own.node_state == "running"
    stage.nodes[cast.alice.id].finish(job.job_id, "completed")
    stage.round(3)
    own.refresh_from_db()
    job.refresh_from_db()
    assert (job.state, own.node_state) == ("settled", "completed")


@pytest.mark.parametrize("echo", ["protocol.abort", "wire.peer_lost"])
def test_a_failed_job_names_the_fault_and_not_its_echo(echo: str) -> None:
    heard = JobPart(role="members", node_state="failed", reason=echo, message="values cannot go on")
    fault = JobPart(role="values", node_state="failed", reason="input.invalid", message="sums need numbers")
    for parts in ([heard, fault], [fault, heard]):
        assert _worst(Job(), parts)[1]["message"] == "sums need numbers"
    assert _worst(Job(), [heard])[1]["message"] == "values cannot go on"
