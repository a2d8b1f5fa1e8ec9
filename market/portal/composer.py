"""A form for a job of one kind, made from the kind's JSON schema; its outcome is a draft document.

The portal never signs and never learns what is looked for: parameters that the SDK fills in (keys) or that
are the consumer's secret (what a PIR query asks for) have no field here and are given in the terminal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from market.grants.models import Grant
from market.portal import composer_words, words
from market.portal.composer_fields import (
    ColumnBoxes,
    Columns,
    ColumnSelect,
    Conditions,
    JsonField,
    NumberList,
    OrderedChoices,
    Slots,
    WordList,
)
from market.portal.forms import Checkboxes

Schema = Mapping[str, Any]

# What a query asks for is the consumer's secret: given in the terminal, never here. By parameter, with an
# example of its value.
SECRET_PARAMETERS: dict[str, Any] = {"rows": [0], "keywords": [["…"]]}
# How the catalogue of kinds writes p1…pN.
ANY_NUMBER = "p*"
_LEAST_PARTIES, _MAX_PARTIES = 2, 10
_MAX_DEPTH = 4
# Parameters that name columns: in an order, as a set, or one.
_KEYS = ("keys", "key")
_COLUMN_SETS = ("columns", "output_columns", "label_columns", "features", "values")
# The role whose rows are summed up, where a kind tells it from the others.
_VALUES = "values"
_ONE_PER_KEY = ("forms",)
_ONE_COLUMN = ("value", "group_by", "label")
# The parameter that says how many uses a job reserves of each grant, for units of this name.
_RESERVED = {"distinct key compared": "param-max_elements"}


@dataclass(frozen=True)
class Group:
    """Parameters that stand together; ``folded`` away unless something in it is wrong."""

    title: str
    fields: list[Any]
    folded: bool


class ComposerForm(forms.Form):
    """Purpose, one grant per role, and the kind's parameters."""

    purpose = forms.CharField(label=_("Purpose"), max_length=4000)

    def __init__(
        self, *args: Any, kind: Schema, grants: Sequence[Grant], parties: str = "", **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.kind = kind
        self.roles = roles_of(kind, parties)
        self.grants = {grant.grant_id: grant for grant in grants if grant.grant_id}
        self.columns = Columns(self.grants.values())
        self._paths: dict[str, tuple[str, ...]] = {}
        self._column_fields: dict[str, str] = {}
        for role in self.roles:
            field: Any = forms.ChoiceField(
                label=words.job_role(role),
                choices=[
                    ("", "—"),
                    *((grant_id, grant_choice(grant)) for grant_id, grant in self.grants.items()),
                ],
            )
            field.widget.attrs["data-grant-of"] = role
            self.fields[f"grant-{role}"] = field
        schema = kind.get("schema") or {}
        self._defs: Schema = schema.get("$defs", {})
        # ``gives``: filled in by the SDK before it signs.
        self._hidden = {*kind.get("gives", ()), *SECRET_PARAMETERS}
        self._reserved = _RESERVED.get(kind.get("unit", ""))
        self._add("", self._resolved(schema), (), True, {})
        self._suggest(grants)

    @property
    def role_fields(self) -> list[Any]:
        return [self[f"grant-{role}"] for role in self.roles]

    @property
    def parameter_groups(self) -> list[Group]:
        """The parameters as they stand on the page."""
        found: dict[str, list[Any]] = {place: [] for place in composer_words.GROUPS}
        for name, path in self._paths.items():
            required = self.fields[name].required
            found[composer_words.MAIN if required else composer_words.place(path[0])].append(self[name])
        return [
            Group(
                str(title),
                found[place],
                place != composer_words.MAIN and not any(field.errors for field in found[place]),
            )
            for place, title in composer_words.GROUPS.items()
            if found[place]
        ]

    def clean(self) -> dict[str, Any]:
        """Columns must be allowed by the grant that their role uses."""
        cleaned: dict[str, Any] = super().clean() or {}
        for name, role in self._column_fields.items():
            value = cleaned.get(name)
            chosen = [value] if isinstance(value, str) else [*(value or [])]
            used = [
                grant
                for other in ([role] if role else self.roles)
                if (grant := self.grants.get(cleaned.get(f"grant-{other}", ""))) is not None
            ]
            if not used:
                continue
            for column in chosen:
                if column and not any(column in grant.columns for grant in used if grant.columns):
                    self.add_error(name, _missing_column(column, used[0]))
        self._check_quota(cleaned)
        return cleaned

    def _check_quota(self, cleaned: Mapping[str, Any]) -> None:
        """A job that reserves more than a grant has left would be refused."""
        wanted = cleaned.get(self._reserved) if self._reserved else None
        for role in self.roles:
            grant = self.grants.get(cleaned.get(f"grant-{role}", ""))
            if wanted is not None and grant is not None and wanted > grant.left:
                told = gettext("The grant on {dataset} has {left} uses left.")
                self.add_error(
                    self._reserved, told.format(dataset=grant.dataset.name, left=f"{grant.left:,}")
                )

    def document(self) -> dict[str, Any]:
        """The draft: what `liutong jobs run --draft` reads, completes and signs."""
        params: dict[str, Any] = {}
        for name, path in self._paths.items():
            value = self.cleaned_data.get(name)
            if _is_blank(value) and not self.fields[name].required:
                continue
            target = params
            for step in path[:-1]:
                target = target.setdefault(step, {})
            target[path[-1]] = value
        return {
            "kind": self.kind["name"],
            "purpose": self.cleaned_data["purpose"],
            "participants": [
                {
                    "role": role,
                    "grant": grant.grant_id,
                    "party": grant.provider_id,
                    "dataset": grant.dataset_id,
                    "dataset_name": grant.dataset.name,
                }
                for role in self.roles
                if (grant := self.grants[self.cleaned_data[f"grant-{role}"]])
            ],
            "params": params,
        }

    def _suggest(self, grants: Sequence[Grant]) -> None:
        """What most people would choose: the only grants there are, and the key column they all have."""
        if grants and "purpose" not in self.initial:
            self.initial["purpose"] = grants[0].purpose
        by_provider = {grant.provider_id: grant for grant in reversed(grants)}
        if len(by_provider) == len(grants) == len(self.roles):
            for role, grant in zip(self.roles, grants, strict=True):
                self.initial.setdefault(f"grant-{role}", grant.grant_id)
        common = [name for name, held in self.columns.allowed.items() if len(held) == len(self.grants)]
        if common:
            for name, path in self._paths.items():
                if path[0] in _KEYS and name in self._column_fields:
                    self.initial.setdefault(name, common[:1])

    def _add(
        self, prefix: str, schema: Schema, path: tuple[str, ...], required: bool, defaults: Mapping[str, Any]
    ) -> None:
        wanted = set(schema.get("required", ()))
        properties = schema.get("properties", {})
        # What must be given comes first; otherwise the order that people think in.
        for name in sorted(properties, key=lambda name: (name not in wanted, composer_words.rank(name))):
            raw = properties[name]
            if name in self._hidden or len(path) >= _MAX_DEPTH:
                continue
            inner = self._resolved(raw)
            here = (*path, name)
            needed = required and name in wanted
            default = defaults.get(name, raw.get("default", inner.get("default")))
            inside = default if isinstance(default, dict) else {}
            if inner.get("type") == "object" and inner.get("properties"):
                self._add(f"{prefix}{name}.", inner, here, needed, inside)
                continue
            if self._is_by_role(here, inner):
                by_role = self._resolved(inner["additionalProperties"])
                for role in self.roles:
                    self._add_field(
                        f"{prefix}{name}.{role}", by_role, (*here, role), needed, inside.get(role)
                    )
                continue
            self._add_field(prefix + name, inner, here, needed, default)

    def _add_field(
        self, name: str, schema: Schema, path: tuple[str, ...], required: bool, default: Any
    ) -> None:
        key = "param-" + name
        self.fields[key] = self._field(key, path, schema, required)
        if key == self._reserved and default is not None:
            # As the SDK does where nothing is given: no more than the grants have left.
            default = min([default, *(grant.left for grant in self.grants.values() if grant.left)])
        if default is not None:
            self.initial.setdefault(key, default)
        self._paths[key] = path

    def _is_by_role(self, path: tuple[str, ...], schema: Schema) -> bool:
        """Whether an object is keyed by the roles of the job, as its example is."""
        if not isinstance(schema.get("additionalProperties"), Mapping):
            return False
        example: Any = self.kind.get("example", {})
        for step in path:
            example = example.get(step) if isinstance(example, Mapping) else None
        return isinstance(example, Mapping) and all(
            key in self.roles or re.fullmatch(r"p[1-9][0-9]*", key) for key in example
        )

    def _field(self, key: str, path: tuple[str, ...], schema: Schema, required: bool) -> forms.Field:
        told: dict[str, Any] = {
            "label": self._label(path),
            "required": required,
            "help_text": composer_words.help_text(path[0] if path[-1] in self.roles else path[-1]),
        }
        items = self._resolved(schema.get("items", {})) if schema.get("type") == "array" else {}
        texts = items.get("type") == "string" and "enum" not in items
        if self.columns and path[0] in (*_KEYS, *_COLUMN_SETS) and texts:
            return self._several_columns(key, path, schema, told)
        if self.columns and path[-1] in _ONE_COLUMN and schema.get("type") == "string":
            role = self._column_fields[key] = self._role_of(path)
            return forms.ChoiceField(
                choices=self.columns.choices(blank=True), widget=ColumnSelect(self.columns, role), **told
            )
        if path[-1] == "output_to":
            choices = [str(value) for value in items.get("enum", self.roles)]
            return forms.MultipleChoiceField(
                choices=[(role, words.job_role(role)) for role in choices], widget=Checkboxes(), **told
            )
        if schema.get("type") == "array":
            return self._list(path, schema, items, told)
        return _plain(path[-1], schema, told)

    def _several_columns(
        self, key: str, path: tuple[str, ...], schema: Schema, told: dict[str, Any]
    ) -> forms.Field:
        role = self._column_fields[key] = self._role_of(path)
        if path[0] in _KEYS:
            slots = Slots(lambda: ColumnSelect(self.columns, role))
            return OrderedChoices(choices=self.columns.choices(), schema=schema, widget=slots, **told)
        return forms.MultipleChoiceField(
            choices=self.columns.choices(), widget=ColumnBoxes(self.columns, role), **told
        )

    def _list(
        self, path: tuple[str, ...], schema: Schema, items: Schema, told: dict[str, Any]
    ) -> forms.Field:
        if "enum" in items:
            choices = [(str(value), composer_words.option(path[-1], value)) for value in items["enum"]]
            if path[-1] not in _ONE_PER_KEY:
                return forms.MultipleChoiceField(choices=choices, widget=Checkboxes(), **told)
            return OrderedChoices(choices=choices, schema=schema, widget=Slots(forms.Select), **told)
        if items.get("type") == "integer":
            return NumberList(schema=schema, items=items, **told)
        if set(items.get("properties", ())) == {"column", "op", "value"}:
            return Conditions(schema=schema, **told)
        if items.get("type") == "string":
            return WordList(schema=schema, **told)
        return JsonField(**told)

    def _role_of(self, path: tuple[str, ...]) -> str:
        """The role whose columns a parameter names; empty if any of them may."""
        if path[-1] in self.roles:
            return path[-1]
        if _VALUES in self.roles and path[0] in _ONE_COLUMN:
            return _VALUES
        return self.roles[0] if len(self.roles) == 1 else ""

    def _label(self, path: tuple[str, ...]) -> str:
        # Only inside a parameter does a role's name mean the role.
        parts = [composer_words.label(path[0])]
        parts += [
            words.job_role(name) if name in self.roles else composer_words.label(name) for name in path[1:]
        ]
        # The group says already what "normalise" is about.
        return " · ".join(parts[1:] if len(parts) > 1 and path[0] == "normalise" else parts)

    def _resolved(self, schema: Schema) -> Schema:
        for _depth in range(8):
            if "$ref" in schema:
                found = self._defs.get(str(schema["$ref"]).rpartition("/")[2], {})
                schema = {**found, **{key: value for key, value in schema.items() if key != "$ref"}}
            elif "anyOf" in schema:
                options = [option for option in schema["anyOf"] if option.get("type") != "null"]
                rest = {key: value for key, value in schema.items() if key != "anyOf"}
                schema = {**(options[0] if len(options) == 1 else {}), **rest}
            else:
                break
        return schema


def roles_of(kind: Schema, parties: str = "") -> tuple[str, ...]:
    """The roles that need a grant. Where the kind takes any number of parties, ``parties`` says how many."""
    roles: list[str] = []
    for role in kind.get("role_names", ()):
        if role == ANY_NUMBER:
            numbers = numbers_of_parties(kind)
            wanted = int(parties) if parties.isdigit() and len(parties) < 3 else numbers[0]
            count = max(numbers[0], min(wanted, numbers[-1]))
            roles += [f"p{number}" for number in range(1, count + 1)]
        elif role != kind.get("consumer_role"):
            roles.append(str(role))
    return tuple(roles)


def takes_any_number(kind: Schema) -> bool:
    """Whether the kind's roles are p1…pN."""
    return ANY_NUMBER in kind.get("role_names", ())


def numbers_of_parties(kind: Schema) -> range:
    """How many parties a form can have: as many as the kind's keys are for, if its schema says so."""
    least, most = _LEAST_PARTIES, _MAX_PARTIES
    for definition in (kind.get("schema") or {}).get("$defs", {}).values():
        keys = definition.get("properties", {}).get("keys", {})
        least = max(least, int(keys.get("minProperties", least)))
        most = min(most, int(keys.get("maxProperties", most)))
    return range(least, most + 1)


def secret_parameters(kind: Schema) -> dict[str, Any]:
    """What has to be given in the terminal, with example values: the kind takes it and never signs it."""
    return {name: SECRET_PARAMETERS[name] for name in kind.get("takes", ()) if name in SECRET_PARAMETERS}


def grant_choice(grant: Grant) -> str:
    """A grant in a list: whose, what, how much is left."""
    return gettext("{dataset} · {provider} · {left} left").format(
        dataset=grant.dataset.name, provider=grant.provider.display_name, left=f"{grant.left:,}"
    )


def command(kind: Schema, draft_id: object) -> str:
    """The one command that signs and runs a draft."""
    line = f"liutong jobs run --draft {draft_id}"
    local = secret_parameters(kind)
    if local:
        line += f" --params '{json.dumps(local, ensure_ascii=False)}'"
    return line


def _plain(name: str, schema: Schema, told: dict[str, Any]) -> forms.Field:
    """One value of a simple type."""
    kind = schema.get("type")
    if "enum" in schema:
        choices = [(str(value), composer_words.option(name, value)) for value in schema["enum"]]
        return forms.ChoiceField(choices=choices, **told)
    if kind == "boolean":
        return forms.BooleanField(**{**told, "required": False})
    if kind == "integer":
        return forms.IntegerField(min_value=schema.get("minimum"), max_value=schema.get("maximum"), **told)
    if kind == "string":
        validators = [RegexValidator(schema["pattern"])] if "pattern" in schema else []
        return forms.CharField(
            min_length=schema.get("minLength"),
            max_length=schema.get("maxLength", 4000),
            validators=validators,
            **told,
        )
    return JsonField(**told)


def _missing_column(column: str, grant: Grant) -> str:
    return gettext("The grant on {dataset} does not allow the column {column}.").format(
        dataset=grant.dataset.name, column=column
    )


def _is_blank(value: object) -> bool:
    return (
        value is None
        or value == ""
        or (isinstance(value, Iterable) and not isinstance(value, str) and not [*value])
    )
