"""Which protocol a job runs, from public facts alone: both sides compute the same answer, with its reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from compute.errors import BadInput
from compute.protocols.psi.ecdh.curves import CurveName

ProtocolName = Literal["auto", "ecdh", "rr22", "unbalanced"]
Security = Literal["semi_honest", "malicious"]
Level = str
"""One of `accel.features.LEVELS`."""

SUPPORTED = ("ecdh", "rr22", "unbalanced")
CODES = {"ecdh": 1, "rr22": 2, "unbalanced": 3}
"""Metric ``protocol`` of receipts; a code is never reused."""

# Below, RR22's fixed cost (base transfers, trees of noise: some 100 kB and 0.1 s) exceeds ECDH's whole run.
FEW = 1 << 12
# Half the bytes are worth a second pass over memory when a line is slower than this.
SLOW_LINE_MBIT_S = 200
# A lookup pays when the big set is prepared once and the small one is far smaller; limits of its tags.
UNBALANCED_RATIO = 256
UNBALANCED_MOST = 1 << 18
UNBALANCED_LEAST = 1 << 16
# Values of 64 bits are sound for this many items of a sender in one bucket (RR22, low communication).
LOW_COMMUNICATION_MOST = 1 << 24


@dataclass(frozen=True)
class Asked:
    """What the parameters say."""

    protocol: ProtocolName
    curve: CurveName
    security: Security
    low_communication: bool
    link_mbit_s: int | None
    plain_output: bool
    """One role gets the result, and no labels go with it."""


@dataclass(frozen=True)
class Choice:
    """What runs. ``reason`` is a sentence for people; it names nothing that is not public."""

    protocol: Literal["ecdh", "rr22", "unbalanced"]
    curve: CurveName
    malicious: bool
    low_communication: bool
    reason: str

    @property
    def name(self) -> str:
        """As results and progress show it."""
        if self.protocol == "rr22":
            mode = "-malicious" if self.malicious else "-low-communication" if self.low_communication else ""
            return f"rr22{mode}"
        return f"{self.protocol}-{self.curve}"


def choose(
    asked: Asked,
    receiver: int,
    sender: int,
    *,
    bucket_items: int,
    level: Level,
    supported: Iterable[str],
) -> Choice:
    """The protocol for ``receiver`` and ``sender`` distinct keys, on processors of ``level`` and better.

    ``bucket_items`` is the most items of the sender in one bucket, ``supported`` what both sides run. Raises
    BadInput if what was asked for is not among what both run.
    """
    both = set(supported)
    low = asked.low_communication

    def rr22(reason: str) -> Choice:
        if low and bucket_items > LOW_COMMUNICATION_MOST:
            raise BadInput(f"low communication is sound for {LOW_COMMUNICATION_MOST} keys a bucket at most")
        return Choice("rr22", asked.curve, asked.security == "malicious", low, reason)

    if asked.protocol != "auto":
        if asked.protocol not in both:
            raise BadInput(f"protocol {asked.protocol}: a node of this job does not run it")
        reason = f"{asked.protocol} was asked for"
        if asked.protocol == "rr22":
            return rr22(reason)
        return Choice(asked.protocol, asked.curve, False, False, reason)
    if asked.security == "malicious" or low:
        if "rr22" not in both:
            raise BadInput("a node of this job does not run rr22, which the other parameters need")
        what = "malicious peers" if asked.security == "malicious" else "low communication"
        return rr22(f"{what} was asked for, which rr22 offers")
    if asked.curve != "curve25519":
        return Choice("ecdh", asked.curve, False, False, f"the curve {asked.curve} was asked for")
    if asked.plain_output and "unbalanced" in both and _lopsided(receiver, sender):
        times = sender // max(1, receiver)
        reason = f"one set has {times} times the keys of the other: it is prepared once per version"
        return Choice("unbalanced", asked.curve, False, False, reason)
    if "rr22" not in both:
        return Choice("ecdh", asked.curve, False, False, "rr22 does not run at both nodes")
    # Without wide vectors the fixed part takes longer.
    few = FEW if level != "portable" else 4 * FEW
    if max(receiver, sender) < few:
        return Choice("ecdh", asked.curve, False, False, f"fewer than {few} keys: least fixed cost")
    slow = asked.link_mbit_s is not None and asked.link_mbit_s < SLOW_LINE_MBIT_S
    if slow and bucket_items <= LOW_COMMUNICATION_MOST:
        reason = f"{few} keys or more over {asked.link_mbit_s} Mbit/s: fewest bytes"
        return Choice("rr22", asked.curve, False, True, reason)
    return rr22(f"{few} keys or more: fastest on processors ({level})")


def _lopsided(receiver: int, sender: int) -> bool:
    return (
        0 < receiver <= UNBALANCED_MOST
        and sender >= UNBALANCED_LEAST
        and sender >= UNBALANCED_RATIO * receiver
    )
