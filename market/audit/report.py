"""What a reconciliation found: typed differences, and the block at which the chain was read."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Difference:
    """One disagreement. ``code`` is stable; ``field`` is empty where a whole thing is missing."""

    code: str
    subject: str
    field: str = ""
    chain: Any = None
    portal: Any = None
    node: Any = None
    message: str = ""


@dataclass
class Report:
    """The differences found, and at which block the chain was read."""

    block_number: int | None = None
    differences: list[Difference] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether everybody agrees and everybody could be asked."""
        return not self.differences

    def add(self, code: str, subject: str, **facts: Any) -> None:
        """Note a disagreement."""
        self.differences.append(Difference(code, subject, **facts))

    def compare(self, code: str, subject: str, fields: dict[str, tuple[Any, Any]]) -> None:
        """Note every field whose (chain, portal) values differ."""
        for name, (on_chain, in_portal) in fields.items():
            if on_chain != in_portal:
                self.add(code, subject, field=name, chain=on_chain, portal=in_portal)

    def plain(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "clean": self.clean,
            "block": self.block_number,
            "differences": [asdict(difference) for difference in self.differences],
            "unreachable": self.unreachable,
        }
