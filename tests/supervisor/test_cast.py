"""What the demo's nodes declare is what the data holds."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from compute.data.source import Source
from compute.demo import data, truth
from compute.node.config import NodeConfig, load
from market.supervisor import nodes
from market.supervisor.cast import CAST, PartyPlan
from market.supervisor.layout import Layout

WITH_NODES = [party for party in CAST if party.has_node]


@pytest.fixture(scope="module")
def cut() -> data.DemoData:
    return data.cut()


def config_of(party: PartyPlan, home: Path) -> NodeConfig:
    folder = home / "nodes" / party.key
    folder.mkdir(parents=True)
    head = f'name = "{party.name}"\nparty = "0x{"11" * 32}"\n'
    (folder / "node.toml").write_text(head + nodes.dataset_toml(Layout(home, free_ports=True), party))
    return load(folder / "node.toml", {})


@pytest.mark.parametrize("party", WITH_NODES, ids=lambda party: party.key)
def test_every_declared_column_can_be_read(party: PartyPlan, cut: data.DemoData, tmp_path: Path) -> None:
    config = config_of(party, tmp_path)
    cut.write(config.home / "data")
    for dataset in config.dataset:
        if dataset.source is not None:
            table = Source(dataset.source, config.home).read()
            assert table.num_rows > 200
            assert table.column_names[0] == data.KEY


@pytest.mark.parametrize("party", WITH_NODES, ids=lambda party: party.key)
def test_dataset_ids_are_random_and_kept(party: PartyPlan, tmp_path: Path) -> None:
    layout = Layout(tmp_path, free_ports=True)
    first = nodes.dataset_toml(layout, party)
    assert nodes.dataset_toml(layout, party) == first
    assert nodes.dataset_toml(Layout(tmp_path / "other", free_ports=True), party) != first
    tomllib.loads(first)


def test_the_cut_is_the_same_every_time(cut: data.DemoData) -> None:
    again = data.cut()
    assert again.east.equals(cut.east)
    assert again.laboratory.equals(cut.laboratory)


def test_hospitals_share_no_patient_and_the_laboratory_knows_most(cut: data.DemoData) -> None:
    east, west = set(cut.east[data.KEY].to_pylist()), set(cut.west[data.KEY].to_pylist())
    seen = cut.laboratory[data.KEY].to_pylist()
    assert not east & west
    assert len(east) + len(west) == 569
    assert len(set(seen)) == len(seen) == 484
    assert set(seen) <= east | west
    assert 0 < len(truth.shared_patients(cut.east, cut.laboratory)) < cut.east.num_rows
    assert seen != sorted(seen)


def test_hospitals_hold_no_laboratory_column_and_the_other_way_round(cut: data.DemoData) -> None:
    assert len([c for c in cut.east.column_names if c.startswith("mean_")]) == 10
    laboratory = [c for c in cut.laboratory.column_names if c != data.KEY]
    assert len(laboratory) == 20
    assert not set(laboratory) & set(cut.east.column_names)
