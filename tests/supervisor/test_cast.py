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
            assert set(dataset.source.keys) <= set(table.column_names)


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
    assert again.board_east.equals(cut.board_east)
    assert again.flights.equals(cut.flights)


def test_hospitals_share_no_patient_and_the_laboratory_knows_most(cut: data.DemoData) -> None:
    east, west = set(cut.east[data.KEY].to_pylist()), set(cut.west[data.KEY].to_pylist())
    seen = cut.laboratory[data.KEY].to_pylist()
    assert not east & west
    assert len(east) + len(west) == 569
    assert len(set(seen)) == len(seen) == 484
    assert set(seen) <= east | west
    assert 0 < len(truth.shared_patients(cut.east, cut.laboratory)) < cut.east.num_rows
    assert seen != sorted(seen)


def test_boards_discussed_patients_of_both_hospitals(cut: data.DemoData) -> None:
    east, west = set(cut.east[data.KEY].to_pylist()), set(cut.west[data.KEY].to_pylist())
    for board in (cut.board_east, cut.board_west):
        discussed = board[data.KEY].to_pylist()
        assert len(set(discussed)) == len(discussed)
        assert set(discussed) & east
        assert set(discussed) & west
        assert set(discussed) <= east | west
    shared = truth.shared_patients(cut.board_east, cut.board_west, cut.laboratory)
    assert 5 <= len(shared) < min(cut.board_east.num_rows, cut.board_west.num_rows)


def test_every_flight_of_the_package_is_there_and_its_key_names_it(cut: data.DemoData) -> None:
    table = cut.flights
    assert table.num_rows == 336_776
    names = table.group_by([*data.FLIGHT_KEY, "origin"]).aggregate([])
    assert names.num_rows == table.num_rows
    first = table.slice(0, 1).to_pylist()[0]
    assert (first["carrier"], first["flight"], str(first["flight_date"])) == ("UA", 1545, "2013-01-01")
    assert table["tail_number"].null_count > 0


def test_hospitals_hold_no_laboratory_column_and_the_other_way_round(cut: data.DemoData) -> None:
    assert len([c for c in cut.east.column_names if c.startswith("mean_")]) == 10
    laboratory = [c for c in cut.laboratory.column_names if c != data.KEY]
    assert len(laboratory) == 20
    assert not set(laboratory) & set(cut.east.column_names)
