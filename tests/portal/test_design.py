"""The design system holds its promises: contrast, no inline code, only drawings that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

# (foreground, background, least ratio): 4.5 for text, 3 for icons, borders of controls and focus.
HUES = ("active", "waiting", "refused", "revoked")
SHEETS = ("paper", "surface", "surface-sunk", "surface-hover")
PAIRS = [
    *((ink, paper, 4.5) for ink in ("ink", "ink-quiet") for paper in SHEETS),
    *(("accent", paper, 4.5) for paper in ("paper", "surface", "accent-soft", "surface-hover")),
    ("accent-hover", "surface", 4.5),
    ("on-accent", "accent", 4.5),
    ("on-accent", "accent-hover", 4.5),
    *((hue, paper, 4.5) for hue in HUES for paper in ("surface", "paper", f"{hue}-soft")),
    ("rule-strong", "surface", 3),
    ("rule-strong", "paper", 3),
    ("focus", "paper", 3),
    ("focus", "surface", 3),
    ("gauge-used", "gauge-left", 3),
    ("gauge-used", "surface", 3),
]  # fmt: skip


@pytest.fixture(scope="module")
def tokens(frontend: Path) -> dict[str, tuple[str, str]]:
    text = (frontend / "src/styles/tokens.css").read_text()
    return {
        name: (light, dark)
        for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", text)
    }


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("ink", "paper", "least"), PAIRS)
def test_contrast_is_aa(
    tokens: dict[str, tuple[str, str]], ink: str, paper: str, least: float, theme: int
) -> None:
    assert ratio(tokens[ink][theme], tokens[paper][theme]) >= least


def ratio(one: str, other: str) -> float:
    """WCAG 2.2 contrast ratio."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_colours_are_written_in_tokens_only(frontend: Path) -> None:
    for sheet in (frontend / "src/styles").glob("*.css"):
        if sheet.name != "tokens.css":
            assert not re.findall(r"#[0-9a-fA-F]{3,8}\b|rgba?\(", sheet.read_text()), sheet.name


def test_every_token_that_is_used_is_defined(frontend: Path) -> None:
    sheets = "\n".join(sheet.read_text() for sheet in (frontend / "src/styles").glob("*.css"))
    assert set(re.findall(r"var\((--[\w-]+)", sheets)) <= set(
        re.findall(r"^\s*(--[\w-]+):", sheets, re.MULTILINE)
    )


def test_every_icon_that_is_used_is_drawn(frontend: Path) -> None:
    drawn = set(re.findall(r'<symbol id="([\w-]+)"', (frontend / "static/icons.svg").read_text()))
    used: set[str] = set()
    for template in (frontend / "templates").rglob("*.html"):
        used |= set(re.findall(r'{% icon "([\w-]+)" %}', template.read_text()))
    from market.portal import lanes, shell, words

    used |= set(words.ICONS.values()) | set(lanes.ICONS.values())
    used |= {room.icon for _title, rooms in shell.ROOMS for room in rooms}
    assert used <= drawn


def test_templates_have_neither_inline_code_nor_bare_words(frontend: Path) -> None:
    for template in (frontend / "templates").rglob("*.html"):
        text = template.read_text()
        assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]* src=)", text), template.name
        bare = re.sub(
            r"{%.*?%}|{{.*?}}|<pre.*?</pre>|<code.*?</code>|<kbd.*?</kbd>|<[^>]+>",
            "\n",
            _told(text),
            flags=re.DOTALL,
        )
        words = [line.strip() for line in bare.splitlines() if re.search(r"[A-Za-z]{3,}", line)]
        assert words == [], f"{template.name}: not translatable: {words}"


def _told(text: str) -> str:
    """Without what is inside blocktranslate: that is translatable."""
    return re.sub(r"{% blocktranslate.*?{% endblocktranslate %}", "", text, flags=re.DOTALL)


def test_scripts_make_no_markup_from_strings(frontend: Path) -> None:
    for script in (frontend / "src").rglob("*.ts"):
        text = script.read_text()
        assert not re.search(
            r"\.innerHTML\s*=(?!=)|insertAdjacentHTML|outerHTML\s*=|document\.write|eval\(", text
        ), script.name
