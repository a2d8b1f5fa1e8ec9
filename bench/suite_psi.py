"""Private set intersection by ECDH over curve25519: both roles in this process, Arrow tables in and out."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pyarrow as pa

from bench.measure import Row
from tests.compute.protocols.jobs import Job

_INCLUDES = "both parties one after the other on one core, messages encoded and decoded, no network"


def run(quick: bool) -> Iterator[Row]:
    """Items per second and bits per item; every result is compared with the join it should be."""
    for size in (1_001,) if quick else (1_001, 10_007, 100_003):
        shared = [f"both-{i}" for i in range(size // 2)]
        alone = size - len(shared)
        left = pa.table({"id": [f"left-{i}" for i in range(alone)] + shared})
        right = pa.table({"id": shared + [f"right-{i}" for i in range(alone)]})
        params = {"keys": {"left": ["id"], "right": ["id"]}, "max_elements": size}
        job = Job("psi", params, {"left": left, "right": right})
        started = time.perf_counter()
        outcome = job.run()
        elapsed = time.perf_counter() - started
        found = job.open(outcome)["count"]
        if found != len(shared):
            raise RuntimeError(f"the intersection has {found} elements and not {len(shared)}")
        sent = sum(outcome.bytes_sent(role) for role in job.roles)
        yield Row("PSI ECDH-25519", size, size / elapsed, "items/s", _INCLUDES)
        yield Row("PSI ECDH-25519 traffic", size, 8 * sent / size, "bit/item", "all messages of both parties")
