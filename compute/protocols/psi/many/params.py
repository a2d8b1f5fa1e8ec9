"""Parameters of a `psi.many` job."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from compute.protocols.identifiers import KeyColumns, Normalisation
from compute.protocols.psi.ecdh.curves import CurveName
from compute.protocols.psi.ecdh.oprf import EcdhOprf
from compute.protocols.psi.oprf import Oprf
from compute.protocols.psi.rr22.oprf import Rr22
from compute.protocols.sets import MAX_ELEMENTS
from compute.wire.messages import Name

MIN_PARTIES, MAX_PARTIES = 3, 10

Party = Annotated[str, Meta(pattern=r"^p([1-9]|10)$")]


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of an intersection of many sets. ``max_elements`` bounds the distinct keys of each."""

    keys: Annotated[dict[Party, KeyColumns], Meta(min_length=MIN_PARTIES, max_length=MAX_PARTIES)]
    normalise: Normalisation = Normalisation()
    output_to: Annotated[tuple[Party, ...], Meta(min_length=1, max_length=MAX_PARTIES)] = ("p1",)
    deliver_to_consumer: bool = True
    output_columns: dict[Party, tuple[Name, ...]] = {}
    protocol: Literal["ecdh", "rr22"] = "ecdh"
    curve: CurveName = "curve25519"
    max_elements: Annotated[int, Meta(ge=1, le=MAX_ELEMENTS)] = 100_000

    def __post_init__(self) -> None:
        if set(self.keys) != set(self.roles):
            raise ValueError(f"keys: the parties are p1, p2, … without a gap, here up to p{len(self.keys)}")
        if len({len(columns) for columns in self.keys.values()}) != 1:
            raise ValueError("keys: all parties need the same number of key columns")
        if len(set(self.output_to)) != len(self.output_to):
            raise ValueError("output_to: name a party once")
        if unknown := sorted(set(self.output_to) - set(self.keys)):
            raise ValueError(f"output_to: {unknown[0]} is none of the parties")
        if idle := sorted(set(self.output_columns) - set(self.output_to)):
            raise ValueError(f"output_columns: {idle[0]} is not in output_to")

    @property
    def roles(self) -> tuple[str, ...]:
        """The parties in dialling order."""
        return tuple(f"p{index + 1}" for index in range(len(self.keys)))

    @property
    def leader(self) -> str:
        """Who compares."""
        return self.output_to[0]

    @property
    def oprf(self) -> Oprf:
        """What the programmed functions stand on."""
        return Rr22() if self.protocol == "rr22" else EcdhOprf(self.curve)

    def columns(self, role: str) -> tuple[str, ...]:
        """What the role reads, and what it gets of its own rows: keys, then further columns."""
        return tuple(dict.fromkeys((*self.keys[role], *self.output_columns.get(role, ()))))
