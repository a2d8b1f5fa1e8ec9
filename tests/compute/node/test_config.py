"""node.toml: the example is complete and loads, mistakes are named."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from compute.errors import BadInput
from compute.node import config as config_module
from compute.node.config import NodeConfig, load
from compute.node.meter import Meter, MeterExceeded
from tests.compute.node.rig import table_toml

EXAMPLE = Path(config_module.__file__).with_name("node.example.toml")
ID = "0x" + "0a" * 32


def write(tmp_path: Path, extra: str = "", **top: str) -> Path:
    lines = {"name": '"East"', "party": f'"{ID}"', **top}
    path = tmp_path / "node.toml"
    path.write_text("\n".join(f"{key} = {value}" for key, value in lines.items()) + "\n" + extra)
    return path


def test_the_example_loads_and_shows_every_setting() -> None:
    load(EXAMPLE, {})
    text = EXAMPLE.read_text()
    sections = [config_module.ChainSettings, config_module.PortalSettings, config_module.KeySettings]
    sections += [config_module.PeerSettings, config_module.LimitSettings, config_module.EaasSettings]
    sections += [config_module.Ceiling, NodeConfig]
    for section in sections:
        for field in msgspec.structs.fields(section):
            if field.name not in ("home", "dataset"):
                is_table = f"[{field.name}]" in text
                assert is_table or re.search(rf"^{field.name} = ", text, re.M), field.name


def test_the_environment_overrides_scalars(tmp_path: Path) -> None:
    environment = {
        "LIUTONG_NODE__CHAIN__RPC_URL": "http://chain.example:1",
        "LIUTONG_NODE__CHAIN__FINALITY_DEPTH": "12",
        "LIUTONG_NODE__LISTEN": "0.0.0.0:9",
    }
    config = load(write(tmp_path), environment)
    assert config.chain.rpc_url == "http://chain.example:1"
    assert config.chain.finality_depth == 12
    assert config.bind == ("0.0.0.0", 9)


SERVICE = f'[[dataset]]\nid = "{ID}"\nname = "S"\nkind = "service"\n'
MISTAKES = {
    "unknown key": ({"lissten": '"x"'}, "", "lissten"),
    "wrong type": ({}, "[chain]\nfinality_depth = 'deep'\n", "finality_depth"),
    "no port": ({"listen": '"localhost"'}, "", "host:port"),
    "home": ({"home": '"/"'}, "", "home"),
    "two datasets of one id": ({}, table_toml(ID, "a.csv") + table_toml(ID, "b.csv"), "same id"),
    "service without eaas": ({}, SERVICE, "enabled"),
    "table without source": ({}, SERVICE.replace("service", "table"), "source"),
    "eaas on a table": ({}, table_toml(ID, "a.csv").replace('"psi", ', '"eaas", '), "service"),
    "ceiling of unknown columns": ({}, table_toml(ID, "a.csv", ceiling='columns = ["x"]'), "unknown"),
    "party that is no id": ({"party": '"east"'}, "", "party"),
}


@pytest.mark.parametrize("why", MISTAKES)
def test_mistakes_are_named(tmp_path: Path, why: str) -> None:
    top, extra, said = MISTAKES[why]
    with pytest.raises(BadInput, match=said):
        load(write(tmp_path, extra, **top), {})


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"node\.toml"):
        load(tmp_path / "node.toml", {})
    (tmp_path / "node.toml").write_text("= 3")
    with pytest.raises(BadInput, match="not TOML"):
        load(tmp_path / "node.toml", {})


@pytest.mark.parametrize(
    ("state", "stopped", "sent", "units"),
    [
        ("cancelled", False, 0, 0),
        ("cancelled", False, 1, 5),
        ("failed", False, 2, 5),
        ("expired", False, 1, 5),
        ("failed", True, 2, 0),
        ("refused", False, 2, 0),
    ],
)
def test_what_a_consumer_was_sent_is_charged(state: str, stopped: bool, sent: int, units: int) -> None:
    meter = Meter(5)
    for _ in range(sent):
        meter.note_sent_to_consumer()
    assert meter.ended_early(state, stopped=stopped) == units  # type: ignore[arg-type]


def test_a_protocol_cannot_use_more_than_was_reserved() -> None:
    assert Meter(5).completed(5) == 5
    for used in (6, -1):
        with pytest.raises(MeterExceeded):
            Meter(5).completed(used)
