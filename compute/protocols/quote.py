"""What a job will take before it runs: seconds, bytes and credits, from sizes, a calibration and a network.

    compute    Σ operations / (rate of a core × cores), shared by the roles that compute at the same time
    transfer   bytes of all roles / bandwidth
    waiting    rounds × half a round trip
    price      units × price per unit, for every role that has a grant

Seconds lie between ``seconds_at_best`` (computing and sending overlap fully) and ``seconds`` (not at all).
What is not in them: waiting for a node, the chain's finality, and starting a job (`OVERHEAD` says so).
Everything here is public arithmetic on sizes: nothing runs, nothing is read, nothing leaves the machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

import compute.protocols.kinds  # noqa: F401 - registers every job kind
from compute.errors import BadInput
from compute.protocols import calibration as calibrations
from compute.protocols.calibration import Calibration
from compute.protocols.estimates import Estimate, estimable, estimator
from compute.protocols.protocol import JobKind, job_kind

__all__ = ["Network", "Quote", "quotable", "quote"]

OVERHEAD = "not counted: starting the job, finality of the chain, other jobs of the nodes"
_MAX_SIZE = 10**12
_BANDWIDTH = re.compile(r"([0-9]+(?:\.[0-9]+)?)(k|m|g)bit", re.IGNORECASE)
_ROUND_TRIP = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s)", re.IGNORECASE)
_PREFIX = {"k": 1e3, "m": 1e6, "g": 1e9}


@dataclass(frozen=True)
class Network:
    """What lies between the parties: bandwidth in bits per second, round trip in seconds."""

    bits_per_s: float = 1e9
    round_trip_s: float = 0.001

    @classmethod
    def parse(cls, text: str) -> Network:
        """From ``100mbit,20ms``; the round trip may be left out (1 ms). Raises BadInput."""
        bandwidth, _, round_trip = text.replace(" ", "").partition(",")
        bits, wait = _BANDWIDTH.fullmatch(bandwidth), _ROUND_TRIP.fullmatch(round_trip or "1ms")
        if not bits or not wait or not float(bits[1]):
            raise BadInput(f"network {text!r}: write bandwidth and round trip, as in 100mbit,20ms")
        return cls(
            float(bits[1]) * _PREFIX[bits[2].lower()],
            float(wait[1]) * (0.001 if wait[2].lower() == "ms" else 1.0),
        )


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction, ready for JSON. Prices are None for a role whose price was not given."""

    kind: str
    protocol: str
    reason: str
    sizes: dict[str, int]
    bytes_sent: dict[str, int]
    operations: dict[str, int]
    rounds: int
    seconds: float
    seconds_at_best: float
    compute_s: float
    transfer_s: float
    waiting_s: float
    units: dict[str, int]
    price_credits: dict[str, int | None]
    total_credits: int | None
    cores: int
    network: Network
    calibration: str
    assumed: tuple[str, ...]


def quotable() -> tuple[str, ...]:
    """The kinds that can be quoted."""
    return estimable()


def quote(
    kind: str,
    sizes: Mapping[str, int],
    *,
    params: Mapping[str, Any] | None = None,
    network: Network | None = None,
    prices: Mapping[str, int] | None = None,
    calibration: Calibration | None = None,
    cores: int | None = None,
    backend: str = "auto",
) -> Quote:
    """Predict a job of ``kind`` over data of these sizes.

    ``params`` as a user writes them; left out, the kind's example is taken for them, and the quote says so.
    ``prices``: credits per unit, by role or under ``""`` for all. ``cores`` of each party; by default those
    of the machine of the calibration. ``backend``: auto, cpu or gpu. Raises BadInput for a kind, size, param
    or operation that is not known, DataError for a damaged calibration file.
    """
    estimate_of = estimator(kind)
    found = job_kind(kind)
    for name, size in sizes.items():
        if not 0 <= size <= _MAX_SIZE:
            raise BadInput(f"the size of {name} must lie between 0 and {_MAX_SIZE}")
    table = calibration or calibrations.load()
    cores = table.cores if cores is None else cores
    if cores < 1:
        raise BadInput("a party has at least one core")
    network = network or Network()
    estimate = estimate_of(sizes, _typed(found, params), table.level)
    compute_s = _compute_seconds(estimate, table, cores, backend)
    transfer_s = 8 * sum(estimate.cost.bytes_sent.values()) / network.bits_per_s
    waiting_s = estimate.cost.rounds * network.round_trip_s / 2
    credits = _credits(estimate.units, prices or {})
    assumed = (
        estimate.assumed if params is not None else (*estimate.assumed, "the params of the kind's example")
    )
    return Quote(
        kind=kind,
        protocol=estimate.protocol,
        reason=estimate.reason,
        sizes=dict(sizes),
        bytes_sent=dict(estimate.cost.bytes_sent),
        operations=dict(estimate.cost.operations),
        rounds=estimate.cost.rounds,
        seconds=compute_s + transfer_s + waiting_s,
        seconds_at_best=max(compute_s, transfer_s) + waiting_s,
        compute_s=compute_s,
        transfer_s=transfer_s,
        waiting_s=waiting_s,
        units=dict(estimate.units),
        price_credits=credits,
        total_credits=_total(credits),
        cores=cores,
        network=network,
        calibration=f"{table.machine} ({table.level}), {table.date} ({table.source or 'given'})",
        assumed=(*assumed, OVERHEAD),
    )


def _typed(kind: JobKind, params: Mapping[str, Any] | None) -> Any:
    final, _ = kind.prepare(dict(kind.example if params is None else params), os.urandom)
    try:
        return msgspec.convert(final, type=kind.params, strict=True)
    except msgspec.ValidationError as error:
        raise BadInput(f"params of {kind.name}: {error}") from error


def _compute_seconds(estimate: Estimate, table: Calibration, cores: int, backend: str) -> float:
    seconds = 0.0
    for operation, count in estimate.cost.operations.items():
        if count:
            rate, whole_device = table.rate(operation, backend)
            seconds += count / (rate * (1 if whole_device else cores) * estimate.workers)
    return seconds


def _credits(units: Mapping[str, int], prices: Mapping[str, int]) -> dict[str, int | None]:
    if unknown := [role for role in prices if role and role not in units]:
        raise BadInput(f"{unknown[0]!r} is no role with a grant; they are {', '.join(units)}")
    if any(price < 0 for price in prices.values()):
        raise BadInput("a price is not negative")
    found: dict[str, int | None] = {}
    for role, count in units.items():
        price = prices.get(role, prices.get(""))
        found[role] = None if price is None else count * price
    return found


def _total(credits: Mapping[str, int | None]) -> int | None:
    known = [each for each in credits.values() if each is not None]
    return sum(known) if known else None
