"""Joint statistics under Paillier-2048: all roles in this process, the consumer's decryption included."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from bench.measure import Row
from tests.compute.protocols.jobs import Job

_INCLUDES = "all parties one after the other on one core, Paillier-2048, key generation left out, no network"


def run(quick: bool) -> Iterator[Row]:
    """Rows per second, vertical (private intersection-sum) and horizontal (stacked rows)."""
    for size in (201,) if quick else (201, 2_003):
        values = np.random.default_rng(7).normal(14.0, 3.5, size)
        ids = [f"id-{i}" for i in range(size)]
        left = pa.table({"id": ids, "value": values})
        members = pa.table({"id": ids[::2]})
        vertical = Job(
            "stats.vertical",
            {
                "keys": {"values": ["id"], "members": ["id"]},
                "value": "value",
                "max_elements": size,
                "key_bits": 2048,
            },
            {"values": left, "members": members},
        )
        yield _timed("statistics, vertical", size, vertical, float(values[::2].mean()))
        horizontal = Job(
            "stats.horizontal",
            {"value": "value", "key_bits": 2048},
            {"p1": left[: size // 2], "p2": left[size // 2 :]},
        )
        yield _timed("statistics, horizontal", size, horizontal, float(values.mean()))


def _timed(name: str, size: int, job: Job, mean: float) -> Row:
    started = time.perf_counter()
    result = job.result()
    elapsed = time.perf_counter() - started
    found = result["groups"]["all"]["mean"]
    if abs(found - mean) > 1e-9 * abs(mean):
        raise RuntimeError(f"{name}: the mean is {found} and not {mean}")
    return Row(name, size, size / elapsed, "rows/s", _INCLUDES)
