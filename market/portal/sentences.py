"""A grant as people read it: one sentence, and what the consumer could learn under it.

The same templates go to the browser (`grant request` form), so the sentence that changes while someone
types is the one that is shown afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from market.grants.models import Grant
from market.portal import words

# What the result of an operation tells the consumer about the provider's rows. {cohort} is the floor.
LEARNS: dict[str, str | Promise] = {
    "psi": gettext_lazy(
        "PSI: which of the compared identifiers occur on both sides, and how many there are. "
        "Identifiers that are not shared stay hidden."
    ),
    "stats": gettext_lazy(
        "Joint statistics: count, sum, mean and variance of groups of {cohort} or more. "
        "Smaller groups are suppressed; no single row is released."
    ),
    "pir": gettext_lazy(
        "PIR: the granted columns of each record asked for, one record per use. "
        "The provider does not learn which record it was."
    ),
    "fl": gettext_lazy(
        "Federated learning: the model's coefficients and, each round, sums over all parties. "
        "One party's own update stays hidden behind masks."
    ),
    "eaas": gettext_lazy(
        "Encryption service: nothing about rows; the service works on what the consumer sends."
    ),
}


@dataclass(frozen=True)
class Wording:
    """The parts of a sentence in the active language, with ``{name}`` where a value goes."""

    sentence: str
    all_columns: str
    some_columns: str
    any_purpose: str
    separator: str
    last: str

    @classmethod
    def active(cls) -> Wording:
        separator, last = words.list_separators()
        return cls(
            # Translators: keep every {name}; they may change places.
            sentence=_(
                "{consumer} may run {operations} on {dataset}, {columns}, for {purpose}: "
                "{quota} uses until {expiry}, groups of {cohort} or more."
            ),
            all_columns=_("all columns"),
            some_columns=_("columns {columns}"),
            any_purpose=_("any purpose"),
            separator=separator,
            last=last,
        )


def grant_sentence(grant: Grant) -> SafeString:
    """The sentence of a grant or of a request for one."""
    return compose(
        consumer=grant.consumer.display_name,
        operations=[words.operation(name) for name in grant.operations],
        dataset=grant.dataset.name,
        columns=grant.columns,
        purpose=grant.purpose,
        quota=grant.quota,
        expiry=grant.expiry,
        cohort=grant.min_cohort,
    )


def compose(
    *,
    consumer: str,
    operations: Iterable[str],
    dataset: str,
    columns: Iterable[str],
    purpose: str,
    quota: int,
    expiry: int,
    cohort: int,
) -> SafeString:
    """Fill the sentence; every value is escaped and set in bold."""
    wording = Wording.active()
    names = list(columns)
    column_phrase = wording.some_columns.format(columns=words.joined(names)) if names else wording.all_columns
    values = {
        "consumer": consumer,
        "operations": words.joined(operations),
        "dataset": dataset,
        "columns": column_phrase,
        "purpose": purpose or wording.any_purpose,
        "quota": f"{quota:,}",
        "expiry": day(expiry),
        "cohort": f"{cohort:,}",
    }
    # Escape the translation too: a catalogue is data, and only the <b> below is markup.
    bold = {name: format_html("<b>{}</b>", value) for name, value in values.items()}
    return mark_safe(escape(wording.sentence).format(**bold))  # noqa: S308 - every part is escaped above


def learns(operations: Iterable[str], cohort: int) -> list[tuple[str, str]]:
    """(operation, what it tells) for each operation, in the house's order."""
    asked = set(operations)
    return [(name, str(text).format(cohort=cohort)) for name, text in LEARNS.items() if name in asked]


# The last second that a calendar can name.
CALENDAR_END = 253_402_300_799


def day(unix_seconds: int) -> str:
    """A calendar day (UTC) as people write it in the active language."""
    # A grant that never saw this portal may name any time; a calendar ends in the year 9999.
    return date_format(datetime.fromtimestamp(min(unix_seconds, CALENDAR_END), UTC), _("j F Y"))


def duration(seconds: int) -> str:
    """A length of time in its two largest units: 40 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 60:
        return _("{s} s").format(s=seconds)
    if seconds < 3_600:
        return _("{m} min {s} s").format(m=seconds // 60, s=seconds % 60)
    return _("{h} h {m} min").format(h=seconds // 3_600, m=seconds % 3_600 // 60)


def time_left(seconds: int) -> str:
    """How long until something ends, in its largest unit; "ended" once it has."""
    if seconds <= 0:
        return _("ended")
    for size, text in (
        (86_400, lambda n: ngettext("{n} day left", "{n} days left", n)),
        (3_600, lambda n: ngettext("{n} hour left", "{n} hours left", n)),
        (60, lambda n: ngettext("{n} minute left", "{n} minutes left", n)),
    ):
        if seconds >= size:
            return text(seconds // size).format(n=seconds // size)
    return _("less than a minute left")
