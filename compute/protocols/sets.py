"""Rules that every protocol over sets of keys keeps: size limits and floors."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from compute.errors import BadInput, CohortTooSmall, ProtocolAbort
from compute.protocols.identifiers import KeyColumns
from compute.protocols.protocol import Message

MAX_ELEMENTS = 1 << 30


class KeysOfSides(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Key columns of ``left`` and ``right``, compared in order."""

    left: KeyColumns
    right: KeyColumns


class BothKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Key columns of both roles, compared in order."""

    values: KeyColumns
    members: KeyColumns


class Size(Message, frozen=True, tag="psi.size"):
    """How many distinct keys the sender compares."""

    count: Annotated[int, Meta(ge=0, le=MAX_ELEMENTS)]


def check_size(role: str, count: int, most: int, floor: int) -> None:
    """Raise CohortTooSmall or BadInput if our own set may not enter the protocol."""
    if count < floor:
        raise CohortTooSmall(
            f"{role} has {count} distinct keys, fewer than the floor of {floor}: check the key columns",
            count=count,
            floor=floor,
        )
    if count > most:
        raise BadInput(f"{role} has {count} distinct keys, more than max_elements {most}", count=count)


def check_peer_size(role: str, count: int, most: int, floor: int) -> None:
    """Raise CohortTooSmall or ProtocolAbort if the peer's set may not be compared with ours."""
    if count < floor:
        raise CohortTooSmall(f"{role} has fewer distinct keys than the floor of {floor}", floor=floor)
    if count > most:
        raise ProtocolAbort(f"{role} wants to compare more keys than max_elements {most}")


def check_intersection(count: int, floor: int) -> None:
    """Raise CohortTooSmall if an intersection of ``count`` keys may not be released."""
    if count < floor:
        raise CohortTooSmall(
            f"the intersection is below the floor of {floor}: check key columns and normalisation on "
            "all sides",
            floor=floor,
        )


def large_enough(matched: int, count: int, floor: int) -> bool:
    """Whether a group may be described: both it and what it leaves out are large, or it leaves out nothing.

    The rest counts because who knows the whole group's sum could otherwise subtract.
    """
    rest = count - matched
    return matched > 0 and matched >= floor and (rest == 0 or rest >= floor)
