"""Parameters of a `psi` job."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from compute.protocols.identifiers import Normalisation
from compute.protocols.psi.choice import ProtocolName, Security
from compute.protocols.psi.ecdh.curves import CurveName
from compute.protocols.sets import MAX_ELEMENTS, KeysOfSides
from compute.wire.messages import Name

ROLES = ("left", "right")
Side = Literal["left", "right"]


class BothColumns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Columns of each role."""

    left: tuple[Name, ...] = ()
    right: tuple[Name, ...] = ()


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of a PSI job; what is not given has the default shown.

    ``output_columns`` are columns that an outputting role adds to its own matching rows; ``label_columns``
    are columns that a role hands to the peer for matching keys. ``label_rows`` says what becomes of a key
    with several rows on the label side: the job is refused, or its first row counts. ``join`` "left" gives
    every row of the one outputting role, with nulls for labels where there is no match. ``max_elements``
    bounds the distinct keys of either side. ``link_mbit_s`` is what is known of the line, for ``protocol``
    "auto". ``result_check`` exchanges digests of versions and result.
    """

    keys: KeysOfSides
    normalise: Normalisation = Normalisation()
    output_to: Annotated[tuple[Side, ...], Meta(min_length=1, max_length=2)] = ("left",)
    deliver_to_consumer: bool = True
    output_columns: BothColumns = BothColumns()
    max_elements: Annotated[int, Meta(ge=1, le=MAX_ELEMENTS)] = 100_000
    protocol: ProtocolName = "auto"
    curve: CurveName = "curve25519"
    security: Security = "semi_honest"
    low_communication: bool = False
    link_mbit_s: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None
    join: Literal["inner", "left"] = "inner"
    label_columns: BothColumns = BothColumns()
    label_rows: Literal["refuse", "first"] = "refuse"
    result_check: bool = False

    def __post_init__(self) -> None:
        if len(self.keys.left) != len(self.keys.right):
            raise ValueError("keys: both roles need the same number of key columns")
        self.normalise.check(len(self.keys.left))
        if len(set(self.output_to)) != len(self.output_to):
            raise ValueError("output_to: name a role once")
        self._check_columns()
        self._check_protocol()

    def _check_columns(self) -> None:
        for side, peer in (ROLES, ROLES[::-1]):
            if getattr(self.output_columns, side) and side not in self.output_to:
                raise ValueError(f"output_columns: {side} is not in output_to")
            labels = getattr(self.label_columns, side)
            if labels and peer not in self.output_to:
                raise ValueError(f"label_columns: {peer}, who would get those of {side}, is not in output_to")
            if len(set(labels)) != len(labels):
                raise ValueError(f"label_columns: name a column of {side} once")
            if len(labels) > 64:
                raise ValueError(f"label_columns: {side} may give 64 columns at most")
        if self.join == "left":
            if len(self.output_to) != 1:
                raise ValueError("join: a left join has one role in output_to")
            if not self.has_labels:
                raise ValueError("join: a left join needs label_columns of the other role")

    def _check_protocol(self) -> None:
        if self.security == "malicious":
            if self.protocol not in ("auto", "rr22"):
                raise ValueError(f"security: {self.protocol} is not secure against malicious peers, rr22 is")
            if self.low_communication:
                raise ValueError("low_communication: there is none against malicious peers")
        if self.low_communication and self.protocol not in ("auto", "rr22"):
            raise ValueError(f"low_communication: a mode of rr22, not of {self.protocol}")
        wants_rr22 = self.protocol == "rr22" or self.security == "malicious" or self.low_communication
        if self.curve != "curve25519" and wants_rr22:
            raise ValueError("curve: rr22 does not run on another curve than curve25519")
        if self.protocol == "unbalanced" and not self.plain_output:
            raise ValueError("protocol: unbalanced has one role in output_to, an inner join and no labels")

    @property
    def has_labels(self) -> bool:
        """Does any role hand columns to its peer?"""
        return bool(self.label_columns.left or self.label_columns.right)

    @property
    def plain_output(self) -> bool:
        """One role gets the result, and no labels go with it."""
        return len(self.output_to) == 1 and not self.has_labels
