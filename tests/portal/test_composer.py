"""The job composer: every kind of the catalogue has a form, and its draft is what the SDK signs."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.forms import MultipleChoiceField
from django.http import QueryDict
from django.test import Client
from django.utils import translation

from market.grants.models import Grant
from market.jobs.kinds import job_kinds
from market.jobs.models import Draft
from market.portal import composer_words, words
from market.portal.composer import (
    SECRET_PARAMETERS,
    ComposerForm,
    command,
    roles_of,
    secret_parameters,
)
from market.portal.composer_fields import OrderedChoices
from tests.portal.world import World

KINDS = {kind["name"]: kind for kind in job_kinds()}
SIGNS = {"eq": "=", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _texts(item)]
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []


def _granting(world: World, kind: Mapping[str, Any]) -> Grant:
    """Bob's grant, as if it allowed every column that the kind's example names, and enough uses."""
    grant = copy.copy(world.active)
    grant.columns = [*dict.fromkeys(_texts(kind["example"]))]
    grant.quota = 1_000_000
    return grant


def _posted(values: Mapping[str, Any], form: ComposerForm, prefix: str = "param-") -> QueryDict:
    """An example's parameters as a browser sends them."""
    data = QueryDict(mutable=True)
    for name, value in values.items():
        key = prefix + name
        if isinstance(value, dict):
            data.update(_posted(value, form, f"{key}."))
        elif isinstance(value, bool):
            data.update({key: "on"} if value else {})
        elif isinstance(value, list) and value and isinstance(value[0], dict) and "op" in value[0]:
            lines = [f"{item['column']} {SIGNS[item['op']]} {item['value']}" for item in value]
            data[key] = "\n".join(lines)
        elif isinstance(value, list) and isinstance(form.fields[key], MultipleChoiceField | OrderedChoices):
            data.setlist(key, value)
        elif isinstance(value, list):
            data[key] = (
                ", ".join(value) if all(isinstance(item, str) for item in value) else json.dumps(value)
            )
        else:
            data[key] = str(value)
    return data


def _local(kind: Mapping[str, Any]) -> set[str]:
    return {*SECRET_PARAMETERS, *kind["takes"], *kind["gives"]}


@pytest.mark.parametrize("name", KINDS)
def test_the_example_of_each_kind_goes_through_its_form_unchanged(name: str, world: World) -> None:
    kind = KINDS[name]
    grant = _granting(world, kind)
    example = {key: value for key, value in kind["example"].items() if key not in _local(kind)}
    data = _posted(example, ComposerForm(kind=kind, grants=[grant]))
    data["purpose"] = "study A-17"
    for role in roles_of(kind):
        data[f"grant-{role}"] = str(grant.grant_id)
    form = ComposerForm(data, kind=kind, grants=[grant])
    assert form.is_valid(), form.errors
    document = form.document()
    assert [item["role"] for item in document["participants"]] == list(roles_of(kind))
    for key, value in example.items():
        if value not in ([], {}):
            given = document["params"][key]
            if isinstance(value, dict):  # what has a default is filled in
                given = {inner: given[inner] for inner in _without_blanks(value)}
            assert given == _without_blanks(value), key


def _without_blanks(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if item != []}
    return value


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_every_field_and_choice_of_every_kind_has_its_words(name: str, language: str, world: World) -> None:
    with translation.override(language):
        form = ComposerForm(kind=KINDS[name], grants=[world.active])
        for key, path in form._paths.items():
            spoken = [*path[:1], *(step for step in path[1:] if step not in form.roles)]
            assert set(spoken) <= set(composer_words.LABELS), path
            field: Any = form.fields[key]
            for value, word in getattr(field.widget, "choices", ()):
                if value and value not in world.active.columns and value not in form.roles:
                    assert (path[-1], value) in composer_words.OPTIONS, (path, value)
                    assert str(word) == str(composer_words.OPTIONS[(path[-1], value)])
        assert words.kind(name) != name
        assert words.unit(KINDS[name]["unit"]) in {str(word) for word in words.UNITS.values()}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_not_needed_is_folded_away(name: str, world: World) -> None:
    kind = KINDS[name]
    form = ComposerForm(kind=kind, grants=[_granting(world, kind)])
    groups = form.parameter_groups
    shown = {field.name for group in groups if not group.folded for field in group.fields}
    assert {key for key in form._paths if form.fields[key].required} <= shown
    assert sorted(field.name for group in groups for field in group.fields) == sorted(form._paths)


@pytest.mark.parametrize("name", [name for name in KINDS if secret_parameters(KINDS[name])])
def test_what_is_looked_for_has_no_field(name: str, world: World) -> None:
    form = ComposerForm(kind=KINDS[name], grants=[world.active])
    hidden = {f"param-{field}" for field in (*SECRET_PARAMETERS, *KINDS[name]["gives"])}
    assert not hidden & set(form.fields)
    assert "--params" in command(KINDS[name], "id")


@pytest.mark.parametrize("name", [name for name in KINDS if KINDS[name]["operation"] == "pir"])
def test_every_retrieval_keeps_its_question_secret(name: str) -> None:
    assert secret_parameters(KINDS[name])
    assert set(KINDS[name]["takes"]) <= set(SECRET_PARAMETERS)


