"""A form for a job of one kind, made from the kind's JSON schema; its outcome is a draft document.

The portal never signs and never learns what is looked for: parameters that the SDK fills in (keys) or that
are the consumer's secret (what a PIR query asks for) have no field here and are given in the terminal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from market.grants.models import Grant
from market.portal import words
from market.portal.forms import Checkboxes

Schema = Mapping[str, Any]

# What a query asks for is the consumer's secret: given in the terminal, never here. By kind, with an example.
LOCAL_PARAMETERS: dict[str, dict[str, Any]] = {
    "pir.row": {"rows": [0]},
    "pir.keyword": {"keywords": [["…"]]},
}
# How the catalogue of kinds writes p1…pN.
ANY_NUMBER = "p*"
_LEAST_PARTIES, _MAX_PARTIES = 2, 8
_MAX_DEPTH = 4

LABELS: dict[str, str | Promise] = {
    "keys": _("Key columns"),
    "normalise": _("How keys are made comparable"),
    "trim": _("Cut white space at both ends"),
    "case": _("Upper and lower case"),
    "output_to": _("Who learns the result"),
    "deliver_to_consumer": _("Seal the matching rows to me"),
    "output_columns": _("Columns added to matching rows"),
    "max_elements": _("Most keys per side"),
    "value": _("Column to summarise"),
    "group_by": _("Column to group by"),
    "groups": _("Groups"),
    "filter": _("Only rows where"),
    "columns": _("Columns"),
    "key": _("Key columns"),
    "max_record_bytes": _("Longest record, in bytes"),
    "features": _("Features"),
    "label": _("Label column"),
    "positive": _("Positive value of the label"),
    "l2": _("L2 penalty"),
    "max_rounds": _("Most rounds"),
    "tolerance": _("Tolerance"),
    "calls": _("Most calls"),
    "duration_s": _("Open for, in seconds"),
}


class WordList(forms.CharField):
    """Several short texts, separated by commas (Chinese ones too)."""

    def __init__(self, *, schema: Schema, **options: Any) -> None:
        super().__init__(max_length=20_000, help_text=_("Separate with commas."), **options)
        self.least, self.most = int(schema.get("minItems", 0)), int(schema.get("maxItems", 1000))

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, (list, tuple)) else value

    def clean(self, value: Any) -> list[str]:
        text = str(super().clean(value) or "")
        parts = [part.strip() for part in re.split(r"[,，、\n]", text)]
        found = [part for part in parts if part]
        if self.required and len(found) < self.least:
            raise forms.ValidationError(_("Give at least %(n)s."), params={"n": self.least})
        if len(found) > self.most:
            raise forms.ValidationError(_("Give at most %(n)s."), params={"n": self.most})
        return found


class JsonField(forms.JSONField):
    """For what has no plainer form."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            widget=forms.Textarea(attrs={"rows": 3, "class": "mono", "spellcheck": "false"}), **options
        )


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
        self._paths: dict[str, tuple[str, ...]] = {}
        for role in self.roles:
            field: Any = forms.ChoiceField(
                label=words.job_role(role),
                choices=[
                    ("", "—"),
                    *((grant_id, grant_choice(grant)) for grant_id, grant in self.grants.items()),
                ],
            )
            self.fields[f"grant-{role}"] = field
        schema = kind.get("schema") or {}
        self._defs: Schema = schema.get("$defs", {})
        # ``gives``: filled in by the SDK before it signs.
        self._hidden = {*kind.get("gives", ()), *LOCAL_PARAMETERS.get(str(kind["name"]), ())}
        self._add("", self._resolved(schema), (), True)
        if grants and "purpose" not in self.initial:
            self.initial["purpose"] = grants[0].purpose

    @property
    def role_fields(self) -> list[Any]:
        return [self[f"grant-{role}"] for role in self.roles]

    @property
    def parameter_fields(self) -> list[Any]:
        return [self[name] for name in self._paths]

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

    def _add(self, prefix: str, schema: Schema, path: tuple[str, ...], required: bool) -> None:
        wanted = set(schema.get("required", ()))
        properties = schema.get("properties", {})
        # What must be given comes first; otherwise the order of LABELS, which is the order people think in.
        for name in sorted(properties, key=lambda name: (name not in wanted, _rank(name))):
            raw = properties[name]
            if name in self._hidden or len(path) >= _MAX_DEPTH:
                continue
            inner = self._resolved(raw)
            here = (*path, name)
            needed = required and name in wanted
            if inner.get("type") == "object" and inner.get("properties"):
                self._add(f"{prefix}{name}.", inner, here, needed)
                continue
            key = "param-" + prefix + name
            self.fields[key] = _field(inner, self._resolved, self._label(here), needed)
            if "default" in raw or "default" in inner:
                self.initial.setdefault(key, raw.get("default", inner.get("default")))
            self._paths[key] = here

    def _label(self, path: tuple[str, ...]) -> str:
        parts = [words.job_role(name) if name in self.roles else str(LABELS.get(name, name)) for name in path]
        # "normalise" adds nothing to "cut white space".
        if len(parts) == 2 and path[0] == "normalise":
            return parts[1]
        return " · ".join(parts)

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
            wanted = int(parties) if parties.isdigit() and len(parties) < 3 else _LEAST_PARTIES
            count = max(_LEAST_PARTIES, min(wanted, _MAX_PARTIES))
            roles += [f"p{number}" for number in range(1, count + 1)]
        elif role != kind.get("consumer_role"):
            roles.append(str(role))
    return tuple(roles)


