"""Two nodes of two parties, shared by the tests that do not stop or change them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compute.node import setup
from tests.chain_lab import Lab
from tests.compute.node.rig import Consumer, Portal, RunningNode, patients_csv, table_toml

EAST_IDS = [f"p{i:03d}" for i in range(60)]
LAB_IDS = [f"p{i:03d}" for i in range(99, 20, -1)]


def make_node(
    home: Path, lab: Lab, portal: Portal, name: str, ids: list[str], **options: object
) -> RunningNode:
    """A node with one patients table, not started."""
    patients_csv(home / "patients.csv", ids)
    toml = table_toml(setup.new_id(), "patients.csv", ceiling=str(options.pop("ceiling", "")))
    return RunningNode(home, lab, portal, name, toml, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def portal() -> Portal:
    return Portal()


@pytest.fixture(scope="session")
def east(lab: Lab, portal: Portal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    node = make_node(tmp_path_factory.mktemp("east"), lab, portal, "Hospital East", EAST_IDS)
    try:
        node.start().register()
        yield node
    finally:
        node.stop()


@pytest.fixture(scope="session")
def laboratory(lab: Lab, portal: Portal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    node = make_node(tmp_path_factory.mktemp("laboratory"), lab, portal, "Laboratory", LAB_IDS)
    try:
        node.start().register()
        yield node
    finally:
        node.stop()


@pytest.fixture
def consumer(lab: Lab) -> Consumer:
    return Consumer(lab)
