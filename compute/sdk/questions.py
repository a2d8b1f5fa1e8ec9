"""The jobs that people ask for most, from plain arguments: which keys are shared, what stands under a key.

    client.psi(mine, theirs, on="patient_id").value["count"]
    client.lookup(grant, ["P-0007"], key="patient_id", columns=["diagnosis"])
    client.member(grant, ["P-0007", "P-0008"], key="patient_id")

Each builds what `client.jobs.run` takes; parameters that are not named here go through as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compute.errors import BadInput
from compute.sdk.objects import Grant

AnyGrant = Grant | str
Names = str | Sequence[str]


@dataclass(frozen=True, repr=False)  # holds what is looked for: keep it out of logs
class Question:
    """Kind, grants by role, and the parameters as a user writes them."""

    kind: str
    grants: dict[str, AnyGrant]
    params: dict[str, Any]


def intersection(
    left: AnyGrant, right: AnyGrant, *, on: Names | Mapping[str, Names], **params: Any
) -> Question:
    """Which keys two datasets share. ``on``: the key columns, or those of each side under left and right."""
    sides = on if isinstance(on, Mapping) else {"left": on, "right": on}
    if set(sides) != {"left", "right"}:
        raise BadInput("on: the key columns of both sides, or a mapping with left and right")
    keys = {side: _names(names) for side, names in sides.items()}
    return Question("psi", {"left": left, "right": right}, {"keys": keys, **params})


def lookup(
    grant: AnyGrant, keywords: Sequence[str | Sequence[str]], *, key: Names, columns: Names, **params: Any
) -> Question:
    """The records under keywords. A keyword is a text, or one text per key column."""
    return Question(
        "pir.keyword",
        {"server": grant},
        {**_keyed(keywords, key), "columns": _names(columns), **params},
    )


def membership(
    grant: AnyGrant, keywords: Sequence[str | Sequence[str]], *, key: Names, **params: Any
) -> Question:
    """Whether keywords occur, yes or no."""
    return Question("pir.member", {"server": grant}, {**_keyed(keywords, key), **params})


def _keyed(keywords: Sequence[str | Sequence[str]], key: Names) -> dict[str, Any]:
    if isinstance(keywords, str):
        raise BadInput("keywords: a list of keywords, not one text")
    return {"key": _names(key), "keywords": [_names(keyword) for keyword in keywords]}


def _names(value: Names) -> list[str]:
    return [value] if isinstance(value, str) else [*value]
