"""The components of the design system as template tags and filters."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django import template
from django.templatetags.static import static
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from market.grants.models import Grant
from market.portal import sentences, words

register = template.Library()


@register.simple_tag
def icon(name: str) -> SafeString:
    """A drawing from the sprite; decoration only, so the word beside it carries the meaning."""
    return format_html(
        '<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>',
        static("icons.svg"),
        name,
    )


@register.inclusion_tag("portal/parts/digest.html")
def digest(value: object, href: str = "") -> dict[str, Any]:
    """A 32-byte value or address: short to read, whole to copy, linked if ``href`` is given."""
    text = str(value or "")
    return {"value": text, "short": short(text), "href": href}


@register.filter
def short(value: object) -> str:
    """First 6 … last 4 digits; what is short already stays as it is."""
    text = str(value or "")
    digits = text.removeprefix("0x")
    if len(digits) <= 12:
        return text
    return f"{text[: len(text) - len(digits)]}{digits[:6]}…{digits[-4:]}"


@register.inclusion_tag("portal/parts/seal.html", takes_context=True)
def seal(context: dict[str, Any], block: object) -> dict[str, Any]:
    """The mark of a fact that came from the chain; nothing for a fact that did not."""
    if not isinstance(block, int):  # a template gives "" for what is missing on the way
        return {"block": None}
    head = context.get("chain_head")
    depth = max(0, head - block) if head is not None else None
    final = depth is not None and depth >= context.get("finality_depth", 0)
    return {"block": block, "depth": depth, "final": final}


@register.inclusion_tag("portal/parts/status.html")
def status(code: str) -> dict[str, Any]:
    """A state as hue, icon and word."""
    hue, icon_name, word = words.state(code)
    return {"hue": hue, "icon_name": icon_name, "word": word}


@register.inclusion_tag("portal/parts/gauge.html")
def gauge(used: int, reserved: int, total: int) -> dict[str, Any]:
    """Used, reserved and left of a quota in one bar with its numbers.

    Widths are SVG attributes: a style attribute would need a hole in the content policy.
    """
    scale = max(total, used + reserved, 1)
    used_width = 100 * used / scale
    reserved_width = 100 * reserved / scale
    return {
        "used": used,
        "reserved": reserved,
        "left": max(0, total - used - reserved),
        "total": total,
        # Formatted here: a template would write the decimal point the locale's way.
        "used_width": f"{used_width:.3f}",
        "reserved_x": f"{used_width:.3f}",
        "reserved_width": f"{reserved_width:.3f}",
        "left_x": f"{used_width + reserved_width:.3f}",
        "left_width": f"{max(0.0, 100 - used_width - reserved_width):.3f}",
    }


@register.inclusion_tag("portal/parts/operations.html")
def operations(codes: Iterable[str]) -> dict[str, Any]:
    """Operations as tags."""
    return {"names": [words.operation(code) for code in codes or ()]}


@register.inclusion_tag("portal/parts/empty.html")
def empty(title: str, hint: str = "", url: str = "", action: str = "") -> dict[str, Any]:
    """An empty state: what is missing, and what to do next."""
    return {"title": title, "hint": hint, "url": url, "action": action}


@register.simple_tag
def sentence(grant: Grant) -> SafeString:
    """A grant as its sentence."""
    return sentences.grant_sentence(grant)


@register.simple_tag
def moment(value: object, precision: str = "minute") -> SafeString:
    """A time as a ``<time>``: a datetime, Unix seconds, or milliseconds if larger than 10^11; UTC."""
    at = _datetime(value)
    if at is None:
        return format_html('<span class="quiet">{}</span>', "–")
    form = _("j M Y, H:i:s") if precision == "second" else _("j M Y, H:i")
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        at.isoformat(),
        at.strftime("%Y-%m-%d %H:%M:%S"),
        date_format(at, form),
    )


@register.simple_tag
def clock(value: object) -> SafeString:
    """Only the time of day, for lines that stand under a date."""
    at = _datetime(value)
    if at is None:
        return SafeString("")
    return format_html('<time datetime="{}">{}</time>', at.isoformat(), at.strftime("%H:%M:%S"))


@register.simple_tag
def expiry(unix_seconds: int) -> SafeString:
    """An expiry as a date and as time left."""
    left = sentences.time_left(unix_seconds - int(time.time()))
    return format_html('{} <span class="quiet nowrap">({})</span>', moment_day(unix_seconds), left)


@register.simple_tag
def moment_day(value: object) -> SafeString:
    """A calendar day."""
    at = _datetime(value)
    if at is None:
        return format_html('<span class="quiet">{}</span>', "–")
    return format_html('<time datetime="{}">{}</time>', at.date().isoformat(), date_format(at, _("j F Y")))


@register.filter
def number(value: object) -> str:
    """An integer with thousands separators; the same in both languages."""
    return (
        f"{int(value):,}"
        if isinstance(value, (int, float, str)) and str(value).lstrip("-").isdigit()
        else str(value)
    )


@register.filter
def kind_word(code: str) -> str:
    return words.kind(code)


@register.filter
def phase_word(code: str) -> str:
    return words.phase(code)


@register.filter
def role_word(code: str) -> str:
    return words.party_role(code)


@register.filter
def type_word(code: str) -> str:
    return str(words.COLUMN_TYPES.get(code, code))


@register.filter
def grade_word(code: str) -> str:
    return str(words.GRADES.get(code, code))


@register.filter
def dataset_kind_word(code: str) -> str:
    return str(words.DATASET_KINDS.get(code, code))


@register.filter
def joined(items: Iterable[object]) -> str:
    """A list as people write it."""
    return words.joined(items or ())


@register.filter
def as_json(value: object) -> str:
    """Indented JSON, for documents shown as they are."""
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)


def _datetime(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, int) and value > 0:
        seconds = value / 1000 if value > 100_000_000_000 else value
        # Nodes and other people's grants may name any time; a calendar ends in the year 9999.
        return datetime.fromtimestamp(seconds, UTC) if seconds <= sentences.CALENDAR_END else None
    return None


@register.filter
def error_word(code: str) -> str:
    return words.error(code)


@register.filter
def rule_word(code: str) -> str:
    return words.rule(code)


@register.inclusion_tag("portal/parts/problem.html")
def problem(value: Any) -> dict[str, Any]:
    """Who refused, which rule, and what would make it pass: from a `MarketError` or a stored reason."""
    if isinstance(value, dict):
        read = value.get
    else:

        def read(name: str, default: str = "") -> Any:
            return getattr(value, name, default)

    code, message = str(read("code", "") or ""), str(read("message", "") or "")
    title = words.error(code) if code else message
    return {
        "title": title,
        "message": message if message != title else "",
        "rule": read("rule", ""),
        "remedy": read("remedy", ""),
        "code": code,
    }


@register.simple_tag
def party_link(party: Any) -> SafeString:
    """A party's name, linked to its page."""
    return format_html('<a href="{}">{}</a>', reverse("party", args=[party.party_id]), party.display_name)