@pytest.mark.parametrize("parties", ["", "3", "99", "-1", "x"])
def test_number_of_parties_stays_within_bounds(parties: str) -> None:
    assert 2 <= len(roles_of(KINDS["stats.horizontal"], parties)) <= 10


def _psi(world: World, **changes: Any) -> dict[str, Any]:
    return {
        "purpose": "study A-17",
        "grant-left": world.active.grant_id, "grant-right": world.active.grant_id,
        "param-keys.left": "patient", "param-keys.right": "patient", "param-output_to": ["left"],
        "param-max_elements": 1000, "param-normalise.trim": "on", "param-normalise.case": "keep",
        **_defaults(world), **changes,
    }  # fmt: skip


def _defaults(world: World) -> dict[str, Any]:
    """What a browser sends of a form that nobody changed."""
    form = ComposerForm(kind=KINDS["psi"], grants=[world.active])
    sent = {name: form.get_initial_for_field(form.fields[name], name) for name in form._paths}
    return {
        name: "on" if value is True else value
        for name, value in sent.items()
        if value not in (None, False, [])
    }


def test_bob_saves_a_draft_and_sees_the_command(world: World, sign_in: Callable[..., Client]) -> None:
    answer = sign_in("bob").post("/jobs/new/?kind=psi", _psi(world), follow=True)
    draft = Draft.objects.exclude(pk=world.draft.pk).latest("created_at")
    assert f"liutong jobs run --draft {draft.pk}" in answer.content.decode()
    assert draft.document["params"]["keys"] == {"left": ["patient"], "right": ["patient"]}


def test_key_columns_keep_their_order(world: World, sign_in: Callable[..., Client]) -> None:
    first, second = world.active.columns[:2]
    changes = {"param-keys.left": [second, first], "param-keys.right": [first, second]}
    sign_in("bob").post("/jobs/new/?kind=psi", _psi(world, **changes))
    draft = Draft.objects.exclude(pk=world.draft.pk).latest("created_at")
    assert draft.document["params"]["keys"] == {"left": [second, first], "right": [first, second]}


def test_columns_are_chosen_from_those_of_the_grants(world: World, sign_in: Callable[..., Client]) -> None:
    page = sign_in("bob").get("/jobs/new/?kind=psi").content.decode()
    for column in world.active.columns:
        assert re.search(rf'<option value="{column}"[^>]*data-grants="{world.active.grant_id}', page), column
    answer = sign_in("bob").post("/jobs/new/?kind=psi", _psi(world, **{"param-keys.left": "salary"}))
    assert answer.status_code == 422
    assert "salary is not one of the choices" in answer.content.decode()


def test_a_column_that_only_another_grant_allows_is_refused(world: World) -> None:
    kind, other = KINDS["psi"], copy.copy(world.active)
    other.grant_id, other.columns = "0x" + "9" * 64, ["elsewhere"]
    data = _psi(world, **{"param-keys.left": ["elsewhere"]})
    form = ComposerForm(data, kind=kind, grants=[world.active, other])
    assert not form.is_valid()
    assert "does not allow the column elsewhere" in str(form.errors["param-keys.left"])


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("age >= 40", [{"column": "age", "op": "ge", "value": "40"}]),
        ("age≠40\n\n blood type = A B ", [{"column": "age", "op": "ne", "value": "40"},
                                          {"column": "blood type", "op": "eq", "value": "A B"}]),
        ("", []),
    ],
)  # fmt: skip
def test_conditions_are_written_line_by_line(written: str, read: list[dict[str, str]]) -> None:
    from market.portal.composer_fields import Conditions

    field = Conditions(schema={}, required=False)
    assert field.clean(written) == read
    assert field.clean(field.prepare_value(read)) == read


def test_a_line_that_is_no_condition_is_told() -> None:
    from django.forms import ValidationError

    from market.portal.composer_fields import Conditions

    with pytest.raises(ValidationError, match="older than 40"):
        Conditions(schema={}, required=False).clean("age > 3\nolder than 40")


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


@pytest.mark.parametrize(
    ("name", "bound"), [("psi", 700), ("psi.many", 700), ("stats.vertical", 100_000)], ids=str
)
def test_a_form_proposes_no_more_uses_than_the_grants_have_left(name: str, bound: int, world: World) -> None:
    grant, plenty = copy.copy(world.active), copy.copy(world.active)
    grant.quota, grant.used, grant.reserved = 1000, 200, 100
    plenty.grant_id, plenty.quota = "0x" + "9" * 64, 1_000_000
    form = ComposerForm(kind=KINDS[name], grants=[grant, plenty])
    assert form.get_initial_for_field(form.fields["param-max_elements"], "param-max_elements") == bound


def test_a_form_refuses_more_uses_than_a_grant_has_left(world: World) -> None:
    grant = copy.copy(world.active)
    grant.quota, grant.used, grant.reserved = 1000, 200, 100
    for wanted, fits in ((700, True), (701, False)):
        data = _psi(world, **{"param-max_elements": str(wanted)})
        form = ComposerForm(data, kind=KINDS["psi"], grants=[grant])
        assert form.is_valid() is fits
    assert "700 uses left" in str(form.errors["param-max_elements"])
