"""Private set intersection from CSV to CSV: two party processes on loopback, beside spu and openmined-psi.

Sizes are never powers of two, sets overlap by half, both sides get the result, and every result is compared
with the join it should be. Peers read the same files in the same run.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import peers
from bench.measure import Row
from bench.plots import cost_per_item
from bench.two_parties import Measured, Task, TwoParties

_INCLUDES = "CSV in and out, both parties get the result, two warm processes on loopback, 2 cores in all"
_PRIVATE = "private memory of the whole process, looked up every 20 ms"
_FLATNESS = 0.15
_SCALING_MEMORY = 7 << 27


@dataclass(frozen=True)
class Variant:
    """One way to intersect: our params, the spu task that does the same, and the targets of the project."""

    name: str
    params: Mapping[str, Any]
    spu: Mapping[str, Any] | None = None
    seconds_at_2_20: float | None = None
    bits_per_item: float | None = None
    items_per_s: float | None = None


_RR22 = {"protocol": "rr22"}
_ECDH = {"protocol": "ecdh"}
VARIANTS = (
    Variant("RR22", _RR22, {"protocol": "PROTOCOL_RR22"}, 1.5, 265),
    Variant(
        "RR22 low communication",
        _RR22 | {"low_communication": True},
        {"protocol": "PROTOCOL_RR22", "low_communication": True},
        None,
        165,
    ),
    Variant("RR22 malicious", _RR22 | {"security": "malicious"}),
    Variant(
        "ECDH curve25519",
        _ECDH,
        {"protocol": "PROTOCOL_ECDH", "curve": "CURVE_25519_ELLIGATOR2"},
        12.0,
    ),
    Variant(
        "ECDH SM2",
        _ECDH | {"curve": "sm2"},
        {"protocol": "PROTOCOL_ECDH", "curve": "CURVE_SM2"},
        items_per_s=20_000,
    ),
)
# spu's default curve25519 hashes without a sound map; it is measured for the record.
_UNSOUND = {"protocol": "PROTOCOL_ECDH", "curve": "CURVE_25519"}


def run(quick: bool) -> Iterator[Row]:
    """Rate, time and traffic of every variant beside its peer, then cost and memory against size."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if quick:
            yield from _variants(folder, VARIANTS, 10_007, slow=1_009)
            yield from _unbalanced(folder, 101, 10_007)
            return
        yield from _variants(folder, VARIANTS, (1 << 20) - 1, slow=10_007)
        yield from _scaling(folder)
        yield from _unbalanced(folder, 10_000, 10_000_000)


def _variants(folder: Path, variants: tuple[Variant, ...], size: int, *, slow: int) -> Iterator[Row]:
    seconds: dict[str, float] = {}
    with TwoParties(folder) as parties:
        for variant in variants:
            # The first job loads the kernels of both processes.
            parties.run(_task(folder, inputs(folder, 5_003), variant))
            measured = parties.run(_task(folder, inputs(folder, size), variant))
            _check(folder, size, measured.rows)
            seconds[variant.name] = measured.seconds
            peer = None
            if variant.spu is not None:
                # Its sound curve25519 and its SM2 would take minutes for a million items.
                count = slow if variant.spu["protocol"] == "PROTOCOL_ECDH" else size
                peer = _peer(folder, f"spu 0.9.5 {variant.name}", "spu", variant.spu, count)
            yield from _rows(variant, size, measured, peer)
    ratio = seconds["RR22 malicious"] / seconds["RR22"]
    yield Row(
        "PSI RR22 malicious over semi-honest", size, ratio, "", "time of both", target=1.3, met=ratio <= 1.3
    )
    for name, program, task, count in (
        ("spu 0.9.5 ECDH curve25519, its default unsound hash", "spu", _UNSOUND, min(size, 1 << 18)),
        ("openmined-psi 2.0.6 ECDH, both sides in one process, lists", "openmined", {}, slow),
    ):
        found = _peer(folder, name, program, task, count)
        yield Row(f"{found.name}, rate", count, found.rate, "items/s", found.remark)


@dataclass(frozen=True)
class _Peer:
    name: str
    size: int
    seconds: float
    remark: str

    @property
    def rate(self) -> float:
        return self.size / self.seconds if self.seconds else 0.0


def _peer(folder: Path, name: str, program: str, task: Mapping[str, Any], size: int) -> _Peer:
    left, right = inputs(folder, size)
    described = {
        **task,
        "left": str(left),
        "right": str(right),
        "left_out": str(folder / "peer-left.csv"),
        "right_out": str(folder / "peer-right.csv"),
    }
    try:
        measured = peers.measure("psi", program, json.dumps(described))
    except peers.PeerUnavailable as reason:
        return _Peer(name, size, 0.0, f"not measured: {reason}")
    remark = f"{size} items of each party"
    if measured["count"] != size - size // 2:
        remark += f"; it found {measured['count']} of {size - size // 2} common items"
    return _Peer(name, size, measured["seconds"], remark)


def _rows(variant: Variant, size: int, measured: Measured, peer: _Peer | None) -> Iterator[Row]:
    million = size > 1_000_000
    target = variant.seconds_at_2_20 if million else None
    met = None if target is None else measured.seconds <= target
    yield Row(f"PSI {variant.name}", size, measured.seconds, "s", _INCLUDES, target=target, met=met)
    rate = size / measured.seconds
    name, includes = f"PSI {variant.name}, rate", _INCLUDES
    if peer is not None:
        includes += f"; {peer.name}: {peer.remark}"
    if peer is not None and peer.seconds:
        beside = {"peer": peer.name, "peer_value": peer.rate, "ratio": rate / peer.rate}
    else:
        beside = {}
    least = variant.items_per_s if million else None
    met = None if least is None else rate >= least
    yield Row(name, size, rate, "items/s", includes, **beside, target=least, met=met)
    bits = 8 * sum(measured.bytes_out) / size
    limit = variant.bits_per_item if million else None
    yield Row(
        f"PSI {variant.name}, traffic",
        size,
        bits,
        "bit/item",
        "protocol bytes of both parties",
        target=limit,
        met=None if limit is None else bits <= limit,
    )


