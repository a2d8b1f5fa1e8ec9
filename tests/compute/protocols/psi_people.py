"""Tables of people with a column of each type, and jobs that intersect them."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from tests.compute.protocols.jobs import Job

KEYS = {"keys": {"left": ["id"], "right": ["id"]}}
TINY = {"memory_bytes": 16 << 10, "parallel": 2}
BOTH = {"output_to": ["left", "right"]}


def people(numbers: Iterable[int]) -> pa.Table:
    numbers = list(numbers)
    return pa.table(
        {
            "id": [f"k{i}" for i in numbers],
            "name": [None if i % 7 == 0 else f"张{i}" * (i % 3) for i in numbers],
            "age": pa.array([None if i % 5 == 0 else -i for i in numbers], pa.int32()),
            "score": [i / 4 for i in numbers],
            "member": [i % 2 == 0 for i in numbers],
            "day": pa.array(numbers, pa.int32()).cast(pa.date32()),
        }
    )


def job(left: Iterable[int], right: Iterable[int], storage: Any = None, **params: Any) -> Job:
    each = {role: dict(storage) for role in ("left", "right")} if storage else None
    return Job("psi", KEYS | params, {"left": people(left), "right": people(right)}, storage=each)
