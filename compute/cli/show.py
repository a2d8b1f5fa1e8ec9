"""How facts look in a terminal. Texts come from other parties: what could steer a terminal is taken out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from compute.sdk.objects import Grant


def printable(value: object) -> str:
    """A text without control characters and without rich's markup: safe to put between our own."""
    text = "".join(character if character.isprintable() else " " for character in str(value))
    return escape(text)


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Rows under headings; nothing is cut off, and the first column is never broken: it is copied."""
    made = Table(box=None, pad_edge=False, header_style="dim")
    for position, heading in enumerate(headings):
        made.add_column(heading, no_wrap=position == 0, overflow="fold")
    for row in rows:
        made.add_row(*(printable(cell) for cell in row))
    return made


def facts(title: str, values: dict[str, str]) -> Table:
    """Names and values."""
    made = Table(box=None, pad_edge=False, show_header=False, title=title, title_justify="left")
    for name, value in values.items():
        made.add_row(f"[dim]{printable(name)}[/dim]", printable(value))
    return made


def grant_table(found: list[Grant]) -> Table:
    """Grants with what is used and left."""
    return table(
        ("grant", "dataset", "purpose", "operations", "used", "left", "state"),
        [
            (
                item.grant or item.id,
                item.dataset_name,
                item.purpose,
                " ".join(item.operations),
                "–" if item.used is None else item.used,
                "–" if item.left is None else item.left,
                item.state,
            )
            for item in found
        ],
    )


def proof(report: dict[str, Any]) -> str:
    """What a verified bundle proves, in one line."""
    held = ", ".join(printable(link) for link in report.get("links", ()))
    vouched = "" if report.get("block_trusted") else " (no trusted block: consistent, origin not vouched for)"
    return f"block {report.get('block_number')}: {held}{vouched}"


def short(digest: str) -> str:
    """A digest as its first and last digits."""
    return f"{digest[:8]}…{digest[-4:]}" if len(digest) > 14 else digest
