"""The job composer: every kind of the catalogue has a form, and its draft is what the SDK signs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.test import Client

from market.jobs.kinds import job_kinds
from market.jobs.models import Draft
from market.portal.composer import LOCAL_PARAMETERS, ComposerForm, command, roles_of
from tests.portal.world import World

KINDS = {kind["name"]: kind for kind in job_kinds()}


def _flat(values: Mapping[str, Any], prefix: str = "param-") -> dict[str, Any]:
    """An example's parameters as the form's fields."""
    fields: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            fields |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, bool):
            fields |= {prefix + name: "on"} if value else {}
        elif isinstance(value, list) and name != "output_to":
            fields[prefix + name] = (
                ", ".join(value) if all(isinstance(item, str) for item in value) else _json(value)
            )
        else:
            fields[prefix + name] = value
    return fields


def _json(value: object) -> str:
    import json

    return json.dumps(value)


@pytest.mark.parametrize("name", KINDS)
def test_the_example_of_each_kind_goes_through_its_form_unchanged(name: str, world: World) -> None:
    kind = KINDS[name]
    local = set(LOCAL_PARAMETERS.get(name, ())) | set(kind["takes"])
    example = {key: value for key, value in kind["example"].items() if key not in local}
    data = {"purpose": "study A-17", **_flat(example)}
    data |= {f"grant-{role}": world.active.grant_id for role in roles_of(kind)}
    form = ComposerForm(data, kind=kind, grants=[world.active])
    assert form.is_valid(), form.errors
    document = form.document()
    assert [item["role"] for item in document["participants"]] == list(roles_of(kind))
    for key, value in example.items():
        if value not in ([], {}):
            assert _without_blanks(document["params"][key]) == _without_blanks(value), key


def _without_blanks(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if item != []}
    return value


@pytest.mark.parametrize("name", LOCAL_PARAMETERS)
def test_what_is_looked_for_has_no_field(name: str, world: World) -> None:
    form = ComposerForm(kind=KINDS[name], grants=[world.active])
    assert not {"param-rows", "param-keywords", "param-queries"} & set(form.fields)
    assert "--params" in command({"kind": name}, "id")


@pytest.mark.parametrize("parties", ["", "3", "99", "-1", "x"])
def test_number_of_parties_stays_within_bounds(parties: str) -> None:
    assert 2 <= len(roles_of(KINDS["stats.horizontal"], parties)) <= 8


def test_bob_saves_a_draft_and_sees_the_command(world: World, sign_in: Callable[..., Client]) -> None:
    bob = sign_in("bob")
    answer = bob.post(
        "/jobs/new/?kind=psi",
        {
            "purpose": "study A-17",
            "grant-left": world.active.grant_id, "grant-right": world.active.grant_id,
            "param-keys.left": "patient", "param-keys.right": "pid", "param-output_to": ["left"],
            "param-max_elements": 1000, "param-normalise.trim": "on", "param-normalise.case": "keep",
        },
        follow=True,
    )  # fmt: skip
    draft = Draft.objects.latest("created_at")
    assert f"liutong jobs run --draft {draft.pk}" in answer.content.decode()
    assert draft.document["params"]["keys"] == {"left": ["patient"], "right": ["pid"]}


def test_a_form_with_gaps_says_where(world: World, sign_in: Callable[..., Client]) -> None:
    answer = sign_in("bob").post("/jobs/new/?kind=psi", {"purpose": ""})
    assert answer.status_code == 422
    assert answer.content.decode().count("This field is required") >= 4
    assert not Draft.objects.exclude(pk=world.draft.pk).exists()


def test_a_grant_of_another_party_is_no_choice(world: World, sign_in: Callable[..., Client]) -> None:
    page = sign_in("bob").get("/jobs/new/?kind=pir.keyword").content.decode()
    assert world.others_grant.grant_id not in page


def test_unknown_kind_is_not_found(sign_in: Callable[..., Client]) -> None:
    assert sign_in("bob").get("/jobs/new/?kind=nonsense").status_code == 404
