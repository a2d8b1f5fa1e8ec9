"""Fields of the job composer: columns chosen from what grants allow, lists and conditions as people write.

Every choice of a column names the grants that allow it (``data-grants``), so the page can leave only those
of the grant that a role uses; the form checks it again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django import forms
from django.utils.datastructures import MultiValueDict
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from market.portal.forms import Checkboxes

Schema = Mapping[str, Any]
_SLOTS = 4


class Columns:
    """The columns that a role may use, and by which grants."""

    def __init__(self, grants: Iterable[Any]) -> None:
        self.allowed: dict[str, list[str]] = {}
        for grant in grants:
            for name in grant.columns:
                self.allowed.setdefault(name, []).append(str(grant.grant_id))

    def __bool__(self) -> bool:
        return bool(self.allowed)

    def choices(self, *, blank: bool = False) -> list[tuple[str, str]]:
        """As a field wants them; ``blank`` puts an empty one first."""
        return [*([("", "—")] if blank else []), *((name, name) for name in self.allowed)]

    def mark(self, option: dict[str, Any]) -> dict[str, Any]:
        """Name the grants at an option of a widget."""
        grants = self.allowed.get(str(option["value"]))
        if grants:
            option["attrs"]["data-grants"] = " ".join(grants)
        return option


class ColumnSelect(forms.Select):
    """One column."""

    def __init__(self, columns: Columns, role: str, **options: Any) -> None:
        super().__init__(attrs={"data-role": role} if role else {}, **options)
        self.columns = columns

    def create_option(self, *args: Any, **options: Any) -> dict[str, Any]:
        return self.columns.mark(super().create_option(*args, **options))


class ColumnBoxes(Checkboxes):
    """Several columns whose order does not matter."""

    def __init__(self, columns: Columns, role: str) -> None:
        super().__init__("choices choices-columns")
        self.columns, self.role = columns, role

    def create_option(self, *args: Any, **options: Any) -> dict[str, Any]:
        option = self.columns.mark(super().create_option(*args, **options))
        if self.role:
            option["attrs"]["data-role"] = self.role
        return option


class Slots(forms.Widget):
    """Several choices in an order, repeats allowed: a row of selects of one name, the empty ones left out."""

    def __init__(self, make: Any, slots: int = _SLOTS) -> None:
        super().__init__()
        self.make, self.slots = make, slots
        self.choices: list[tuple[str, str]] = []

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        if isinstance(data, MultiValueDict):
            return [value for value in data.getlist(name) if value]
        value = data.get(name) or []
        return [value] if isinstance(value, str) else [str(item) for item in value if item]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return name not in data

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        values = list(value or [])
        count = min(max(self.slots, len(values)), max(len(values), 16))
        shown = []
        for index in range(count):
            select = self.make()
            select.choices = [("", "—"), *self.choices]
            identifier = str((attrs or {}).get("id", "id_" + name)) + (f"_{index}" if index else "")
            own = {**(attrs or {}), "id": identifier}
            if index:  # the first has the field's own label
                own["aria-label"] = gettext("number {n}").format(n=index + 1)
                own.pop("required", None)
            current = values[index] if index < len(values) else ""
            shown.append((select.render(name, current, own, renderer),))
        return format_html('<span class="slots">{}</span>', format_html_join("", "{}", shown))


class OrderedChoices(forms.Field):
    """A list of choices in the order given."""

    def __init__(
        self, *, choices: Sequence[tuple[str, str]], schema: Schema, widget: Slots, **rest: Any
    ) -> None:
        widget.choices = list(choices)
        super().__init__(widget=widget, **rest)
        self.known = {value for value, _word in choices}
        self.most = int(schema.get("maxItems", 16))

    def clean(self, value: Any) -> list[str]:
        found = [str(item) for item in value or []]
        if self.required and not found:
            raise forms.ValidationError(self.error_messages["required"], code="required")
        for item in found:
            if item not in self.known:
                raise forms.ValidationError(_("%(value)s is not one of the choices."), params={"value": item})
        if len(found) > self.most:
            raise forms.ValidationError(_("Give at most %(n)s."), params={"n": self.most})
        return found


class WordList(forms.CharField):
    """Several short texts, separated by commas (Chinese ones too)."""

    def __init__(self, *, schema: Schema, **options: Any) -> None:
        options["help_text"] = options.get("help_text") or _("Separate with commas.")
        super().__init__(max_length=20_000, **options)
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


class NumberList(WordList):
    """Several whole numbers, separated by commas."""

    def __init__(self, *, items: Schema, **options: Any) -> None:
        super().__init__(**options)
        self.smallest, self.largest = items.get("minimum"), items.get("maximum")

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value

    def clean(self, value: Any) -> Any:
        numbers = []
        for word in super().clean(value):
            if not re.fullmatch(r"-?[0-9]{1,18}", word):
                raise forms.ValidationError(
                    _("“%(word)s” is not a whole number."), params={"word": word[:100]}
                )
            numbers.append(int(word))
        for number in numbers:
            if self.smallest is not None and number < self.smallest:
                raise forms.ValidationError(_("At least %(n)s."), params={"n": self.smallest})
            if self.largest is not None and number > self.largest:
                raise forms.ValidationError(_("At most %(n)s."), params={"n": self.largest})
        return numbers


_SIGNS = {"=": "eq", "==": "eq", "≠": "ne", "!=": "ne", "<": "lt", "<=": "le", "≤": "le", ">": "gt",
          ">=": "ge", "≥": "ge"}  # fmt: skip
_TOLD = {"eq": "=", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_CONDITION = re.compile(r"^(?P<column>.+?)\s*(?P<sign>==|!=|<=|>=|=|<|>|≠|≤|≥)\s*(?P<value>.*)$")


class Conditions(forms.CharField):
    """Conditions on rows, one per line: ``age >= 40``."""

    def __init__(self, *, schema: Schema, **options: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 3, "class": "mono", "spellcheck": "false"})
        super().__init__(max_length=20_000, widget=widget, **options)
        self.most = int(schema.get("maxItems", 32))

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            return value
        return "\n".join(f"{item['column']} {_TOLD[item['op']]} {item['value']}" for item in value)

    def clean(self, value: Any) -> list[dict[str, str]]:
        found = []
        for line in str(super().clean(value) or "").splitlines():
            if not line.strip():
                continue
            match = _CONDITION.match(line.strip())
            if match is None:
                raise forms.ValidationError(
                    _("“%(line)s” is no condition: write a column, an operator and a value."),
                    params={"line": line.strip()[:100]},
                )
            found.append(
                {"column": match["column"], "op": _SIGNS[match["sign"]], "value": match["value"].strip()}
            )
        if len(found) > self.most:
            raise forms.ValidationError(_("Give at most %(n)s."), params={"n": self.most})
        return found


class JsonField(forms.JSONField):
    """For what has no plainer form."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            widget=forms.Textarea(attrs={"rows": 3, "class": "mono", "spellcheck": "false"}), **options
        )
