"""Lists: filter in the URL, pages, and the same rows as a file."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django import forms
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

PAGE_SIZE = 50
EXPORT_LIMIT = 100_000
# A spreadsheet runs a cell that begins with one of these as a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

Columns = Sequence[tuple[Any, Callable[[Any], object]]]


class FilterForm(forms.Form):
    """Base of every list's filters; ``q`` is free text. Unknown parameters are ignored."""

    q = forms.CharField(label=_("Search"), required=False, max_length=200)

    def __init__(self, data: Any = None, **options: Any) -> None:
        super().__init__(data, auto_id="filter_%s", **options)

    def value(self, name: str) -> str:
        """The cleaned value, or "" if it is empty or does not fit."""
        self.is_valid()
        return str(self.cleaned_data.get(name) or "")

    @property
    def is_filtered(self) -> bool:
        """Whether anything narrows the list."""
        return any(self.value(name) for name in self.fields)


def choice_field(label: Any, choices: Iterable[tuple[str, Any]]) -> forms.ChoiceField:
    """A select whose empty first entry means "all"."""
    return forms.ChoiceField(label=label, choices=[("", _("All")), *choices], required=False)


@dataclass
class Listing:
    """One page of a filtered list, ready for ``portal/parts/listing_foot.html``."""

    page: Page[Any]
    form: FilterForm
    query: str  # the URL's parameters without the page

    @cached_property
    def rows(self) -> list[Any]:
        return list(self.page.object_list)

    @property
    def total(self) -> int:
        return self.page.paginator.count


def listing(request: HttpRequest, rows: QuerySet[Any] | Sequence[Any], form: FilterForm) -> Listing:
    """Cut ``rows`` to the page that the URL asks for; a page out of range shows the last one."""
    kept = request.GET.copy()
    kept.pop("page", None)
    kept.pop("export", None)
    return Listing(Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page")), form, kept.urlencode())


def wants_export(request: HttpRequest) -> bool:
    return request.GET.get("export") == "csv"


def export(name: str, columns: Columns, rows: Iterable[Any]) -> HttpResponse:
    """The rows as CSV (UTF-8 with a mark that spreadsheets need for Chinese), formulas defused."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([str(title) for title, _value in columns])
    for row in itertools.islice(rows, EXPORT_LIMIT):
        writer.writerow([_defused(value(row)) for _title, value in columns])
    response = HttpResponse("\ufeff" + text.getvalue(), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response


def _defused(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return "'" + value
    return value