def takes_any_number(kind: Schema) -> bool:
    """Whether the kind's roles are p1…pN."""
    return ANY_NUMBER in kind.get("role_names", ())


def grant_choice(grant: Grant) -> str:
    """A grant in a list: whose, what, how much is left."""
    return gettext("{dataset} · {provider} · {left} left").format(
        dataset=grant.dataset.name, provider=grant.provider.display_name, left=f"{grant.left:,}"
    )


def command(document: Mapping[str, Any], draft_id: object) -> str:
    """The one command that signs and runs a draft."""
    line = f"liutong jobs run --draft {draft_id}"
    local = LOCAL_PARAMETERS.get(str(document.get("kind")))
    if local:
        line += f" --params '{json.dumps(local, ensure_ascii=False)}'"
    return line


def _field(schema: Schema, resolved: Callable[[Schema], Schema], label: str, required: bool) -> forms.Field:
    kind = schema.get("type")
    if "enum" in schema:
        choices = [(str(value), str(_option(value))) for value in schema["enum"]]
        return forms.ChoiceField(label=label, choices=choices, required=required)
    if kind == "boolean":
        return forms.BooleanField(label=label, required=False)
    if kind == "integer":
        return forms.IntegerField(
            label=label,
            required=required,
            min_value=schema.get("minimum"),
            max_value=schema.get("maximum"),
        )
    if kind == "array":
        items = resolved(schema.get("items", {}))
        if "enum" in items:
            return forms.MultipleChoiceField(
                label=label,
                choices=[(str(value), words.job_role(str(value))) for value in items["enum"]],
                required=required,
                widget=Checkboxes(),
            )
        if items.get("type") == "string":
            return WordList(schema=schema, label=label, required=required)
        return JsonField(label=label, required=required)
    if kind == "string":
        validators = [RegexValidator(schema["pattern"])] if "pattern" in schema else []
        return forms.CharField(
            label=label,
            required=required,
            min_length=schema.get("minLength"),
            max_length=schema.get("maxLength", 4000),
            validators=validators,
        )
    return JsonField(label=label, required=required)


_OPTIONS: dict[str, str | Promise] = {
    "keep": _("keep as they are"),
    "fold": _("treat as equal"),
}


def _option(value: object) -> object:
    return _OPTIONS.get(str(value), value)


def _rank(name: str) -> int:
    return [*LABELS].index(name) if name in LABELS else len(LABELS)


def _is_blank(value: object) -> bool:
    return (
        value is None
        or value == ""
        or (isinstance(value, Iterable) and not isinstance(value, str) and not [*value])
    )
