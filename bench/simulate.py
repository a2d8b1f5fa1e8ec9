"""``python -m bench.simulate``: hours for an intersection far larger than this machine, from its buckets.

Two jobs with the same size of bucket are run between two processes (`bench.two_parties`, CSV in and out), one
with more buckets than the other. What they differ by, per bucket, is what a bucket costs: reading, hashing,
spilling, the protocol, comparing, writing. Buckets do not depend on each other, so

    reading   = rows × (reading and hashing one, by the calibration of `liutong quote`), on one core
    computing = buckets × CPU seconds of a bucket at the slower party / (cores × efficiency)
    sending   = buckets × bytes of a bucket, both ways / bandwidth
    waiting   = waves of buckets × round trips of a bucket

Reading comes first, as one pass. The rest lies between the maximum (it overlaps) and the sum; a bucket's
seconds hold its share of the reading once more. Assumptions are printed with the result.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console

from bench.suite_psi import inputs
from bench.two_parties import Measured, Task, TwoParties
from compute.protocols import calibration
from compute.protocols.psi.buckets import bound
from compute.protocols.psi.waves import ITEM_MEMORY_BYTES
from compute.protocols.quote import Network

# SecretFlow's own benchmark page, 10^9 × 10^9 on 32 cores.
PUBLISHED_HOURS = {"rr22": 0.62, "ecdh": 2.09}
_ROUND_TRIPS = {"rr22": 4, "ecdh": 2}
_WARM_ITEMS = 5_003


@dataclass(frozen=True)
class Bucket:
    """What one bucket of ``items`` costs: CPU seconds of the slower party, bytes both ways."""

    protocol: str
    items: int
    cpu_s: float
    bytes_both: float


@dataclass(frozen=True)
class Simulated:
    """Hours for ``rows`` on either side; ``published_hours`` is SecretFlow's figure on 32 cores."""

    protocol: str
    rows: int
    cores: int
    efficiency: float
    network: Network
    bucket: Bucket
    buckets: int
    reading_h: float
    computing_h: float
    sending_h: float
    waiting_h: float
    best_h: float
    worst_h: float
    published_hours: float | None
    assumptions: tuple[str, ...]


def measure_bucket(protocol: str, items: int, folder: Path) -> Bucket:
    """Cost per bucket of about ``items``: the difference between a job of 8 buckets and one of 4."""
    few, many = (_run(protocol, items, buckets, folder) for buckets in (4, 8))
    counted = [measured.metrics[0]["buckets"] for measured in (few, many)]
    if counted != [4, 8]:
        raise RuntimeError(f"the jobs were cut into {counted} buckets and not into 4 and 8")
    cpu = max(more - less for more, less in zip(many.cpu_s, few.cpu_s, strict=True)) / 4
    sent = (sum(many.bytes_out) - sum(few.bytes_out)) / 4
    return Bucket(protocol, items, cpu, sent)


def _run(protocol: str, items: int, buckets: int, folder: Path) -> Measured:
    # Below the limit of a bucket, or the next power of two would be taken.
    size = items * buckets - 1
    params = {
        "keys": {"left": ["id"], "right": ["id"]},
        "output_to": ["left", "right"],
        "max_elements": 1 << 25,
        "protocol": protocol,
    }
    results = (folder / "out-left.csv", folder / "out-right.csv")
    with TwoParties(folder, threads=1) as parties:
        memory = items * ITEM_MEMORY_BYTES
        for count in (_WARM_ITEMS, size):
            task = Task("psi", params, inputs(folder, count), results, memory_bytes=memory)
            measured = parties.run(task)
    return measured


def simulate(bucket: Bucket, rows: int, cores: int, network: Network, efficiency: float) -> Simulated:
    """Hours for ``rows`` keys on either side, from the cost of one bucket."""
    buckets = math.ceil(rows / bucket.items)
    # Buckets are filled up to a size that none exceeds.
    filled = bound(rows, buckets) / bucket.items
    computing = buckets * filled * bucket.cpu_s / (cores * efficiency)
    sending = buckets * filled * bucket.bytes_both * 8 / network.bits_per_s
    waiting = math.ceil(buckets / cores) * _ROUND_TRIPS[bucket.protocol] * network.round_trip_s
    hours = [seconds / 3600 for seconds in (computing, sending, waiting)]
    rates = calibration.load()
    reading = rows * sum(1 / rates.rate(operation, "cpu")[0] for operation in ("row", "key")) / 3600
    return Simulated(
        protocol=bucket.protocol,
        rows=rows,
        cores=cores,
        efficiency=efficiency,
        network=network,
        bucket=bucket,
        buckets=buckets,
        reading_h=reading,
        computing_h=hours[0],
        sending_h=hours[1],
        waiting_h=hours[2],
        best_h=reading + max(hours),
        worst_h=reading + sum(hours),
        published_hours=PUBLISHED_HOURS.get(bucket.protocol),
        assumptions=(
            f"each party has {cores} cores as fast as one of this machine, {efficiency:.0%} of them at work",
            f"buckets of {bucket.items:,} keys, padded by {filled - 1:.2%} at this size",
            f"rows are read and hashed by one process, at the rates of {rates.machine}",
            "spilling and writing are spread over the cores as the buckets are",
            f"{network.bits_per_s / 1e9:g} Gbit/s, round trip {1000 * network.round_trip_s:g} ms, in both "
            "directions together",
            "disks keep up with spilling 40 bytes a key twice; no bucket is done again",
        ),
    )


@click.command()
@click.option("--rows", type=float, default=1e9, show_default=True, help="keys on either side")
@click.option("--cores", type=click.IntRange(1), default=32, show_default=True, help="of each party")
@click.option("--efficiency", type=click.FloatRange(0.05, 1.0), default=0.9, show_default=True)
@click.option("--network", default="10gbit,1ms", show_default=True)
@click.option(
    "--protocol", "protocols", type=click.Choice(["rr22", "ecdh"]), multiple=True, help="default: both"
)
@click.option("--bucket-items", type=click.IntRange(1 << 10), default=1 << 17, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(
    rows: float,
    cores: int,
    efficiency: float,
    network: str,
    protocols: Sequence[str],
    bucket_items: int,
    as_json: bool,
) -> None:
    """Measure buckets on this machine and say what a far larger job would take, with its assumptions."""
    found = []
    for protocol in protocols or ("rr22", "ecdh"):
        with tempfile.TemporaryDirectory() as folder:
            bucket = measure_bucket(protocol, bucket_items, Path(folder))
        found.append(simulate(bucket, int(rows), cores, Network.parse(network), efficiency))
    if as_json:
        click.echo(json.dumps([asdict(item) for item in found]))
        return
    console = Console(highlight=False)
    for item in found:
        console.print(
            f"[bold]{item.protocol}[/bold]  {item.rows:.3g} × {item.rows:.3g} on {cores} cores: "
            f"{item.best_h:.2f} to {item.worst_h:.2f} h "
            f"(SecretFlow, published, 32 cores: {item.published_hours} h)"
        )
        console.print(
            f"  {item.buckets:,} buckets of {1000 * item.bucket.cpu_s:.0f} ms CPU and "
            f"{item.bucket.bytes_both / 1e6:.1f} MB: reading {item.reading_h:.2f} h, computing "
            f"{item.computing_h:.2f} h, sending "
            f"{item.sending_h:.2f} h, waiting {item.waiting_h:.3f} h"
        )
        for assumption in item.assumptions:
            console.print(f"  · {assumption}")


if __name__ == "__main__":
    main(prog_name="python -m bench.simulate")
