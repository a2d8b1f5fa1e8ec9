"""Forms of the portal. They shape and check input; what is allowed the services decide."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from market.catalog.models import Dataset, Offer
from market.catalog.services import CLOSED_GRADE, OPERATION_NAMES
from market.errors import MarketError
from market.parties.actor import ROLE_SCOPES
from market.portal import words

_MAX_CREDITS = 10**12
_MAX_UNITS = 2**53 - 1

SCOPE_WORDS = {
    "read": _("read: see its own grants, jobs, receipts"),
    "catalog": _("catalog: publish and close offers"),
    "grants": _("grants: request, approve, decline, revoke"),
    "jobs": _("jobs: submit and cancel"),
    "audit": _("audit: reconcile and export"),
    "operate": _("operate: enrol and suspend parties"),
}


class Checkboxes(forms.CheckboxSelectMultiple):
    """Several of a few choices; ``box`` names the CSS class around them."""

    def __init__(self, box: str = "choices") -> None:
        super().__init__(attrs={"box": box})

    def create_option(self, *args: Any, **options: Any) -> dict[str, Any]:
        option: dict[str, Any] = super().create_option(*args, **options)
        option["attrs"].pop("box", None)
        return option


def add_problem(form: forms.Form, error: MarketError) -> None:
    """Put a service's refusal beside the field that caused it, or above the form."""
    field = str(error.detail.get("field") or error.rule or "")
    field = {"expiry": "days"}.get(field, field)
    form.add_error(field if field in form.fields else None, error.message)