@register.inclusion_tag("portal/parts/learns.html")
def learns(codes: Iterable[str], cohort: int) -> dict[str, Any]:
    """What the consumer could learn under these operations."""
    return {"items": sentences.learns(codes, cohort)}


@register.filter
def verb_word(code: str) -> str:
    return words.verb(code)


@register.filter
def purpose_word(code: str) -> str:
    return words.purpose(code)


@register.filter
def job_role_word(code: str) -> str:
    return words.job_role(code)


@register.filter(name="words")
def split_words(text: str) -> list[str]:
    """A template's list of names: ``{% for name in "a b"|words %}``."""
    return text.split()


@register.filter
def field(form: Any, name: str) -> Any:
    """A form's field by name, or None if this form has none of that name."""
    return form[name] if name in form.fields else None


@register.filter
def most_cost(grant: Grant) -> int:
    """Credits if the whole quota is used."""
    return grant.quota * grant.price_credits


@register.filter
def event_word(code: str) -> str:
    return words.chain_event(code)


@register.filter
def metric_word(code: str) -> str:
    return words.metric(code)


@register.filter
def metric_value(value: object, code: str) -> str:
    """A metric's value: ``{{ value|metric_value:name }}``."""
    return words.metric_value(code, value)


@register.filter
def side(value: object) -> str:
    """One side's value of a difference: a digest short, nothing as a dash."""
    if value is None or value == "":
        return "–"
    return short(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@register.filter
def unit_word(code: str) -> str:
    return words.unit(code)
