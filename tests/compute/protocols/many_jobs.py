"""Builds `psi.many` jobs for its tests."""

from typing import Any

import pyarrow as pa

from tests.compute.protocols.jobs import Job


def many(
    sets: list[list[Any]], *, floor: int = 0, seed: int | str = 0, storage: Any = None, **params: Any
) -> Job:
    roles = [f"p{index + 1}" for index in range(len(sets))]
    tables = {
        role: pa.table({f"id{role}": pa.array(items, pa.string())})
        for role, items in zip(roles, sets, strict=True)
    }
    keys = {role: [f"id{role}"] for role in roles}
    return Job("psi.many", {"keys": keys} | params, tables, floor=floor, seed=seed, storage=storage)


def texts(*numbers: Any) -> list[str]:
    return [f"k{i}" for i in numbers]