class SignInForm(AuthenticationForm):
    """User name and password."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["username"].widget.attrs["autocomplete"] = "username"


class OfferForm(forms.Form):
    """An offer on one dataset: what the provider would grant at most, and for how much."""

    title = forms.CharField(label=_("Title"), max_length=200)
    description = forms.CharField(
        label=_("Description"), max_length=4000, required=False, widget=forms.Textarea(attrs={"rows": 3})
    )
    operations = forms.MultipleChoiceField(label=_("Operations"), widget=Checkboxes())
    columns = forms.MultipleChoiceField(
        label=_("Columns"),
        widget=Checkboxes("choices choices-columns"),
        required=False,
        help_text=_("Columns of grade L4 cannot be offered: they never leave, not even as a statistic."),
    )
    purposes = forms.CharField(
        label=_("Purposes"),
        help_text=_("One per line. A single * allows any purpose."),
        widget=forms.Textarea(attrs={"rows": 3}),
        max_length=20_000,
    )
    min_cohort = forms.IntegerField(
        label=_("Smallest group"),
        min_value=1,
        max_value=1_000_000,
        initial=5,
        help_text=_("No result describes fewer rows than this."),
    )
    max_quota = forms.IntegerField(label=_("Most uses"), min_value=1, max_value=_MAX_UNITS, initial=1000)
    max_days = forms.IntegerField(
        label=_("Longest time, in days"), min_value=1, max_value=36_500, initial=180
    )
    price_credits = forms.IntegerField(
        label=_("Price per use, in credits"), min_value=0, max_value=_MAX_CREDITS, initial=1
    )

    def __init__(self, *args: Any, dataset: Dataset, **options: Any) -> None:
        super().__init__(*args, **options)
        names = dataset.operations or list(OPERATION_NAMES)
        _choose(self, "operations", [(name, words.operation(name)) for name in names])
        current = dataset.current
        columns = current.columns if current else []
        _choose(
            self,
            "columns",
            [
                (column["name"], f"{column['name']} · {column.get('grade', '')}")
                for column in columns
                if column.get("grade") != CLOSED_GRADE
            ],
        )
        if not self.fields["columns"].choices:  # type: ignore[attr-defined]
            del self.fields["columns"]

    def clean_purposes(self) -> list[str]:
        lines = [line.strip() for line in str(self.cleaned_data["purposes"]).splitlines()]
        return [line for line in lines if line]


class GrantRequestForm(forms.Form):
    """A consumer's application under an offer."""

    operations = forms.MultipleChoiceField(label=_("Operations"), widget=Checkboxes())
    columns = forms.MultipleChoiceField(
        label=_("Columns"), widget=Checkboxes("choices choices-columns"), required=False
    )
    purpose = forms.CharField(label=_("Purpose"), max_length=4000)
    quota = forms.IntegerField(label=_("Uses"), min_value=1)
    days = forms.IntegerField(label=_("Days"), min_value=1)
    note = forms.CharField(
        label=_("Note to the provider"),
        max_length=4000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def __init__(self, *args: Any, offer: Offer, **options: Any) -> None:
        super().__init__(*args, **options)
        _choose(self, "operations", [(name, words.operation(name)) for name in offer.operations])
        _choose(self, "columns", [(name, name) for name in offer.columns])
        if not offer.columns:
            del self.fields["columns"]
        if "*" not in offer.purposes:
            self.fields["purpose"] = forms.ChoiceField(
                label=_("Purpose"), choices=[(purpose, purpose) for purpose in offer.purposes]
            )
        _bound(self, "quota", offer.max_quota)
        _bound(self, "days", offer.max_days)
        self.order_fields(["operations", "columns", "purpose", "quota", "days", "note"])


class DecisionForm(forms.Form):
    """What the provider may narrow when it approves, and a word to the consumer."""

    quota = forms.IntegerField(label=_("Uses"), required=False)
    days = forms.IntegerField(label=_("Days from today"), required=False)
    note = forms.CharField(
        label=_("Note to the consumer"),
        max_length=4000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def __init__(self, *args: Any, most_quota: int, most_days: int, **options: Any) -> None:
        super().__init__(*args, initial={"quota": most_quota, "days": most_days}, **options)
        _bound(self, "quota", most_quota, required=False)
        _bound(self, "days", most_days, required=False)


class ApiKeyForm(forms.Form):
    """A new API key: what it is for and what it may do."""

    name = forms.CharField(label=_("What is it for?"), max_length=100)
    scopes = forms.MultipleChoiceField(label=_("Scopes"), widget=Checkboxes())

    def __init__(self, *args: Any, roles: frozenset[str], **options: Any) -> None:
        super().__init__(*args, **options)
        allowed = frozenset[str]().union(*(ROLE_SCOPES[role] for role in roles))
        _choose(self, "scopes", [(scope, SCOPE_WORDS[scope]) for scope in SCOPE_WORDS if scope in allowed])


class EnrolmentForm(forms.Form):
    """A party's signed enrolment, as its node or SDK wrote it."""

    document = forms.CharField(
        label=_("Enrolment document (JSON)"),
        widget=forms.Textarea(attrs={"rows": 8, "class": "mono", "spellcheck": "false"}),
        max_length=20_000,
        help_text=_("The file enrolment.json that the party's node or SDK made. It holds no secret."),
    )
    name_zh = forms.CharField(label=_("Name in Chinese"), max_length=200, required=False)
    roles = forms.MultipleChoiceField(
        label=_("Roles"),
        widget=Checkboxes(),
        choices=[(name, word) for name, word in words.PARTY_ROLES.items() if name != "operator"],
    )


def _choose(form: forms.Form, name: str, choices: list[tuple[str, Any]]) -> None:
    field: Any = form.fields[name]
    field.choices = choices


def _bound(form: forms.Form, name: str, at_most: int, *, required: bool = True) -> None:
    """A maximum that the offer sets: checked here, shown as a hint, enforced by the service again."""
    old: Any = form.fields[name]
    form.fields[name] = forms.IntegerField(
        label=old.label,
        required=required,
        min_value=1,
        max_value=at_most,
        initial=at_most,
        help_text=gettext("At most {n}.").format(n=f"{at_most:,}"),
    )
