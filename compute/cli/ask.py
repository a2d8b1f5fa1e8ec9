"""`liutong psi`, `lookup`, `member`: the jobs that people run most, without writing parameters as JSON.

Everything else a kind can do goes through ``--set NAME=VALUE`` here, or through `liutong jobs run`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compute.cli.result import deliver, file_options
from compute.cli.session import Session, command, shared_options
from compute.cli.show import printable, table
from compute.cli.watch import watched
from compute.errors import BadInput

if TYPE_CHECKING:
    from compute.sdk import JobResult
    from compute.sdk.questions import Question

_COMMON = [
    click.option("--purpose", help="default: that of the grant"),
    click.option("--set", "settings", multiple=True, help="another parameter of the kind: NAME=VALUE"),
    click.option("--deadline-s", type=int, default=600, show_default=True),
]


def _common(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_COMMON):
        function = option(function)
    return function


@click.command("psi")
@click.option("--left", required=True, help="grant of the side that learns the result")
@click.option("--right", required=True, help="grant of the other side")
@click.option("--key", "keys", multiple=True, help="key column of both sides; repeat it for several")
@click.option("--left-key", "left_keys", multiple=True, help="where the left side names it otherwise")
@click.option("--right-key", "right_keys", multiple=True, help="where the right side names it otherwise")
@click.option("--add", multiple=True, help="ROLE=COLUMN: give this column with each matching row")
@click.option(
    "--protocol",
    type=click.Choice(["auto", "ecdh", "rr22", "unbalanced"]),
    help="default: chosen by sizes, network and hardware",
)
@click.option(
    "--max-elements",
    type=int,
    help="most keys per side; as many uses are reserved. Default: what the grants have left, 100000 at most",
)
@_common
@file_options
@shared_options
@command
def psi(
    session: Session,
    left: str,
    right: str,
    keys: tuple[str, ...],
    left_keys: tuple[str, ...],
    right_keys: tuple[str, ...],
    add: tuple[str, ...],
    protocol: str | None,
    max_elements: int | None,
    settings: tuple[str, ...],
    to_file: Mapping[str, Any],
    **options: Any,
) -> None:
    """Which keys two datasets share."""
    from compute.sdk import questions

    sides = {"left": list(left_keys or keys), "right": list(right_keys or keys)}
    if not sides["left"] or not sides["right"]:
        raise BadInput("give --key, or --left-key and --right-key")
    params: dict[str, Any] = {"protocol": protocol, "max_elements": max_elements}
    params = {name: value for name, value in params.items() if value is not None}
    if add:
        params["output_columns"] = {role: [*names] for role, names in _by_role(add).items()}
    question = questions.intersection(left, right, on=sides, **{**params, **_settings(settings)})
    _answer(session, question, options, lambda result: deliver(session, result, to_file))


@click.command("lookup")
@click.argument("keywords", nargs=-1, required=True)
@click.option("--grant", required=True)
@click.option("--key", "keys", multiple=True, required=True, help="key column; repeat it for several")
@click.option("--give", "wanted", multiple=True, required=True, help="a column of the records; repeat it")
@_common
@file_options
@shared_options
@command
def lookup(
    session: Session,
    keywords: tuple[str, ...],
    grant: str,
    keys: tuple[str, ...],
    wanted: tuple[str, ...],
    settings: tuple[str, ...],
    to_file: Mapping[str, Any],
    **options: Any,
) -> None:
    """The records under KEYWORDS; nobody else learns which ones.

    With several key columns the parts of a keyword are separated by commas. Other users of this machine can
    read its command lines: write @FILE, or - for the standard input, with one keyword a line.
    """
    from compute.sdk import questions

    question = questions.lookup(
        grant, _keywords(keywords, keys), key=[*keys], columns=[*wanted], **_settings(settings)
    )
    _answer(session, question, options, lambda result: deliver(session, result, to_file))


@click.command("member")
@click.argument("keywords", nargs=-1, required=True)
@click.option("--grant", required=True)
@click.option("--key", "keys", multiple=True, required=True, help="key column; repeat it for several")
@_common
@shared_options
@command
def member(
    session: Session,
    keywords: tuple[str, ...],
    grant: str,
    keys: tuple[str, ...],
    settings: tuple[str, ...],
    **options: Any,
) -> None:
    """Whether KEYWORDS occur, yes or no; nobody else learns which ones were asked. As `lookup` otherwise."""
    from compute.sdk import questions

    asked = _keywords(keywords, keys)
    question = questions.membership(grant, asked, key=[*keys], **_settings(settings))

    def show(result: JobResult) -> None:
        found = [
            {"keyword": keyword, "found": answer}
            for keyword, answer in zip(asked, result.value["answers"], strict=True)
        ]
        rows = [(", ".join(row["keyword"]), "yes" if row["found"] else "no") for row in found]
        shown = {"job": result.job, "state": result.state, "value": found}
        session.show(shown, lambda: table(("keyword", "found"), rows))

    _answer(session, question, options, show)


def _answer(
    session: Session, question: Question, options: Mapping[str, Any], show: Callable[[JobResult], None]
) -> None:
    with session.client() as client:
        result = watched(session, client, lambda watch: client.ask(question, **options, **watch.options))
    show(result)


def _keywords(given: Sequence[str], keys: Sequence[str]) -> list[list[str]]:
    lines: list[str] = []
    for item in given:
        if item == "-":
            lines += sys.stdin.read().splitlines()
        elif item.startswith("@"):
            try:
                lines += Path(item[1:]).read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise BadInput(f"cannot read the keywords of {printable(item[1:])}: {error}") from error
        else:
            lines.append(item)
    found = [line.split(",") if len(keys) > 1 else [line] for line in lines if line.strip()]
    if not found:
        raise BadInput("there is no keyword")
    for number, keyword in enumerate(found, start=1):
        if len(keyword) != len(keys):
            raise BadInput(f"keyword {number} has {len(keyword)} parts, the key has {len(keys)} columns")
    return found


def _settings(given: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE, the value as JSON or else as text; a dot in the name goes inside."""
    found: dict[str, Any] = {}
    for item in given:
        name, separator, text = item.partition("=")
        if not separator or not name:
            raise BadInput(f"--set {item!r}: write NAME=VALUE")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        target = found
        *path, last = name.split(".")
        for step in path:
            target = target.setdefault(step, {})
            if not isinstance(target, dict):
                raise BadInput(f"--set {item!r}: {step} has a value of its own")
        target[last] = value
    return found


def _by_role(given: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in given:
        role, separator, column = item.partition("=")
        if not separator or not role or not column:
            raise BadInput(f"--add {item!r}: write ROLE=COLUMN")
        found.setdefault(role, []).append(column)
    return found
