"""The committed artifacts are what the sources compile to; Solidity and Python sign the same structures."""

from __future__ import annotations

import re

import pytest
from eth_utils.crypto import keccak

from contracts import abi, artifacts, build, eip712
from contracts.eip712 import (
    Action,
    Batch,
    DatasetVersion,
    Grant,
    JobRequest,
    Line,
    NodeKey,
    Receipt,
    Revocation,
)
from contracts.errors import BadStruct, BuildFailed

STRUCTS = (NodeKey, DatasetVersion, Grant, Revocation, Line, JobRequest, Receipt, Batch, Action)


@pytest.fixture(scope="module")
def compiled() -> dict[str, dict[str, object]]:
    return build.compile_all()


@pytest.mark.parametrize("name", build.CONTRACTS)
def test_a_rebuild_gives_the_committed_artifact(compiled: dict[str, dict[str, object]], name: str) -> None:
    committed = (artifacts.DIRECTORY / f"{name}.json").read_text("utf-8")
    assert build.serialise(compiled[name]) == committed, "run python -m contracts.build"


@pytest.mark.parametrize("name", build.CONTRACTS)
def test_a_contract_fits_every_chain(compiled: dict[str, dict[str, object]], name: str) -> None:
    code = bytes.fromhex(str(compiled[name]["deployedBytecode"])[2:])
    assert 0 < len(code) <= 24_576  # EIP-170
    assert compiled[name]["evmVersion"] == "paris"


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda s: s.__name__)
def test_type_strings_are_the_same_in_solidity_and_python(struct: type) -> None:
    source = (build.ROOT / "src" / "Structs.sol").read_text("utf-8")
    constants = dict(re.findall(r"constant (\w+)\s*=\s*keccak256\(([^;]*)\);", source))
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", struct.__name__).upper()
    assert "".join(re.findall(r'"([^"]*)"', constants[name])) == struct.TYPE  # type: ignore[attr-defined]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda s: s.__name__)
def test_members_are_in_the_same_order_in_solidity_and_python(struct: type) -> None:
    source = (build.ROOT / "src" / "interfaces" / "ILiutongTypes.sol").read_text("utf-8")
    found = re.search(rf"struct {struct.__name__} \{{([^}}]*)\}}", source)
    assert found is not None
    members = [" ".join(member.split()) for member in found[1].split(";") if member.strip()]
    own = struct.TYPE.split(")", 1)[0].split("(", 1)[1]  # type: ignore[attr-defined]
    assert ",".join(members) == own


def test_codes_are_the_same_in_solidity_and_python() -> None:
    source = (build.ROOT / "src" / "Codes.sol").read_text("utf-8")
    libraries = {
        library: {name: int(number) for name, number in re.findall(r"constant (\w+) = (\d+);", body)}
        for library, body in re.findall(r"library (\w+) \{([^}]*)\}", source)
    }
    for role in eip712.Role:
        assert libraries["Roles"][str(role.name)] == role
    for kind in eip712.DatasetKind:
        assert libraries["Kinds"][str(kind.name)] == kind
    assert libraries["Operations"]["ALL"] == sum(eip712.Operation)
    assert libraries["Outcomes"]["COMPLETED"] == eip712.Outcome.COMPLETED
    assert libraries["Outcomes"]["REFUSED"] == eip712.Outcome.REFUSED
    assert libraries["Outcomes"]["EXPIRED"] == eip712.Outcome.EXPIRED


def test_a_source_that_does_not_compile_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {**build.sources(), "src/Codes.sol": "pragma solidity ^0.8.24; library {"}
    monkeypatch.setattr(build, "sources", lambda: broken)
    with pytest.raises(BuildFailed, match=r"Codes\.sol"):
        build.compile_all()


@pytest.mark.parametrize("contract", build.CONTRACTS)
def test_every_custom_error_decodes_with_its_fields(contract: str) -> None:
    codec = abi.of(contract)
    samples = {"bytes32": bytes(range(32)), "uint64": 7, "uint32": 6, "uint8": 5, "uint256": 9}
    checked = 0
    for entry in artifacts.load(contract).abi:
        if entry["type"] != "error":
            continue
        kinds = [parameter["type"] for parameter in entry["inputs"]]
        values = ["0x" + "Ab" * 20 if kind == "address" else samples.get(kind, "text") for kind in kinds]
        selector = keccak(f"{entry['name']}({','.join(kinds)})".encode())[:4]
        encoded = selector + abi._encode(entry["inputs"], values)
        decoded = codec.decode_error(encoded)
        assert decoded is not None
        name, fields = decoded
        assert name == entry["name"]
        assert list(fields) == [parameter["name"] for parameter in entry["inputs"]]
        assert [str(v).lower() for v in fields.values()] == [str(v).lower() for v in values]
        checked += 1
    assert checked == len(codec.error_names) > 3


def test_arguments_that_do_not_fit_are_refused() -> None:
    codec = abi.of("UsageLedger")
    for arguments in [(bytes(32),), (bytes(33), bytes(32)), ("0x00", bytes(32)), (1, 2)]:
        with pytest.raises(BadStruct):
            codec.encode_call("release", *arguments)
    with pytest.raises(BadStruct):
        codec.encode_call("activate", (1, 2, 3), b"")


def test_a_struct_with_a_value_out_of_range_is_refused() -> None:
    grant = Grant(bytes(32), bytes(32), bytes(32), bytes(32), 1, 1 << 64, 0, 0, 1)
    with pytest.raises(BadStruct):
        abi.of("UsageLedger").encode_call("activate", grant, b"")
