"""Functions that a test has done at workers: importable by name, as calls must be."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from compute.errors import ProtocolAbort

PACKAGES = ("accel", "compute.protocols", "tests.compute.protocols.cluster_work")


def held_sum(values: npt.NDArray[np.uint32], folder: str) -> tuple[int, bytes]:
    """Say who works here, wait until the test lets go, then compute."""
    (Path(folder) / f"worker.{os.getpid()}").touch()
    for _ in range(1200):
        if (Path(folder) / "go").exists():
            break
        time.sleep(0.1)
    return int(values.sum()), values.tobytes()[:4]


def square(values: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    return values * values


def abort() -> None:
    raise ProtocolAbort("this one stops")


def starve() -> None:
    raise MemoryError


def stumble() -> None:
    raise KeyError("a secret value")


def give_an_object() -> object:
    return Path("/")


def make_closure():
    def inner() -> int:
        return 1

    return inner


class Pair(NamedTuple):
    one: object
    two: object


class Thing:
    def method(self) -> int:
        return 1
