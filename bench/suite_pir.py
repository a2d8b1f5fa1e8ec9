"""Private retrieval by keyword: client and server in this process, hint and offline part included."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pyarrow as pa

from bench.measure import Row
from tests.compute.protocols.jobs import Job

_INCLUDES = "client and server on one core, hint, offline and online part, no network"


def run(quick: bool) -> Iterator[Row]:
    """Seconds and bytes for one query."""
    for size in (503,) if quick else (503, 5_003):
        table = pa.table({"id": [f"id-{i}" for i in range(size)], "value": [i * 0.5 for i in range(size)]})
        job = Job(
            "pir.keyword", {"columns": ["value"], "key": ["id"], "keywords": [["id-77"]]}, {"server": table}
        )
        started = time.perf_counter()
        outcome = job.run()
        elapsed = time.perf_counter() - started
        answers = job.open(outcome)["answers"]
        if answers != [{"found": True, "records": [{"value": 38.5}]}]:
            raise RuntimeError(f"the answer is {answers}")
        yield Row("PIR by keyword, one query from nothing", size, elapsed, "s", _INCLUDES)
        for role in job.roles:
            yield Row(
                f"PIR by keyword, sent by {role}", size, outcome.bytes_sent(role) / 1e6, "MB", "all messages"
            )