def _unbalanced(folder: Path, few: int, many: int) -> Iterator[Row]:
    """Few keys of one party against a set of the other that was prepared before: the second job is timed."""
    left, right = folder / f"few-{few}.csv", folder / f"many-{many}.csv"
    left.write_text("id\n" + "".join(f"subject-{2 * number:010d}\n" for number in range(few)))
    with right.open("w") as file:
        file.write("id\n")
        # The even ones up to `few` are in both.
        file.writelines(f"subject-{number:010d}\n" for number in range(many))
    results = folder / "out-left.csv", folder / "out-right.csv"
    params = {
        "keys": {"left": ["id"], "right": ["id"]},
        "output_to": ["left"],
        "max_elements": many,
        "deliver_to_consumer": False,
        "protocol": "unbalanced",
    }
    with TwoParties(folder) as parties:
        task = Task("psi", params, (left, right), results, published=True)
        prepared, online = (parties.run(task) for _ in range(2))
    if online.rows[0] != few:
        raise RuntimeError(f"the lookup found {online.rows[0]} of {few} keys")
    includes = f"{many} prepared keys; both parties, verified snapshot in, CSV out"
    first = "reads, records, prepares and downloads"
    yield Row("PSI unbalanced, first job", few, prepared.seconds, "s", f"{first}; {includes}")
    peak_mib = prepared.peak_bytes[1] / 2**20
    yield Row("PSI unbalanced, first job, peak memory of the server", few, peak_mib, "MiB", _PRIVATE)
    yield Row("PSI unbalanced, later job", few, online.seconds, "s", includes)
    phases = online.phases[0]
    waiting = sum(phases.get(phase, 0.0) for phase in ("psi.blind", "psi.receive", "psi.match", "psi.result"))
    yield Row(
        "PSI unbalanced, online part of a later job",
        few,
        waiting,
        "s",
        "the client from its first masked key to its result",
        target=1.0 if many >= 10_000_000 else None,
        met=waiting < 1.0 if many >= 10_000_000 else None,
    )
    yield Row(
        "PSI unbalanced, traffic of a later job", few, sum(online.bytes_out) / 1e6, "MB", "both parties"
    )


def _scaling(folder: Path) -> Iterator[Row]:
    """RR22 from 2^18 to 2^24 items in fresh processes: cost per item and peak memory."""
    costs = []
    for power in (18, 20, 22, 24):
        size = (1 << power) - 1
        files = inputs(folder, size)
        with TwoParties(folder) as parties:
            parties.run(_task(folder, inputs(folder, 5_003), VARIANTS[0]))
            measured = parties.run(replace(_task(folder, files, VARIANTS[0]), memory_bytes=_SCALING_MEMORY))
        _check(folder, size, measured.rows)
        costs.append(measured.seconds / size * 1e6)
        yield Row("PSI RR22, cost", size, costs[-1], "µs/item", _INCLUDES)
        memory = max(measured.peak_bytes) / 2**20
        limit = 1024.0 if power == 24 else None
        yield Row(
            "PSI RR22, peak memory of a party",
            size,
            memory,
            "MiB",
            f"{_PRIVATE}; its input is a mapped file; "
            "memory_bytes is 896 MiB, which leaves room for the interpreter and its libraries",
            target=limit,
            met=None if limit is None else memory <= limit,
        )
    spread = max(costs) / min(costs) - 1
    yield Row(
        "PSI RR22, spread of the cost per item",
        (1 << 24) - 1,
        spread,
        "",
        "largest over smallest of 2^18 to 2^24, minus 1",
        target=2 * _FLATNESS,
        met=spread <= 2 * _FLATNESS,
    )


def inputs(folder: Path, size: int) -> tuple[Path, Path]:
    """Two CSV files of ``size`` distinct keys in random order; ``size - size // 2`` are in both."""
    paths = folder / f"left-{size}.csv", folder / f"right-{size}.csv"
    for path, first in zip(paths, (0, size // 2), strict=True):
        if path.exists():
            continue
        keys = [f"subject-{number:010d}" for number in range(first, first + size)]
        random.Random(size + first).shuffle(keys)
        path.write_text("id\n" + "\n".join(keys) + "\n")
    return paths


def _task(folder: Path, files: tuple[Path, Path], variant: Variant) -> Task:
    params = {
        "keys": {"left": ["id"], "right": ["id"]},
        "output_to": ["left", "right"],
        "max_elements": 1 << 25,
        "deliver_to_consumer": False,
        **variant.params,
    }
    return Task("psi", params, files, (folder / "out-left.csv", folder / "out-right.csv"))


def _check(folder: Path, size: int, rows: tuple[int, int]) -> None:
    common = size - size // 2
    if rows != (common, common):
        raise RuntimeError(f"the sides found {rows} and not {common} common items")
    wanted = {f"subject-{number:010d}" for number in range(size // 2, size)}
    for side in ("left", "right"):
        found = (folder / f"out-{side}.csv").read_text().replace('"', "").split("\n")[1:-1]
        if set(found) != wanted:
            raise RuntimeError(f"the result of {side} is not the join")


def draw(rows: list[Row], kept: Path) -> None:
    """Cost per item against size."""
    points = [(row.size, row.value) for row in rows if row.name == "PSI RR22, cost"]
    if points:
        cost_per_item({"RR22": points}, "PSI from CSV to CSV, both parties", kept.with_suffix(".svg"))
